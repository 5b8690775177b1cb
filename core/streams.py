"""Live streams of turns: events get numbers, listeners get them at once, the log keeps them.

An event's id is (attempt, number). Numbers start at 1 in each attempt, so a listener that
comes back after a crash with the id of a lost, never committed event is recognised: its
attempt is over, and the new attempt begins with a ``TextReset``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from core.events import (
    ApprovalAsked,
    ApprovalSettled,
    Completed,
    EngineChanged,
    EngineSession,
    ModelCallFinished,
    Notice,
    Progress,
    TextDelta,
    TextReset,
    ThinkingDelta,
    ToolFinished,
    ToolStarted,
    TurnEvent,
)
from core.metering import QuotaRefusal
from core.steps import dump_usage
from core.words import Words

POLL_S = 0.2
"""How often a stream looks into the log for a turn that runs in another process."""


@dataclass(frozen=True, slots=True)
class EventId:
    """A position in a turn's stream."""

    attempt: int
    number: int

    def __str__(self) -> str:
        """``attempt-number``, as in ``Last-Event-ID``."""
        return f"{self.attempt}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """Read ``attempt-number``; None when it is neither."""
        attempt, _, number = text.partition("-")
        if attempt.isascii() and attempt.isdigit() and number.isascii() and number.isdigit():
            return cls(int(attempt[:9]), int(number[:9]))
        return None


START = EventId(0, 0)
REFUSED_EVENT = "refused"
"""Told last before ``completed`` where the meter refused: why, and when to ask again."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event as listeners and the log see it: a name and a JSON object as text."""

    id: EventId
    name: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """What the log knows of a turn's stream."""

    attempt: int
    events: tuple[StreamEvent, ...]
    """Committed events of the current attempt after the asked position."""
    final: StreamEvent | None
    """The ``completed`` event, when the turn has ended."""


class StreamLog(Protocol):
    """Committed events."""

    async def read_stream(self, tenant_id: str, turn_id: str, after: EventId) -> StreamState:
        """Events after a position; raises ``NotFound`` for another tenant's turn."""

    async def check_reader(self, tenant_id: str, user_id: str, turn_id: str) -> None:
        """Raise ``NotFound`` unless the turn, or its conversation, is the user's own."""


