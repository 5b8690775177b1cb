"""What a child process asks the Messages API for: read, checked, and kept within its grant.

The bytes are passed on as they came unless a limit has to be lowered, so whatever another
parser might read differently (a key twice, another encoding) is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.engines.claude_files import PDF_BYTES_PER_TOKEN, TOKENS_PER_IMAGE, TOKENS_PER_PAGE

_BYTES_PER_TOKEN = 3
_LEAST_THINKING = 1024
"""The API's own minimum of ``thinking.budget_tokens``."""
_USUAL_TERMS: dict[str, tuple[object, ...]] = {
    "speed": (None, "standard"),
    "service_tier": (None, "auto", "standard_only"),
}
"""What changes the price of a token, and the values that do not."""


_FIELDS = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "stream",
        "thinking",
        "output_config",
        "metadata",
        "context_management",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
        "service_tier",
        "speed",
    }
)
"""What a body may have: everything else could spend, or fetch, what nobody granted."""


class BadBody(Exception):
    """The body cannot be sent; the message says why, for whoever reads the child's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A checked body."""

    raw: bytes
    fields: dict[str, Any]
    model: str

    @property
    def streams(self) -> bool:
        """Whether events are wanted, not one JSON answer."""
        return self.fields.get("stream") is True

    @property
    def max_tokens(self) -> int:
        """How much output is asked for. Raises ``BadBody``."""
        asked = self.fields.get("max_tokens")
        if not isinstance(asked, int) or isinstance(asked, bool) or asked < 1:
            raise BadBody("max_tokens: a positive number is required")
        return asked

    @property
    def estimated_input(self) -> int:
        """Tokens of the input, counted generously: text by its bytes, media by their kind."""
        size, tokens = len(self.raw), 0
        for source_bytes, media_tokens in _media(self.fields.get("messages")):
            size -= source_bytes
            tokens += media_tokens
        return -(-max(size, 0) // _BYTES_PER_TOKEN) + tokens

    def within(self, max_output: int) -> bytes:
        """The body to send, asking for at most so many tokens of output."""
        if self.max_tokens <= max_output:
            return self.raw
        limit = max(max_output, 1)
        changed = self.fields | {"max_tokens": limit}
        thinking = self.fields.get("thinking")
        if isinstance(thinking, dict) and _budget(thinking) >= limit:
            # It must stay below max_tokens; what does not fit its minimum is switched off.
            fits = limit > _LEAST_THINKING
            less = thinking | {"budget_tokens": limit - 1}
            changed["thinking"] = less if fits else {"type": "disabled"}
        return json.dumps(changed, separators=(",", ":")).encode()


def read_body(raw: bytes, *, model: str, hidden: tuple[str, ...] = ()) -> Asked:
    """Parse and check a body; only this model may be asked. Raises ``BadBody``.

    Texts in messages that begin with one of ``hidden`` are left out: notes between IT0 and
    the child, and what the child adds about itself.
    """
    try:
        fields = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadBody("the body is not valid JSON") from error
    if not isinstance(fields, dict):
        raise BadBody("the body is not a JSON object")
    if fields.get("model") != model:
        raise BadBody(f"model: only {model} may be used in this turn")
    if strange := sorted(set(fields) - _FIELDS):
        raise BadBody(f"{strange[0]}: not available in this turn")
    if not all(_is_ours(tool) for tool in fields.get("tools") or ()):
        raise BadBody("tools: only the child's own may be offered")
    for name, usual in _USUAL_TERMS.items():
        if fields.get(name) not in usual:
            raise BadBody(f"{name}: not available in this turn")
    if any(note.encode() in raw for note in hidden):
        fields["messages"] = _without(fields.get("messages"), hidden)
        raw = json.dumps(fields, separators=(",", ":")).encode()
    return Asked(raw=raw, fields=fields, model=model)


def _is_ours(tool: object) -> bool:
    """Whether it runs with us: the provider's own tools cost what no token tells."""
    return isinstance(tool, dict) and tool.get("type") in (None, "custom")


def _without(messages: object, hidden: tuple[str, ...]) -> object:
    """The messages without the texts that begin so; a message of nothing else is dropped."""
    if not isinstance(messages, list):
        return messages
    kept: list[object] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            blocks = [block for block in content if not _is_hidden(block, hidden)]
            if blocks or not content:
                kept.append({**message, "content": blocks})
        elif not (isinstance(content, str) and content.startswith(hidden)):
            kept.append(message)
    return kept


def _is_hidden(block: object, hidden: tuple[str, ...]) -> bool:
    text = block.get("text") if isinstance(block, dict) else None
    return isinstance(text, str) and text.startswith(hidden)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _budget(thinking: dict[str, Any]) -> int:
    budget = thinking.get("budget_tokens")
    return budget if isinstance(budget, int) else 0


def _media(content: object) -> Iterator[tuple[int, int]]:
    """Of each image and document in messages or blocks: encoded bytes, and its tokens."""
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        source = part.get("source")
        data = source.get("data") if isinstance(source, dict) else None
        if part.get("type") == "image":
            yield len(data) if isinstance(data, str) else 0, TOKENS_PER_IMAGE
        elif part.get("type") == "document" and isinstance(data, str):
            is_text = isinstance(source, dict) and source.get("type") == "text"
            if not is_text:
                decoded = len(data) * 3 // 4
                yield len(data), max(TOKENS_PER_PAGE, decoded // PDF_BYTES_PER_TOKEN)
        else:
            yield from _media(part.get("content"))
