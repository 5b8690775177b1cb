"""What operators and the housekeeper need: counts for /metrics, and what may be forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from storage.database import Database, execute, now_ms
from storage.rows import integer

DAY_MS = 24 * 3600 * 1000


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
        """Forget live events of turns that began two days ago; returns how many batches.

        The answer itself stays in the turn, and so does the event id that refuses a
        repeated delivery.
        """
        return await self._db.transaction(_housekeep)

    async def ping(self) -> None:
        """Raises ``StorageFailure`` when the database does not answer."""
        await self._db.read(_ping)


def _queue_state(conn: sa.Connection) -> QueueState:
    row = execute(
        conn,
        "SELECT COALESCE(SUM(CASE WHEN status = 'queued' THEN 1 ELSE 0 END), 0),"
        " COALESCE(SUM(CASE WHEN created_at < {now} - 60000 THEN 1 ELSE 0 END), 0)"
        " FROM turns WHERE status <> 'done'",
    ).one()
    waiting = execute(
        conn, "SELECT COUNT(*) FROM turns WHERE status = 'done' AND delivered_at IS NULL"
    ).one()
    return QueueState(
        queued=int(str(row[0])), overdue=int(str(row[1])), undelivered=integer(waiting[0])
    )


def _housekeep(conn: sa.Connection) -> int:
    # Turn ids begin with their creation time in hex, so the primary key finds the old ones.
    cut = f"turn_{now_ms(conn) - 2 * DAY_MS:012x}"
    rows = execute(
        conn,
        "DELETE FROM turn_events WHERE turn_id < :cut AND EXISTS"
        " (SELECT 1 FROM turns WHERE id = turn_id AND status = 'done') RETURNING n",
        cut=cut,
    ).all()
    execute(conn, "DELETE FROM controls WHERE created_at < {now} - :month", month=30 * DAY_MS)
    return len(rows)


def _ping(conn: sa.Connection) -> None:
    execute(conn, "SELECT 1")
