"""One scripted answer of the fake Messages API, in the provider's events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from core.metering import Usage
from tests.fakes.anthropic_rules import Json, blocks_of, thinking_signature
from tests.fakes.anthropic_script import Plan

SECRET_WORD = "upstream-7f3.gateway.internal"
"""In every error text of this fake: no user may ever read it."""


@dataclass
class Seen:
    """One recorded request; ``usage`` and ``text`` are what it was answered with."""

    headers: dict[str, str]
    query: dict[str, str]
    body: Json
    size: int
    peer: object = None
    """Address of the client's end: the same for requests on one connection."""
    prompt: str = ""
    round: int = 0
    status: int = 200
    usage: Usage = field(default_factory=Usage)
    text: str = ""
    finished: bool = False
    closed_early: bool = False


def usage_of(size: int, *, cached: bool, words: int) -> Usage:
    """What a request of this many bytes and an answer of this many words cost."""
    total = -(-size // 4)
    if not cached:
        return Usage(input_tokens=total, output_tokens=words + 3)
    read, write_5m, write_1h = total // 2, total // 4, total // 8
    return Usage(
        input_tokens=total - read - write_5m - write_1h,
        cache_read_tokens=read,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        output_tokens=words + 3,
    )


class Answer:
    """One answer, in the provider's events."""

    def __init__(self, number: int, plan: Plan, seen: Seen, results: list[str]) -> None:
        """Decide what it says; fills in ``seen.text`` and ``seen.usage``."""
        self._id = f"msg_fake{number:06d}"
        self._number = number
        self._plan = plan
        self._seen = seen
        words = [] if plan.empty else _words(plan, seen, results)
        self._words = words
        self._thought = f"thinking about {seen.prompt[:20]}" if plan.thinking else ""
        cached = "cache_control" in str(seen.body)
        seen.text = "".join(words)
        seen.usage = usage_of(seen.size, cached=cached, words=len(words))
        self.stop = "tool_use" if plan.tools else plan.stop

    def frames(self) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """What comes before the text deltas, the text deltas, and what comes after."""
        usage = self._usage()
        head = [frame({"type": "message_start", "message": self._shell(usage)})]
        head.append(frame({"type": "ping"}))
        index = 0
        if self._thought:
            head += _thinking_frames(self._thought)
            index = 1
        deltas: list[bytes] = []
        tail: list[bytes] = []
        if self._words:
            head.append(frame(_start(index, {"type": "text", "text": ""})))
            deltas = [_delta(index, "text_delta", "text", word) for word in self._words]
            tail.append(frame({"type": "content_block_stop", "index": index}))
            index += 1
        for offset, (name, arguments) in enumerate(self._plan.tools):
            tail += self._tool_frames(index + offset, offset, name, arguments)
        end = {
            "type": "message_delta",
            "delta": {"stop_reason": self.stop, "stop_sequence": None},
            "usage": {**_totals(usage), "output_tokens": self._seen.usage.output_tokens},
        }
        tail += [frame(end), frame({"type": "message_stop"})]
        return head, deltas, tail

    def message(self) -> Json:
        """The answer to a request that did not ask for a stream."""
        content: list[Json] = []
        if self._words:
            content.append({"type": "text", "text": "".join(self._words)})
        for offset, (name, arguments) in enumerate(self._plan.tools):
            tool_id = f"toolu_{self._number:06d}_{offset}"
            content.append({"type": "tool_use", "id": tool_id, "name": name, "input": arguments})
        usage = self._usage() | {"output_tokens": self._seen.usage.output_tokens}
        return self._shell(usage) | {"content": content, "stop_reason": self.stop}

    def _tool_frames(self, index: int, offset: int, name: str, arguments: Json) -> list[bytes]:
        tool_id = f"toolu_{self._number:06d}_{offset}"
        raw = json.dumps(arguments)
        half = len(raw) // 2
        block = {"type": "tool_use", "id": tool_id, "name": name, "input": {}}
        return [
            frame(_start(index, block)),
            _delta(index, "input_json_delta", "partial_json", ""),
            _delta(index, "input_json_delta", "partial_json", raw[:half]),
            _delta(index, "input_json_delta", "partial_json", raw[half:]),
            frame({"type": "content_block_stop", "index": index}),
        ]

    def _shell(self, usage: Json) -> Json:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._seen.body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _usage(self) -> Json:
        usage = self._seen.usage
        return {
            "input_tokens": usage.input_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "cache_creation_input_tokens": usage.cache_write_5m_tokens
            + usage.cache_write_1h_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
                "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
            },
            "output_tokens": 1,
            "service_tier": "standard",
        }


def _words(plan: Plan, seen: Seen, results: list[str]) -> list[str]:
    if plan.words is not None:
        return [f"{plan.word}{number} " for number in range(plan.words)]
    if results:
        text = " | ".join(results)
    elif plan.tools:
        text = plan.plain
    else:
        blocks = blocks_of(seen.body["messages"][-1])
        files = [block["type"] for block in blocks if block["type"] in ("image", "document")]
        text = f"You said: {plan.plain or '(nothing)'}"
        if files:
            text += f" with {' and '.join(files)}"
    least = plan.break_after + 2 if plan.breaks else 0
    words = [f"{word} " for word in text.split()]
    words += ["and "] * (least - len(words))
    if words:
        words[-1] = words[-1].rstrip()
    return words


def _thinking_frames(thought: str) -> list[bytes]:
    return [
        frame(_start(0, {"type": "thinking", "thinking": "", "signature": ""})),
        _delta(0, "thinking_delta", "thinking", thought),
        _delta(0, "signature_delta", "signature", thinking_signature(thought)),
        frame({"type": "content_block_stop", "index": 0}),
    ]


def _start(index: int, block: Json) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, kind: str, key: str, value: str) -> bytes:
    return frame(
        {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: value}}
    )


def frame(event: Json) -> bytes:
    """One server-sent event."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _totals(usage: Json) -> Json:
    return {key: value for key, value in usage.items() if key.endswith("input_tokens")}


def error_body(kind: str, text: str) -> Json:
    """An error object; its text names the host, which nobody may ever see."""
    error = {"type": kind, "message": f"{text} (at {SECRET_WORD})"}
    return {"type": "error", "error": error, "request_id": "req_fake"}
