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
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from core.skill_triggers import SLOTS, Hit, Word, fit, parse_trigger, tokens

BUILT_IN = Path(__file__).parent / "skill_files"
MAX_SKILLS = 200
MAX_FILE_BYTES = 64 * 1024
_MAX_FRONT_CHARS = 8_000
_MAX_TRIGGERS = 60
_MAX_STEPS = 6
_KEYS = frozenset({"name", "description", "triggers", "tool", "arguments", "steps", "enabled"})
_MAX_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillStep:
    """One tool call of a skill; text arguments may hold ``{slots}``."""

    tool: str
    arguments: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A routine: when it is meant, which tools it calls, what there is to know."""

    name: str
    description: str
    body: str
    triggers: tuple[tuple[Word, ...], ...] = ()
    examples: tuple[str, ...] = ()
    """The triggers as they were written."""
    steps: tuple[SkillStep, ...] = ()
    enabled: bool = True

    @property
    def slots(self) -> frozenset[str]:
        """The slots that the steps can use."""
        values = [value for step in self.steps for _, value in step.arguments]
        return frozenset(slot for value in values if (slot := slot_of(value)[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A skill that a message may mean."""

    skill: Skill
    score: float
    words: frozenset[int]
    """Positions of the tokens that the trigger covered."""
    slots: tuple[tuple[str, str], ...]


def slot_of(value: str | int) -> tuple[str, str]:
    """The slot that an argument takes its value from, and its default; empty for neither.

    ``{lines=40}`` is ``("lines", "40")``; ``memory`` is ``("", "")``.
    """
    if not isinstance(value, str) or not (value.startswith("{") and value.endswith("}")):
        return "", ""
    slot, _, default = value[1:-1].partition("=")
    return slot, default