@dataclass(slots=True, eq=False)
class LiveTurn:
    """The events of a turn's current attempt while it runs in this process."""

    tenant_id: str
    turn_id: str
    attempt: int
    events: list[StreamEvent] = field(default_factory=list)
    saved: int = 0
    closed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, name: str, data: str) -> None:
        """Number an event and wake the listeners."""
        number = len(self.events) + 1
        self.events.append(StreamEvent(EventId(self.attempt, number), name, data))
        self.wake()

    def wake(self) -> None:
        """Wake the listeners; each waits on the event object of its moment."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def unsaved(self) -> tuple[StreamEvent, ...]:
        """Events that the log does not have yet."""
        return tuple(self.events[self.saved :])


class Streams:
    """The running turns of this process, and the log for all others."""

    def __init__(self, log: StreamLog) -> None:
        """Wire the log."""
        self._log = log
        self._live: dict[str, LiveTurn] = {}

    def open(self, tenant_id: str, turn_id: str, attempt: int) -> LiveTurn:
        """Begin an attempt's stream; the caller closes it."""
        live = self._live[turn_id] = LiveTurn(tenant_id, turn_id, attempt)
        return live

    def close(self, live: LiveTurn) -> None:
        """End an attempt's stream; listeners go on from the log."""
        live.closed = True
        if self._live.get(live.turn_id) is live:
            del self._live[live.turn_id]
        live.wake()

    async def check(self, tenant_id: str, user_id: str, turn_id: str) -> None:
        """Raise ``NotFound`` unless the user may listen to the turn."""
        await self._log.check_reader(tenant_id, user_id, turn_id)

    async def listen(
        self, tenant_id: str, turn_id: str, after: EventId = START
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield events after a position until the turn has ended, wherever it runs.

        Raises ``NotFound`` when the tenant has no such turn.
        """
        live = self._live.get(turn_id)
        if live is None or live.tenant_id != tenant_id:
            await self._log.read_stream(tenant_id, turn_id, after)
        while True:
            live = self._live.get(turn_id)
            if live is not None:
                async with aclosing(_follow(live, after)) as events:
                    async for event in events:
                        after = event.id
                        yield event
                if live.events and live.events[-1].name == "completed":
                    return
            state = await self._log.read_stream(tenant_id, turn_id, after)
            for event in state.events:
                after = event.id
                yield event
            if state.final is not None:
                yield state.final
                return
            if turn_id not in self._live:
                await asyncio.sleep(POLL_S)


async def _follow(live: LiveTurn, after: EventId) -> AsyncGenerator[StreamEvent, None]:
    # A listener cannot have seen more than there is, whatever it says.
    position = min(after.number, len(live.events)) if after.attempt == live.attempt else 0
    while True:
        changed = live.changed
        while position < len(live.events):
            yield live.events[position]
            position += 1
        if live.closed:
            return
        if changed is live.changed:
            await changed.wait()  # bounded by the turn: its end always wakes


def encode_refusal(refusal: QuotaRefusal) -> tuple[str, str]:
    """The wire name and JSON of a refusal by the meter; its time in ISO 8601, UTC."""
    at = refusal.retry_at_ms
    retry_at = None if at is None else _iso(at)
    return REFUSED_EVENT, json.dumps({"code": str(refusal.code), "retry_at": retry_at})


_ENGLISH = Words()
_TEXTS: Mapping[type[TurnEvent], str] = {
    TextDelta: "text_delta",
    ThinkingDelta: "thinking_delta",
    Notice: "notice",
    Progress: "progress",
}


def encode(event: TurnEvent, words: Words = _ENGLISH) -> tuple[str, str] | None:
    """The wire name and JSON of an event, our sentences in the asker's words.

    None for what no listener needs.
    """
    match event:
        case TextDelta() | ThinkingDelta() | Notice() | Progress():
            return _TEXTS[type(event)], json.dumps({"text": words.of(event.text)})
        case TextReset(text=text, reason=reason):
            return "text_reset", json.dumps({"text": text, "reason": words.of(reason)})
        case ToolStarted():
            data = {"call_id": event.call_id, "tool": event.tool, "summary": event.summary}
            return "tool_started", json.dumps(data)
        case ToolFinished():
            return "tool_finished", json.dumps(
                {
                    "call_id": event.call_id,
                    "tool": event.tool,
                    "ok": event.ok,
                    "output": event.output,
                }
            )
        case ModelCallFinished(step=step):
            return "model_call", json.dumps(
                {
                    "call_id": step.call_id,
                    "engine": step.engine,
                    "model": step.model,
                    "usage": dump_usage(step.usage),
                }
            )
        case EngineChanged(engine=engine, reason=reason):
            return "engine", json.dumps({"engine": engine, "reason": words.of(reason)})
        case ApprovalAsked() | ApprovalSettled():
            return _encode_approval(event)
        case EngineSession() | Completed():
            return None


def _encode_approval(event: ApprovalAsked | ApprovalSettled) -> tuple[str, str]:
    approval, card = event.approval, event.approval.card
    if isinstance(event, ApprovalSettled):
        settled = {
            "id": approval.id,
            "status": str(approval.status),
            "decided_by": approval.decided_by_name,
            "comment": approval.comment,
        }
        return "approval_settled", json.dumps(settled)
    asked = {
        "id": approval.id,
        "tool": card.tool,
        "action": card.action,
        "servers": card.servers,
        "level": card.level,
        "why": card.why,
        "risks": card.risks,
        "change": card.change,
        "undo": card.undo,
        "expires_at": _iso(approval.expires_at_ms),
        "text": event.text,
    }
    return "approval", json.dumps(asked)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
