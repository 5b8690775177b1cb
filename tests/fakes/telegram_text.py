"""Text with entities: offsets in UTF-16 code units, as Telegram counts.

The rules follow the Bot API's documentation ("Formatting options") and what the server does
with a text before it stores it: control characters become spaces, carriage returns go, both
ends are trimmed, plain mentions, commands, hashtags and addresses become entities.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.fakes.telegram_errors import Json, bad, unparsable

MAX_TEXT = 4096
MAX_CAPTION = 1024
MAX_RAW_BYTES = 1 << 15
MAX_ENTITIES = 100
"""What comes after the first hundred is dropped without a word."""

_KINDS = frozenset(
    [
        "mention",
        "hashtag",
        "cashtag",
        "bot_command",
        "url",
        "email",
        "phone_number",
        "bold",
        "italic",
        "underline",
        "strikethrough",
        "spoiler",
        "blockquote",
        "expandable_blockquote",
        "code",
        "pre",
        "text_link",
        "text_mention",
        "custom_emoji",
        "date_time",
    ]
)
_RANK = {
    kind: rank
    for rank, kinds in enumerate(
        (
            ("blockquote", "expandable_blockquote"),
            ("pre",),
            ("code",),
            ("text_link", "text_mention"),
            ("mention", "hashtag", "bot_command", "url", "email"),
            ("bold",),
            ("italic",),
            ("underline",),
            ("strikethrough",),
            ("spoiler",),
        )
    )
    for kind in kinds
}
"""Which entity comes first where two cover the same text."""
_CONTROL = {code: " " for code in range(32) if chr(code) not in "\n\r"}
_OPAQUE = frozenset({"code", "pre", "text_link", "text_mention"})
_DETECTED = re.compile(
    r"(?P<url>\bhttps?://[^\s<>\"]+[^\s<>\".,;:!?)\]}'])"
    r"|(?P<email>\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<bot_command>(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>]))"
    r"|(?P<mention>(?<!\w)@[A-Za-z0-9_]{2,32}(?!\w))"
    r"|(?P<hashtag>(?<!\w)\#(?=\w*[^\W\d])\w{1,256}(?![\w\#]))"
)
_HAS_DETECTABLE = re.compile(r"[/@#]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Formatted:
    """A text and its entities, in the order of their offsets."""

    text: str
    entities: tuple[Json, ...] = ()


def in_order(entities: Iterable[Json]) -> tuple[Json, ...]:
    """Sorted as the server sorts them: by start, the longer first, then by kind."""
    return tuple(
        sorted(
            entities,
            key=lambda item: (item["offset"], -item["length"], _RANK.get(item["type"], 99)),
        )
    )


def utf16_len(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def parse_entities(text: str, raw: str) -> tuple[Json, ...]:
    """Read the ``entities`` parameter. Unlike the real server, refuse what points outside."""
    try:
        items = json.loads(raw)
    except ValueError as error:
        raise bad("can't parse entities JSON object") from error
    if not isinstance(items, list):
        raise bad("expected an Array of MessageEntity")
    starts = _symbol_starts(text)
    for item in items:
        _check_entity(item, starts)
    return in_order(items)


def _check_entity(item: Json, starts: set[int]) -> None:
    offset, length = item.get("offset"), item.get("length")
    if not isinstance(offset, int) or not isinstance(length, int):
        raise bad('can\'t parse MessageEntity: fields "offset" and "length" must be Numbers')
    if item.get("type") not in _KINDS:
        raise bad(f"can't parse MessageEntity: unknown type {item.get('type')}")
    if item["type"] == "text_link" and not item.get("url"):
        raise bad("can't parse MessageEntity: Can't find field \"url\"")
    if offset < 0:
        raise unparsable(f"Receive an entity with incorrect offset {offset}")
    if length <= 0:
        raise unparsable(f"Receive an entity with incorrect length {length}")
    last = max(starts)
    if offset >= last:
        raise unparsable(f"Entity begins after the end of the text at UTF-16 offset {offset}")
    if offset + length > last:
        raise unparsable(
            f"Entity beginning at UTF-16 offset {offset} ends after the end of the text at UTF-16 "
            f"offset {offset + length}"
        )
    if offset not in starts:
        raise unparsable(f"Entity begins in a middle of a UTF-16 symbol at offset {offset}")
    if offset + length not in starts:
        raise unparsable(
            f"Entity beginning at UTF-16 offset {offset} ends in a middle of a UTF-16 symbol"
        )


def _symbol_starts(text: str) -> set[int]:
    """Every UTF-16 offset at which a symbol starts, and the end of the text."""
    starts, at = {0}, 0
    for symbol in text:
        at += 1 + (symbol > "\uffff")
        starts.add(at)
    return starts


def cleaned(given: Formatted) -> Formatted:
    """The text as the server stores it, with its entities moved along."""
    text, entities = given.text.translate(_CONTROL), given.entities
    if "\r" in text:
        entities = tuple(_without_returns(text, entities))
        text = text.replace("\r", "")
    short = text.lstrip()
    cut = utf16_len(text) - utf16_len(short)
    short = short.rstrip()
    size = utf16_len(short)
    return Formatted(text=short, entities=tuple(_moved(entities, cut, size))[:MAX_ENTITIES])


def _without_returns(text: str, entities: tuple[Json, ...]) -> Iterator[Json]:
    dropped, at, count = {0: 0}, 0, 0
    for symbol in text:
        at += 1 + (symbol > "\uffff")
        count += symbol == "\r"
        dropped[at] = count
    for entity in entities:
        start, end = entity["offset"], entity["offset"] + entity["length"]
        start, end = start - dropped[start], end - dropped[end]
        if end > start:
            yield entity | {"offset": start, "length": end - start}


def _moved(entities: tuple[Json, ...], cut: int, size: int) -> Iterator[Json]:
    for entity in entities:
        start = max(0, entity["offset"] - cut)
        end = min(size, entity["offset"] + entity["length"] - cut)
        if end > start:
            yield entity | {"offset": start, "length": end - start}


def with_detected(given: Formatted) -> Formatted:
    """Add what the server finds by itself in plain text: commands, mentions, addresses."""
    text = given.text
    if not _HAS_DETECTABLE.search(text):
        return given
    opaque = [
        (item["offset"], item["offset"] + item["length"])
        for item in given.entities
        if item["type"] in _OPAQUE
    ]
    found: list[Json] = []
    for match in _DETECTED.finditer(text):
        offset = utf16_len(text[: match.start()])
        length = utf16_len(match.group())
        if all(offset + length <= start or offset >= end for start, end in opaque):
            found.append({"type": match.lastgroup, "offset": offset, "length": length})
    return Formatted(text=text, entities=in_order((*given.entities, *found))[:MAX_ENTITIES])
