"""The tree of a Markdown text, written block by block with the marks Telegram can show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from markdown_it.token import Token

from bots.telegram.render_links import linkable, shown, text_definitions
from bots.telegram.render_spans import BOLD, ITALIC, LINK, QUOTE, STRIKE, Writer
from bots.telegram.render_tables import WIDEST, Grid, cells_of, total_width
from core.markdown import parser

RULE = "———"
BULLET = "•"
_DEEPEST = 19
"""The parser leaves out what is nested deeper; such a text is shown as it was written."""

NO_TEXT = "↗"
"""What a link without a text shows where its URL would take too much room."""

_STYLES = {"em_open": ITALIC, "strong_open": BOLD, "s_open": STRIKE}
_LANGUAGE = re.compile(r"[\w+#.-]{1,32}")


class Fit(IntEnum):
    """How much room may be spent on looks; each needs no more than the one before."""

    LOOSE = 0
    """Tables are aligned or folded."""
    TIGHT = 1
    """Tables are written as they are."""
    BARE = 2
    """No indentation either, numbers as written: never longer than the source."""


@dataclass(slots=True)
class _List:
    prefix: str
    number: int | None
    """Of the next item; None in a bullet list."""


@dataclass(slots=True)
class _Row:
    cells: list[list[Token]] = field(default_factory=list)


def write_markdown(text: str, fit: Fit) -> Writer:
    """Write all blocks of ``text``."""
    lines = text.split("\n")
    for line in text_definitions(text):
        lines[line] = lines[line].replace("[", "\\[", 1)
    tokens = parser().parse("\n".join(lines))
    if any(token.level >= _DEEPEST and token.nesting > 0 for token in tokens):
        writer = Writer()
        writer.write(text)
        return writer
    return _Blocks(lines, fit).write(tokens)


class _Blocks:
    def __init__(self, lines: list[str], fit: Fit) -> None:
        self._lines = lines
        self._fit = fit
        self._out = Writer()
        self._inline = _Inline(self._out, fit)
        self._lists: list[_List] = []
        self._quotes: list[str] = []
        """The prefix before each open quote."""
        self._first = True
        """Nothing precedes in the document, quote or list item."""

    def write(self, tokens: Sequence[Token]) -> Writer:
        """Write a document."""
        tables = iter(tokens)
        for token in tables:
            if token.type == "table_open":
                self._start(token)
                self._table(self._rows(tables))
            else:
                self._block(token)
        return self._out

    def _block(self, token: Token) -> None:
        out = self._out
        match token.type:
            case "paragraph_open":
                self._start(token)
            case "inline":
                self._inline.write(token.children or ())
            case "heading_open":
                self._start(token)
                out.open(BOLD)
            case "heading_close":
                out.close()
            case "fence" | "code_block":
                self._start(token)
                self._code(token)
            case "hr":
                self._start(token)
                out.write(RULE)
            case _:
                self._container(token)

    def _container(self, token: Token) -> None:
        match token.type:
            case "blockquote_open":
                self._start(token)
                self._open_quote()
            case "blockquote_close":
                self._out.newline(1)
                self._out.prefix = self._quotes.pop()
                self._out.close()
                self._first = False
            case "bullet_list_open" | "ordered_list_open":
                self._start(token)
                self._first = True
                number = int(token.attrs.get("start", 1)) if token.tag == "ol" else None
                self._lists.append(_List(self._out.prefix, number))
            case "bullet_list_close" | "ordered_list_close":
                self._out.prefix = self._lists.pop().prefix
            case "list_item_open":
                self._start(token)
                self._item(token, self._lists[-1])
            case "list_item_close":
                self._out.prefix = self._lists[-1].prefix
                self._first = False

    def _start(self, token: Token) -> None:
        """Separate a block from the one before as the source does: by a blank line, or not."""
        if self._first:
            self._first = False
            return
        line = token.map[0] if token.map else 0
        blank = line > 0 and not self._lines[line - 1].strip(" \t>")
        self._out.newline(2 if blank else 1)

    def _open_quote(self) -> None:
        out = self._out
        self._first = True
        self._quotes.append(out.prefix)
        if out.inside(QUOTE):  # Telegram has no quotes in quotes
            out.prefix += "" if self._fit is Fit.BARE else "> "
        else:
            out.newline(1)
            out.prefix = ""
        out.open(QUOTE)

    def _item(self, token: Token, items: _List) -> None:
        self._first = True
        if items.number is None:
            mark = BULLET
        else:
            number = token.info if self._fit is Fit.BARE else str(items.number)
            mark = number + token.markup
            items.number += 1
        self._out.mark(mark)
        if self._fit is not Fit.BARE:
            self._out.prefix += "  "

    def _code(self, token: Token) -> None:
        info = token.info.strip()
        if not token.content.strip():
            self._out.pre(info)  # ```df -h``` over two lines is a command, not a language
            return
        language = _LANGUAGE.fullmatch(info.split()[0]) if info else None
        self._out.pre(token.content, language.group() if language else "")

    def _rows(self, tokens: Iterator[Token]) -> tuple[list[_Row], tuple[bool, ...]]:
        """The rows up to the table's end, and which columns are aligned to the right."""
        rows: list[_Row] = []
        right: list[bool] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append(_Row())
                line = token.map[0] if token.map else 0
            elif token.type == "th_open":
                right.append(token.attrs.get("style") == "text-align:right")
            elif token.type == "inline":
                rows[-1].cells.append(token.children or [])
            elif token.type == "tr_close":
                self._recover(rows[-1], line, len(right))
            elif token.type == "table_close":
                break
        return rows, tuple(right)

    def _recover(self, row: _Row, line: int, columns: int) -> None:
        """Put text beyond the last column back: `ps | grep x` in a cell is two by the rules."""
        if self._lines[line].count("|") < columns:
            return
        cells = cells_of(self._lines[line], columns)
        if cells:
            row.cells = [parser().parseInline(cell)[0].children or [] for cell in cells]

    def _table(self, table: tuple[list[_Row], tuple[bool, ...]]) -> None:
        rows, right = table
        plain = [[self._plain(cell) for cell in row.cells] for row in rows]
        linked = any(writer.spans for row in plain for writer in row)
        texts = [tuple(writer.text for writer in row) for row in plain]
        grid = Grid(head=texts[0], rows=tuple(texts[1:]), right=right)
        if self._fit is not Fit.LOOSE:
            self._as_written(rows, texts, linked=linked)
        elif linked or total_width(grid.widths()) > WIDEST:
            self._folded(rows)
        else:
            self._out.pre(grid.aligned())
        self._first = False

    def _plain(self, cell: Sequence[Token]) -> Writer:
        """A cell's text, with no spans but those of links."""
        writer = Writer()
        _Inline(writer, self._fit).write(cell)
        writer.spans = [span for span in writer.spans if span.kind is LINK]
        return writer

    def _as_written(self, rows: list[_Row], texts: list[tuple[str, ...]], *, linked: bool) -> None:
        if not linked:
            self._out.pre("\n".join("|".join(row).rstrip("|") for row in texts))
            return
        for row in rows:
            for place, cell in enumerate(row.cells):
                if place:
                    self._out.write("|")
                self._inline.write(cell)
            self._out.newline(1)

    def _folded(self, rows: list[_Row]) -> None:
        """Each row as a list of its values, under its first one in bold."""
        head, *body = rows
        for row in body or [_Row(cells=[[] for _ in head.cells])]:
            for place, (name, value) in enumerate(zip(head.cells, row.cells, strict=True)):
                self._out.newline(1)
                if place:
                    self._out.mark(BULLET)
                else:
                    self._out.open(BOLD)
                before = self._out.length
                self._inline.write(name)
                if self._out.length > before:
                    self._out.write(": " if value else ":")
                self._inline.write(value)
                if not place:
                    self._out.close()


