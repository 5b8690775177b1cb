"""Skills: short Markdown files that teach the agent a routine.

A skill file is ``NAME.md`` or ``NAME/SKILL.md`` and begins with YAML front matter::

    ---
    name: disk
    description: How full the disks are.
    triggers: ["disk", "space left", "磁盘"]
    tool: disk_usage              # optional; or "steps", a list of tool + arguments
    arguments: {server: "{server}"}   # "{lines=40}" is 40 unless the message says more
    enabled: true
    ---
    Markdown for whoever answers, model or not.

Built-in skills come first; a file of the same name in the data directory replaces one, or
switches it off with ``enabled: false``. A bad file is skipped with a sentence that says why.
Each team may replace both by skills of its own, and switch any of them off and on again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from core.skill import BadSkill, Skill, SkillStep, Source, key_of, slot_of
from core.skill_text import parse_skill
from core.skill_triggers import Hit, fit, tokens

__all__ = [
    "BUILT_IN",
    "MAX_FILE_BYTES",
    "MAX_SKILLS",
    "BadSkill",
    "FixedShelf",
    "Match",
    "Skill",
    "SkillLibrary",
    "SkillShelf",
    "SkillStep",
    "Source",
    "key_of",
    "parse_skill",
    "slot_of",
]

BUILT_IN = Path(__file__).parent / "skill_files"
MAX_SKILLS = 200
"""Of one folder."""
MAX_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A skill that a message may mean."""

    skill: Skill
    score: float
    words: frozenset[int]
    """Positions of the tokens that the trigger covered."""
    slots: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillLibrary:
    """The enabled skills, and a sentence for each that could not be used."""

    skills: tuple[Skill, ...] = ()
    problems: tuple[str, ...] = ()
    off: tuple[Skill, ...] = ()
    """Those that a team switched off; nobody uses them."""

    @classmethod
    def load(cls, *folders: Path) -> SkillLibrary:
        """Read the folders in order; a later skill replaces an earlier one of its name.

        A folder that does not exist has no skills. Reads files: call it in a thread.
        """
        found: dict[str, Skill] = {}
        problems: list[str] = []
        for folder in folders:
            source = Source.BUILT_IN if folder == BUILT_IN else Source.INSTALLATION
            for path in _files(folder, problems):
                try:
                    skill = parse_skill(_read(path), default_name=_default_name(path))
                except BadSkill as bad:
                    where = f" (line {bad.line})" if bad.line else ""
                    problems.append(f"The skill file {path.name} in {folder.name}/ {bad}{where}.")
                else:
                    found[skill.key] = replace(skill, source=source)
        enabled = tuple(skill for skill in found.values() if skill.enabled)
        return cls(skills=enabled, problems=tuple(problems))

    def for_team(
        self, own: Iterable[Skill], switches: Mapping[str, bool], problems: Iterable[str] = ()
    ) -> SkillLibrary:
        """This installation's library with a team's own skills and switches (by key).

        A team's skill replaces the installation's of its name; the others go by the switch.
        The order depends on nothing but the skills: the team's own first, then by name.
        """
        theirs = {skill.key: replace(skill, source=Source.TEAM) for skill in own}
        others = [
            replace(skill, enabled=switches.get(skill.key, True))
            for skill in self.skills
            if skill.key not in theirs
        ]
        ordered = sorted((*theirs.values(), *others), key=_rank)
        return SkillLibrary(
            skills=tuple(skill for skill in ordered if skill.enabled),
            problems=tuple(problems),
            off=tuple(skill for skill in ordered if not skill.enabled),
        )

    def find(self, name: str) -> Skill | None:
        """The skill of that name, on or off, however it is spelled."""
        wanted = key_of(name)
        return next((skill for skill in (*self.skills, *self.off) if skill.key == wanted), None)

    def match(self, text: str) -> tuple[Match, ...]:
        """The skills whose triggers fit the message, the best first."""
        said = tokens(text)
        matches = [match for skill in self.skills if (match := _match(skill, said))]
        return tuple(sorted(matches, key=lambda match: (-match.score, _rank(match.skill))))


class SkillShelf(Protocol):
    """Where each team's skills are."""

    async def of(self, tenant_id: str) -> SkillLibrary:
        """The team's library as of this moment. Raises ``StorageFailure``."""


@dataclass(frozen=True, slots=True)
class FixedShelf:
    """A ``SkillShelf`` with the same library for every team."""

    library: SkillLibrary

    async def of(self, tenant_id: str) -> SkillLibrary:  # noqa: ARG002  # the port's signature
        """The library."""
        return self.library


def _rank(skill: Skill) -> tuple[bool, str, str]:
    """A team's own skill goes before another one that fits as well."""
    return skill.source is not Source.TEAM, skill.key, skill.name


def _match(skill: Skill, said: tuple[str, ...]) -> Match | None:
    hits = [hit for trigger in skill.triggers if (hit := fit(trigger, said))]
    if not hits:
        return None
    best: Hit = max(hits, key=lambda hit: hit.score)
    return Match(skill=skill, score=best.score, words=best.words, slots=best.slots)


def _files(folder: Path, problems: list[str]) -> list[Path]:
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        problems.append(f"The skills folder {folder.name}/ cannot be read: {error.strerror}.")
        return []
    files: list[Path] = []
    for entry in entries:
        try:
            files += _file_of(entry)
        except OSError as error:
            name = f"{entry.name} in {folder.name}/"
            problems.append(f"The skill {name} cannot be read: {error.strerror}.")
    if len(files) > MAX_SKILLS:
        problems.append(f"Only the first {MAX_SKILLS} skills of {folder.name}/ are used.")
    return files[:MAX_SKILLS]


def _file_of(entry: Path) -> list[Path]:
    """The file of a skill, if the entry is one. Raises OSError when nobody lets us look."""
    if not entry.is_dir():
        return [entry] if entry.suffix == ".md" else []
    inner = entry / "SKILL.md"
    return [inner] if entry.suffix == ".md" or inner.is_file() else []


def _default_name(path: Path) -> str:
    return path.parent.name if path.name == "SKILL.md" else path.stem


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise BadSkill("is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadSkill(f"cannot be read: {error.strerror}") from error
    return decode(data)


def decode(data: bytes) -> str:
    """The text of a skill file of at most one byte more than is allowed. Raises ``BadSkill``."""
    if len(data) > MAX_FILE_BYTES:
        raise BadSkill(f"is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSkill("is not UTF-8 text") from error
