"""What a Claude Code process says while it answers, in our words.

The SDK and the bare CLI say the same things, one as objects, one as JSON lines; each engine
translates into this union, and ``agent_turn`` reads nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.engines.claude_stream import usage_at_start
from core.metering import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A turn begins in this session."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One event of the Messages API's stream, as the provider sent it."""

    event: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Content blocks of one answer, complete: they were streamed before, or never will be."""

    message_id: str
    blocks: tuple[dict[str, Any], ...]
    usage: Usage
    failed: bool
    """It is not the model's but the CLI's own, a text about an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """The provider failed and is asked again."""

    status: int | None
    """Of the failed request; None when there was no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResulted:
    """A tool call has its result, from us or from the CLI itself, as the model will see it."""

    tool_call_id: str
    output: str
    is_error: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The answer to one message is over."""

    failed: bool
    kind: str
    """``success``, ``error_max_turns``, ``error_during_execution`` and so on."""
    status: int | None
    """Of the provider's last error."""
    usage: Usage
    """Of this answer, all its model calls together; zeros when it was interrupted."""


Said = Opened | Streamed | Whole | Retrying | ToolResulted | Ended

_OWN_MODEL = "<synthetic>"


def said_in(line: dict[str, Any]) -> tuple[Said, ...]:
    """Translate one line of ``--output-format stream-json``. Unknown kinds say nothing."""
    if line.get("parent_tool_use_id"):
        return ()  # of an agent inside the agent; ours has none
    match line.get("type"):
        case "stream_event":
            return (Streamed(event=line["event"]),)
        case "assistant":
            message = line["message"]
            whole = Whole(
                message_id=str(message.get("id") or ""),
                blocks=tuple(message.get("content") or ()),
                usage=usage_at_start(message.get("usage") or {}),
                failed=bool(line.get("error")) or message.get("model") == _OWN_MODEL,
            )
            return (whole,)
        case "user":
            return results_in(line["message"].get("content"))
        case "result":
            return (ended(line),)
        case "system":
            return _of_system(line)
        case _:
            return ()


def results_in(content: object) -> tuple[ToolResulted, ...]:
    """The tool results in a user message's content."""
    if not isinstance(content, list):
        return ()
    return tuple(
        ToolResulted(
            tool_call_id=str(block["tool_use_id"]),
            output=_text_of(block.get("content")),
            is_error=bool(block.get("is_error")),
        )
        for block in content
        if isinstance(block, dict) and block.get("type") == "tool_result"
    )


def as_stream(whole: Sequence[Whole]) -> list[dict[str, Any]]:
    """A complete answer as the events that would have streamed it."""
    usage = whole[-1].usage
    told = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_creation": {"ephemeral_1h_input_tokens": usage.cache_write_1h_tokens},
    }
    blocks = [
        block for part in whole for block in part.blocks if block["type"] in {"text", "tool_use"}
    ]
    called = any(block["type"] == "tool_use" for block in blocks)
    stop = "tool_use" if called else "end_turn"
    return [
        {"type": "message_start", "message": {"usage": told}},
        *({"type": "content_block_start", "content_block": block} for block in blocks),
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": told},
        {"type": "message_stop"},
    ]


def ended(line: dict[str, Any]) -> Ended:
    """Translate a result; ``success`` with ``is_error`` is the CLI's word for a failed call."""
    return Ended(
        failed=bool(line.get("is_error")),
        kind=str(line.get("subtype") or ""),
        status=line.get("api_error_status"),
        usage=usage_at_start(line.get("usage") or {}),
    )


def retrying(data: dict[str, Any]) -> Retrying:
    """Translate an ``api_retry``."""
    status = data.get("error_status")
    return Retrying(status=status if isinstance(status, int) else None)


def _of_system(line: dict[str, Any]) -> tuple[Said, ...]:
    match line.get("subtype"):
        case "init":
            return (Opened(session_id=str(line.get("session_id") or "")),)
        case "api_retry":
            return (retrying(line),)
        case _:
            return ()


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def says_full(whole: Whole) -> bool:
    """Whether the CLI refuses by itself: by its own count the session fills the model.

    Its words of it, read from CLI 2.1.330; it sends no status with them.
    """
    return any("prompt is too long" in str(b.get("text", "")).lower() for b in whole.blocks)
