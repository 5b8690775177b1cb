"""What operators and the housekeeper need: counts for /metrics, and what may be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from storage import files
from storage.codes import blank_codes
from storage.database import Database, execute, now_ms
from storage.rows import integer, text
from storage.session_endings import forget_sessions

DAY_MS = 24 * 3600 * 1000
BATCH = 100
"""Rows, or turns, that one transaction of the housekeeping takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """Counts over all tenants."""

    queued: int
    overdue: int
    """Accepted and without a terminal state after 60 seconds."""
    undelivered: int


class SqlOperations:
    """Counts and housekeeping."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def queue_state(self) -> QueueState:
        """What waits, now."""
        return await self._db.read(_queue_state)

    async def housekeep(self) -> int:
        """Forget live events of turns that began two days ago; returns of how many turns.

        The answer itself stays in the turn, and so does the event id that refuses a
        repeated delivery. In small transactions: turns wait behind each of them.
        """
        forgotten = await self._all(_forget_events)
        await self._all(_forget_controls)
        await self._all(_blank_codes)
        await self._all(_forget_sessions)
        await self._all(_give_up_deliveries)
        await self._all(_let_go)
        while found := await self._db.read(files.unneeded, BATCH):
            if await self._db.transaction(files.drop_unneeded, found) < BATCH:
                break
        return forgotten

    async def deleted_among(self, conversation_ids: Sequence[str]) -> frozenset[str]:
        """Which of these conversations were deleted, or never were."""
        return await self._db.read(_deleted_among, tuple(conversation_ids))

    async def _all(self, step: Callable[[sa.Connection], int]) -> int:
        total = 0
        while True:
            done = await self._db.transaction(step)
            total += done
            if done < BATCH:
                return total

    async def ping(self) -> None:
        """Raises ``StorageFailure`` when the database does not answer."""
        await self._db.read(_ping)


def _let_go(conn: sa.Connection) -> int:
    return files.let_go(conn, BATCH)


def _deleted_among(conn: sa.Connection, conversation_ids: tuple[str, ...]) -> frozenset[str]:
    alive = (
        execute(
            conn,
            "SELECT 1 FROM conversations WHERE id = :id AND deleted_at IS NULL",
            id=conversation_id,
        ).first()
        for conversation_id in conversation_ids
    )
    return frozenset(one for one, row in zip(conversation_ids, alive, strict=True) if row is None)


def _queue_state(conn: sa.Connection) -> QueueState:
    row = execute(
        conn,
        "SELECT CAST(COALESCE(SUM(CASE WHEN t.status = 'queued' THEN 1 ELSE 0 END), 0) AS BIGINT),"
        " CAST(COALESCE(SUM(CASE WHEN t.created_at < {now} - 60000"
        " AND (c.parked_until IS NULL OR c.parked_until <= {now}) THEN 1 ELSE 0 END), 0) AS BIGINT)"
        " FROM turns t JOIN conversations c ON c.id = t.conversation_id WHERE t.status <> 'done'",
    ).one()
    waiting = execute(
        conn, "SELECT COUNT(*) FROM turns WHERE status = 'done' AND delivered_at IS NULL"
    ).one()
    return QueueState(
        queued=integer(row[0]), overdue=integer(row[1]), undelivered=integer(waiting[0])
    )


def _forget_events(conn: sa.Connection) -> int:
    # Turn ids begin with their creation time in hex, so the primary key finds the old ones.
    rows = execute(
        conn,
        "SELECT DISTINCT turn_id FROM turn_events WHERE turn_id < :cut AND EXISTS"
        " (SELECT 1 FROM turns WHERE id = turn_id AND status = 'done') LIMIT :n",
        cut=f"turn_{now_ms(conn) - 2 * DAY_MS:012x}",
        n=BATCH,
    ).all()
    for row in rows:
        execute(conn, "DELETE FROM turn_events WHERE turn_id = :id", id=text(row[0]))
    return len(rows)


def _forget_controls(conn: sa.Connection) -> int:
    rows = execute(
        conn,
        "DELETE FROM controls WHERE event_id IN (SELECT event_id FROM controls"
        " WHERE created_at < {now} - :month ORDER BY created_at LIMIT :n) RETURNING event_id",
        month=30 * DAY_MS,
        n=BATCH,
    ).all()
    return len(rows)


def _blank_codes(conn: sa.Connection) -> int:
    return blank_codes(conn, BATCH)


def _forget_sessions(conn: sa.Connection) -> int:
    return forget_sessions(conn, BATCH)


def _give_up_deliveries(conn: sa.Connection) -> int:
    """End the wait for platforms that no process serves any more; served ones end earlier."""
    rows = execute(
        conn,
        "UPDATE turns SET delivered_at = {now}, delivery_problem = :problem WHERE id IN"
        " (SELECT id FROM turns WHERE status = 'done' AND delivered_at IS NULL"
        " AND finished_at < {now} - :days ORDER BY finished_at LIMIT :n) RETURNING id",
        problem="No process served this platform for two days.",
        days=2 * DAY_MS,
        n=BATCH,
    ).all()
    return len(rows)


def _ping(conn: sa.Connection) -> None:
    execute(conn, "SELECT 1")
