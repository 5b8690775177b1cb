"""The Bot API's rules for messages with entities, written down a second time.

Sources: core.telegram.org/bots/api#messageentity and TDLib (``MessageEntity.cpp``,
``LinkManager::check_link``), not the renderer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from telegram import MessageEntity

from core.markdown import parser
from core.messages import clean_text

STYLES = {"bold", "italic", "strikethrough"}
SOLID = {"code", "pre", "text_link"}
ALLOWED = STYLES | SOLID | {"blockquote"}
MENTION = re.compile(r"(?<!\w)@[A-Za-z0-9_]{2,32}(?!\w)", re.ASCII)
REMOVED_BY_SERVER = re.compile(r"[\x00-\x09\x0b-\x1f\u2028-\u202e\u030a\u0333\u033f]")


def utf16(text: str) -> int:
    """Length in UTF-16 code units."""
    return sum(2 if ord(char) > 0xFFFF else 1 for char in text)


def piece(text: str, entity: MessageEntity) -> str:
    """What an entity covers; raises when it cuts a character in two."""
    data = text.encode("utf-16-le")
    return data[entity.offset * 2 : (entity.offset + entity.length) * 2].decode("utf-16-le")


def styled(text: str, entities: Sequence[MessageEntity]) -> list[tuple[str, str]]:
    """Kind and text of each entity, in order."""
    return [(str(entity.type), piece(text, entity)) for entity in entities]


def problems(text: str, entities: Sequence[MessageEntity]) -> list[str]:
    """Everything that Telegram would refuse, change or drop.

    Blanks at the start of a code block stay (TDLib trims up to the first entity).
    """
    found = [*_text_problems(text, entities), *_order_problems(entities)]
    code = {entity.offset for entity in entities if entity.type == "pre"}
    for entity in entities:
        found += _entity_problems(text, entity)
        covered = piece(text, entity)
        if covered != covered.rstrip() or (
            covered != covered.lstrip() and entity.offset not in code
        ):
            found.append(f"blanks around {covered!r}")
    for place, outer in enumerate(entities):
        for inner in entities[place + 1 :]:
            found += _pair_problems(outer, inner)
    return found + [f"mentions {name}" for name in mentions(text, entities)]


def mentions(text: str, entities: Sequence[MessageEntity]) -> list[str]:
    """What Telegram would turn into a mention."""
    return [
        match.group()
        for match in MENTION.finditer(text)
        if not any(
            entity.offset <= utf16(text[: match.start()])
            and utf16(text[: match.end()]) <= entity.offset + entity.length
            for entity in entities
            if entity.type in SOLID
        )
    ]


def _text_problems(text: str, entities: Sequence[MessageEntity]) -> Iterator[str]:
    code_first = any(entity.type == "pre" and not entity.offset for entity in entities)
    if text != text.rstrip() or (text != text.lstrip() and not code_first):
        yield "blanks around the text"
    if REMOVED_BY_SERVER.search(text):
        yield "characters that the server removes"


def _order_problems(entities: Sequence[MessageEntity]) -> Iterator[str]:
    keys = [(entity.offset, -entity.length) for entity in entities]
    if keys != sorted(keys):
        yield "not sorted"
    if len(entities) > 100:
        yield "too many entities"


def _entity_problems(text: str, entity: MessageEntity) -> Iterator[str]:
    if entity.type not in ALLOWED or entity.user is not None:
        yield f"kind {entity.type}"
    if entity.length <= 0 or entity.offset < 0 or entity.offset + entity.length > utf16(text):
        yield f"outside: {entity.offset}+{entity.length}"
    if (entity.url is not None) != (entity.type == "text_link"):
        yield f"URL of a {entity.type}"
    if entity.language is not None and (entity.type != "pre" or not entity.language):
        yield f"language of a {entity.type}"
    if entity.url is not None and not _is_link(entity.url):
        yield f"URL {entity.url}"


def _is_link(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "tg":
        return parts.netloc.lower() not in ("", "user")
    port = parts.port  # raises for a wrong one
    plain = url.isascii() and not re.search(r"\s", url)
    return (
        parts.scheme in ("http", "https") and "." in (parts.hostname or "") and port != 0 and plain
    )


def _pair_problems(first: MessageEntity, second: MessageEntity) -> Iterator[str]:
    """``first`` is sorted before ``second``."""
    end = first.offset + first.length
    if second.offset >= end:
        return
    if second.offset + second.length > end:
        yield f"{first.type} and {second.type} cross"
    kinds = {first.type, second.type}
    if first.type == second.type:
        yield f"{first.type} in itself"
    if kinds & {"code", "pre"} and first.type != "blockquote":
        yield f"{second.type} in {first.type}"
    if second.type == "blockquote":
        yield f"blockquote in {first.type}"


def visible(markdown: str) -> tuple[str, list[str]]:
    """The text of a Markdown source outside of tables, and the text of each table row."""
    outside: list[str] = []
    rows: list[str] = []
    in_table = False
    for token in parser().parse(clean_text(markdown)):
        in_table = in_table if token.tag != "table" else token.nesting > 0
        if token.type == "tr_open":
            rows.append("")
        elif token.type in ("fence", "code_block"):
            outside.append(token.content)
        elif token.type == "inline" and in_table:
            rows[-1] += " " + _words(markdown_inline=token.children)
        elif token.type == "inline":
            outside.append(_words(markdown_inline=token.children))
    return " ".join(outside), rows


def _words(*, markdown_inline: Sequence[object] | None) -> str:
    words = []
    for child in markdown_inline or ():
        children = getattr(child, "children", None)
        words.append(
            _words(markdown_inline=children) if children else getattr(child, "content", "")
        )
    return " ".join(words)


def in_order(wanted: str, text: str) -> bool:
    """Whether all letters and digits of ``wanted`` are in ``text``, in order."""
    rest = iter(text)
    return all(char in rest for char in wanted if char.isalnum())
