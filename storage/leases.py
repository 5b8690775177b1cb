"""Leases: heartbeat, reaper, fair claim, hand-back. One SQL text for both databases."""

from __future__ import annotations

import json
from collections import Counter

import sqlalchemy as sa
import structlog

from billing.quota import LEASE_MS, RENEW_MS
from core.control import Pause
from core.errors import Fenced, It0Error
from core.messages import AttachmentRef, ConversationAddress, Overlap, RemoteFile
from core.metering import Settlement
from core.scheduling import Beat
from core.tenants import Role, User
from core.turns import Turn, TurnKind
from storage.database import Database, execute, now_ms, savepoint
from storage.deliveries import IN_ORDER_MS
from storage.metering import settle
from storage.rows import integer, optional_text, text
from storage.unreadable import put_off

_log = structlog.get_logger()


class SqlLeases:
    """Implements ``core.scheduling.LeaseStore``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db
        self._joined = False
        self._suspects: frozenset[tuple[str, int]] = frozenset()

    async def beat(self, worker: str, ttl_ms: int, running: tuple[Turn, ...]) -> Beat:
        """See the port. On SQLite the first beat voids what a dead process left."""
        alone = self._db.exclusive and not self._joined
        held = frozenset((turn.conversation_id, turn.epoch) for turn in running)
        reaped, mine, stopped = await self._db.transaction(
            _beat, worker, ttl_ms, self._suspects - held, alone=alone, busy=bool(running)
        )
        self._joined = True
        # Unknown on two beats running: not merely in flight, but lost with a commit's answer.
        self._suspects = mine - held
        lost = frozenset(
            turn.id for turn in running if (turn.conversation_id, turn.epoch) not in mine
        )
        return Beat(lost=lost, stop=stopped, reaped=reaped)

    async def claim(self, worker: str, limit: int, tenant_limit: int) -> tuple[Turn, ...]:
        """See the port. A conversation that cannot be read is put off, the others are taken."""
        try:
            return await self._db.transaction(_claim, worker, limit, tenant_limit)
        except It0Error:
            raise
        except Exception:  # noqa: BLE001  # whatever it is, it must not stop the queue
            return await self._db.transaction(_claim, worker, limit, tenant_limit, careful=True)

    async def hand_back(
        self, turn: Turn, *, settlements: tuple[Settlement, ...], failed: bool, pause_ms: int
    ) -> None:
        """See the port."""
        await self._db.transaction(_hand_back, turn, settlements, failed=failed, pause_ms=pause_ms)

    async def park(self, turn: Turn, *, settlements: tuple[Settlement, ...], pause: Pause) -> None:
        """See the port."""
        await self._db.transaction(_park, turn, settlements, pause)

    async def leave(self, worker: str) -> None:
        """See the port; leases that are still held are reaped by whoever beats next."""
        await self._db.transaction(_leave, worker)


# The dead are counted one by one: a turn that ran alone in its worker is the one that killed
# it, though another worker died in the same moment, or a finished turn was being delivered.
_DEAD = """
SELECT c.id, c.done_seq, c.lease_owner,
       (SELECT COUNT(*) FROM turns t WHERE t.conversation_id = c.id AND t.status = 'running')
FROM conversations c WHERE c.lease_owner IS NOT NULL
 AND c.lease_owner NOT IN (SELECT id FROM workers WHERE expires_at >= {now}){lock}
"""

_FREE = """
UPDATE conversations SET lease_owner = NULL, lease_epoch = lease_epoch + 1 WHERE id = :cid
"""

# What died had finished the turn and not delivered it: the next one waits, so that the answers
# stand in order.
_KEEP_ORDER = """
UPDATE conversations SET ready_at = {now} + :hold WHERE id = :cid AND EXISTS
 (SELECT 1 FROM turns t WHERE t.conversation_id = :cid AND t.status = 'done'
  AND t.delivered_at IS NULL)
