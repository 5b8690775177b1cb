"""The outbox: events stored with what they tell of, and sent on later, at least once each.

An event is written in the transaction of its fact, so that neither exists without the other.
The relay (``billing.relay``) takes the unsent ones to the bus. A row is one of: unsent, sent
(``sent_at``), or put aside (``problem``), which an operator has to look at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from billing.events import Event, Kind
from billing.periods import DAY_MS
from storage.database import Database, execute
from storage.rows import integer, text

SENT_KEPT_MS = 35 * DAY_MS
"""Sent events are forgotten after it: a month of them can be looked into."""
PROCESSED_KEPT_MS = 100 * DAY_MS
"""Past the invoice of the period: until then a second delivery is known as one."""
BATCH = 500
"""Rows that one transaction of the housekeeping takes."""
_FAR_MS = 3_600_000
"""No pause is longer: a time further ahead was written before the clock was set back."""


def publish(
    conn: sa.Connection,
    event_id: str,
    tenant_id: str,
    kind: str,
    payload: Mapping[str, object],
    at_ms: int,
) -> None:
    """Store an event in the caller's transaction; the first one of an id counts.

    The id is made from the fact, such as ``usage/CALL``, so that a fact which is stored twice
    is told once. ``tenant_id`` is empty for what concerns the installation alone.
    """
    execute(
        conn,
        "INSERT INTO outbox (id, tenant_id, kind, payload, created_at)"
        " VALUES (:id, :tenant, :kind, :payload, :at) ON CONFLICT (id) DO NOTHING",
        id=event_id,
        tenant=tenant_id,
        kind=kind,
        payload=json.dumps(dict(payload), ensure_ascii=False),
        at=at_ms,
    )


def drained(conn: sa.Connection, before_ms: int, tenant_id: str) -> bool:
    """Whether the aggregates hold every settled call that was made before ``before_ms``.

    Walks the unsent events, of which there are few; the bus of one process says that an event
    is sent when its consumers are done. One that was put aside counts as waiting: an invoice
    must not be made of figures that are known to lack a call.
    """
    row = execute(
        conn,
        "SELECT 1 FROM outbox o WHERE o.sent_at IS NULL AND o.kind = 'usage.recorded'"
        " AND o.tenant_id = :tenant AND EXISTS (SELECT 1 FROM model_calls m"
        " WHERE m.id = SUBSTR(o.id, 7) AND m.created_at < :before) LIMIT 1",
        tenant=tenant_id,
        before=before_ms,
    ).first()
    return row is None


class SqlOutbox:
    """Implements ``billing.relay.Outbox``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def claim(self, at_ms: int, limit: int, lease_ms: int) -> tuple[Event, ...]:
        """See the port: looks before it writes."""
        if not await self._db.read(_waiting, at_ms):
            return ()
        return await self._db.transaction(_claim, at_ms, limit, lease_ms)

    async def sent(self, event_ids: Sequence[str], at_ms: int) -> None:
        """See the port."""
        await self._db.transaction(_sent, event_ids, at_ms)

    async def failed(
        self, event: Event, problem: str, at_ms: int, *, retry_at_ms: int | None
    ) -> None:
        """See the port."""
        await self._db.transaction(_failed, event, problem, at_ms, retry_at_ms)

    async def release(self) -> None:
        """See the port; back-off ends early, which costs one try."""
        await self._db.transaction(_release)

    async def put_aside(self, limit: int = 20) -> tuple[Event, ...]:
        """Events of the whole installation that failed for good, oldest first: for the check."""
        return await self._db.read(_put_aside, limit)

    async def retry(self, event_id: str) -> bool:
        """The operator mended what was wrong: try it again. False: it is not put aside."""
        return await self._db.transaction(_retry, event_id)

    async def purge(self, at_ms: int) -> int:
        """Forget what was sent and processed long ago; returns how many rows went."""
        gone = 0
        for step, kept_ms in ((_purge_sent, SENT_KEPT_MS), (_purge_processed, PROCESSED_KEPT_MS)):
            while True:
                rows = await self._db.transaction(step, at_ms - kept_ms)
                gone += rows
                if rows < BATCH:
                    break
        return gone


_UNSENT = (
    " FROM outbox WHERE sent_at IS NULL AND problem = ''"
    " AND (not_before <= :at OR not_before > :far)"
)
_COLUMNS = "id, tenant_id, kind, payload, created_at, attempts"


