"""What was read of somebody else's list of servers: found, left out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final

from core.fleet.inventory import Environment, Identity
from core.fleet.registry import NewServer, checked, tags_of
from core.refusals import Rejected
from core.words import Sentence

MOST_FOUND: Final = 5_000
"""Servers of one file."""
_ENVIRONMENTS: Final = {
    "prod": Environment.PRODUCTION,
    "production": Environment.PRODUCTION,
    "stage": Environment.STAGING,
    "staging": Environment.STAGING,
    "dev": Environment.DEVELOPMENT,
    "development": Environment.DEVELOPMENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An entry that is not imported."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What a file holds. A jump host is always before the servers behind it."""

    found: tuple[NewServer, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


class NotReadable(ValueError):
    """The whole file cannot be read; the text is a sentence."""


@dataclass(slots=True, kw_only=True)
class Harvest:
    """Collects what a reader finds."""

    found: dict[str, NewServer] = field(default_factory=dict)
    """By name, case-folded."""
    left_out: list[LeftOut] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    """Each once, in order."""

    def take(self, new: NewServer) -> None:
        """Keep a server that could be registered; leave it out with the reason otherwise."""
        key = new.name.casefold()
        if key in self.found:
            self.leave(new.name, "It is in the file twice; the first one counts.")
            return
        good = checked(new, own=True)
        if isinstance(good, Rejected):
            self.leave(new.name, good.sentence)
        elif len(self.found) >= MOST_FOUND:
            self.leave(new.name, f"The file has more than {MOST_FOUND:,} servers.")
        else:
            self.found[key] = replace(new, tags=good.tags, address=good.address)

    def leave(self, name: str, why: str) -> None:
        """It is not imported."""
        if len(self.left_out) < MOST_FOUND:
            self.left_out.append(LeftOut(name=name[:100], why=why))

    def note(self, text: str) -> None:
        """Something that concerns the whole file."""
        self.notes[text] = None

    def done(self) -> Imported:
        """Everything, with jump hosts first; what has no way to it is left out."""
        placed: dict[str, NewServer] = {}
        waiting = dict(self.found)
        while waiting:
            ready = {
                key: new
                for key, new in waiting.items()
                if not new.jump
                or new.jump.casefold() in placed
                or new.jump.casefold() not in self.found
            }
            if not ready:
                break
            placed |= ready
            waiting = {key: new for key, new in waiting.items() if key not in ready}
        for new in waiting.values():
            self.leave(new.name, f"Its jump hosts lead in a circle ({new.jump}).")
        return Imported(
            found=tuple(placed.values()),
            left_out=tuple(self.left_out),
            notes=tuple(self.notes),
        )


def sorted_tags(words: Sequence[str], harvest: Harvest) -> tuple[str, ...]:
    """Those of the words that can be tags."""
    kept: list[str] = []
    for word in words:
        tag = tags_of([word])
        if isinstance(tag, Sentence):
            harvest.note(f"The group {word[:70]} is not taken over: it is no tag.")
        else:
            kept += tag
    return tuple(dict.fromkeys(kept))


def environment_of(tags: Sequence[str]) -> Environment:
    """The environment that a group's name says; production when none or several do."""
    said = {_ENVIRONMENTS[tag] for tag in tags if tag in _ENVIRONMENTS}
    return said.pop() if len(said) == 1 else Environment.PRODUCTION


def key_file(written: str, home: str, tokens: Mapping[str, str]) -> str | None:
    """The absolute path of a key file; None when it cannot be told."""
    path = written.strip().strip('"')
    for token, value in tokens.items():
        path = path.replace(token, value)
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    return path if PurePosixPath(path).is_absolute() and "%" not in path else None


def identity_for(path: str | None) -> Identity:
    """Of a server with that key file, or none."""
    return Identity.FILE if path else Identity.AGENT
