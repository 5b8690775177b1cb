"""The relay's loop: it outlives faults of the database and mistakes of its own, and sleeps idle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from billing import relay as module
from billing.events import Event
from billing.relay import Relay
from core.clock import SystemClock
from core.errors import StorageUnreachable


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    """What is logged; faults are not waited for."""
    log = structlog.wrap_logger(structlog.PrintLogger(), wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(module, "_log", log)  # no level that another test chose
    monkeypatch.setattr(module, "FAULT_PAUSE_S", 0)
    with capture_logs() as lines:
        yield lines


@dataclass
class Memory:
    """An outbox in memory whose claims may raise first."""

    faults: list[Exception] = field(default_factory=list)
    unsent: list[Event] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    released: int = 0

    async def claim(self, at_ms: int, limit: int, lease_ms: int) -> tuple[Event, ...]:
        """See the port."""
        assert at_ms > lease_ms > 0
        if self.faults:
            raise self.faults.pop()
        taken, self.unsent = self.unsent[:limit], self.unsent[limit:]
        if not taken:
            self.empty.set()
        return tuple(taken)

    async def sent(self, event_ids: Sequence[str], at_ms: int) -> None:
        """See the port."""
        assert at_ms > 0
        self.done += event_ids

    async def failed(
        self, event: Event, problem: str, at_ms: int, *, retry_at_ms: int | None
    ) -> None:
        """See the port: here the database is away."""
        raise StorageUnreachable(f"{event.id} {problem} {at_ms} {retry_at_ms}")

    async def release(self) -> None:
        """See the port."""
        self.released += 1


@dataclass
class Carried:
    """A bus that takes everything but what it is told to refuse."""

    refused: frozenset[str] = frozenset()
    at_once: int = 0
    most: int = 0

    async def publish(self, event: Event) -> None:
        """See the port."""
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if event.id in self.refused:
            raise ValueError(event.id)


def events(number: int) -> list[Event]:
    """That many."""
    return [
        Event(id=f"e/{n}", tenant_id="t", kind="k", payload={}, created_at_ms=0)
        for n in range(number)
    ]


async def run_until_empty(outbox: Memory, bus: Carried, *, exclusive: bool = False) -> None:
    """Run the loop until it found nothing more."""
    relay = Relay(outbox=outbox, bus=bus, clock=SystemClock(), exclusive=exclusive, poll_s=0)
    task = asyncio.create_task(relay.run())
    async with asyncio.timeout(20):
        await outbox.empty.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_loop_outlives_faults(logs: list[EventDict]) -> None:
    """A database that is away and a bug are logged and counted; the events go out after."""
    outbox = Memory(faults=[StorageUnreachable("away"), RuntimeError("a bug")], unsent=events(250))
    await run_until_empty(outbox, Carried())
    assert sorted(outbox.done) == sorted(event.id for event in events(250))
    assert [line["event"] for line in logs] == ["relay.crashed", "relay.storage"]


async def test_only_so_many_are_on_their_way_at_once() -> None:
    """A batch does not take every connection of the database."""
    bus = Carried()
    await run_until_empty(Memory(unsent=events(50)), bus)
    assert bus.most == module.AT_ONCE


async def test_a_failure_that_cannot_be_noted_keeps_nobody_waiting() -> None:
    """The rest of the batch is marked as sent; the failed one's claim ends by itself."""
    outbox = Memory(unsent=events(3))
    relay = Relay(outbox=outbox, bus=Carried(frozenset({"e/1"})), clock=SystemClock())
    with pytest.raises(StorageUnreachable):
        await relay.step()
    assert outbox.done == ["e/0", "e/2"]


@pytest.mark.parametrize("exclusive", [True, False])
async def test_claims_of_the_dead_are_released_by_an_only_process(*, exclusive: bool) -> None:
    """Once, when it begins; where there are others their claims are respected."""
    outbox = Memory(unsent=events(1))
    await run_until_empty(outbox, Carried(), exclusive=exclusive)
    assert outbox.released == int(exclusive)