class BadSkill(Exception):
    """A skill file that cannot be used; the text says why. Never leaves this module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillLibrary:
    """The enabled skills, and a sentence for each file that could not be used."""

    skills: tuple[Skill, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def load(cls, *folders: Path) -> SkillLibrary:
        """Read the folders in order; a later skill replaces an earlier one of its name.

        A folder that does not exist has no skills. Reads files: call it in a thread.
        """
        found: dict[str, Skill] = {}
        problems: list[str] = []
        for folder in folders:
            for path in _files(folder, problems):
                try:
                    skill = parse_skill(_read(path), default_name=_default_name(path))
                except BadSkill as bad:
                    problems.append(f"The skill file {path.name} in {folder.name}/ {bad}.")
                else:
                    found[skill.name] = skill
        enabled = tuple(skill for skill in found.values() if skill.enabled)
        return cls(skills=enabled, problems=tuple(problems))

    def match(self, text: str) -> tuple[Match, ...]:
        """The skills whose triggers fit the message, the best first."""
        said = tokens(text)
        matches = [match for skill in self.skills if (match := _match(skill, said))]
        return tuple(sorted(matches, key=lambda match: (-match.score, match.skill.name)))

    def prompt_section(self, budget_chars: int) -> str:
        """The skills for a model's system prompt, inside a budget; empty when none fits.

        All names and descriptions come first, then as many bodies as there is room for.
        """
        lines = ["## Skills"]
        room = budget_chars - len(lines[0])
        listed: list[Skill] = []
        for skill in self.skills:
            line = f"- {skill.name}: {skill.description}"
            if len(line) + 1 > room:
                break
            lines.append(line)
            listed.append(skill)
            room -= len(line) + 1
        for skill in listed:
            section = f"\n### {skill.name}\n{skill.body}"
            if skill.body and len(section) + 1 <= room:
                lines.append(section)
                room -= len(section) + 1
        return "\n".join(lines) if listed else ""


def parse_skill(text: str, *, default_name: str) -> Skill:
    """Read one skill file. Raises BadSkill whose text completes "The skill file X ..."."""
    front, body = _split(text)
    unknown = sorted(set(front) - _KEYS)
    if unknown:
        message = f"has an unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}"
        raise BadSkill(message)
    examples = _strings(front.get("triggers", []), "triggers")
    return Skill(
        name=_line(front.get("name", default_name), "name")[:_MAX_NAME],
        description=_line(front.get("description", ""), "description"),
        body=body.strip(),
        triggers=tuple(_trigger(example) for example in examples),
        examples=examples,
        steps=_steps(front),
        enabled=_flag(front.get("enabled", True)),
    )


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
            message = "is not a regular file"
            raise BadSkill(message)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise BadSkill(message) from error
    if len(data) > MAX_FILE_BYTES:
        message = f"is larger than {MAX_FILE_BYTES // 1024} KiB"
        raise BadSkill(message)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = "is not UTF-8 text"
        raise BadSkill(message) from error


def _split(text: str) -> tuple[dict[str, object], str]:
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != "---" or "---" not in (line.rstrip() for line in lines[1:]):
        message = "has no front matter between two lines of ---"
        raise BadSkill(message)
    end = next(at for at, line in enumerate(lines) if at and line.rstrip() == "---")
    head = "\n".join(lines[1:end])
    if len(head) > _MAX_FRONT_CHARS:
        message = f"has front matter of more than {_MAX_FRONT_CHARS} characters"
        raise BadSkill(message)
    try:
        front = yaml.safe_load(head)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        message = f"has front matter that is no valid YAML{_where(error)}"
        raise BadSkill(message) from error
    if not isinstance(front, dict) or not all(isinstance(key, str) for key in front):
        message = "has front matter that is no list of keys and values"
        raise BadSkill(message)
    return cast("dict[str, object]", front), "\n".join(lines[end + 1 :])


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 2})" if isinstance(mark, yaml.Mark) else ""


def _trigger(example: str) -> tuple[Word, ...]:
    try:
        return parse_trigger(example)
    except ValueError as error:
        message = f"is wrong: {error}"
        raise BadSkill(message) from error


def _steps(front: dict[str, object]) -> tuple[SkillStep, ...]:
    given = front.get("steps")
    if given is None:
        if "tool" not in front:
            return ()
        given = [{"tool": front["tool"], "arguments": front.get("arguments", {})}]
    elif "tool" in front:
        message = "has both tool and steps; one of them is enough"
        raise BadSkill(message)
    if not isinstance(given, list) or not 1 <= len(given) <= _MAX_STEPS:
        message = f"must have between 1 and {_MAX_STEPS} steps"
        raise BadSkill(message)
    return tuple(_step(step) for step in given)


def _step(given: object) -> SkillStep:
    if not isinstance(given, dict) or not set(given) <= {"tool", "arguments"}:
        message = "has a step that is no pair of tool and arguments"
        raise BadSkill(message)
    arguments = given.get("arguments") or {}
    if not isinstance(arguments, dict):
        message = "has arguments that are no keys and values"
        raise BadSkill(message)
    pairs: list[tuple[str, str | int]] = []
    for name, value in arguments.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            message = f"has an argument {str(name)[:40]!r} that is neither text nor a whole number"
            raise BadSkill(message)
        slot = slot_of(value)[0]
        if slot and slot not in SLOTS:
            message = f"uses an unknown slot {slot[:40]!r}; known are {', '.join(sorted(SLOTS))}"
            raise BadSkill(message)
        pairs.append((str(name), value))
    return SkillStep(tool=_line(given.get("tool"), "tool"), arguments=tuple(pairs))


def _strings(value: object, what: str) -> tuple[str, ...]:
    items: Iterable[object] = [value] if isinstance(value, str) else cast("list[object]", value)
    if not isinstance(items, list) or len(items) > _MAX_TRIGGERS:
        message = f"must have {what} as a list of at most {_MAX_TRIGGERS} texts"
        raise BadSkill(message)
    return tuple(_line(item, what) for item in items)


def _line(value: object, what: str) -> str:
    if not isinstance(value, str):
        message = f"must have text as its {what}"
        raise BadSkill(message)
    return " ".join(value.split())[:400]


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        message = "must have true or false as enabled"
        raise BadSkill(message)
    return value
