"""The consumers of events: each makes its effect and notes the event in one transaction."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
import structlog

from billing.events import Consumer, Event, Kind
from core import telemetry
from core.clock import Clock
from storage import notices, usage
from storage.database import Database, execute

Effect = Callable[[sa.Connection, Event, int], None]
"""What an event leads to; gets the time in epoch milliseconds."""

_log = structlog.get_logger()


class SqlConsumer:
    """Implements ``billing.events.Consumer``: an effect, once an event, however often it comes."""

    def __init__(
        self, db: Database, clock: Clock, name: str, kinds: frozenset[str], effect: Effect
    ) -> None:
        """``name`` is stored with each event: it never changes."""
        self._db = db
        self._clock = clock
        self._name = name
        self._kinds = kinds
        self._effect = effect

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    @property
    def kinds(self) -> frozenset[str]:
        """See the port."""
        return self._kinds

    async def consume(self, event: Event) -> None:
        """See the port."""
        await self._db.transaction(consume_once, self._name, self._effect, event, self._at_ms())

    def _at_ms(self) -> int:
        return self._clock.now_ms()


def consume_once(conn: sa.Connection, name: str, effect: Effect, event: Event, at_ms: int) -> None:
    """Make the effect, unless this consumer made it before: both rows, or neither."""
    row = execute(
        conn,
        "INSERT INTO processed_events (consumer, event_id, tenant_id, at)"
        " VALUES (:consumer, :event, :tenant, :at)"
        " ON CONFLICT (consumer, event_id) DO NOTHING RETURNING event_id",
        consumer=name,
        event=event.id,
        tenant=event.tenant_id,
        at=at_ms,
    ).first()
    if row is not None:
        effect(conn, event, at_ms)


def raise_alarm(conn: sa.Connection, event: Event, at_ms: int) -> None:  # noqa: ARG001  # an Effect
    """Log it as an error and count it, before the commit: rather twice than never."""
    telemetry.ALARMS.labels(event.kind).inc()
    _log.error(
        "alarm", id=event.id, kind=event.kind, tenant=event.tenant_id, detail=dict(event.payload)
    )


ALARMING = frozenset({Kind.BILLING_ALARM, Kind.QUOTA_ALARM})


def consumers(db: Database, clock: Clock) -> tuple[Consumer, ...]:
    """All that there are."""
    return (
        SqlConsumer(db, clock, "usage", frozenset({Kind.USAGE_RECORDED}), usage.record),
        SqlConsumer(db, clock, "notices", notices.KINDS, notices.tell),
        SqlConsumer(db, clock, "alarms", ALARMING, raise_alarm),
    )
