"""HTML of the Bot API, refused where the real server refuses it, in its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.fakes.telegram_errors import ApiError, Json, unparsable
from tests.fakes.telegram_text import Formatted, in_order, utf16_len

_KIND_OF = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "tg-emoji": "custom_emoji",
    "tg-time": "date_time",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
}
_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(lt|gt|amp|quot)(?![A-Za-z]));?")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_SIMPLE = re.compile(r"<(/?)([a-z]+)>")
"""A tag without attributes: nearly all of them, so they are read without much ado."""
_PLAIN = re.compile(r"[^<&]+")
_NAME = re.compile(r"[^\s>]*")
_ATTRIBUTE = re.compile(r"[^\s=>/\"']*")
_TOKEN = re.compile(r"[A-Za-z0-9.-]*")
_SPACE = re.compile(r"\s*")


@dataclass(slots=True, kw_only=True)
class _Open:
    """A tag that waits for its end."""

    tag: str
    attributes: dict[str, str]
    offset: int


def parse_html(source: str) -> Formatted:
    """Text and entities. Raises ``ApiError``."""
    return _Parser(source).parse()


def _resolve(match: re.Match[str]) -> str:
    """A character reference's character; an unknown one stays as written."""
    hexadecimal, decimal, name = match.groups()
    if name:
        return _NAMED[name]
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(code) if 0 < code < 0x10FFFF and not 0xD800 <= code <= 0xDFFF else match.group()


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._out: list[str] = []
        self._length = 0
        self._open: list[_Open] = []
        self._entities: list[Json] = []
        self._language = ""

    def parse(self) -> Formatted:
        source = self._source
        while self._at < len(source):
            if source[self._at] == "<":
                self._tag()
            elif source[self._at] == "&":
                self._reference()
            else:
                self._put(self._take(_PLAIN))
        if self._open:
            raise unparsable(
                f'Can\'t find end tag corresponding to start tag "{self._open[-1].tag}"'
            )
        found = in_order(entity for entity in self._entities if entity["type"] != "skip")
        return Formatted(text="".join(self._out), entities=found)

    def _reference(self) -> None:
        match = _REFERENCE.match(self._source, self._at)
        self._put("&" if match is None else _resolve(match))
        self._at = self._at + 1 if match is None else match.end()

    def _tag(self) -> None:
        match = _SIMPLE.match(self._source, self._at)
        if match is not None and self._simple_tag(*match.groups()):
            self._at = match.end()
            return
        begin = self._at
        self._at += 1
        if self._source.startswith("/", self._at):
            self._at += 1
            self._end_tag(begin)
        else:
            self._start_tag(begin)

    def _simple_tag(self, slash: str, tag: str) -> bool:
        """Open or close it if nothing can be wrong with it."""
        if slash:
            if not self._open or self._open[-1].tag != tag:
                return False
            opened = self._open.pop()
            if self._length > opened.offset:
                self._close(opened)
            return True
        if tag not in _KIND_OF or tag == "span":
            return False
        self._open.append(_Open(tag=tag, attributes={}, offset=self._length))
        return True

    def _start_tag(self, begin: int) -> None:
        tag = self._take(_NAME).lower()
        if self._done:
            raise self._error("Unclosed start tag", begin)
        if tag not in _KIND_OF:
            raise self._error(f'Unsupported start tag "{tag}"', begin)
        attributes: dict[str, str] = {}
        while True:
            self._take(_SPACE)
            if self._done:
                raise self._error("Unclosed start tag", begin)
            if self._source[self._at] == ">":
                break
            self._attribute(tag, begin, attributes)
        self._at += 1
        if tag == "span" and attributes.get("class") != "tg-spoiler":
            raise self._error('Tag "span" must have class "tg-spoiler"', begin)
        self._open.append(_Open(tag=tag, attributes=attributes, offset=self._length))

    def _attribute(self, tag: str, begin: int, attributes: dict[str, str]) -> None:
        name = self._take(_ATTRIBUTE)
        if not name:
            raise self._error(f'Empty attribute name in the tag "{tag}"', begin)
        self._take(_SPACE)
        if not self._source.startswith("=", self._at):
            attributes[name] = ""
            return
        self._at += 1
        self._take(_SPACE)
        if self._done:
            raise self._error(f'Unclosed start tag "{tag}"', begin)
        quote = self._source[self._at]
        attributes[name] = self._quoted(quote, begin) if quote in "'\"" else self._token()

    def _quoted(self, quote: str, begin: int) -> str:
        end = self._source.find(quote, self._at + 1)
        if end < 0:
            raise self._error("Unclosed start tag", begin)
        value = self._source[self._at + 1 : end]
        self._at = end + 1
        return _REFERENCE.sub(_resolve, value)

    def _token(self) -> str:
        begin = self._at
        value = self._take(_TOKEN).lower()
        if (
            not self._done
            and not self._source[self._at].isspace()
            and self._source[self._at] != ">"
        ):
            raise self._error("Unexpected end of name token", begin)
        return value

    def _end_tag(self, begin: int) -> None:
        if not self._open:
            raise self._error("Unexpected end tag", begin)
        name = self._take(_NAME).lower()
        self._take(_SPACE)
        if not self._source.startswith(">", self._at):
            raise self._error("Unclosed end tag", begin)
        self._at += 1
        opened = self._open.pop()
        if name not in {"", opened.tag}:
            raise self._error(
                "Unmatched end tag", begin, f', expected "</{opened.tag}>", found "</{name}>"'
            )
        if self._length > opened.offset:
            self._close(opened)

    def _close(self, opened: _Open) -> None:
        entity: Json = {
            "type": _KIND_OF[opened.tag],
            "offset": opened.offset,
            "length": self._length - opened.offset,
        }
        if opened.tag == "blockquote" and "expandable" in opened.attributes:
            entity["type"] = "expandable_blockquote"
        elif opened.tag == "a":
            self._link(entity, opened)
        elif opened.tag == "tg-emoji":
            entity["custom_emoji_id"] = self._emoji(opened)
        elif opened.tag in {"pre", "code"}:
            self._code(entity, opened)
        self._entities.append(entity)

    def _link(self, entity: Json, opened: _Open) -> None:
        text = "".join(self._out).encode("utf-16-le")[2 * opened.offset :].decode("utf-16-le")
        link(entity, opened.attributes.get("href") or text)

    def _emoji(self, opened: _Open) -> str:
        value = opened.attributes.get("emoji-id", "")
        if not value.isdecimal() or int(value) == 0:
            raise unparsable("Invalid custom emoji identifier specified")
        return value

    def _code(self, entity: Json, opened: _Open) -> None:
        """``pre`` around exactly one ``code`` with a language is one entity."""
        last = self._entities[-1] if self._entities else {}
        if opened.tag == "code":
            name = opened.attributes.get("class", "")
            self._language = name.removeprefix("language-") if "language-" in name else ""
        elif self._language and last == {**entity, "type": "code"}:
            entity["language"] = self._language
            last["type"] = "skip"

    def _put(self, text: str) -> None:
        self._out.append(text)
        self._length += utf16_len(text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._source, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    @property
    def _done(self) -> bool:
        return self._at >= len(self._source)

    def _error(self, sentence: str, begin: int, tail: str = "") -> ApiError:
        offset = len(self._source[:begin].encode())
        return unparsable(f"{sentence} at byte offset {offset}{tail}")


def link(entity: Json, url: str) -> None:
    """Make an entity a link, a mention by id, or nothing where the address is no address."""
    mention = re.fullmatch(r"tg:(?://)?user\?id=(\d+)", url)
    if mention:
        entity["type"] = "text_mention"
        entity["user"] = {"id": int(mention[1]), "is_bot": False, "first_name": "?"}
    elif re.fullmatch(r"(?:https?|tg|ton|tonsite)://\S+|[\w-]+(?:\.[\w-]+)+(?:[:/?#]\S*)?", url):
        entity["url"] = url
    else:
        entity["type"] = "skip"
