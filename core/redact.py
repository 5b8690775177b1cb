"""Takes secrets out of text before anybody, person, model or log, sees it.

A net below the other nets: protected files are never read, but applications write passwords
into logs and configuration files, and commands carry them as arguments. It knows the usual
shapes (``core.redact_rules``), not all of them, and rather hides too much of a line than too
little.

Text comes from outside and may be made to cost time. So rules see a bounded window of a line
at a time, no rule begins with a repetition, every repetition is bounded, and long texts are
done line by line in a thread, where each line lets others go on. Time grows with the text's
length and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar

from core.redact_keys import KeyBlocks
from core.redact_rules import HIDDEN, RULES
from core.threads import DaemonThreads

__all__ = [
    "CUT",
    "HIDDEN",
    "MAX_LINE_CHARS",
    "Redactor",
    "aside",
    "cut_line",
    "redact",
    "redact_now",
    "redact_text",
]

MAX_LINE_CHARS = 2_000
"""The window that rules see; ``redact`` drops what is behind it in a line, unread."""
CUT = "… (cut)"
_OVERLAP_CHARS = 300
"""Of a window is seen again with the next one: names and their values stay together."""
_HELD_CHARS = 16_000
"""Of a line without an end, before a stream gives its beginning away."""
_AT_ONCE_CHARS = 8_000
"""Up to here a text is redacted where it stands."""
_ROUNDS = 3
"""What one rule leaves may look like a secret to an earlier one."""

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = DaemonThreads(name="it0-redact", limit=2)


def redact_now(text: str) -> str:
    """The text with what looks like a secret replaced by ``[hidden]``. Never raises."""
    stream = Redactor()
    return stream.feed(text) + stream.end()


async def redact_text(text: str) -> str:
    """As ``redact_now``; the loop goes on while a long text is done."""
    return await aside(redact_now, text)


def redact(text: str) -> str:
    """As ``redact_now``, with long lines cut, unread: for what is shown in lines anyway."""
    return redact_now("\n".join(cut_line(line) for line in text.split("\n")))


async def aside(
    work: Callable[Concatenate[str, P], T], text: str, /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do work that redacts a text; the loop goes on while a long one is done."""
    if len(text) <= _AT_ONCE_CHARS:
        return work(text, *args, **kwargs)
    return await _THREADS.run(work, text, *args, **kwargs)


def cut_line(line: str) -> str:
    """The line, or its beginning and a mark that it was cut."""
    return line if len(line) <= MAX_LINE_CHARS else line[: MAX_LINE_CHARS - len(CUT)] + CUT


@dataclass(slots=True)
class Redactor:
    """Redacts a text that comes in pieces, wherever they are cut: ``feed`` each, then ``end``.

    A line is given when it is whole (or very long), since half of it may be half a secret.
    """

    _held: list[str] = field(default_factory=list)
    _held_chars: int = 0
    _keys: KeyBlocks = field(default_factory=KeyBlocks)
    _open: bool = False
    """What was given away of a line ends with something hidden that may go on."""

    def feed(self, piece: str) -> str:
        """Take a piece, return what of the text so far can be shown."""
        if self._open:
            found = _CONTINUED.match(piece)
            piece = piece[found.end() :] if found is not None else piece
            self._open = not piece
        end = piece.rfind("\n")
        if end < 0:
            self._hold(piece)
            return self._part() if self._held_chars > _HELD_CHARS else ""
        whole = "".join((*self._held, piece[:end]))
        self._held, self._held_chars = [], 0
        self._hold(piece[end + 1 :])
        return "".join(f"{line}\n" for line in self._lines(whole.split("\n")))

    def end(self) -> str:
        """The text is over: return what was held back."""
        last = "".join(self._held)
        self._held, self._held_chars = [], 0
        lines = [*self._lines([last]), *map(_redact_line, self._keys.rest())]
        return "\n".join(lines)

    def _hold(self, piece: str) -> None:
        if piece:
            self._held.append(piece)
            self._held_chars += len(piece)

    def _part(self) -> str:
        """Of a line that does not end: all but the overlap, which is judged with what follows."""
        done = "".join(self._lines(["".join(self._held)]))
        self._open = done.endswith(HIDDEN)
        kept = done[-_OVERLAP_CHARS:]
        self._held, self._held_chars = [kept], len(kept)
        return done[:-_OVERLAP_CHARS]

    def _lines(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            yield from map(_redact_line, self._keys.take(line))


_CONTINUED = re.compile(r"[^\s\"'<>]{0,100000}")


def _redact_line(line: str) -> str:
    if len(line) <= MAX_LINE_CHARS:
        return _window(line) if line else line
    step = MAX_LINE_CHARS - _OVERLAP_CHARS
    done: list[str] = []
    seen = _window(line[:MAX_LINE_CHARS])
    at = MAX_LINE_CHARS
    while at < len(line):
        if seen.endswith(HIDDEN):  # what was hidden may go on behind the window
            found = _CONTINUED.match(line, at)
            at = at if found is None else found.end()
        done.append(seen[:-_OVERLAP_CHARS])
        seen = _window(seen[-_OVERLAP_CHARS:] + line[at : at + step])
        at += step
    return "".join((*done, seen))


_ANY = re.compile("|".join(sorted({re.escape(word) for rule in RULES for word in rule.triggers})))
"""One look at most lines is enough: no rule would be tried on them."""


def _window(text: str) -> str:
    """Apply the rules until none of them changes anything more."""
    if _ANY.search(text.lower()) is None:
        return text
    for _ in range(_ROUNDS):
        before, low = text, text.lower()
        for rule in RULES:
            if any(trigger in low for trigger in rule.triggers):
                text = rule.pattern.sub(rule.replacement, text)
        if text == before:
            break
    return text
