"""Text from outside as a person must see it: nothing hidden, nothing reordered, nothing faked.

A command that somebody is to approve may hold characters that are not shown, that turn the
reading direction round, or that push the rest out of sight. They are written out in angle
brackets, such as ``⟨U+202E⟩`` and ``⟨40 spaces⟩``; the brackets themselves are written out too,
so that no text can claim to hold one. (Unicode Technical Report 36, section 2, and "Trojan
Source", CVE-2021-42574.)
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_OPEN, _CLOSE = "⟨", "⟩"
MOST_SPACES: Final = 40
"""Longer runs are written as a number: they push what follows out of sight."""
MOST_BLANK_LINES: Final = 2
MOST_MARKS: Final = 2
"""Combining marks on one letter; more of them are drawn over the lines around."""

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and signs that draw nothing (Unicode, Default_Ignorable_Code_Point; braille)."""
_SELECTORS: Final = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0000, 0xE1000))
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_SPACES: Final = re.compile(rf" {{{MOST_SPACES + 1},}}")
_TRAILING: Final = re.compile(r" +(?=\n|\Z)")
_BLANK_LINES: Final = re.compile(rf"(?:(?<=\n)|\A)\n{{{MOST_BLANK_LINES + 1},}}")
_PUNCTUATION: Final = re.compile(r"([\\`*_\[\]<>|~#&!$])")


def visible_code(text: str) -> str:
    """Many lines for a code block: exactly what is there, and all of it in sight.

    Letters that run from right to left are written out: they reorder the signs beside them.
    """
    shown = _written_out(text, keep="\n", ordered=True)
    shown = _SPACES.sub(lambda run: _counted(len(run[0]), "spaces"), shown)
    shown = _TRAILING.sub(lambda run: _counted(len(run[0]), "spaces at the end"), shown)
    return _BLANK_LINES.sub(lambda run: _counted(len(run[0]), "empty lines") + "\n", shown)


def visible_change(text: str) -> str:
    """A diff for a code block, as ``visible_code``; tabs and blanks at the end stay."""
    shown = _written_out(text.replace("\r\n", "\n"), keep="\n\t", ordered=True)
    shown = _SPACES.sub(lambda run: _counted(len(run[0]), "spaces"), shown.expandtabs(4))
    return _BLANK_LINES.sub(lambda run: _counted(len(run[0]), "empty lines") + "\n", shown)


def visible_line(text: str, most: int) -> str:
    """Prose as Markdown that shows it and nothing else: one line, cut with a mark if it is long."""
    line = _written_out(" ".join(text.split()), keep="", ordered=False)
    if len(line) > most:
        line = f"{line[: most - 1].rstrip()}…"
    return _PUNCTUATION.sub(r"\\\1", line)


def fenced(text: str, language: str = "") -> str:
    """A code block that its text cannot end (CommonMark 0.31, section 4.5)."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _counted(count: int, what: str) -> str:
    return f"{_OPEN}{count} {what}{_CLOSE}"


def _written_out(text: str, *, keep: str, ordered: bool) -> str:
    plain = text
    for char in keep:
        plain = plain.replace(char, "")
    if plain.isascii() and plain.isprintable():  # most is, and may be long
        return text
    made: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        hidden = char not in keep and _is_hidden(char, category)
        turned = ordered and unicodedata.bidirectional(char) in _RIGHT_TO_LEFT
        if hidden or turned or marks > MOST_MARKS:
            made.append(f"{_OPEN}U+{ord(char):04X}{_CLOSE}")
        else:
            made.append(char)
    return "".join(made)


def _is_hidden(char: str, category: str) -> bool:
    if category in _HIDDEN_CATEGORIES or char in _BLANK or char in (_OPEN, _CLOSE):
        return True
    if category == "Zs":
        return char != " "
    return any(ord(char) in selectors for selectors in _SELECTORS)
