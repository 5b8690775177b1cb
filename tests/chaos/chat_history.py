"""What was said and what was shown on a chat platform, in words that no platform owns.

A planned message makes the fake provider answer with numbered words of its own (``q17e0x0``,
``q17e0x1`` ...), so whatever stands on a platform says which message it answers, where it
begins, and whether anything is missing, doubled or out of order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

PLACEHOLDERS = frozenset({"…", ""})
"""What a message shows that was posted and never edited; a stream begins empty."""

_WORD = re.compile(r"(q\d+[oe])[a-z]*?x(\d+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a person, as its platform holds it."""

    marker: str
    """What the words of its answer begin with, such as ``q17o``."""
    words: int
    edited: str
    """The marker after its edit, such as ``q17e``; empty where it was not edited."""
    edited_words: int
    platform: str
    place: str
    """Where it stands; its answer must stand there, too."""
    kind: str
    at: float
    in_order: bool
    """The platform delivered it after all that was said before it in this place.

    Not so where two were turned round, or where a second delivery may have come first.
    """
    files: int

    @property
    def expected(self) -> dict[str, int]:
        """How many words an answer may have, by marker."""
        return {self.marker: self.words} | ({self.edited: self.edited_words} if self.edited else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One message of the bot that stands on a platform."""

    platform: str
    place: str
    ref: str
    order: float
    """Grows with the position in its place."""
    texts: tuple[tuple[float, str], ...]
    """Everything it showed, with the time of each."""
    open: bool = False
    """The platform still waits for more of it (a stream)."""

    @property
    def text(self) -> str:
        """What it shows now."""
        return self.texts[-1][1]

    @property
    def final_at(self) -> float:
        """When it first showed what it shows now."""
        return next(at for at, text in self.texts if text == self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One message of the bot as a piece of an answer: its numbered words, in order."""

    shown: Shown
    numbers: tuple[int, ...]


def numbered(text: str) -> dict[str, tuple[int, ...]]:
    """The numbers of the words of each marker, as they stand."""
    found: dict[str, list[int]] = defaultdict(list)
    for marker, number in _WORD.findall(text):
        found[marker].append(int(number))
    return {marker: tuple(numbers) for marker, numbers in found.items()}


def parts_by_marker(shown: Iterable[Shown]) -> dict[str, tuple[Part, ...]]:
    """Every piece of every answer, by marker, in the order of the platform."""
    found: dict[str, list[Part]] = defaultdict(list)
    for message in sorted(shown, key=lambda item: item.order):
        for marker, numbers in numbered(message.text).items():
            found[marker].append(Part(shown=message, numbers=numbers))
    return {marker: tuple(parts) for marker, parts in found.items()}


def answered(said: Said, parts: dict[str, tuple[Part, ...]]) -> bool:
    """Whether a whole answer stands there."""
    return any(
        set(range(words)) <= {number for part in parts.get(marker, ()) for number in part.numbers}
        for marker, words in said.expected.items()
    )