"""

_REQUEUE = """
UPDATE turns SET status = 'queued', failures = failures + :alone, crowded = crowded + 1 - :alone
WHERE conversation_id = :cid AND seq = :seq AND status = 'running'
"""


def _reap(conn: sa.Connection) -> int:
    """Free what dead workers held; a turn whose worker ran nothing else is told so."""
    dead = execute(conn, _DEAD).all()
    running = Counter[str]()
    for row in dead:
        running[text(row[2])] += integer(row[3])
    for row in dead:
        execute(conn, _FREE, cid=text(row[0]))
        execute(conn, _KEEP_ORDER, cid=text(row[0]), hold=IN_ORDER_MS)
        alone = int(running[text(row[2])] == 1)
        execute(conn, _REQUEUE, cid=text(row[0]), seq=integer(row[1]) + 1, alone=alone)
    return len(dead)


def _drop_lost(conn: sa.Connection, worker: str, suspects: frozenset[tuple[str, int]]) -> int:
    """Free own leases that no task holds; the turns crashed nobody."""
    dropped = 0
    for conversation_id, epoch in suspects:
        row = execute(
            conn,
            _FREE + " AND lease_owner = :me AND lease_epoch = :epoch RETURNING done_seq",
            cid=conversation_id,
            me=worker,
            epoch=epoch,
        ).first()
        if row is not None:
            dropped += 1
            execute(conn, _REQUEUE, cid=conversation_id, seq=integer(row[0]) + 1, alone=0)
    return dropped


def _beat(
    conn: sa.Connection,
    worker: str,
    ttl_ms: int,
    suspects: frozenset[tuple[str, int]],
    *,
    alone: bool,
    busy: bool,
) -> tuple[int, frozenset[tuple[str, int]], tuple[str, ...]]:
    if alone:
        execute(conn, "DELETE FROM workers WHERE id <> :me", me=worker)
    execute(
        conn,
        "INSERT INTO workers (id, expires_at) VALUES (:me, {now} + :ttl)"
        " ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at",
        me=worker,
        ttl=ttl_ms,
    )
    freed = _reap(conn) + _drop_lost(conn, worker, suspects)
    execute(
        conn,
        "DELETE FROM workers WHERE expires_at < {now} - 3600000"
        " AND id NOT IN (SELECT lease_owner FROM conversations WHERE lease_owner IS NOT NULL)",
    )
    mine = execute(
        conn, "SELECT id, lease_epoch FROM conversations WHERE lease_owner = :me", me=worker
    ).all()
    stopped = execute(
        conn,
        "SELECT t.id FROM conversations c JOIN turns t ON t.conversation_id = c.id"
        " AND t.seq = c.done_seq + 1 WHERE c.lease_owner = :me AND t.status = 'running'"
        " AND t.cancel_at IS NOT NULL",
        me=worker,
    ).all()
    if busy:
        _renew_calls(conn, worker)
    if freed and conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")
    return (
        freed,
        frozenset((text(row[0]), integer(row[1])) for row in mine),
        tuple(text(row[0]) for row in stopped),
    )


def _renew_calls(conn: sa.Connection, worker: str) -> None:
    """Keep what the worker's open model calls hold of their quotas; few are near their end."""
    execute(
        conn,
        "UPDATE model_calls SET lease_until = {now} + :lease WHERE state = 'reserved'"
        " AND released_at IS NULL AND lease_until < {now} + :near AND turn_id IN"
        " (SELECT t.id FROM conversations c JOIN turns t ON t.conversation_id = c.id"
        " AND t.seq = c.done_seq + 1 WHERE c.lease_owner = :me AND t.status = 'running')",
        lease=LEASE_MS,
        near=RENEW_MS,
        me=worker,
    )


# Fair: the rank of a conversation is its tenant's running turns, in all workers, plus its place
# among the tenant's ready ones. A tenant's limit counts this worker's slots. While nobody else
# waits a tenant may go beyond it, but never into the last free slot: its turns may hang, and
# another tenant that comes then still gets through. The LIMIT stays inside: behind the lock,
# the fair order would be lost.
# A ready time far ahead was written before the clock was set back. Without ``|| ''`` SQLite
# would group by another index, and walk every conversation there ever was.
_CLAIM = """
UPDATE conversations SET lease_owner = :me, lease_epoch = lease_epoch + 1, parked_until = NULL
WHERE id IN (SELECT id FROM conversations
             WHERE lease_owner IS NULL AND done_seq < last_seq AND id IN (
    SELECT id FROM (SELECT c.id, c.ready_at,
               COALESCE(b.n, 0) + ROW_NUMBER() OVER tenant AS place,
               COALESCE(b.mine, 0) + ROW_NUMBER() OVER tenant AS own,
               ROW_NUMBER() OVER tenant AS nth,
               MIN(c.tenant_id) OVER () <> MAX(c.tenant_id) OVER () AS contended
        FROM conversations c LEFT JOIN (SELECT tenant_id || '' AS tenant, COUNT(*) AS n,
                   SUM(CASE WHEN lease_owner = :me THEN 1 ELSE 0 END) AS mine
               FROM conversations WHERE lease_owner IS NOT NULL GROUP BY tenant_id || '') b
            ON b.tenant = c.tenant_id
        WHERE c.lease_owner IS NULL AND c.done_seq < c.last_seq
          AND (c.ready_at <= {now} OR c.ready_at > {now} + 120000)
          AND (c.parked_until IS NULL OR c.parked_until <= {now})
        WINDOW tenant AS (PARTITION BY c.tenant_id ORDER BY c.ready_at)) r
    WHERE own <= :tenant_limit OR (nth < :n AND NOT contended)
    ORDER BY place, ready_at LIMIT :n){lock})
RETURNING id, done_seq, lease_epoch
"""

_TAKE = """
UPDATE turns SET status = 'running', attempt = attempt + 1
WHERE conversation_id = :cid AND seq = :seq
RETURNING id, tenant_id, attempt, failures, kind, event_id, user_id, platform, workspace,
          channel, thread, text, attachments, engine, overlap, cancel_at, created_at, crowded,
          sender, source_ref, language, files, model, order_id
"""


