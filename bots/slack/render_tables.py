"""Tables: Slack's ``table`` block where it fits, else aligned preformatted text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it.tree import SyntaxTreeNode

from bots.slack.render_elements import Block, Run, plain_text

_MAX_ROWS = 100
_MAX_COLUMNS = 20
"""Slack's limits (docs.slack.dev/reference/block-kit/blocks/table-block); the third, 10,000
characters in all cells, is above what a whole message may hold."""

_MAX_ALIGNED_WIDTH = 100
"""Columns of a line; a wider one is folded by Slack, and then alignment only costs room."""
_MAX_ALIGNED_CHARS = 4_000
_GAP = "  "
_NOT_RAW = frozenset("<>&@")
"""Whether Slack reads anything in ``raw_text`` is not documented; these characters could matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table's cells, header first; each cell is a run of elements, with bold headers."""

    rows: tuple[tuple[tuple[Block, ...], ...], ...]
    aligns: tuple[str, ...]

    def fits(self) -> bool:
        """Whether Slack takes it as a ``table`` block."""
        return len(self.rows) <= _MAX_ROWS and len(self.aligns) <= _MAX_COLUMNS

    def block(self) -> Block:
        """The ``table`` block."""
        return {
            "type": "table",
            "column_settings": [{"align": align, "is_wrapped": True} for align in self.aligns],
            "rows": [[_cell(cell) for cell in row] for row in self.rows],
        }

    def lines(self) -> list[Block]:
        """Text and links for a preformatted element, one line a row, columns aligned."""
        widths = [
            max(display_width(plain_text(row[column])) for row in self.rows)
            for column in range(len(self.aligns))
        ]
        width = sum(widths) + len(_GAP) * (len(widths) - 1)
        aligned = width <= _MAX_ALIGNED_WIDTH and width * len(self.rows) <= _MAX_ALIGNED_CHARS
        run = Run(styled=False)
        for number, row in enumerate(self.rows):
            if number:
                run.text("\n")
            for column, cell in enumerate(row):
                if column:
                    run.text(_GAP if aligned else " | ")
                room = widths[column] - display_width(plain_text(cell)) if aligned else 0
                before = _before(self.aligns[column], room)
                run.text(" " * before)
                run.extend(cell)
                if column < len(row) - 1:
                    run.text(" " * (room - before))
        return run.elements


def read_table(node: SyntaxTreeNode, *, styled: bool) -> Table:
    """The table of a syntax tree."""
    rows = list(_rows(node, styled=styled))
    header = node.children[0].children[0]
    return Table(
        rows=tuple(rows),
        aligns=tuple(
            str(cell.attrs.get("style", "text-align:left")).removeprefix("text-align:")
            for cell in header.children
        ),
    )


def display_width(text: str) -> int:
    """Columns that a text takes in a fixed-width font: two for each wide character."""
    return sum(map(_columns, text))


def _rows(node: SyntaxTreeNode, *, styled: bool) -> Iterator[tuple[tuple[Block, ...], ...]]:
    for part in node.children:
        for row in part.children:
            cells = []
            for cell in row.children:
                run = Run(styled=styled, bold=part.type == "thead")
                for inline in cell.children:
                    run.inline(inline.token.children or () if inline.token else ())
                cells.append(tuple(run.elements))
            yield tuple(cells)


def _cell(elements: tuple[Block, ...]) -> Block:
    text = plain_text(elements)
    if not text:
        return {"type": "raw_text", "text": " "}  # an empty one is refused
    if all(element.keys() == {"type", "text"} for element in elements) and _NOT_RAW.isdisjoint(
        text
    ):
        return {"type": "raw_text", "text": text}
    section: Block = {"type": "rich_text_section", "elements": list(elements)}
    return {"type": "rich_text", "elements": [section]}


def _before(align: str, room: int) -> int:
    """Spaces before a cell's text."""
    return {"right": room, "center": room // 2}.get(align, 0)


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
