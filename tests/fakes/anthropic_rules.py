"""What the Messages API refuses, as far as this product can trip over it.

Each check returns the provider's sentence for a 400, or None. The real API is the model;
where it is lenient in silence (two messages of one role in a row are merged) this fake is
strict, because the product promises never to send such a thing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Json = dict[str, Any]

VERSIONS = ("2023-06-01", "2026-10-21")
_SAMPLING = ("temperature", "top_p", "top_k")
_FIELDS = frozenset(
    {"model", "messages", "max_tokens", "stream", "system", "tools", "tool_choice", "metadata"}
    | {"stop_sequences", "thinking", "output_config", "context_management", "service_tier"}
    | {"container", "speed"}
)
_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")
_MAGIC = {
    "image/png": b"\x89PNG",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
    "application/pdf": b"%PDF",
}
_USER_BLOCKS = ("text", "image", "document", "tool_result")
_ASSISTANT_BLOCKS = ("text", "tool_use", "thinking", "redacted_thinking")
_MAX_BREAKPOINTS = 4


def problem_with(body: Json, version: str) -> str | None:
    """Return what the API would say against this body, or None."""
    try:
        return next(_problems(body, version), None)
    except (KeyError, TypeError, AttributeError) as error:
        return f"body: malformed ({type(error).__name__}: {error})"


def thinking_signature(thinking: str) -> str:
    """The signature this fake gives to a thinking block and demands back unchanged."""
    return f"sig-{binascii.crc32(thinking.encode()):08x}"


def blocks_of(message: Json) -> list[Json]:
    """The content of a message as blocks, whichever of the two forms it came in."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _problems(body: Json, version: str) -> Iterator[str]:
    if version == VERSIONS[1]:
        yield from (f"{name}: no longer supported" for name in _SAMPLING if name in body)
    allowed = _FIELDS.union(_SAMPLING)
    yield from (f"{name}: Extra inputs are not permitted" for name in body if name not in allowed)
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "model: Field required"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        yield "max_tokens: must be at least 1"
    yield from _tool_problems(body.get("tools", []))
    system = body.get("system", [])
    if isinstance(system, list):
        yield from _text_problems("system", system)
    if _breakpoints(body) > _MAX_BREAKPOINTS:
        yield "A maximum of 4 blocks with cache_control may be provided."
    yield from _message_problems(body["messages"])


def _breakpoints(body: Json) -> int:
    system = body.get("system", [])
    places = [*body.get("tools", []), *(system if isinstance(system, list) else [])]
    for message in body["messages"]:
        places += blocks_of(message)
    return sum("cache_control" in place for place in places)


def _tool_problems(tools: list[Json]) -> Iterator[str]:
    names = [tool["name"] for tool in tools]
    if len(set(names)) != len(names):
        yield "tools: Tool names must be unique."
    for tool in tools:
        if not _NAME.match(tool["name"]):
            yield f"tools.{tool['name']}: name should match pattern"
        if tool["input_schema"].get("type") != "object":
            yield f"tools.{tool['name']}: input_schema.type must be object"


def _message_problems(messages: list[Json]) -> Iterator[str]:
    turns = [message for message in messages if message["role"] != "system"]
    if not turns:
        yield "messages: at least one message is required"
        return
    if turns[0]["role"] != "user":
        yield "messages: first message must use the user role"
    for before, after in pairwise(turns):
        if before["role"] == after["role"]:
            yield "messages: roles must alternate between user and assistant"
    if turns[-1]["role"] == "assistant" and "[[pause]]" not in str(turns):
        yield "messages: this model does not support assistant prefill"
    for message in turns:
        yield from _block_problems(message)
    yield from _pairing_problems(turns)


def _block_problems(message: Json) -> Iterator[str]:
    if message["role"] not in ("user", "assistant"):
        yield f"messages: unknown role {message['role']}"
    blocks = blocks_of(message)
    if not blocks:
        yield "messages: content must not be empty"
    allowed = _USER_BLOCKS if message["role"] == "user" else _ASSISTANT_BLOCKS
    yield from (
        f"messages: {block['type']} block not allowed for role {message['role']}"
        for block in blocks
        if block["type"] not in allowed
    )
    yield from _text_problems("messages", blocks)
    for block in blocks:
        yield from _content_problems(block)


def _content_problems(block: Json) -> Iterator[str]:
    match block["type"]:
        case "image" | "document":
            yield from _source_problems(block)
        case "thinking":
            if block["signature"] != thinking_signature(block["thinking"]):
                yield "messages: Invalid `signature` in `thinking` block"
        case "tool_use":
            if not _ID.match(block["id"]) or not _NAME.match(block["name"]):
                yield "messages: tool_use.id should match pattern '^[a-zA-Z0-9_-]+$'"
            if not isinstance(block["input"], dict):
                yield "messages: tool_use.input should be an object"
        case "tool_result":
            content = block.get("content")
            if isinstance(content, list):
                yield from _text_problems("messages: tool_result", content)


def _text_problems(where: str, blocks: list[Json]) -> Iterator[str]:
    for block in blocks:
        if block["type"] == "text" and not block["text"].strip():
            yield f"{where}: text content blocks must contain non-whitespace text"
        if block["type"] == "thinking" and "cache_control" in block:
            yield f"{where}: thinking.cache_control: Extra inputs are not permitted"


def _source_problems(block: Json) -> Iterator[str]:
    source = block["source"]
    media = source["media_type"]
    if (media == "application/pdf") != (block["type"] == "document"):
        yield f"messages: {block['type']}.source.media_type {media} is not supported"
        return
    try:
        data = base64.b64decode(source["data"], validate=True)
    except binascii.Error:
        yield f"messages: {block['type']}.source.base64: invalid base64 data"
        return
    if media not in _MAGIC or not data.startswith(_MAGIC[media]):
        yield f"messages: {block['type']}.source: could not process {media}"


def _pairing_problems(turns: list[Json]) -> Iterator[str]:
    asked: list[str] = []
    for message in turns:
        blocks = blocks_of(message)
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(asked):
            yield "messages: each tool_use must have its tool_result in the next message"
        if any(block["type"] == "tool_result" for block in blocks[len(results) :]):
            yield "messages: tool_result blocks must come first in the content"
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if asked:
        yield "messages: tool_use ids were found without tool_result blocks"
