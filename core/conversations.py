"""Conversations: what a turn remembers, and how a long memory is kept short.

The original turns are never changed. When they no longer fit, the older ones are
summarised once, by the engine that is about to answer, and the summary stands for them in
every later request; the list of messages that people see stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from core.engines.engine import (
    Credentials,
    Engine,
    EngineRequest,
    NativeSession,
    Steering,
    ToolDoor,
)
from core.errors import EngineFailure
from core.events import ModelCallFinished, TextDelta, TextReset
from core.messages import Attachment, clean_text
from core.metering import Settlement
from core.steps import Exchange, ModelStep, SteerStep, Step, ToolCall, ToolStep
from core.tools import ToolResult, ToolSpec
from core.turnmeter import TurnMeter
from core.turns import Turn

HISTORY_CHARS = 300_000
"""About 75,000 tokens: beyond it the older turns are summarised."""
KEEP_CHARS = 60_000
"""What stays verbatim when the rest is summarised: the most recent turns."""
MAX_TURNS = 400
"""Most turns that are read back into one request."""
KEEP_TURNS = 100
"""Most turns that stay verbatim when the rest is summarised."""
SUMMARY_TOKENS = 2_000
FILE_CHARS = 6_000
"""What an earlier file weighs at most, in characters: about the tokens of an image."""

_log = structlog.get_logger()
NO_CREDENTIALS = Credentials()
"""The installation pays."""

_SUMMARISE = (
    "Summarise the conversation so far for yourself, so that you can go on without the "
    "original: the servers and services spoken of, what was found with exact names, figures "
    "and times, what was decided or changed and by whom, and what is still open. Use short "
    "bullet points. Do not invent anything."
)
_LEFT_OUT = "(Earlier messages of this long conversation were left out here.)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTurn:
    """A finished turn of the conversation, with its position."""

    seq: int
    exchange: Exchange
    turn_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the store knows for a turn."""

    summary: str
    past: tuple[PastTurn, ...]
    """Finished turns after the summary, oldest first, at most ``MAX_TURNS``."""
    attachments: tuple[Attachment, ...]
    """This message's files."""
    steps: tuple[Step, ...]
    """Committed by earlier attempts of this turn."""
    session: NativeSession | None = None
    """An engine's own memory that holds exactly ``past``; see ``NativeSession``."""
    compacted: bool = False
    """Older turns were summarised just now."""
    older: bool = False
    """There are turns before ``past`` that neither it nor the summary holds."""


class ConversationStore(Protocol):
    """The memory of conversations."""

    async def remember(self, turn: Turn, *, max_turns: int) -> Memory:
        """Everything a turn starts from."""

    async def save_summary(
        self, turn: Turn, *, upto_seq: int, text: str, settlement: Settlement | None
    ) -> None:
        """Keep a summary of the turns up to and including ``upto_seq``, fenced."""


