"""The same question to several servers: who answers alike, and what differs from most."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from core.fleet.report import Verdict, clean, count, fenced
from core.fleet.together import names

_SHOWN_CHARS = 4_000
_DIFF_LINES = 60
_GROUPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one server said, or why it said nothing."""

    server: str
    text: str = ""
    problem: str = ""


def compared(what: str, answers: Sequence[Answer]) -> str:
    """The output: a judging line, the answer of most, and how each other group differs."""
    groups: dict[str, list[str]] = {}
    for each in answers:
        if not each.problem:
            groups.setdefault(each.text.strip(), []).append(each.server)
    silent = [each for each in answers if each.problem]
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[1]))
    parts = [_headline(what, [members for _, members in ordered], silent, len(answers))]
    if ordered:
        usual = ordered[0][0]
        parts.append(f"### {names(ordered[0][1], most=40)}\n\n{fenced(_cut(usual))}")
        parts += [_section(usual, text, members) for text, members in ordered[1:_GROUPS]]
        hidden = len(ordered) - _GROUPS
        parts += [f"… and {count(hidden, 'more answer')}."] if hidden > 0 else []
    parts += [f"- {clean(each.server)}: {each.problem}" for each in silent]
    return "\n\n".join(parts)


def _headline(
    what: str, groups: Sequence[Sequence[str]], silent: Sequence[Answer], total: int
) -> str:
    known = total - len(silent)
    nothing = f"; {len(silent)} gave no answer" if silent else ""
    if not groups:
        return f"{Verdict.UNKNOWN.mark}{what}: none of {count(total, 'server')} answered."
    if len(groups) == 1:
        mark = Verdict.LOOK.mark if silent else ""
        alike = "1 server answered" if known == 1 else f"all {known} servers agree"
        return f"{mark}{what}: {alike}{nothing}."
    others = [name for members in groups[1:] for name in members]
    if len(groups[0]) == len(groups[1]):
        return (
            f"{Verdict.LOOK.mark}{what}: {len(groups)} different answers from {known} servers, "
            f"without a majority{nothing}."
        )
    return (
        f"{Verdict.LOOK.mark}{what}: {len(others)} of {known} servers differ from the others: "
        f"{names(others)}{nothing}."
    )


def _section(usual: str, text: str, members: Sequence[str]) -> str:
    """A short answer as it is, a long one as the difference from most."""
    title = f"### {names(members, most=40)}"
    if "\n" not in usual and "\n" not in text:
        return f"{title}\n\n{fenced(_cut(text))}"
    lines = list(
        difflib.unified_diff(
            usual.splitlines(), text.splitlines(), "most", "here", lineterm="", n=1
        )
    )
    left = len(lines) - _DIFF_LINES
    more = f"\n[… {left} more lines differ]" if left > 0 else ""
    return f"{title}\n\n{fenced(_cut(chr(10).join(lines[:_DIFF_LINES])) + more)}"


def _cut(text: str) -> str:
    if len(text) <= _SHOWN_CHARS:
        return text
    return f"{text[:_SHOWN_CHARS]}\n[… {len(text) - _SHOWN_CHARS:,} more characters]"