def _claim(
    conn: sa.Connection, worker: str, limit: int, tenant_limit: int, *, careful: bool = False
) -> tuple[Turn, ...]:
    rows = execute(conn, _CLAIM, me=worker, n=limit, tenant_limit=tenant_limit).all()
    take = _take_or_put_off if careful else _take
    turns = [take(conn, text(row[0]), integer(row[1]) + 1, integer(row[2])) for row in rows]
    return tuple(turn for turn in turns if turn is not None)


def _take_or_put_off(
    conn: sa.Connection, conversation_id: str, seq: int, epoch: int
) -> Turn | None:
    try:
        with savepoint(conn):
            return _take(conn, conversation_id, seq, epoch)
    except It0Error:
        raise
    except Exception as error:  # noqa: BLE001  # what is stored there may be anything
        _log.warning(
            "claim.unreadable", conversation=conversation_id, seq=seq, error=type(error).__name__
        )
    put_off(conn, conversation_id, seq)
    return None


def _take(conn: sa.Connection, conversation_id: str, seq: int, epoch: int) -> Turn:
    row = execute(conn, _TAKE, cid=conversation_id, seq=seq).one()
    user = execute(
        conn,
        "SELECT u.tenant_id, u.email, u.name, u.role, t.engine, u.disabled_at FROM users u"
        " JOIN tenants t ON t.id = u.tenant_id WHERE u.id = :id",
        id=text(row[6]),
    ).one()
    return Turn(
        id=text(row[0]),
        tenant_id=text(row[1]),
        conversation_id=conversation_id,
        seq=seq,
        epoch=epoch,
        attempt=integer(row[2]),
        failures=integer(row[3]),
        kind=TurnKind(text(row[4])),
        event_id=text(row[5]),
        user=User(
            id=text(row[6]),
            tenant_id=text(user[0]),
            email=text(user[1]),
            name=text(user[2]),
            role=Role(text(user[3])),
        ),
        address=ConversationAddress(
            platform=text(row[7]),
            workspace=text(row[8]),
            channel=text(row[9]),
            thread=text(row[10]),
        ),
        text=text(row[11]),
        attachments=tuple(AttachmentRef(**ref) for ref in json.loads(text(row[12]))),
        engine=optional_text(row[13]) or optional_text(user[4]),
        overlap=Overlap(text(row[14])),
        cancelled=row[15] is not None,
        created_at_ms=integer(row[16]),
        crowded=integer(row[17]),
        sender=text(row[18]),
        source_ref=text(row[19]),
        language=text(row[20]),
        files=tuple(RemoteFile(**file) for file in json.loads(text(row[21]))),
        engine_named=row[13] is not None,
        model=optional_text(row[22]),
        order_id=text(row[23]),
        left=user[5] is not None,
    )


def _hand_back(
    conn: sa.Connection,
    turn: Turn,
    settlements: tuple[Settlement, ...],
    *,
    failed: bool,
    pause_ms: int,
) -> None:
    row = execute(
        conn,
        "UPDATE conversations SET lease_owner = NULL, lease_epoch = lease_epoch + 1,"
        " ready_at = {now} + :pause WHERE id = :cid AND tenant_id = :tenant"
        " AND lease_epoch = :epoch RETURNING id",
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        epoch=turn.epoch,
        pause=pause_ms,
    ).first()
    if row is None:
        raise Fenced("The conversation has another owner now.")
    execute(
        conn,
        "UPDATE turns SET status = 'queued', failures = failures + :failed"
        " WHERE id = :id AND status = 'running'",
        id=turn.id,
        failed=int(failed),
    )
    for settlement in settlements:
        settle(conn, settlement)
    if conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")


def _park(
    conn: sa.Connection, turn: Turn, settlements: tuple[Settlement, ...], pause: Pause
) -> None:
    """The lease goes; the conversation waits, unless there is nothing to wait for any more.

    A decision that was made meanwhile found nothing to wake, and a stop nobody to tell: both
    take the conversation's row, which the first statement here holds.
    """
    _hand_back(conn, turn, settlements, failed=False, pause_ms=0)
    for approval_id in pause.approvals:
        row = execute(
            conn,
            "SELECT 1 FROM approvals WHERE id = :id AND tenant_id = :tenant AND status = 'pending'",
            id=approval_id,
            tenant=turn.tenant_id,
        ).first()
        if row is None:
            return
    until_ms = pause.until_ms
    if pause.again_ms is not None:
        until_ms = min(until_ms, now_ms(conn) + pause.again_ms)
    execute(
        conn,
        "UPDATE conversations SET parked_until = :until WHERE id = :cid"
        " AND EXISTS (SELECT 1 FROM turns WHERE id = :turn AND cancel_at IS NULL)",
        until=until_ms,
        cid=turn.conversation_id,
        turn=turn.id,
    )


def _leave(conn: sa.Connection, worker: str) -> None:
    execute(conn, "DELETE FROM workers WHERE id = :me", me=worker)
