"""The provider's event stream, folded into our events and one finished step.

Pure: bytes in, ``TurnEvent`` out. It reads the server-sent events itself instead of
through the SDK's event models, because this runs for every few characters of every answer:
text that arrived in one network read becomes one ``TextDelta``, and nothing is validated
twice. What the stream must satisfy is checked at its end, by ``step``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from core.engines.claude_faults import CUT, MALFORMED, CallFailed, fault_of_event
from core.events import TextDelta, ThinkingDelta
from core.messages import clean_text
from core.metering import Usage, byte_count
from core.steps import ModelStep, ToolCall

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BYTES_PER_TOKEN = 3
FINAL_STOPS = frozenset({"max_tokens", "refusal", "model_context_window_exceeded"})
"""Stop reasons after which a turn is over (docs.claude.com, "Handling stop reasons")."""
_BETWEEN_BLOCKS = "\n\n"


@dataclass(slots=True)
class _Block:
    """One content block while it grows."""

    kind: str
    start: dict[str, Any]
    parts: list[str] = field(default_factory=list)
    signature: str = ""


class ClaudeAnswer:
    """One model call's answer. ``feed`` it what the network gives, then take ``step``."""

    __slots__ = (
        "_blocks",
        "_gap",
        "_rest",
        "_shown",
        "ended",
        "message_id",
        "separator",
        "stop_reason",
        "usage",
    )

    def __init__(self, separator: str) -> None:
        """``separator`` goes before the first text, when earlier steps had text."""
        self.separator = separator
        self.usage: Usage | None = None
        """As the provider told it, or None before its first word."""
        self.message_id = ""
        """The provider's own; empty before its first word."""
        self.stop_reason: str | None = None
        self.ended = False
        self._blocks: list[_Block] = []
        self._rest = b""
        self._shown = 0
        self._gap = ""

    @property
    def has_text(self) -> bool:
        """Whether the user saw anything of it."""
        return any(block.kind == "text" and block.parts for block in self._blocks)

    @property
    def ends_the_turn(self) -> bool:
        """Whether nothing more is to be asked after it: cut, declined, or empty.

        Claude Code would ask again, in words of its own that nobody sees.
        """
        if self.stop_reason in FINAL_STOPS:
            return True
        said = any(b.kind == "tool_use" or "".join(b.parts).strip() for b in self._blocks)
        return self.stop_reason == "end_turn" and not said

    @property
    def usage_so_far(self) -> Usage | None:
        """The usage; of an answer that was cut off, with its output counted from its length.

        The provider tells the output only at the end. None when it told nothing.
        """
        if self.usage is None or self.stop_reason is not None:
            return self.usage
        counted = -(-self._shown // _BYTES_PER_TOKEN)
        return replace(self.usage, output_tokens=max(self.usage.output_tokens, counted))

    def feed(self, chunk: bytes) -> list[TextDelta | ThinkingDelta]:
        """Take one network read and return what it shows. Raises ``CallFailed``."""
        data = self._rest + chunk if self._rest else chunk
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *frames, self._rest = data.split(b"\n\n")
        text: list[str] = []
        thinking: list[str] = []
        try:
            for frame in frames:
                self._take(frame, text, thinking)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CallFailed(MALFORMED) from error
        return _shown(text, thinking)

    def fold(self, event: dict[str, Any]) -> list[TextDelta | ThinkingDelta]:
        """Take one event that somebody else decoded, as ``feed`` does. Raises ``CallFailed``."""
        text: list[str] = []
        thinking: list[str] = []
        try:
            self._fold(event, text, thinking)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CallFailed(MALFORMED) from error
        return _shown(text, thinking)

    def step(self, *, call_id: str, engine: str, model: str) -> ModelStep:
        """The finished answer. Raises ``CallFailed`` when the stream ended too early."""
        if self.stop_reason is None:
            raise CallFailed(CUT)
        calls: tuple[ToolCall, ...] = ()
        if self.stop_reason not in ("max_tokens", "refusal", "model_context_window_exceeded"):
            calls = tuple(_tool_call(b) for b in self._blocks if b.kind == "tool_use")
        return ModelStep(
            call_id=call_id,
            engine=engine,
            model=model,
            text="".join(part for b in self._blocks if b.kind == "text" for part in b.parts),
            tool_calls=calls,
            stop_reason=self.stop_reason,
            usage=self.usage or Usage(),
            native=self._native() if calls or self.stop_reason == "pause_turn" else None,
        )

    def _take(self, frame: bytes, text: list[str], thinking: list[str]) -> None:
        """Fold one server-sent event in."""
        data = _data_of(frame)
        if data:
            self._fold(json.loads(data.decode()), text, thinking)

    def _fold(self, event: dict[str, Any], text: list[str], thinking: list[str]) -> None:
        match event["type"]:
            case "content_block_delta":
                self._grow(event, text, thinking)
            case "content_block_start":
                self._begin(event["content_block"], text)
            case "message_start":
                self.message_id = str(event["message"].get("id", ""))
                self.usage = usage_at_start(event["message"]["usage"])
            case "message_delta":
                self.stop_reason = event["delta"]["stop_reason"] or self.stop_reason
                self.usage = _usage_at_end(self.usage or Usage(), event["usage"])
            case "message_stop":
                self.ended = True
            case "error":
                raise CallFailed(fault_of_event(event["error"].get("type")))
            case _:
                pass  # ping, content_block_stop, and what a later version may add

    def _begin(self, start: dict[str, Any], text: list[str]) -> None:
        kind: str = start["type"]
        if kind == "text" and self._blocks and self._blocks[-1].kind == "tool_use":
            self._gap = _BETWEEN_BLOCKS if self.has_text else ""
        self._blocks.append(_Block(kind, start))
        if kind == "text" and start["text"]:
            self._say(self._blocks[-1], start["text"], text)

    def _grow(self, event: dict[str, Any], text: list[str], thinking: list[str]) -> None:
        block = self._blocks[event["index"]]
        delta = event["delta"]
        match delta["type"]:
            case "text_delta":
                self._say(block, delta["text"], text)
            case "input_json_delta":
                block.parts.append(delta["partial_json"])
                self._shown += byte_count(delta["partial_json"])
            case "thinking_delta":
                block.parts.append(delta["thinking"])
                self._shown += byte_count(delta["thinking"])
                thinking.append(_safe(delta["thinking"]))
            case "signature_delta":
                block.signature += delta["signature"]
            case _:
                pass  # citations: we never ask for them

    def _say(self, block: _Block, said: str, text: list[str]) -> None:
        said = _safe(said)
        if not said:
            return
        if self._gap:
            said = self._gap + said
            self._gap = ""
        block.parts.append(said)
        self._shown += byte_count(said)
        if self.separator:
            text.append(self.separator)
            self.separator = ""
        text.append(said)

    def _native(self) -> str | None:
        """The content blocks as JSON, or None when text and tool calls say it all."""
        kinds = [block.kind for block in self._blocks]
        if all(kind in ("text", "tool_use") for kind in kinds) and "text" not in kinds[1:]:
            return None
        blocks = [_native_block(block) for block in self._blocks]
        return json.dumps([block for block in blocks if block is not None])


def _shown(text: list[str], thinking: list[str]) -> list[TextDelta | ThinkingDelta]:
    events: list[TextDelta | ThinkingDelta] = []
    if thinking:
        events.append(ThinkingDelta(text="".join(thinking)))
    if text:
        events.append(TextDelta(text="".join(text)))
    return events


def _data_of(frame: bytes) -> bytes:
    """The data of a server-sent event; several data lines are one, joined by line feeds."""
    if frame.count(b"data:") == 1:  # by far the most: data holds no second "data:"
        return frame[frame.index(b"data:") + 5 :].partition(b"\n")[0]
    lines = [line[5:] for line in frame.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


def _safe(text: str) -> str:
    """Text that can be stored and shown: a model may emit NUL or half a surrogate pair."""
    return clean_text(text) if _UNSAFE.search(text) else text


def _tool_call(block: _Block) -> ToolCall:
    raw = "".join(block.parts)
    try:
        arguments = json.loads(raw) if raw else block.start["input"]
    except ValueError as error:
        raise CallFailed(MALFORMED) from error
    if not isinstance(arguments, dict):
        raise CallFailed(MALFORMED)
    return ToolCall(id=block.start["id"], name=block.start["name"], arguments=arguments)


def _native_block(block: _Block) -> dict[str, Any] | None:
    """The block as the API wants it back; None for one it would refuse, an empty text."""
    joined = "".join(block.parts)
    match block.kind:
        case "text":
            return {"type": "text", "text": joined} if joined.strip() else None
        case "tool_use":
            call = _tool_call(block)
            return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        case "thinking":
            signature = block.signature or block.start.get("signature", "")
            return {"type": "thinking", "thinking": joined, "signature": signature}
        case _:
            return block.start


def usage_at_start(told: dict[str, Any]) -> Usage:
    """The usage that a message tells of itself, per bucket; what it leaves out is zero."""
    written = told.get("cache_creation_input_tokens") or 0
    hour = (told.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    return Usage(
        input_tokens=told.get("input_tokens") or 0,
        output_tokens=told.get("output_tokens") or 0,
        cache_read_tokens=told.get("cache_read_input_tokens") or 0,
        cache_write_5m_tokens=max(written - hour, 0),
        cache_write_1h_tokens=hour,
    )


def _usage_at_end(before: Usage, told: dict[str, Any]) -> Usage:
    """The totals of ``message_delta`` replace what they name; the split by age stays."""

    def newest(name: str, known: int) -> int:
        value = told.get(name)
        return known if value is None else int(value)

    hour = before.cache_write_1h_tokens
    written = newest("cache_creation_input_tokens", before.cache_write_5m_tokens + hour)
    return Usage(
        input_tokens=newest("input_tokens", before.input_tokens),
        output_tokens=newest("output_tokens", before.output_tokens),
        cache_read_tokens=newest("cache_read_input_tokens", before.cache_read_tokens),
        cache_write_5m_tokens=max(written - hour, 0),
        cache_write_1h_tokens=min(hour, written),
    )
