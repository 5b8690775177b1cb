"""What the API's event stream says, as a closed union.

The events of ``core.events`` where they are the same, plus what only a client sees.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from core.events import Notice, TextDelta, TextReset, ThinkingDelta, ToolFinished, ToolStarted

Usage = dict[str, int]
"""Tokens per bucket, as the server names them."""


class Outcome(StrEnum):
    """How a turn ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STEERED = "steered"
    """The message joined the turn that was running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAccepted:
    """The server has the message and will answer it once."""

    turn_id: str
    conversation_id: str
    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A model call ended."""

    call_id: str
    engine: str
    model: str
    usage: Usage = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCompleted:
    """The last event of a turn. ``conversation_id`` is the one to continue in."""

    outcome: Outcome
    reply: str
    notice: str
    conversation_id: str
    engine: str
    usage: Usage = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnecting:
    """The connection dropped and is tried again; made by the client, not by the server."""

    attempt: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWanted:
    """A call waits for a human; ``text`` is its card, in Markdown."""

    id: str
    tool: str
    action: str
    servers: tuple[str, ...] = ()
    level: str = ""
    why: str = ""
    risks: tuple[str, ...] = ()
    change: str = ""
    undo: str = ""
    expires_at: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalOver:
    """What waited was decided, or its time is over."""

    id: str
    status: str
    decided_by: str
    comment: str


ServerEvent = (
    TurnAccepted
    | TextDelta
    | ThinkingDelta
    | TextReset
    | ToolStarted
    | ToolFinished
    | ModelCall
    | Notice
    | TurnCompleted
    | ApprovalWanted
    | ApprovalOver
    | Reconnecting
)


def parse_event(  # one case for each event
    name: str, data: str
) -> ServerEvent | None:
    """Translate one event; None for a name that a newer server may use.

    Raises ValueError when the data is not what the contract says.
    """
    body = json.loads(data)
    if not isinstance(body, dict):
        message = f"the data of {name} is no object"
        raise ValueError(message)  # noqa: TRY004  # bad data from the wire, not a bad argument
    fields = _Fields(body)
    match name:
        case "turn":
            return TurnAccepted(
                turn_id=fields.text("turn_id"),
                conversation_id=fields.text("conversation_id"),
                engine=fields.text("engine"),
            )
        case "text_delta":
            return TextDelta(text=fields.text("text"))
        case "thinking_delta":
            return ThinkingDelta(text=fields.text("text"))
        case "text_reset":
            return TextReset(text=fields.text("text"), reason=fields.text("reason"))
        case "notice":
            return Notice(text=fields.text("text"))
        case "model_call":
            return ModelCall(
                call_id=fields.text("call_id"),
                engine=fields.text("engine"),
                model=fields.text("model"),
                usage=fields.usage(),
            )
        case "completed":
            return _completed(fields)
        case "approval" | "approval_settled":
            return _approval(name, fields)
        case _:
            return _tool(name, fields)


def dump_event(event: ServerEvent) -> str:
    """One line of JSON for scripts, ASCII only: no terminal can be fooled by it."""
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)})


@dataclass(frozen=True, slots=True)
class _Fields:
    body: dict[str, object]

    def text(self, name: str) -> str:
        value = self.body.get(name)
        return "" if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.body.get(name)
        return tuple(str(item) for item in value) if isinstance(value, list) else ()

    def usage(self) -> Usage:
        value = self.body.get("usage")
        if not isinstance(value, dict):
            return {}
        return {str(key): count for key, count in value.items() if isinstance(count, int)}


def _completed(fields: _Fields) -> TurnCompleted:
    return TurnCompleted(
        outcome=Outcome(fields.text("outcome")),
        reply=fields.text("reply"),
        notice=fields.text("notice"),
        conversation_id=fields.text("conversation_id"),
        engine=fields.text("engine"),
        usage=fields.usage(),
    )


def _approval(name: str, fields: _Fields) -> ApprovalWanted | ApprovalOver:
    if name == "approval_settled":
        return ApprovalOver(
            id=fields.text("id"),
            status=fields.text("status"),
            decided_by=fields.text("decided_by"),
            comment=fields.text("comment"),
        )
    return ApprovalWanted(
        id=fields.text("id"),
        tool=fields.text("tool"),
        action=fields.text("action"),
        servers=fields.texts("servers"),
        level=fields.text("level"),
        why=fields.text("why"),
        risks=fields.texts("risks"),
        change=fields.text("change"),
        undo=fields.text("undo"),
        expires_at=fields.text("expires_at"),
        text=fields.text("text"),
    )


def _tool(name: str, fields: _Fields) -> ToolStarted | ToolFinished | None:
    if name == "tool_started":
        return ToolStarted(
            call_id=fields.text("call_id"),
            tool=fields.text("tool"),
            summary=fields.text("summary"),
        )
    if name == "tool_finished":
        return ToolFinished(
            call_id=fields.text("call_id"),
            tool=fields.text("tool"),
            ok=fields.body.get("ok") is True,
            output=fields.text("output"),
        )
    return None


_NAMES: dict[type[ServerEvent], str] = {
    TurnAccepted: "turn",
    TextDelta: "text_delta",
    ThinkingDelta: "thinking_delta",
    TextReset: "text_reset",
    ToolStarted: "tool_started",
    ToolFinished: "tool_finished",
    ModelCall: "model_call",
    Notice: "notice",
    TurnCompleted: "completed",
    ApprovalWanted: "approval",
    ApprovalOver: "approval_settled",
    Reconnecting: "reconnecting",
}
