"""What the tests of events share: settled calls with their event, a relay, a clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import sqlalchemy as sa

from billing.events import Consumer, Event, InProcessBus
from billing.relay import Relay
from core.metering import Usage
from storage.consumers import SqlConsumer, consumers
from storage.database import Database, execute
from storage.outbox import SqlOutbox, publish

START_MS = 1_795_000_000_000
"""18 November 2026, 11:06:40 UTC."""
MONTH_MS = 1_793_491_200_000
"""1 November 2026."""
NEXT_MONTH_MS = 1_796_083_200_000
DAY_MS = 86_400_000
USAGE = Usage(
    input_tokens=3,
    output_tokens=5,
    cache_read_tokens=7,
    cache_write_5m_tokens=11,
    cache_write_1h_tokens=13,
)


@dataclass
class Hands:
    """A clock that stands until it is moved."""

    at: int = START_MS

    def now_ms(self) -> int:
        """Where the hands stand."""
        return self.at


@dataclass(frozen=True, kw_only=True)
class Call:
    """A settled model call, as a test needs it."""

    id: str
    tenant_id: str
    usage: Usage = USAGE
    at_ms: int = START_MS
    model: str = "claude-sonnet-5-5"
    state: str = "settled"
    own_key: bool = False
    cost_pico: int | None = 1_000


def settled(conn: sa.Connection, call: Call, *, event: bool = True) -> None:
    """Store the call as settled, with its event beside it."""
    usage = call.usage
    execute(
        conn,
        "INSERT INTO model_calls (id, tenant_id, conversation_id, turn_id, user_id, engine, model,"
        " state, estimated_input, max_output, input_tokens, output_tokens, cache_read_tokens,"
        " cache_write_5m_tokens, cache_write_1h_tokens, created_at, settled_at, cost_pico,"
        " own_key, period_start) VALUES (:id, :tenant, 'c', 't', 'u', 'e', :model, :state, 1, 1,"
        " :input, :output, :read, :w5, :w1, :at, :at, :pico, :own, :period)",
        id=call.id,
        tenant=call.tenant_id,
        model=call.model,
        state=call.state,
        input=usage.input_tokens,
        output=usage.output_tokens,
        read=usage.cache_read_tokens,
        w5=usage.cache_write_5m_tokens,
        w1=usage.cache_write_1h_tokens,
        at=call.at_ms,
        pico=call.cost_pico,
        own=int(call.own_key),
        period=MONTH_MS if call.at_ms < NEXT_MONTH_MS else NEXT_MONTH_MS,
    )
    if event:
        told(conn, call)


def told(conn: sa.Connection, call: Call) -> None:
    """Store the event of a call."""
    payload = {"call_id": call.id}
    publish(conn, f"usage/{call.id}", call.tenant_id, "usage.recorded", payload, call.at_ms)


@dataclass
class Heard:
    """A consumer that writes down what it was told, and fails as often as it is told to."""

    db: Database
    clock: Hands
    name: str = "heard"
    kinds: frozenset[str] = frozenset({"usage.recorded", "billing.alarm"})
    failures: dict[str, int] = field(default_factory=dict)
    """By event id: how many more times it fails."""
    events: list[str] = field(default_factory=list)
    any: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception = field(default_factory=lambda: ValueError("a bug"))

    async def consume(self, event: Event) -> None:
        """See the port."""
        inner = SqlConsumer(self.db, self.clock, self.name, self.kinds, self._effect)
        await inner.consume(event)
        self.events.append(event.id)
        self.any.set()

    def _effect(self, _conn: sa.Connection, event: Event, _at_ms: int) -> None:
        if self.failures.get(event.id, 0):
            self.failures[event.id] -= 1
            raise self.fault


def relay(db: Database, clock: Hands, *more: Consumer) -> Relay:
    """A relay to all consumers of the product, and some more."""
    bus = InProcessBus([*consumers(db, clock), *more])
    return Relay(outbox=SqlOutbox(db), bus=bus, clock=clock)


async def relayed(db: Database, clock: Hands, *more: Consumer) -> int:
    """Relay until nothing is left; how many events were sent."""
    one, total = relay(db, clock, *more), 0
    while sent := await one.step():
        total += sent
    return total
