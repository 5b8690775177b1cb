"""The relay: takes stored events to the bus, at least once each, and never gives one up silently.

It claims unsent events for a while, publishes them outside any transaction, and marks them
sent. A process that dies in between leaves its claims to whoever looks after ``LEASE_MS``; what
was published twice is consumed once. An event that fails ``MAX_TRIES`` times is put aside with
its problem, an alarm is raised, and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from billing.events import Event, EventBus
from core import telemetry
from core.clock import Clock
from core.errors import StorageFailure

LEASE_MS = 30_000
"""How long a claim holds: far longer than a batch takes."""
BATCH = 100
AT_ONCE = 3
"""Events of a batch that are on their way at the same time: their transactions share commits,
and most connections are left to the turns."""
MAX_TRIES = 5
BACK_OFF_MS = (1_000, 5_000, 30_000, 300_000)
"""The pauses between the tries. Faults of the database itself use up no try."""
POLL_S = 0.5
FAULT_PAUSE_S = 1.0

_log = structlog.get_logger()


class Outbox(Protocol):
    """The stored events; one transaction each. Raises ``StorageFailure``."""

    async def claim(self, at_ms: int, limit: int, lease_ms: int) -> tuple[Event, ...]:
        """Take unsent events whose time has come, oldest first; nothing is written for none."""

    async def sent(self, event_ids: Sequence[str], at_ms: int) -> None:
        """They are safe with the bus."""

    async def failed(
        self, event: Event, problem: str, at_ms: int, *, retry_at_ms: int | None
    ) -> None:
        """Try again then; None: put it aside and raise an alarm."""

    async def release(self) -> None:
        """Let every claim go: this process is the only one there is."""


@dataclass(slots=True, kw_only=True)
class Relay:
    """One per process; on PostgreSQL any number of them share the work."""

    outbox: Outbox
    bus: EventBus
    clock: Clock
    exclusive: bool = False
    """No other process has claims: those that are found are of a process that died."""
    lease_ms: int = LEASE_MS
    poll_s: float = POLL_S

    async def run(self) -> None:
        """Relay until cancelled: at once while there is more, else every ``poll_s``."""
        released = not self.exclusive
        while True:
            more = False
            try:
                if not released:
                    await self.outbox.release()
                    released = True
                more = await self.step() > 0
            except StorageFailure as failure:
                telemetry.LOOP_ERRORS.labels("relay").inc()
                _log.warning("relay.storage", code=failure.code)
                await asyncio.sleep(FAULT_PAUSE_S)
            except Exception:  # noqa: BLE001  # a background loop must outlive every bug
                telemetry.LOOP_ERRORS.labels("relay").inc()
                _log.exception("relay.crashed")
                await asyncio.sleep(FAULT_PAUSE_S)
            if not more:
                await asyncio.sleep(self.poll_s)

    async def step(self) -> int:
        """Relay one batch; returns how many events it sent.

        Raises the ``StorageFailure`` that an event met, after the rest of the batch went out.
        """
        events = await self.outbox.claim(self.clock.now_ms(), BATCH, self.lease_ms)
        if not events:
            return 0
        places = asyncio.Semaphore(AT_ONCE)
        done = await asyncio.gather(*(self._carry(event, places) for event in events))
        sent = [event.id for event, fault in zip(events, done, strict=True) if fault is None]
        if sent:
            await self.outbox.sent(sent, self.clock.now_ms())
        faults = [fault for fault in done if isinstance(fault, StorageFailure)]
        if faults:
            raise faults[0]
        return len(sent)

    async def _carry(self, event: Event, places: asyncio.Semaphore) -> Exception | None:
        """Publish one; what went wrong, noted with the event unless the database was away."""
        async with places:
            try:
                await self.bus.publish(event)
            except StorageFailure as failure:
                return failure  # its claim ends by itself
            except Exception as error:  # noqa: BLE001  # whatever it is, the others go on
                return await self._put_off(event, error)
        return None

    async def _put_off(self, event: Event, error: Exception) -> Exception:
        now, tries = self.clock.now_ms(), event.attempts + 1
        again = None if tries >= MAX_TRIES else now + BACK_OFF_MS[tries - 1]
        _log.warning("relay.failed", id=event.id, kind=event.kind, tries=tries, aside=again is None)
        try:
            problem = f"{type(error).__name__}: {error}"
            await self.outbox.failed(event, problem, now, retry_at_ms=again)
        except StorageFailure as failure:
            return failure
        return error
