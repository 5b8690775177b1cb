"""Waiting for an engine's next event, but not for ever when the provider gives no sign.

A provider in trouble and a model that thinks look alike from outside: nothing comes. They
differ in one thing, the provider's first word. It tells the usage at the very beginning of an
answer (``CallMeter.saw``), long before the first text. From then on an engine may think as
long as it likes; until then, and again after it announced a retry, its time is limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from core.errors import EngineFailure
from core.events import EngineSession, Notice, TextReset, TurnEvent
from core.metering import CallMeter, Grant, QuotaRefusal, Usage
from core.words import Sentence

_QUICK_TOKENS = 40_000
_TOKENS_A_SECOND = 20_000
"""A long prompt takes the provider time to read before its first word: slowly, this many
tokens a second beyond the quick ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a provider that gives no sign is waited for, in seconds."""

    engine_s: float = 5.5
    """One engine, from its call to the provider's first word."""
    turn_s: float = 7.5
    """All engines together: less than the 10 s after which a person expects an answer."""
    share_s: float = 2.5
    """What each later engine is left of it."""
    start_s: float = 25
    """Until an engine asks the provider at all: ten processes that start at once on a small
    machine take as long, and say nothing about the provider."""


class NoSign(Exception):
    """The provider gave no sign in time; never leaves ``failover``."""


class Silence:
    """Since when a turn has had no sign of the provider: one for all of its engines."""

    def __init__(self, patience: Patience, began: float | None = None) -> None:
        """``began`` takes up a silence that began before, by the loop's clock."""
        self.patience = patience
        self.began = began


class Watch:
    """One engine's run: by when the next sign of the provider must come."""

    def __init__(self, silence: Silence, *, later: int, limited: bool) -> None:
        """``later`` engines share the turn's patience; not ``limited``, it waits for ever."""
        self._silence = silence
        self._held_back = later * silence.patience.share_s
        self._limited = limited
        self._asked = False
        self._extra_s = 0.0
        self._deadline: float | None = None
        self._scope: asyncio.Timeout | None = None
        self.problem: Sentence | None = None
        """What the engine itself said to be wrong, if it announced a retry."""
        if silence.began is None and limited:
            self._deadline = _now() + silence.patience.start_s
        else:
            self.trouble()

    @property
    def overdue(self) -> bool:
        """Whether no time is left."""
        return self._deadline is not None and self._deadline <= _now()

    def asked(self, tokens: int) -> None:
        """A call is about to be made: the time before it was the engine's own start."""
        if self._asked:
            return
        self._asked = True
        self._extra_s = max(0, tokens - _QUICK_TOKENS) / _TOKENS_A_SECOND
        self._set()

    def trouble(self) -> None:
        """The engine says that a call failed, and tries again."""
        if self._deadline is None or self._silence.began is None:
            self._set()

    def alive(self) -> None:
        """A sign of the provider."""
        self._silence.began = None
        self._asked = False
        self.problem = None
        self._reschedule(None)

    def noticed(self, event: TurnEvent) -> None:
        """Read the signs in what the engine said."""
        match event:
            case Notice(text=said) | TextReset(reason=said):
                self.trouble()
                problem = said.values.get("problem") if isinstance(said, Sentence) else None
                self.problem = problem if isinstance(problem, Sentence) else self.problem
            case EngineSession():
                self._started()
            case _:
                self.alive()

    async def first(self, events: asyncio.Queue[TurnEvent | None]) -> TurnEvent | None:
        """The next of the events. Raises ``NoSign`` when the provider is given up."""
        try:
            async with asyncio.timeout_at(self._deadline) as scope:
                self._scope = scope
                try:
                    return await events.get()
                finally:
                    self._scope = None
        except TimeoutError:
            if events.empty():
                if self._silence.began is None:  # it did not even start in time
                    self._silence.began = _now() - self._silence.patience.start_s
                raise NoSign from None
            return events.get_nowait()  # it came with the last tick

    def _started(self) -> None:
        """Its process is up: only now can it ask the provider."""
        if self._deadline is not None:
            self._set()

    def _set(self) -> None:
        if not self._limited:
            return
        now, silence = _now(), self._silence
        if silence.began is None:
            silence.began = now
        patience = silence.patience
        latest = silence.began + patience.turn_s - self._held_back
        self._reschedule(min(now + patience.engine_s, latest) + self._extra_s)

    def _reschedule(self, when: float | None) -> None:
        self._deadline = when
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(when)


@dataclass(frozen=True, slots=True)
class WatchedMeter:
    """The turn's meter, as an engine under watch sees it."""

    meter: CallMeter
    watch: Watch

    async def reserve(
        self, *, engine: str, model: str, estimated_input: int, max_output: int
    ) -> Grant | QuotaRefusal:
        """Admit the next model call; a refusal is an answer, if not the provider's."""
        granted = await self.meter.reserve(
            engine=engine, model=model, estimated_input=estimated_input, max_output=max_output
        )
        if isinstance(granted, Grant):
            self.watch.asked(estimated_input)
        else:
            self.watch.alive()
        return granted

    def saw(self, call_id: str, usage: Usage) -> None:
        """Pass it on. Figures come from the provider; zeros say that a call never reached it."""
        self.meter.saw(call_id, usage)
        if usage.total:
            self.watch.alive()


class Running:
    """An engine's run in a task of its own, one event at a time.

    The generator begins, goes on and is closed in that task, so that waiting for it can end
    without cancelling it, and whatever it holds open is closed where it was opened.
    """

    def __init__(self, events: AsyncGenerator[TurnEvent, None]) -> None:
        """``events`` are an engine's; nothing runs before the ``async with``."""
        self._events = events
        self._ready: asyncio.Queue[TurnEvent | None] = asyncio.Queue()
        self._wanted = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Start the task."""
        self._task = asyncio.create_task(self._pump())
        self._task.add_done_callback(lambda _: self._ready.put_nowait(None))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the task and wait for it. Raises what went wrong while it ended."""
        ended = self._task.done()
        self._task.cancel()
        await asyncio.wait({self._task})  # a change that a tool has begun ends first
        if self._task.cancelled():
            return
        failed = self._task.exception()
        if failed is not None and not ended and not isinstance(failed, EngineFailure):
            raise failed

    async def next(self, watch: Watch) -> TurnEvent | None:
        """The next event, None after the last; raises ``NoSign``, and what the engine raises."""
        self._wanted.set()
        event = await watch.first(self._ready)
        if event is None:
            await self._task
        else:
            watch.noticed(event)
        return event

    async def _pump(self) -> None:
        """Ask for an event only when it is wanted: its consumer commits the one before first."""
        async with aclosing(self._events) as events:
            await self._take_turns()
            async for event in events:
                self._ready.put_nowait(event)
                await self._take_turns()

    async def _take_turns(self) -> None:
        await self._wanted.wait()
        self._wanted.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()
