"""What is found while one text is judged, and what its commands must know of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.protected import ProtectedPaths
from core.risk import Level
from core.shell.words import Word

MOST_NESTED = 40
"""Texts and compound commands inside each other; deeper is not judged."""
_MOST_COMMANDS = 3000
"""Of one judgement, with every text inside a text; it bounds the time."""
_MOST_SHOWN = 90

JudgeText = Callable[[str, "Findings"], None]
JudgeCommand = Callable[[list[Word], "Findings"], None]


@dataclass(slots=True, kw_only=True)
class Findings:
    """Collects levels and reasons; nothing ever lowers what was found."""

    protected: ProtectedPaths
    raised: Mapping[str, Level]
    judge_text: JudgeText
    """Judges text inside the text, as of ``sh -c``, into these findings."""
    judge_command: JudgeCommand
    """Judges a command inside a command, as of ``sudo``."""
    dirs: list[str] = field(default_factory=list)
    """Where it may stand, besides where it starts: the targets of ``cd`` and the like."""
    functions: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    """Names that the text itself sets."""
    depth: int = 0
    sudo: bool = False
    spent: int = 0
    found: list[tuple[Level, str]] = field(default_factory=list)
    undo: list[str] = field(default_factory=list)
    checked: dict[tuple[str, bool], str | None] = field(default_factory=dict)
    """Paths that were asked about already, and the answer."""
    words_checked: set[tuple[str, bool, bool, int]] = field(default_factory=set)
    """Words that were looked through already."""

    def add(self, level: Level, reason: str) -> None:
        """Note a level and why."""
        if level > Level.L0 and (level, reason) not in self.found[:64]:
            self.found.append((level, reason))

    def undone_by(self, hint: str) -> None:
        """Note how a change is undone."""
        self.undo.append(hint)

    @property
    def level(self) -> Level:
        """The gravest so far."""
        return max((level for level, _ in self.found), default=Level.L0)

    def spend(self) -> bool:
        """Count one command; False when there were too many."""
        self.spent += 1
        if self.spent > _MOST_COMMANDS:
            self.add(Level.L2, "it holds more commands than can be judged")
            return False
        return True

    def text(self, text: str) -> None:
        """Judge text that a command hands to a shell."""
        if self.depth >= MOST_NESTED:
            self.add(Level.L2, "it is nested too deeply to be judged")
            return
        self.depth += 1
        self.judge_text(text, self)
        self.depth -= 1

    def command(self, words: list[Word]) -> Level:
        """Judge a command that a command runs; returns what it added."""
        if self.depth >= MOST_NESTED:
            self.add(Level.L2, "it is nested too deeply to be judged")
            return Level.L2
        start = len(self.found)
        self.depth += 1
        self.judge_command(words, self)
        self.depth -= 1
        return max((level for level, _ in self.found[start:]), default=Level.L0)

    def forbidden_in(self, text: str) -> None:
        """Look into text that some other language may hand to a shell; only L3 counts."""
        inner = Findings(
            protected=self.protected,
            raised={},
            judge_text=self.judge_text,
            judge_command=self.judge_command,
            dirs=self.dirs,
            depth=self.depth,
            spent=self.spent,
            checked=self.checked,
        )
        inner.text(text)
        self.spent = inner.spent
        for level, reason in inner.found:
            if level is Level.L3:
                self.add(level, reason)


def shown(words: list[Word]) -> str:
    """A command for a reason: one line, in backquotes, shortened."""
    text = " ".join(" ".join(word.shown() for word in words).split())
    text = "".join(char if char.isprintable() else "?" for char in text).replace("`", "'")
    return f"`{text[: _MOST_SHOWN - 1]}…`" if len(text) > _MOST_SHOWN else f"`{text}`"
