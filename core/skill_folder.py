"""Skills from a directory of somebody else's making: ``NAME/SKILL.md`` and ``NAME.md``.

The whole directory is read before anything is said, so that one look shows everything that is
wrong with it. Nothing outside the directory is read, whatever its links say.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.skill import BadSkill, Skill
from core.skill_text import read_skill
from core.skills import MAX_FILE_BYTES, MAX_SKILLS, decode

SKILL_FILE = "SKILL.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A skill, and what is worth knowing of how it was read."""

    place: str
    """The file, relative to the directory."""
    skill: Skill
    notes: tuple[str, ...] = ()
    """Each completes "NAME: ..."."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A file that is no skill, or no good one."""

    place: str
    line: int
    """From 1; 0 when the whole file is meant."""
    why: str
    """Completes "The skill ..."."""

    def __str__(self) -> str:
        """As a compiler says it: ``disk/SKILL.md:4: has ...``."""
        where = f"{self.place}:{self.line}" if self.line else self.place
        return f"{where}: {self.why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What a directory holds; ``skipped`` names what was not taken for a skill."""

    found: tuple[Found, ...]
    wrong: tuple[Wrong, ...]
    skipped: tuple[str, ...] = ()


def read_folder(directory: Path) -> Folder:
    """Read a directory of skills, or the directory of one. Raises ``OSError`` if it is none."""
    root = directory.resolve(strict=True)
    found: dict[str, Found] = {}
    wrong: list[Wrong] = []
    skipped: list[str] = []
    for path in _candidates(root):
        place = path.relative_to(root).as_posix()
        try:
            one = _found(path, root, found)
        except BadSkill as bad:
            wrong.append(Wrong(place=place, line=bad.line, why=str(bad)))
            continue
        if one is None:
            skipped.append(place)
        else:
            found[one.skill.key] = one
    return Folder(found=tuple(found.values()), wrong=tuple(wrong), skipped=tuple(skipped))


def _candidates(root: Path) -> Iterator[Path]:
    entries = sorted(root.iterdir())
    own = [entry for entry in entries if _is_skill_file(entry)]
    if own:
        yield own[0]
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _inside(entry)
        elif entry.suffix.casefold() == ".md":
            yield entry


def _inside(directory: Path) -> list[Path]:
    """The SKILL.md of a directory, if it has one."""
    try:
        return [entry for entry in sorted(directory.iterdir()) if _is_skill_file(entry)][:1]
    except OSError:
        return [directory / SKILL_FILE]  # nobody lets us look: reading it says why


def _is_skill_file(path: Path) -> bool:
    return path.name.casefold() == SKILL_FILE.casefold()


def _found(path: Path, root: Path, before: Mapping[str, Found]) -> Found | None:
    """The skill in a file; None when it is another kind of Markdown. Raises ``BadSkill``."""
    text = decode(_read(path, root))
    in_folder = _is_skill_file(path)
    if not in_folder and not text.startswith("---"):
        return None
    read = read_skill(text, default_name=path.parent.name if in_folder else path.stem)
    skill = read.skill
    if skill.key in before:
        raise BadSkill(f"has the name of {before[skill.key].place}", line=1)
    if len(before) >= MAX_SKILLS:
        raise BadSkill(f"is one too many: at most {MAX_SKILLS} are read")
    notes: list[str] = []
    if skill.name != skill.key:
        notes.append(f"is called {skill.key} here")
    if read.ignored:
        notes.append(f"{', '.join(read.ignored)}: not used here")
    if not skill.triggers:
        notes.append("has no triggers: only a model uses it, not the offline engine")
    others = _others(path.parent) if in_folder else 0
    if others:
        notes.append(f"other files are not imported ({others}): nothing here reads or runs them")
    return Found(place=path.relative_to(root).as_posix(), skill=skill, notes=tuple(notes))


def _others(directory: Path) -> int:
    """What lies beside a SKILL.md: scripts, references, assets."""
    return sum(1 for entry in directory.iterdir() if not entry.name.startswith(".")) - 1


def _read(path: Path, root: Path) -> bytes:
    """The file, and never another one: neither a link's target outside nor a device."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            raise BadSkill("is a link that leads out of the directory")
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadSkill("is not a regular file")
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(handle)
    except RuntimeError as error:  # Python 3.11: a circle of links
        raise BadSkill("is a link that leads to itself") from error
    except OSError as error:
        raise BadSkill(f"cannot be read: {error.strerror}") from error
