"""A scripted engine: a real implementation of the port, driven by a list of moves.

It honours what every engine must honour: the meter before each model call, committed steps
on a re-run, the tool door, steering, text exactly once, closing at any time. Only what it
says comes from the script::

    engine = ScriptedEngine([
        Say("Looking.", tools=(ToolCall(id="t1", name="disk_usage"),)),
        Say("All fine."),
    ])

A ``Say`` is one model call, and one without tools is the last; on a re-run the first N of them (and the moves before them) are
skipped when N model steps are already committed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from core.engines.claude_endings import ending_of
from core.engines.engine import EngineRequest
from core.engines.replies import joined_text, separator_after
from core.engines.toolcalls import run_tools, unanswered
from core.errors import EngineFailure
from core.events import (
    Completed,
    EngineSession,
    ModelCallFinished,
    Notice,
    TextDelta,
    TextReset,
    ThinkingDelta,
    TurnEvent,
    refused,
)
from core.metering import QuotaRefusal, Usage
from core.steps import ModelStep, SteerStep, Step, ToolCall

_PIECE = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Say:
    """One model call: its text word by word, then the tools it asks for."""

    text: str = ""
    tools: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(input_tokens=100, output_tokens=20))
    thinking: str = ""
    stop_reason: str = "end_turn"
    pause_s: float = 0.0
    """Before each word."""
    fail_after: int | None = None
    """Words after which the call breaks for good, in every attempt."""
    restart_after: int | None = None
    """Words after which the call breaks once and starts again with a ``TextReset``."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Until:
    """Wait for the test."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Signal:
    """Tell the test that the script came this far."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Tell:
    """Yield any event as it is, such as a ``Notice``."""

    event: Notice | EngineSession


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise ``EngineFailure`` in the first ``attempts`` attempts of a turn."""

    sentence: str = "The scripted provider is down. Try again."
    reason: str = "scripted"
    attempts: int = 1_000


@dataclass(frozen=True, slots=True)
class Crash:
    """Raise an error nobody expects in the first ``attempts`` attempts of a turn."""

    message: str = "a bug"
    attempts: int = 1_000


Move = Say | Pause | Until | Signal | Tell | Fail | Crash
Script = Sequence[Move] | Callable[[EngineRequest], Sequence[Move]]


class ScriptedEngine:
    """Plays a script for each turn; ``requests`` are the turns it was given."""

    def __init__(self, script: Script, *, name: str = "scripted", has_model: bool = True) -> None:
        """``script`` is the moves of every turn, or makes them from the request."""
        self._script = script
        self.name = name
        self.has_model = has_model
        self.requests: list[EngineRequest] = []
        self.closed_early = 0
        """Runs that were closed or cancelled before their end."""

    async def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """Answer the turn."""
        self.requests.append(request)
        try:
            async with aclosing(self._play(request)) as events:
                async for event in events:
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            self.closed_early += 1
            raise

    async def _play(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        steps = list(request.steps)
        async with aclosing(self._settle(request, steps)) as events:
            async for event in events:
                yield event
        ending = ending_of(steps)
        for move in self._moves(request, steps) if ending is None else ():
            match move:
                case Say():
                    told = aclosing(self._call(move, request, steps))
                case Tell():
                    yield move.event
                    continue
                case _:
                    await _perform(move, request)
                    continue
            async with told as events:
                async for event in events:
                    if isinstance(event, Completed):
                        ending = event
                        break
                    yield event
            if ending is not None:
                break
        yield ending or ending_of(steps) or Completed()

    async def _call(
        self, move: Say, request: EngineRequest, steps: list[Step]
    ) -> AsyncGenerator[TurnEvent, None]:
        """One model call and the tools it asked for; ``Completed`` when it was refused."""
        async with aclosing(self._say(move, request, steps)) as events:
            async for event in events:
                yield event
        async with aclosing(self._settle(request, steps)) as events:
            async for event in events:
                yield event

    def _moves(self, request: EngineRequest, steps: Sequence[Step]) -> Sequence[Move]:
        """What is left to play after the committed model calls."""
        moves = self._script(request) if callable(self._script) else self._script
        done = sum(isinstance(step, ModelStep) for step in steps)
        says = [index for index, move in enumerate(moves) if isinstance(move, Say)]
        return moves if not done else moves[says[min(done, len(says)) - 1] + 1 :]

    async def _settle(
        self, request: EngineRequest, steps: list[Step]
    ) -> AsyncGenerator[TurnEvent, None]:
        calls = unanswered(steps)
        async with aclosing(run_tools(request.tools, calls, steps)) as events:
            async for event in events:
                yield event
        if steps and ending_of(steps) is None:
            steps += [SteerStep(text=text) for text in await request.steering.take()]

    async def _say(
        self, move: Say, request: EngineRequest, steps: list[Step]
    ) -> AsyncGenerator[TurnEvent, None]:
        restart = move.restart_after
        while True:
            granted = await request.meter.reserve(
                engine=self.name,
                model=request.model,
                estimated_input=len(request.text) // 3 + 50,
                max_output=request.max_output_tokens,
            )
            if isinstance(granted, QuotaRefusal):
                yield refused(granted)
                return
            start = Usage(input_tokens=move.usage.input_tokens, output_tokens=1)
            request.meter.saw(granted.call_id, start)
            if move.thinking:
                yield ThinkingDelta(text=move.thinking)
            separator = separator_after(steps)
            for index, word in enumerate(_PIECE.findall(move.text)):
                if index == move.fail_after:
                    raise EngineFailure(Fail().sentence, reason="scripted")
                if index == restart:
                    break
                await asyncio.sleep(move.pause_s)
                yield TextDelta(text=separator + word)
                separator = ""
            else:
                request.meter.saw(granted.call_id, move.usage)
                step = self._step(move, request, granted.call_id)
                steps.append(step)
                yield ModelCallFinished(step=step)
                return
            restart = None
            yield TextReset(text=joined_text(steps), reason="The script starts again.")

    def _step(self, move: Say, request: EngineRequest, call_id: str) -> ModelStep:
        return ModelStep(
            call_id=call_id,
            engine=self.name,
            model=request.model,
            text=move.text,
            tool_calls=move.tools,
            stop_reason="tool_use" if move.tools else move.stop_reason,
            usage=move.usage,
        )


async def _perform(move: Pause | Until | Signal | Fail | Crash, request: EngineRequest) -> None:
    match move:
        case Pause():
            await asyncio.sleep(move.seconds)
        case Until():
            await move.event.wait()
        case Signal():
            move.event.set()
        case Fail():
            if request.attempt <= move.attempts:
                raise EngineFailure(move.sentence, reason=move.reason)
        case Crash():
            if request.attempt <= move.attempts:
                raise RuntimeError(move.message)
