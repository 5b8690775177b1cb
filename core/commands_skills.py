"""``/skills``: the routines of a team, where each is from, and the switch of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from core.commands_text import Handler, answered, code, escape, refused
from core.refusals import Rejected
from core.skill import Skill, Source
from core.skills import SkillLibrary
from core.tenants import Role
from core.turns import Ending, Turn
from core.words import Words

_SWITCH = {"on": True, "off": False}
_LISTED_CHARS = 200
"""As much of a description as the list shows."""


class SkillDesk(Protocol):
    """The skills of each team."""

    async def of(self, tenant_id: str) -> SkillLibrary:
        """The team's library."""

    async def switch(
        self, tenant_id: str, name: str, *, enabled: bool, actor: str, turn_id: str = ""
    ) -> Skill | Rejected:
        """Switch one on or off; the skill as it is now, or why not."""


class SkillCommands:
    """Answers ``/skills``."""

    def __init__(self, desk: SkillDesk) -> None:
        """Wire the port."""
        self._desk = desk

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"skills": self._skills}

    async def _skills(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        if not rest:
            return answered(await self._list(turn, words))
        verb, _, name = rest.partition(" ")
        name = name.strip().strip("`").strip()
        if verb.casefold() not in _SWITCH or not name:
            return refused(words("Say `/skills`, `/skills on NAME` or `/skills off NAME`."))
        if turn.user.role is not Role.ADMIN:
            return refused(words("Only an admin of the team can switch its skills."))
        enabled = _SWITCH[verb.casefold()]
        skill = await self._desk.switch(
            turn.tenant_id, name, enabled=enabled, actor=turn.user.id, turn_id=turn.id
        )
        if isinstance(skill, Rejected):
            return refused(words.of(skill.sentence))
        if enabled:
            return answered(words("The skill {name} is on.", name=code(skill.name)))
        return answered(words("The skill {name} is off.", name=code(skill.name)))

    async def _list(self, turn: Turn, words: Words) -> str:
        library = await self._desk.of(turn.tenant_id)
        if not library.skills and not library.off:
            return words("No skills are installed.")
        said = words("Routines that I know. Ask in plain words; I choose the one that fits.")
        on = "\n".join(_line(skill, words) for skill in library.skills)
        parts = [said, on]
        if library.off:
            off = "\n".join(_line(skill, words) for skill in library.off)
            parts += [words("Switched off:"), off]
        parts.append(words("An admin switches one with `/skills on NAME` or `/skills off NAME`."))
        return "\n\n".join(part for part in parts if part)


def _line(skill: Skill, words: Words) -> str:
    said = skill.description
    if len(said) > _LISTED_CHARS:
        said = f"{said[: _LISTED_CHARS - 1].rstrip()}…"
    return f"- **{escape(skill.name)}**: {escape(said)} ({_from(skill.source, words)})"


def _from(source: Source, words: Words) -> str:
    match source:
        case Source.BUILT_IN:
            return words("built in")
        case Source.INSTALLATION:
            return words("from this installation")
        case Source.TEAM:
            return words("your team's own")
