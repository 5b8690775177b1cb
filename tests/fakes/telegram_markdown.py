"""MarkdownV2 of the Bot API, refused where the real server refuses it, in its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.fakes.telegram_errors import ApiError, Json, bad, unparsable
from tests.fakes.telegram_html import link, parse_html
from tests.fakes.telegram_text import Formatted, in_order, parse_entities, utf16_len

_RESERVED = frozenset("_*[]()~`>#+-=|{}.!")
_NAMES = {
    "bold": "Bold",
    "italic": "Italic",
    "underline": "Underline",
    "strikethrough": "Strikethrough",
    "spoiler": "Spoiler",
    "code": "Code",
    "pre": "Pre",
    "text_link": "TextUrl",
    "custom_emoji": "CustomEmoji",
    "blockquote": "BlockQuote",
}
_MARKS = (
    ("__", "underline"),
    ("_", "italic"),
    ("*", "bold"),
    ("~", "strikethrough"),
    ("||", "spoiler"),
    ("[", "text_link"),
    ("![", "custom_emoji"),
    ("```", "pre"),
    ("`", "code"),
)
_ENDS = {kind: mark for mark, kind in _MARKS} | {"text_link": "]", "custom_emoji": "]"}
_LANGUAGE = re.compile(r"[^\s`]+(?=[^`\S])")
_NEW_LINE = re.compile(r"\r\n|\n\r|\n|\r")


@dataclass(slots=True, kw_only=True)
class _Open:
    """A mark that waits for its end."""

    kind: str
    offset: int
    begin: int
    out: int
    language: str = ""


def formatted(text: str, parse_mode: str, entities: str) -> Formatted:
    """Text and entities of a request; a parse mode wins over entities. Raises ``ApiError``."""
    mode = parse_mode.lower()
    if not text or mode in {"", "none"}:
        return Formatted(text=text, entities=parse_entities(text, entities) if entities else ())
    if mode == "html":
        return parse_html(text)
    if mode == "markdownv2":
        return parse_markdown(text)
    raise bad("unsupported parse_mode")


def parse_markdown(source: str) -> Formatted:
    """Text and entities. Raises ``ApiError``."""
    return _Parser(source).parse()


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._out: list[str] = []
        self._length = 0
        self._open: list[_Open] = []
        self._entities: list[Json] = []
        self._line_start = True
        self._quoted = False

    def parse(self) -> Formatted:
        while self._at < len(self._source):
            self._step()
        if self._quoted:
            self._end_quote()
        if self._open:
            raise self._unclosed()
        found = in_order(entity for entity in self._entities if entity["type"] != "skip")
        return Formatted(text="".join(self._out), entities=found)

    def _step(self) -> None:
        symbol = self._source[self._at]
        following = self._source[self._at + 1 : self._at + 2]
        verbatim = bool(self._open) and self._open[-1].kind in {"code", "pre"}
        if symbol == "\\" and "\x00" < following <= "~":
            self._at += 1
            self._put(following)
        elif verbatim and symbol not in "`\n":
            self._put(symbol)
        elif symbol == "\n":
            self._new_line()
        elif symbol not in _RESERVED:
            self._put(symbol)
        elif not self._close():
            self._begin(symbol)

    def _new_line(self) -> None:
        ends = self._quoted and not self._source.startswith(">", self._at + 1)
        verbatim = bool(self._open) and self._open[-1].kind in {"code", "pre"}
        if not ends or verbatim:
            self._put("\n")
            return
        self._put("\n")
        self._end_quote(at_line_end=True)

    def _end_quote(self, *, at_line_end: bool = False) -> None:
        kind = "blockquote"
        end = self._at - 1 if at_line_end else self._at
        if self._open[-1].kind == "spoiler" and self._open[-1].begin == end - 2:
            self._open.pop()
            kind = "expandable_blockquote"
        if self._open[-1].kind != "blockquote":
            raise self._unclosed()
        opened = self._open.pop()
        self._quoted = False
        self._add(kind, opened)

    def _close(self) -> bool:
        if not self._open:
            return False
        opened = self._open[-1]
        mark = _ENDS.get(opened.kind)
        if mark is None or not self._source.startswith(mark, self._at):
            return False
        if mark == "_" and self._source.startswith("__", self._at):
            return False
        self._open.pop()
        self._at += len(mark)
        entity = self._add(opened.kind, opened)
        if opened.kind == "text_link":
            text = "".join(self._out[opened.out :])
            link(entity, self._url() if self._source.startswith("(", self._at) else text)
        elif opened.kind == "custom_emoji":
            self._emoji(entity)
        elif opened.language:
            entity["language"] = opened.language
        return True

    def _add(self, kind: str, opened: _Open) -> Json:
        length = self._length - opened.offset
        entity: Json = {"type": kind, "offset": opened.offset, "length": length}
        if length:
            self._entities.append(entity)
        return entity

    def _url(self) -> str:
        self._at += 1
        begin, url = self._at, []
        while self._at < len(self._source) and self._source[self._at] != ")":
            if self._source[self._at] == "\\" and self._at + 1 < len(self._source):
                self._at += 1
            url.append(self._source[self._at])
            self._at += 1
        if self._at >= len(self._source):
            raise self._error("Can't find end of a URL", begin)
        self._at += 1
        return "".join(url)

    def _emoji(self, entity: Json) -> None:
        if not self._source.startswith("(", self._at):
            raise unparsable("The entity must contain a tg://emoji or tg://time URL")
        match = re.fullmatch(r"tg://emoji\?id=(\d+)", self._url())
        if match is None:
            raise unparsable("Invalid tg://emoji or tg://time URL specified")
        entity["custom_emoji_id"] = match[1]

    def _begin(self, symbol: str) -> None:
        begin = self._at
        if symbol == ">" and self._line_start:
            self._at += 1
            if not self._quoted:
                self._quoted = True
                self._push("blockquote", begin)
            return
        for mark, kind in sorted(_MARKS, key=lambda item: -len(item[0])):
            if self._source.startswith(mark, self._at):
                self._at += len(mark)
                self._push(kind, begin, self._language() if kind == "pre" else "")
                return
        raise unparsable(
            f"Character '{symbol}' is reserved and must be escaped with the preceding '\\'"
        )

    def _language(self) -> str:
        match = _LANGUAGE.match(self._source, self._at)
        self._at = match.end() if match else self._at
        line = _NEW_LINE.match(self._source, self._at)
        self._at = line.end() if line else self._at
        return match.group() if match else ""

    def _push(self, kind: str, begin: int, language: str = "") -> None:
        self._open.append(
            _Open(
                kind=kind,
                offset=self._length,
                begin=begin,
                out=len(self._out),
                language=language,
            )
        )

    def _put(self, symbol: str) -> None:
        self._at += 1
        self._out.append(symbol)
        self._length += utf16_len(symbol)
        if symbol != "\r":
            self._line_start = symbol == "\n"

    def _unclosed(self) -> ApiError:
        opened = self._open[-1]
        name = "PreCode" if opened.language else _NAMES[opened.kind]
        return self._error(f"Can't find end of {name} entity", opened.begin)

    def _error(self, sentence: str, begin: int) -> ApiError:
        return unparsable(f"{sentence} at byte offset {len(self._source[:begin].encode())}")
