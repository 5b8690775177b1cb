"""A table of what was measured beside its bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, interpolated."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@dataclass(slots=True)
class Report:
    """Rows of one benchmark; a row with a bound that does not hold fails it."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def row(
        self,
        what: str,
        *figures: str,
        value: float | None = None,
        at_most: float | None = None,
        at_least: float | None = None,
        bound: str = "",
    ) -> None:
        """Add a row; ``value`` is what the bound is about, ``bound`` what is said of it."""
        if value is not None:
            limit = f"<= {at_most:g}" if at_most is not None else f">= {at_least:g}"
            bound = bound or limit
            holds = value <= at_most if at_most is not None else value >= (at_least or 0)
            bound += "" if holds else " **no**"
            if not holds:
                self.broken.append(what)
        cells = (*figures, *[""] * (len(self.columns) - len(figures)))
        self.rows.append((what, *cells, bound))

    def show(self) -> None:
        """Print the table as Markdown."""
        head = (self.title, *self.columns, "bound")
        widths = [max(len(row[i]) for row in (head, *self.rows)) for i in range(len(head))]
        lines = [head, tuple("-" * width for width in widths), *self.rows]
        print()
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            print(f"| {' | '.join(cells)} |", flush=True)


def verdict(*reports: Report) -> int:
    """Say which bounds do not hold; 1 if any, for ``sys.exit``."""
    broken = [what for report in reports for what in report.broken]
    print("\nAll bounds hold." if not broken else f"\nAbove its bound: {'; '.join(broken)}.")
    return 1 if broken else 0
