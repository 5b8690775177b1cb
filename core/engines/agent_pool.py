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
LEAVING_S = 5.0


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
    wait_s: float = 5.0
    """How long a turn waits for a free process when all are at work."""


@dataclass(slots=True, kw_only=True)
class _Idle(Generic[P]):
    process: P
    fingerprint: str
    mark: str
    since: float


@dataclass(slots=True)
class AgentPool(Generic[P]):
    """The processes of the engines that share it; all calls come from one event loop.

    A process occupies a place from ``room`` or ``reuse`` on until it has really ended: one
    that does not listen counts for as long as it lives.
    """

    limits: PoolLimits
    engine: str
    clock: Callable[[], float] = time.monotonic
    _idle: dict[str, _Idle[P]] = field(default_factory=dict)
    """By conversation, the one that waits longest first."""
    _busy: int = 0
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    _leaving: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The newest of these, by conversation."""
    _waiting: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, whenever a place may have become free."""
    _reaper: asyncio.Task[None] | None = None
    _closed: bool = False

    async def reuse(self, conversation_id: str, fingerprint: str, mark: str) -> P | None:
        """The conversation's own process, if it holds exactly its turns up to ``mark``.

        One that holds anything else (another person, prompt or model; a turn that another
        engine or another attempt answered) is ended. What is returned occupies its place
        until ``keep`` or ``drop``.
        """
        idle = self._idle.pop(conversation_id, None)
        if idle is None:
            return None
        if idle.process.alive and (idle.fingerprint, idle.mark) == (fingerprint, mark):
            self._busy += 1
            self._count()
            return idle.process
        self._end(idle.process, conversation_id)
        return None

    async def room(self) -> None:
        """Occupy a place for a new process, ending the one that waits longest if need be.

        Raises ``EngineFailure`` when all are at work for too long, or the pool is closed.
        """
        if self._reaper is None:
            self._reaper = asyncio.create_task(self._reap())
        self._waiting += 1
        try:
            async with asyncio.timeout(self.limits.wait_s):
                while not self._closed and self.live >= self.limits.most:
                    changed = self._changed
                    if self._idle and len(self._closing) < self._waiting:
                        self._evict(next(iter(self._idle)))
                    await changed.wait()
        except TimeoutError:
            raise BUSY.failure() from None
        finally:
            self._waiting -= 1
        if self._closed:
            raise BUSY.failure()
        self._busy += 1
        self._count()

    async def keep(self, conversation_id: str, process: P, *, fingerprint: str, mark: str) -> None:
        """Let it wait for the conversation's next message."""
        if self._closed or not process.alive or conversation_id in self._idle:
            await self.drop(process, conversation_id)
            return
        self._busy -= 1
        self._idle[conversation_id] = _Idle(
            process=process, fingerprint=fingerprint, mark=mark, since=self.clock()
        )
        self._wake()

    async def drop(self, process: P | None, conversation_id: str = "") -> None:
        """End it, if it was started; its place is free when it has ended. Does not wait."""
        self._busy -= 1
        if process is not None:
            self._end(process, conversation_id)
        self._wake()

    async def left(self, conversation_id: str) -> None:
        """Wait a little until the conversation's process before has ended.

        It may still write to the session that the next one is to take up.
        """
        if (task := self._leaving.get(conversation_id)) is not None:
            await asyncio.wait({task}, timeout=LEAVING_S)

    async def forget(self, conversation_id: str) -> None:
        """End the process that waits for this conversation: it was deleted. Does not wait."""
        self._evict(conversation_id)

    async def aclose(self) -> None:
        """End every process that waits, and every one that is given back later."""
        self._closed = True
        self._wake()
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
        for conversation_id in list(self._idle):
            self._evict(conversation_id)
        await self.ended()

    async def ended(self) -> None:
        """Wait until every process that is to end has ended."""
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def live(self) -> int:
        """Processes that occupy a place."""
        return self._busy + len(self._idle) + len(self._closing)

    def _evict(self, conversation_id: str) -> None:
        idle = self._idle.pop(conversation_id, None)
        if idle is not None:
            self._end(idle.process, conversation_id)

    def _end(self, process: P, conversation_id: str) -> None:
        """Close it in a task of its own: whoever gave it back may be cancelled meanwhile."""
        task = asyncio.create_task(process.close(), name=conversation_id)
        self._closing.add(task)
        self._leaving[conversation_id] = task
        task.add_done_callback(self._gone)
        self._count()

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if self._leaving.get(task.get_name()) is task:
            del self._leaving[task.get_name()]
        if not task.cancelled() and task.exception() is not None:
            _log.warning("agent.close_failed", exc_info=task.exception())
        self._wake()

    def _wake(self) -> None:
        self._count()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _reap(self) -> None:
        """End what waited too long, and notice what died."""
        while True:
            await asyncio.sleep(min(REAP_S, self.limits.idle_s))
            now = self.clock()
            for conversation_id, idle in list(self._idle.items()):
                if now - idle.since >= self.limits.idle_s or not idle.process.alive:
                    self._evict(conversation_id)

    def _count(self) -> None:
        telemetry.AGENT_PROCESSES.labels(self.engine, "busy").set(self._busy)
        telemetry.AGENT_PROCESSES.labels(self.engine, "idle").set(len(self._idle))
        telemetry.AGENT_PROCESSES.labels(self.engine, "ending").set(len(self._closing))