@dataclass(slots=True, frozen=True, kw_only=True)
class _Link:
    url: str
    written: bool
    """Its text is its URL."""
    start: int


class _Inline:
    """Text inside a block."""

    def __init__(self, out: Writer, fit: Fit) -> None:
        self._out = out
        self._fit = fit
        self._links: list[_Link] = []

    def write(self, tokens: Sequence[Token]) -> None:
        """Write a line of text, with its breaks."""
        for token in tokens:
            match token.type:
                case "softbreak" | "hardbreak":
                    self._out.newline(1)
                case "code_inline":
                    self._out.code(token.content)
                case "link_open":
                    self._open_link(str(token.attrs["href"]), written=token.info == "auto")
                case "link_close":
                    self._close_link()
                case "image":
                    self._open_link(str(token.attrs["src"]), written=False)
                    self.write(token.children or ())
                    self._close_link()
                case "em_open" | "strong_open" | "s_open":
                    self._out.open(_STYLES[token.type])
                case "em_close" | "strong_close" | "s_close":
                    self._out.close()
                case _:
                    self._out.write(token.content)

    def _open_link(self, url: str, *, written: bool) -> None:
        if linkable(url):
            self._out.open(LINK, url)
        self._links.append(_Link(url=url, written=written, start=self._out.length))

    def _close_link(self) -> None:
        """End a link; Telegram shows no URL that it does not take, so that goes into the text."""
        out, link = self._out, self._links.pop()
        empty = out.length == link.start
        if linkable(link.url):
            if empty:
                out.write(self._shown(link) if self._fit is Fit.LOOSE else NO_TEXT)
            out.close()
        elif empty:
            out.write(self._shown(link))
        elif not link.written:
            url = self._shown(link)
            if url and out.text[link.start :].strip() != url:
                out.write(f" ({url})")

    def _shown(self, link: _Link) -> str:
        return shown(link.url, shortest=self._fit is Fit.BARE)
