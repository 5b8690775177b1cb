"""Reading a skill from text: YAML front matter and a Markdown body.

Files written for other agents (``SKILL.md``, agentskills.io/specification) are read too: their
well-known keys that mean nothing here are ignored and named, so that an importer can say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import yaml

from core.skill import MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, BadSkill, Skill, SkillStep, slot_of
from core.skill_triggers import SLOTS, Word, parse_trigger

MAX_FRONT_CHARS = 8_000
MAX_TRIGGERS = 60
MAX_STEPS = 6
_MAX_LINE_CHARS = 400
KEYS = frozenset({"name", "description", "triggers", "tool", "arguments", "steps", "enabled"})
FOREIGN_KEYS = frozenset(
    {
        *("license", "allowed-tools", "metadata", "version", "compatibility", "author", "tags"),
        *("model", "argument-hint", "when_to_use", "when-to-use", "context", "agent", "hooks"),
        *("disable-model-invocation", "user-invocable", "disallowed-tools", "effort", "paths"),
    }
)
"""Keys that other agents know (agentskills.io, Claude Code); ``allowed-tools`` grants nothing
here: what a person's role may use is not for a file to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSkill:
    """A skill, and the keys of its front matter that mean nothing here."""

    skill: Skill
    ignored: tuple[str, ...] = ()


def parse_skill(text: str, *, default_name: str) -> Skill:
    """Read one skill file. Raises ``BadSkill``."""
    return read_skill(text, default_name=default_name).skill


def read_skill(text: str, *, default_name: str) -> ReadSkill:
    """Read one skill file, with what was ignored. Raises ``BadSkill`` with the line."""
    head, body = _split(text)
    front = _front(head)
    try:
        skill = make_skill(front, body, default_name=default_name)
    except BadSkill as bad:
        bad.line = bad.line or _line_of(head, bad.key)
        raise
    return ReadSkill(skill=skill, ignored=tuple(sorted(set(front) & FOREIGN_KEYS)))


def make_skill(front: Mapping[str, object], body: str, *, default_name: str) -> Skill:
    """A skill from the values of its front matter. Raises ``BadSkill`` without a line."""
    unknown = sorted(set(front) - KEYS - FOREIGN_KEYS)
    if unknown:
        known = ", ".join(sorted(KEYS))
        raise BadSkill(f"has an unknown key {unknown[0]!r}; known are {known}", key=unknown[0])
    examples = _strings(front.get("triggers", []), "triggers")
    name = _line(front.get("name", default_name), "name")
    if len(name) > MAX_NAME_CHARS:
        raise BadSkill(f"has a name of more than {MAX_NAME_CHARS} characters", key="name")
    return Skill(
        name=name,
        description=_line(front.get("description", ""), "description", MAX_DESCRIPTION_CHARS),
        body=body.strip(),
        triggers=tuple(_trigger(example) for example in examples),
        examples=examples,
        steps=_steps(front),
        enabled=_flag(front.get("enabled", True)),
    )


def _split(text: str) -> tuple[list[str], str]:
    """The lines between the two ``---``, and what follows."""
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != "---" or "---" not in (line.rstrip() for line in lines[1:]):
        raise BadSkill("has no front matter between two lines of ---", line=1)
    end = next(at for at, line in enumerate(lines) if at and line.rstrip() == "---")
    return lines[1:end], "\n".join(lines[end + 1 :])


def _front(head: list[str]) -> dict[str, object]:
    text = "\n".join(head)
    if len(text) > MAX_FRONT_CHARS:
        raise BadSkill(f"has front matter of more than {MAX_FRONT_CHARS} characters", line=1)
    try:
        front = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if isinstance(mark, yaml.Mark) else 0
        raise BadSkill("has front matter that is no valid YAML", line=line) from error
    if not isinstance(front, dict) or not all(isinstance(key, str) for key in front):
        raise BadSkill("has front matter that is no list of keys and values", line=2)
    return cast("dict[str, object]", front)


def _line_of(head: list[str], key: str) -> int:
    """The line of the file where a key of the front matter is; 0 when that is not clear."""
    wanted = re.compile(rf"\s*(?:-\s+)?['\"]?{re.escape(key)}['\"]?\s*:")
    return next((at + 2 for at, line in enumerate(head) if key and wanted.match(line)), 0)


def _trigger(example: str) -> tuple[Word, ...]:
    try:
        return parse_trigger(example)
    except ValueError as error:
        raise BadSkill(f"is wrong: {error}", key="triggers") from error


def _steps(front: Mapping[str, object]) -> tuple[SkillStep, ...]:
    given = front.get("steps")
    if given is None:
        if "tool" not in front:
            return ()
        given = [{"tool": front["tool"], "arguments": front.get("arguments", {})}]
    elif "tool" in front:
        raise BadSkill("has both tool and steps; one of them is enough", key="tool")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_STEPS:
        raise BadSkill(f"must have between 1 and {MAX_STEPS} steps", key="steps")
    return tuple(_step(step) for step in given)


def _step(given: object) -> SkillStep:
    if not isinstance(given, dict) or not set(given) <= {"tool", "arguments"}:
        raise BadSkill("has a step that is no pair of tool and arguments", key="steps")
    arguments = given.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise BadSkill("has arguments that are no keys and values", key="arguments")
    pairs: list[tuple[str, str | int]] = []
    for name, value in arguments.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            why = f"has an argument {str(name)[:40]!r} that is neither text nor a whole number"
            raise BadSkill(why, key="arguments")
        slot = slot_of(value)[0]
        if slot and slot not in SLOTS:
            known = ", ".join(sorted(SLOTS))
            why = f"uses an unknown slot {slot[:40]!r}; known are {known}"
            raise BadSkill(why, key="arguments")
        pairs.append((str(name), value))
    return SkillStep(tool=_line(given.get("tool"), "tool"), arguments=tuple(pairs))


def _strings(value: object, what: str) -> tuple[str, ...]:
    items: Iterable[object] = [value] if isinstance(value, str) else cast("list[object]", value)
    if not isinstance(items, list) or len(items) > MAX_TRIGGERS:
        raise BadSkill(f"must have {what} as a list of at most {MAX_TRIGGERS} texts", key=what)
    return tuple(_line(item, what) for item in items)


def _line(value: object, what: str, limit: int = _MAX_LINE_CHARS) -> str:
    if not isinstance(value, str):
        raise BadSkill(f"must have text as its {what}", key=what)
    return " ".join(value.split())[:limit]


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise BadSkill("must have true or false as enabled", key="enabled")
    return value