def _waiting(conn: sa.Connection, at_ms: int) -> bool:
    row = execute(conn, f"SELECT 1{_UNSENT} LIMIT 1", at=at_ms, far=at_ms + _FAR_MS).first()
    return row is not None


def _claim(conn: sa.Connection, at_ms: int, limit: int, lease_ms: int) -> tuple[Event, ...]:
    rows = execute(
        conn,
        f"SELECT {_COLUMNS}{_UNSENT} ORDER BY seq LIMIT :limit{{lock}}",
        at=at_ms,
        far=at_ms + _FAR_MS,
        limit=limit,
    ).all()
    events = tuple(_event(row) for row in rows)
    for event in events:
        execute(
            conn,
            "UPDATE outbox SET not_before = :until WHERE id = :id",
            until=at_ms + lease_ms,
            id=event.id,
        )
    return events


def _event(row: Sequence[object]) -> Event:
    return Event(
        id=text(row[0]),
        tenant_id=text(row[1]),
        kind=text(row[2]),
        payload=json.loads(text(row[3])),
        created_at_ms=integer(row[4]),
        attempts=integer(row[5]),
    )


def _sent(conn: sa.Connection, event_ids: Sequence[str], at_ms: int) -> None:
    for event_id in sorted(event_ids):  # one order: relays may meet at an expired claim
        execute(
            conn,
            "UPDATE outbox SET sent_at = :at, problem = '' WHERE id = :id AND sent_at IS NULL",
            at=at_ms,
            id=event_id,
        )


def _failed(
    conn: sa.Connection, event: Event, problem: str, at_ms: int, retry_at_ms: int | None
) -> None:
    aside = retry_at_ms is None
    row = execute(
        conn,
        "UPDATE outbox SET attempts = attempts + 1, not_before = :again, problem = :problem"
        " WHERE id = :id AND sent_at IS NULL AND problem = '' RETURNING id",
        id=event.id,
        again=at_ms if retry_at_ms is None else retry_at_ms,
        problem=problem if aside else "",
    ).first()
    # An alarm that cannot be told is in the log; an alarm about it could not be told either.
    if row is not None and aside and event.kind != Kind.BILLING_ALARM:
        publish(
            conn,
            f"alarm/outbox/{event.id}",
            event.tenant_id,
            Kind.BILLING_ALARM,
            {"reason": "event put aside", "event_id": event.id, "kind": event.kind},
            at_ms,
        )


def _release(conn: sa.Connection) -> None:
    execute(
        conn,
        "UPDATE outbox SET not_before = 0"
        " WHERE sent_at IS NULL AND problem = '' AND not_before > 0",
    )


def _put_aside(conn: sa.Connection, limit: int) -> tuple[Event, ...]:
    rows = execute(
        conn,
        f"SELECT {_COLUMNS} FROM outbox WHERE sent_at IS NULL AND problem <> ''"
        " ORDER BY seq LIMIT :limit",
        limit=limit,
    ).all()
    return tuple(_event(row) for row in rows)


def _retry(conn: sa.Connection, event_id: str) -> bool:
    row = execute(
        conn,
        "UPDATE outbox SET problem = '', attempts = 0, not_before = 0"
        " WHERE id = :id AND sent_at IS NULL AND problem <> '' RETURNING id",
        id=event_id,
    ).first()
    return row is not None


def _purge_sent(conn: sa.Connection, before_ms: int) -> int:
    rows = execute(
        conn,
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE sent_at < :before"
        " ORDER BY sent_at LIMIT :limit) RETURNING seq",
        before=before_ms,
        limit=BATCH,
    ).all()
    return len(rows)


def _purge_processed(conn: sa.Connection, before_ms: int) -> int:
    """What may be delivered again stays known, however old."""
    rows = execute(
        conn,
        "DELETE FROM processed_events WHERE (consumer, event_id) IN"
        " (SELECT p.consumer, p.event_id FROM processed_events p WHERE p.at < :before"
        " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = p.event_id AND o.sent_at IS NULL)"
        " ORDER BY p.at LIMIT :limit) RETURNING event_id",
        before=before_ms,
        limit=BATCH,
    ).all()
    return len(rows)
