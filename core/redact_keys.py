"""Hides private keys that go over many lines, whatever part of them is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.redact_rules import HIDDEN, KEY_HEAD

_BEGIN = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"|PuTTY-User-Key-File-\d{1,2}: "
)
_END = re.compile(
    r"-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: [0-9a-f]{20,80}"
)
_BODY = re.compile(r"^[\s>|:+\d.\"'-]{0,20}([A-Za-z0-9+/]{32,100}={0,2})[\s\"',]{0,5}$")
_LAST = re.compile(r"^[\s>|:+\d.\"'-]{0,20}([A-Za-z0-9+/]{1,100}={0,2})[\s\"',]{0,5}$")
"""The last line of a key is short."""
_RUN = re.compile(r"[A-Za-z0-9+/=]{16}|\\n")
_MOST_ODD = 4
"""Lines without key material that may stand inside a key (headers, an empty line)."""
_MOST_LINES = 400


@dataclass(slots=True)
class KeyBlocks:
    """One text, line by line: whole keys, and those without their first or last line."""

    inside: int = 0
    """Lines of the key so far; 0 outside of one."""
    odd: int = 0
    bodies: list[str] = field(default_factory=list)
    """Lines that may be of a key whose head is missing; held until its end would show."""

    def take(self, line: str) -> Iterator[str]:
        """The lines that can be shown now that this one is known."""
        if self.inside:
            rest = self._within(line)
            if rest is None:
                return
            line = rest
        ended = _END.search(line)
        begun = _BEGIN.search(line)
        if ended is not None and (begun is None or ended.start() < begun.start()):
            self.bodies.clear()
            line = f"{HIDDEN}{line[ended.end() :]}"
            begun = _BEGIN.search(line)
        if begun is None and self._may_be_body(line) and len(self.bodies) < _MOST_LINES:
            if KEY_HEAD.search(line):
                self.inside = 1
                yield from self.rest()
                yield HIDDEN
            else:
                self.bodies.append(line)
            return
        yield from self.rest()
        yield self._without_keys(line)

    def rest(self) -> Iterator[str]:
        """What was held back is no key."""
        held, self.bodies = self.bodies, []
        yield from held

    def _may_be_body(self, line: str) -> bool:
        return (_LAST if self.bodies else _BODY).match(line) is not None

    def _within(self, line: str) -> str | None:
        """What follows the key in this line; None while the key goes on."""
        found = _END.search(line)
        if found is not None:
            self.inside = self.odd = 0
            return line[found.end() :] or None
        self.inside += 1
        self.odd = 0 if _RUN.search(line) else self.odd + 1
        if self.odd > _MOST_ODD or self.inside > _MOST_LINES:
            self.inside = self.odd = 0
            return line
        return None

    def _without_keys(self, line: str) -> str:
        """The line with HIDDEN for each key that begins in it."""
        parts: list[str] = []
        at = 0
        while (begun := _BEGIN.search(line, at)) is not None:
            parts += [line[at : begun.start()], HIDDEN]
            ended = _END.search(line, begun.end())
            if ended is None:
                self.inside, self.odd = 1, 0
                return "".join(parts)
            at = ended.end()
        return "".join((*parts, line[at:])) if parts else line