@dataclass(slots=True)
class Conversations:
    """Gives a turn its memory, compacted to what a model can take."""

    store: ConversationStore
    history_chars: int = HISTORY_CHARS
    keep_chars: int = KEEP_CHARS

    async def recall(self, turn: Turn) -> Memory:
        """The memory as stored."""
        return await self.store.remember(turn, max_turns=MAX_TURNS)

    async def compact(
        self,
        turn: Turn,
        memory: Memory,
        engine: Engine,
        model: str,
        meter: TurnMeter,
        credentials: Credentials = NO_CREDENTIALS,
    ) -> Memory:
        """Summarise the older turns when the memory is too long for the engine."""
        if memory.older:
            memory = replace(memory, summary=f"{memory.summary}\n{_LEFT_OUT}".strip())
        sizes = [_size(past.exchange) for past in memory.past]
        crowded = len(memory.past) >= MAX_TURNS
        if sum(sizes) + len(memory.summary) <= self.history_chars and not crowded:
            return memory
        kept = min(_newest_that_fit(sizes, self.keep_chars), KEEP_TURNS)
        old, recent = (
            memory.past[:-kept] if kept else memory.past,
            memory.past[-kept:] if kept else (),
        )
        text = await self._summarise(turn, memory.summary, old, engine, model, meter, credentials)
        return replace(memory, summary=text, past=recent, session=None, compacted=True)

    async def _summarise(
        self,
        turn: Turn,
        summary: str,
        old: Sequence[PastTurn],
        engine: Engine,
        model: str,
        meter: TurnMeter,
        credentials: Credentials,
    ) -> str:
        request = EngineRequest(
            tenant_id=turn.tenant_id,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            attempt=turn.attempt,
            model=model,
            system="You keep the memory of an operations assistant.",
            summary=summary,
            history=_fitting([past.exchange for past in old], self.history_chars),
            text=_SUMMARISE,
            attachments=(),
            steps=(),
            tools=NoTools(),
            meter=meter,
            steering=NoSteering(),
            max_output_tokens=SUMMARY_TOKENS,
            user_id=turn.user.id,
            credentials=credentials,
            ephemeral=True,
        )
        try:
            text, step = await _answer_of(engine, request)
        except EngineFailure as failure:
            _log.warning("compaction.failed", reason=failure.reason)
            return f"{summary}\n{_LEFT_OUT}".strip()
        if not text:
            return f"{summary}\n{_LEFT_OUT}".strip()
        settlement = None if step is None else meter.finished(step)
        await self.store.save_summary(turn, upto_seq=old[-1].seq, text=text, settlement=settlement)
        return text


class NoTools(ToolDoor):
    """A door without tools, for calls that only write text."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """None."""
        return ()

    def summary(self, call: ToolCall) -> str:
        """The name."""
        return call.name

    def untrusted(self, tool: str) -> bool:  # noqa: ARG002  # the port's signature
        """Nobody can say what an output of another turn holds."""
        return True

    async def call(self, call: ToolCall) -> ToolResult:
        """Refuse."""
        return ToolResult(output=f"{call.name} is not available here.", is_error=True)

    async def unrun(self, call: ToolCall, reason: str) -> ToolResult:  # noqa: ARG002  # the port's signature
        """Nothing is put on record."""
        return ToolResult(output=reason, is_error=True)


class NoSteering(Steering):
    """Nobody joins."""

    async def take(self) -> tuple[str, ...]:
        """Nothing."""
        return ()


async def _answer_of(engine: Engine, request: EngineRequest) -> tuple[str, ModelStep | None]:
    text, step = "", None
    async with aclosing(engine.run(request)) as events:
        async for event in events:
            match event:
                case TextDelta():
                    text += event.text
                case TextReset():
                    text = event.text
                case ModelCallFinished():
                    step = event.step
                case _:
                    pass
    return clean_text(text).strip(), step


def _size(exchange: Exchange) -> int:
    size = len(exchange.user_text) + len(exchange.reply)
    size += sum(min(len(item.data), FILE_CHARS) for item in exchange.attachments)
    for step in exchange.steps:
        match step:
            case ToolStep():
                size += len(step.output)
            case ModelStep() | SteerStep():
                size += len(step.text)
            case _:
                pass
    return size


def _newest_that_fit(sizes: Sequence[int], limit: int) -> int:
    kept, total = 0, 0
    for size in reversed(sizes):
        total += size
        if total > limit:
            break
        kept += 1
    return min(kept, len(sizes) - 1)


def _fitting(exchanges: list[Exchange], limit: int) -> tuple[Exchange, ...]:
    """The newest exchanges that fit, texts only: what a summary is made from."""
    plain = [Exchange(user_text=item.user_text, reply=item.reply) for item in exchanges]
    total = 0
    for index in range(len(plain) - 1, -1, -1):
        total += _size(plain[index])
        if total > limit:
            return tuple(plain[index + 1 :])
    return tuple(plain)
