"""Where the blocks of a Markdown text lie, and how a piece of it stands alone.

A piece is always a slice of the source plus what it needs around it: nothing is rendered
and parsed back, so no text can be lost on the way.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from core.markdown_blocks import Container, Leaf, LineCut, Place, Rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from markdown_it.token import Token

_BLOCKS = MarkdownIt("commonmark", {"html": False}).enable("table").disable("inline")

_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( {0,3}(?:[-+*]|\d{1,9}[.)]))([ \t]*)")
_BLOCK_START = re.compile(r"(?:#{1,6}|[-+*])(?=\s|$)|>|`{3}|~{3}|=+\s*$|[-_*]{3}|\|")
_TABLE_PARTS = ("thead", "tbody", "tr", "th", "td")
_LONGEST_INFO = 40
"""Characters of a code block's info string that are repeated when it is opened again."""
_WIDEST_ITEM_PADDING = 4
"""Spaces after a list marker; more of them start indented code (CommonMark 5.2)."""


class Layout:
    """The lines of a text, what each belongs to, and how good a cut before it is."""

    def __init__(self, text: str, *, most_repeated: Callable[[str], bool]) -> None:
        """``most_repeated`` says whether a header is short enough to be repeated."""
        self.text = text
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        count = len(self._lines)
        self._ranks = [Rank.LINE] * count
        self._containers: list[tuple[Container, ...]] = [()] * count
        self._leaves: list[Leaf | None] = [None] * count
        self._last_block = 0
        self._after_heading = False
        self._repeatable = most_repeated
        self._read(_BLOCKS.parse(text))
        self._cut_lines = [line for line in range(count) if self._ranks[line] < Rank.NEVER]
        self._cuts = [
            LineCut(place=Place(self._starts[line]), rank=self._ranks[line])
            for line in self._cut_lines
        ]

    # What the splitter asks.

    def finished(self) -> int:
        """Length of what text after the last line cannot change."""
        leaf = self._leaves[self._last_block]
        ends = leaf and not self._containers[self._last_block] and leaf.kind != "code_block"
        if leaf and ends and leaf.closed and "" in self._lines[leaf.end : -1]:
            return len(self.text)
        return self._starts[self._last_block]

    def line_cuts(self, start: Place) -> list[LineCut]:
        """All line boundaries after ``start`` where a cut is possible."""
        first = self._line_of(start.offset) + 1
        return self._cuts[bisect.bisect_left(self._cut_lines, first) :]

    def line_end(self, offset: int) -> int:
        """Offset after the last character of the line that ``offset`` is in."""
        line = self._line_of(offset)
        return min(self._starts[line + 1], len(self.text))

    def first_cut_inside(self, offset: int) -> int:
        """First offset, from ``offset``, that is after a line's markers.

        A line that is repeated in the next part is not cut, unless it is too long for that.
        """
        line = self._line_of(offset)
        body = self._starts[line] + self._marker_length(line, self._containers[line])
        leaf = self._leaves[line]
        if leaf and line < leaf.first + len(leaf.opener.splitlines()):
            if line + 1 < len(self._lines) and self._repeatable(self._lines[line]):
                return self.first_cut_inside(self._starts[line + 1])
            body += len(leaf.closer)
        return min(max(offset, body), self.line_end(offset) - 1)

    def is_code(self, offset: int) -> bool:
        """Whether the line is inside a fenced code block."""
        leaf = self._leaves[self._line_of(offset)]
        return leaf is not None and leaf.kind == "fence"

    def skip_blank(self, place: Place) -> Place:
        """Where a part that would start at ``place`` really starts: after blank space.

        Inside a code block blank space is text.
        """
        offset = place.offset
        if offset >= len(self.text) or self._open_leaf(place):
            return place
        line = self._line_of(offset)
        if place.inside:
            end = self.line_end(offset)
            rest = self.text[offset:end]
            if rest.strip():
                return Place(offset + len(rest) - len(rest.lstrip()), inside=True)
            line, offset = line + 1, end
        while line < len(self._lines) and not self._lines[line].strip():
            line += 1
        return Place(min(self._starts[line], len(self.text)))

    def render(self, start: Place, end: Place) -> str:
        """The slice from ``start`` to ``end`` with what it needs to stand alone."""
        first = self._line_of(start.offset)
        dropped = self._dropped(start)
        pieces: list[str] = []
        line = first
        while line < len(self._lines) and self._starts[line] < end.offset:
            low = max(start.offset, self._starts[line])
            high = min(end.offset, self._starts[line + 1], len(self.text))
            piece = self.text[low:high]
            if low == self._starts[line]:
                piece = self._without_items(piece, [c for c in dropped if c.end > line])
            pieces.append(piece)
            line += 1
        body = "".join(pieces)
        if self._is_prose(first) and (start.inside or self._starts_inside_leaf(start)):
            body = body.lstrip(" \t")
            marks = _QUOTE.match(body) if not start.inside else None
            if _BLOCK_START.match(body) and not marks:
                body = "\\" + body
        return self._opening(start, dropped) + self._closed(body, end, dropped)

    # How a piece is opened and closed.

    def _dropped(self, start: Place) -> tuple[Container, ...]:
        """The containers that ``start`` is in the middle of."""
        line = self._line_of(start.offset)
        if line >= len(self._lines):
            return ()
        return tuple(c for c in self._containers[line] if start.inside or c.first < line)

    def _opening(self, start: Place, dropped: tuple[Container, ...]) -> str:
        lead = "".join("> " for container in dropped if not container.width)
        leaf = self._open_leaf(start)
        inside = lead if start.inside else ""
        if leaf and (leaf.kind == "fence" or not start.inside):
            return "".join(lead + line + "\n" for line in leaf.opener.splitlines()) + inside
        return inside

    def _closed(self, body: str, end: Place, dropped: tuple[Container, ...]) -> str:
        leaf = self._fence_to_close(end)
        if leaf is None:
            return body.rstrip()
        lead = "".join(
            "> " if not container.width else " " * container.width * (container not in dropped)
            for container in leaf.containers
        )
        return body + ("" if body.endswith("\n") else "\n") + lead + leaf.closer

    def _fence_to_close(self, end: Place) -> Leaf | None:
        """The code block that a piece up to ``end`` leaves open."""
        whole = end.offset >= len(self.text)
        line = len(self._lines) if whole else self._line_of(end.offset)
        if whole or not end.inside:
            line -= 1
            while line > 0 and self._leaves[line] is None and not self._lines[line].strip():
                line -= 1
        leaf = self._leaves[min(line, len(self._lines) - 1)]
        if leaf is None or leaf.kind != "fence":
            return None
        cut_off = end.offset < min(self._starts[leaf.end], len(self.text))
        return leaf if cut_off or not leaf.closed else None

    def _open_leaf(self, place: Place) -> Leaf | None:
        """The code block or table that a cut at ``place`` is in the middle of."""
        line = self._line_of(place.offset)
        leaf = self._leaves[line] if line < len(self._lines) else None
        if leaf is None or leaf.kind not in ("fence", "table"):
            return None
        if place.inside:
            return leaf if leaf.kind == "fence" else None
        return leaf if leaf.first < line else None

    def _starts_inside_leaf(self, start: Place) -> bool:
        line = self._line_of(start.offset)
        leaf = self._leaves[line]
        return leaf is not None and leaf.first < line

    def _is_prose(self, line: int) -> bool:
        leaf = self._leaves[line] if line < len(self._lines) else None
        return leaf is not None and leaf.kind in ("paragraph_open", "heading_open")

    # Lines and their markers.

    def _line_of(self, offset: int) -> int:
        return bisect.bisect_right(self._starts, offset) - 1

    def _without_items(self, piece: str, dropped: list[Container]) -> str:
        """A line without the indentation of the list items that are not in this part."""
        kept, position = "", 0
        for container in dropped:
            if not container.width:
                quote = _QUOTE.match(piece, position)
                if quote is None:
                    break
                kept += quote.group()
                position = quote.end()
            else:
                position += _indent(piece[position:], container.width)
        return kept + piece[position:]

    def _marker_length(self, line: int, containers: tuple[Container, ...]) -> int:
        position, text = 0, self._lines[line]
        for container in containers:
            if not container.width:
                quote = _QUOTE.match(text, position)
                position = quote.end() if quote else position
            elif container.first == line:
                marker = _ITEM.match(text, position)
                end = marker.end(1) if marker else position
                position = end + _indent(text[end:], container.width - (end - position))
            else:
                position += _indent(text[position:], container.width)
        return position

    # Reading the token stream.

    def _read(self, tokens: list[Token]) -> None:
        stack: list[Container | None] = []
        for token in tokens:
            if token.nesting < 0:
                stack.pop()
                continue
            container = None
            if token.map and token.type != "inline":
                outer = tuple(container for container in stack if container)
                container = self._block(token, token.map[0], token.map[1], outer)
            if token.nesting > 0:
                stack.append(container)

    def _block(
        self, token: Token, first: int, end: int, outer: tuple[Container, ...]
    ) -> Container | None:
        end = max(min(end, len(self._lines)), first)
        if token.level == 0:
            self._last_block = first
        if first < len(self._lines) and not token.type.startswith(_TABLE_PARTS):
            self._rank_start(first, Rank.ITEM if token.level else Rank.BLOCK)
            self._after_heading = token.type == "heading_open"
        container = self._container(token, first, end, outer)
        if container is None:
            self._leaf(token, first, end, outer)
            return None
        for line in range(first, end):
            self._containers[line] = (*outer, container)
        return container

    def _rank_start(self, first: int, rank: Rank) -> None:
        if self._after_heading:
            self._ranks[first] = Rank.POOR
        elif self._ranks[first] is not Rank.POOR:
            self._ranks[first] = min(self._ranks[first], rank)

    def _container(
        self, token: Token, first: int, end: int, outer: tuple[Container, ...]
    ) -> Container | None:
        if token.type == "blockquote_open":
            return Container(first=first, end=end, width=0)
        if token.type == "list_item_open":
            position = self._marker_length(first, outer)
            marker = _ITEM.match(self._lines[first], position)
            if marker is None:
                return Container(first=first, end=end, width=2)
            padding = 0
            for char in marker[2]:
                padding += 1 if char == " " else 4 - (marker.end(1) + padding) % 4
            blank = not self._lines[first][marker.end() :].strip()
            if blank or padding > _WIDEST_ITEM_PADDING or not padding:
                padding = 1
            return Container(first=first, end=end, width=len(marker[1]) + padding)
        return None

    def _leaf(self, token: Token, first: int, end: int, containers: tuple[Container, ...]) -> None:
        match token.type:
            case "fence" if self._repeatable(token.markup * 2):
                self._set_leaf(self._fence(token, first, end, containers))
            case "table_open":
                self._set_leaf(self._table(first, end, containers))
            case "paragraph_open" | "heading_open" | "code_block" | "fence":
                kind = "code_block" if token.type == "fence" else token.type
                leaf = Leaf(kind=kind, first=first, end=end, containers=containers)
                self._set_leaf(leaf)

    def _set_leaf(self, leaf: Leaf) -> None:
        for line in range(leaf.first, leaf.end):
            self._leaves[line] = leaf

    def _fence(self, token: Token, first: int, end: int, containers: tuple[Container, ...]) -> Leaf:
        last = self._lines[end - 1][self._marker_length(end - 1, containers) :].strip()
        closed = (
            end - 1 > first and len(last) >= len(token.markup) and not last.strip(token.markup[0])
        )
        while not closed and end - 1 > first and not self._lines[end - 1].strip():
            end -= 1
        opening = self._lines[first][self._marker_length(first, containers) :]
        indent = " " * (len(opening) - len(opening.lstrip(" ")))
        info = token.info.strip()
        if len(info) > _LONGEST_INFO or not self._repeatable(info):
            info = info.split()[0] if len(info.split()[0]) <= _LONGEST_INFO else ""
        for line in {first + 1, end - 1} if closed else {first + 1}:
            if first < line < len(self._lines):
                self._ranks[line] = Rank.NEVER
        for line in range(first + 2, end):
            blank_before = not self._lines[line - 1].strip()
            if blank_before and self._ranks[line] < Rank.NEVER:
                self._ranks[line] = Rank.ROW
        return Leaf(
            kind="fence",
            first=first,
            end=end,
            containers=containers,
            opener=indent + token.markup + info,
            closer=indent + token.markup,
            closed=closed,
        )

    def _table(self, first: int, end: int, containers: tuple[Container, ...]) -> Leaf:
        header = "\n".join(
            self._lines[line][self._marker_length(line, containers) :]
            for line in (first, first + 1)
        )
        for line in range(first + 1, min(first + 3, end)):
            self._ranks[line] = Rank.NEVER
        for line in range(first + 3, end):
            self._ranks[line] = Rank.ROW
        if not self._repeatable(header):
            header = ""
        return Leaf(kind="table", first=first, end=end, containers=containers, opener=header)


def read_layout(text: str, *, limit: int = 0, measure: Callable[[str], int] = len) -> Layout:
    """Find the blocks of ``text``; headers over half of ``limit`` are not repeated."""
    return Layout(text, most_repeated=lambda header: measure(header) * 2 <= limit)


def _indent(text: str, width: int) -> int:
    """How many leading characters make up to ``width`` columns of blank space."""
    columns = used = 0
    for char in text:
        if columns >= width or char not in " \t":
            break
        columns += 1 if char == " " else 4 - columns % 4
        used += 1
    return used
