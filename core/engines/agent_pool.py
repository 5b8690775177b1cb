"""Live Claude Code processes, kept between the turns of their conversations.

A process costs about a CPU-second and one to three seconds to start and holds some 200 MB;
one that is kept answers at once. So a process serves one conversation, waits for its next
message for a while, and makes room for another one when the cap is reached.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import structlog

from core import telemetry
from core.engines.claude_faults import BUSY

_log = structlog.get_logger()
REAP_S = 5.0


class Pooled(Protocol):
    """A process."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""

    async def close(self) -> None:
        """End it, at once. Never raises."""


P = TypeVar("P", bound=Pooled)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How many processes there may be, and how long an idle one waits."""

    most: int = 8
    """Processes at once, idle ones included; each holds about 200 MB."""
    idle_s: float = 300.0
    wait_s: float = 20.0
    """How long a turn waits for a free process when all are at work."""


@dataclass(slots=True, kw_only=True)
class _Idle(Generic[P]):
    process: P
    fingerprint: str
    turn_id: str
    since: float


@dataclass(slots=True)
class AgentPool(Generic[P]):
    """The processes of one engine; all calls come from one event loop."""

    limits: PoolLimits
    engine: str
    clock: Callable[[], float] = time.monotonic
    _idle: dict[str, _Idle[P]] = field(default_factory=dict)
    """By conversation, the one that waits longest first."""
    _busy: int = 0
    _freed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _reaper: asyncio.Task[None] | None = None
    _closed: bool = False

    async def reuse(self, conversation_id: str, fingerprint: str, turn_id: str) -> P | None:
        """The conversation's own process, if it holds exactly its turns up to ``turn_id``.

        One that holds anything else (another person, prompt or model; a turn that another
        engine answered) is ended. What is returned occupies a place until ``keep`` or ``drop``.
        """
        idle = self._idle.pop(conversation_id, None)
        if idle is None:
            return None
        self._busy += 1
        if idle.process.alive and (idle.fingerprint, idle.turn_id) == (fingerprint, turn_id):
            self._count()
            return idle.process
        await self.drop(idle.process)
        return None

    async def room(self) -> None:
        """Occupy a place for a new process, ending the one that waits longest if need be.

        Raises ``EngineFailure`` when all are at work for too long, or the pool is closed.
        """
        if self._reaper is None:
            self._reaper = asyncio.create_task(self._reap())
        try:
            async with asyncio.timeout(self.limits.wait_s), self._freed:
                while self._closed or self._busy + len(self._idle) >= self.limits.most:
                    if self._closed:
                        raise BUSY.failure()
                    if self._idle:
                        await self._evict(next(iter(self._idle)))
                    else:
                        await self._freed.wait()
                self._busy += 1
        except TimeoutError:
            raise BUSY.failure() from None
        self._count()

    async def keep(
        self, conversation_id: str, process: P, *, fingerprint: str, turn_id: str
    ) -> None:
        """Let it wait for the conversation's next message."""
        if self._closed or not process.alive or conversation_id in self._idle:
            await self.drop(process)
            return
        self._idle[conversation_id] = _Idle(
            process=process, fingerprint=fingerprint, turn_id=turn_id, since=self.clock()
        )
        await self._free()

    async def drop(self, process: P | None) -> None:
        """End it, if it was started, and free its place."""
        try:
            if process is not None:
                await process.close()
        finally:
            await self._free()

    async def forget(self, conversation_id: str) -> None:
        """End the process that waits for this conversation: it was deleted."""
        await self._evict(conversation_id)

    async def aclose(self) -> None:
        """End every process that waits, and every one that is given back later."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
        for conversation_id in list(self._idle):
            await self._evict(conversation_id)

    @property
    def live(self) -> int:
        """Processes that occupy a place."""
        return self._busy + len(self._idle)

    async def _free(self) -> None:
        self._busy -= 1
        self._count()
        async with self._freed:
            self._freed.notify()

    async def _evict(self, conversation_id: str) -> None:
        idle = self._idle.pop(conversation_id, None)
        if idle is not None:
            await idle.process.close()
        self._count()

    async def _reap(self) -> None:
        """End what waited too long, and notice what died."""
        while True:
            await asyncio.sleep(min(REAP_S, self.limits.idle_s))
            now = self.clock()
            for conversation_id, idle in list(self._idle.items()):
                over = now - idle.since >= self.limits.idle_s
                if (over or not idle.process.alive) and conversation_id in self._idle:
                    await self._evict(conversation_id)

    def _count(self) -> None:
        telemetry.AGENT_PROCESSES.labels(self.engine, "busy").set(self._busy)
        telemetry.AGENT_PROCESSES.labels(self.engine, "idle").set(len(self._idle))
