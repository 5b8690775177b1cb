"""The words in which the layout of a Markdown text is described."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Rank(IntEnum):
    """How good a cut right before a line is; less is better."""

    BLOCK = 0
    ITEM = 1
    ROW = 2
    LINE = 3
    POOR = 4
    """Between a heading and what it announces."""
    NEVER = 9


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the source. ``inside`` a line, or at the start of one."""

    offset: int
    inside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCut:
    """A line boundary where a part may end."""

    place: Place
    rank: Rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A quote or a list item, from its first line up to ``end``."""

    first: int
    end: int
    width: int
    """Columns its content is indented by; 0 is a quote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A block of lines without blocks inside."""

    kind: str
    first: int
    end: int
    containers: tuple[Container, ...]
    opener: str = ""
    """The fence with its language, or a table's header rows: what a further part repeats."""
    closer: str = ""
    closed: bool = True
