"""What a skill is: a short Markdown routine with triggers, and tools that it calls."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from core.skill_triggers import Word

MAX_NAME_CHARS = 64
MAX_DESCRIPTION_CHARS = 1_024
"""Both limits are those of the Agent Skills format (agentskills.io/specification)."""


class Source(StrEnum):
    """Who a skill is from; a later one replaces an earlier one of its name."""

    BUILT_IN = "built_in"
    INSTALLATION = "installation"
    """A file in the data directory."""
    TEAM = "team"
    """A team's own, in the database."""


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
    source: Source = Source.INSTALLATION

    @property
    def key(self) -> str:
        """What the name is compared by."""
        return key_of(self.name)

    @property
    def slots(self) -> frozenset[str]:
        """The slots that the steps can use."""
        values = [value for step in self.steps for _, value in step.arguments]
        return frozenset(slot for value in values if (slot := slot_of(value)[0]))


class BadSkill(Exception):
    """A skill that cannot be used; the text completes "The skill X ..."."""

    def __init__(self, why: str, *, key: str = "", line: int = 0) -> None:
        """``key`` is the key of the front matter that is wrong; ``line`` counts from 1."""
        super().__init__(why)
        self.key = key
        self.line = line


def key_of(name: str) -> str:
    """One spelling for names that a person takes for the same: ``Disk Check``, ``disk-check``."""
    return "-".join(unicodedata.normalize("NFKC", name).casefold().split())


def slot_of(value: str | int) -> tuple[str, str]:
    """The slot that an argument takes its value from, and its default; empty for neither.

    ``{lines=40}`` is ``("lines", "40")``; ``memory`` is ``("", "")``.
    """
    if not isinstance(value, str) or not (value.startswith("{") and value.endswith("}")):
        return "", ""
    slot, _, default = value[1:-1].partition("=")
    return slot, default
