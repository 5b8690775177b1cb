"""Tables: aligned columns where a phone is wide enough, else a list of "header: value".

Also ``surplus``, the room that a table needs beyond its source.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from bots.telegram.render_spans import units

WIDEST = 48
"""Columns of the widest aligned table; a phone shows about 40, a desktop over 60."""

GAP = "  "

_TABLE = re.compile(
    r"^(?P<head>[^\n]*)\n"
    r"[ \t>]*(?:\|[ \t]*:?-|:-|-+:?[ \t]*\|)[^\n]*"
    r"(?P<rows>(?:\n[^\n]*\|[^\n]*)*)",
    re.MULTILINE,
)
_BAR = re.compile(r"(?<!\\)\|")
_FOLD_MARKS = 5
"""A bullet, a colon, the blanks around them and a line end, for each value of a folded table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table's plain text; each row has as many cells as ``head``."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]
    """Which columns are aligned to the right."""

    def widths(self) -> list[int]:
        """Columns of the screen that each column needs."""
        return [max(map(width, column)) for column in zip(self.head, *self.rows, strict=True)]

    def aligned(self) -> str:
        """The table in aligned columns, for a monospaced block."""
        widths = self.widths()
        rule = tuple("-" * columns for columns in widths)
        return "\n".join(self._line(row, widths) for row in (self.head, rule, *self.rows))

    def _line(self, row: Sequence[str], widths: list[int]) -> str:
        cells = zip(row, widths, self.right, strict=True)
        return GAP.join(
            _padded(text, columns, right=right) for text, columns, right in cells
        ).rstrip()


def total_width(widths: Sequence[int]) -> int:
    """Columns of a whole line."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def width(text: str) -> int:
    """Columns of a monospaced screen: two for East Asian wide characters and emoji."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _padded(text: str, columns: int, *, right: bool) -> str:
    padding = " " * (columns - width(text))
    return padding + text if right else text + padding


def surplus(text: str) -> int:
    """About how many more units the tables of ``text`` need than their source has.

    Never shrinks by more than ``text`` grows. It may be too small (a row without bars): then the
    table is written without padding, which needs no more than its source.
    """
    if "|" not in text:
        return 0
    return sum(_surplus_of(match) for match in _TABLE.finditer(text))


def _surplus_of(match: re.Match[str]) -> int:
    source = match.group()
    head = _cells(match["head"])
    rows = [_cells(row) for row in match["rows"].split("\n")[1:]]
    widths = [width(cell) for cell in head]
    for row in rows:
        beyond = sum(width(cell) + 1 for cell in row[len(head) :])
        for index, cell in enumerate(row[: len(head)]):
            widths[index] = max(widths[index], width(cell) + beyond)
    columns = total_width(widths)
    needed = (min(columns, WIDEST) + 1) * (len(rows) + 2)
    if columns > WIDEST or "](" in source:
        names = sum(units(cell) + _FOLD_MARKS for cell in head)
        needed = max(needed, sum(names + sum(map(units, row)) for row in rows))
    return max(0, needed - len(source))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip(" \t>").strip("|").split("|")]


def cells_of(line: str, columns: int) -> list[str]:
    """The cells of a source row that has more than ``columns``, joined to that many; else none.

    Code is joined first (`ps | grep x` is not cut at its bar), then what is beyond the last.
    """
    cells = _BAR.split(line.strip(" \t>"))
    if cells[0] == "":
        cells = cells[1:]
    if cells and cells[-1] == "":
        cells = cells[:-1]
    if len(cells) <= columns:
        return []
    place = 0
    while place + 1 < len(cells) > columns:
        if cells[place].count("`") % 2:
            cells[place : place + 2] = [cells[place] + "|" + cells[place + 1]]
        else:
            place += 1
    cells[columns - 1 :] = ["|".join(cells[columns - 1 :])]
    return [cell.strip().replace("\\|", "|") for cell in cells]
