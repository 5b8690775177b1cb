"""How tools say what they saw: a judging first line, humane sizes, compact tables.

All text that comes from a server is made harmless here: no control characters, no Markdown
that a process name or a log line smuggles in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

MAX_ROWS = 40
_CELL_CHARS = 80
_KIBI = 1024
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


class Verdict(IntEnum):
    """How bad a finding is; the mark stands at the beginning of a tool's first line."""

    UNKNOWN = -1
    """Nothing is known to be wrong, because this could not be looked at."""
    FINE = 0
    LOOK = 1
    ACT = 2

    @property
    def mark(self) -> str:
        """What the first line begins with: nothing when all is well."""
        return {-1: "? ", 0: "", 1: "⚠ ", 2: "‼ "}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a tool found: one sentence that judges, then the details as Markdown."""

    headline: str
    details: str = ""
    verdict: Verdict = Verdict.FINE
    failed: bool = False
    """The tool could not look; the headline says why."""

    def text(self, server: str) -> str:
        """The tool's output, for the server of this name."""
        named = self.failed and self.headline.startswith(f"{clean(server)} ")
        first = f"{self.verdict.mark}{'' if named else f'{clean(server)}: '}{self.headline}"
        return f"{first}\n\n{self.details}" if self.details else first


def failure(sentence: str) -> Report:
    """A report that the tool could not look."""
    return Report(headline=sentence, failed=True)


def verdict_of(first_line: str) -> Verdict:
    """Read the verdict back from a tool's first line."""
    for verdict in (Verdict.ACT, Verdict.LOOK, Verdict.UNKNOWN):
        if first_line.startswith(verdict.mark):
            return verdict
    return Verdict.FINE


def size(number: float) -> str:
    """Bytes in binary units, as ``df -h`` and ``free -h`` count: ``4.1 GiB``."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < _KIBI:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIBI
    return f"{value:.1f} PiB"


def duration(seconds: float) -> str:
    """A duration in its one or two largest units: ``3 d 4 h``, ``12 min``, ``5 s``."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // _DAY, whole % _DAY // _HOUR, whole % _HOUR // _MINUTE
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{whole} s"


def count(number: int, one: str, many: str | None = None) -> str:
    """``1 process``, ``3 processes``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def clean(text: str) -> str:
    """One harmless line of text from a server."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text)).replace("\n", " ").replace("\t", " ").strip()


def clean_block(text: str) -> str:
    """Harmless lines of text from a server; line feeds and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def cell(text: str, *, width: int = _CELL_CHARS) -> str:
    """A table cell: harmless, short, without the table's own separator."""
    line = clean(text)
    short = line if len(line) <= width else line[: width - 1] + "…"
    return re.sub(r"([\\|`*_<\[\]])", r"\\\1", short)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    limit: int = MAX_ROWS,
    width: int = _CELL_CHARS,
) -> str:
    """A Markdown table of at most ``limit`` rows; a line below says how many were left out."""
    body = [tuple(cell(value, width=width) for value in row) for row in rows]
    if not body:
        return ""
    lines = [head, ["---"] * len(head), *body[:limit]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left = len(body) - limit
    return f"{text}\n\n… and {left} more." if left > 0 else text


def fenced(text: str) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
