"""``/help``, ``/servers``, ``/skills``, ``/engine``: what this team can do here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from core.commands_people import Memberships
from core.commands_text import Handler, answered, code, escape, refused
from core.engine_choice import Engines
from core.skills import SkillLibrary
from core.tenants import Role
from core.turns import Ending, Turn
from core.words import Words

ServerNames = Callable[[str], Awaitable[Sequence[str]]]
"""The names of a tenant's servers."""

DEFAULT = "default"
"""``/engine default``: what the installation uses."""


class Preferences(Protocol):
    """What users and teams chose."""

    async def set_language(self, turn: Turn, language: str | None) -> None:
        """The user's language; None is the platform's."""

    async def set_engine(self, turn: Turn, engine: str | None) -> None:
        """The engine of the turn's team; None is the installation's."""


class TeamCommands:
    """Answers them."""

    def __init__(
        self,
        help_lines: Mapping[str, str],
        memberships: Memberships,
        preferences: Preferences,
        servers: ServerNames,
        skills: SkillLibrary,
        engines: Engines,
    ) -> None:
        """Wire the ports; ``help_lines`` are every command's, by word."""
        self._help_lines = help_lines
        self._memberships = memberships
        self._preferences = preferences
        self._servers = servers
        self._skills = skills
        self._engines = engines

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {
            "help": self._help,
            "start": self._help,
            "servers": self._list_servers,
            "skills": self._list_skills,
            "engine": self._engine,
        }

    async def _help(self, turn: Turn, _rest: str) -> Ending:
        words = Words(turn.language)
        lines = "\n".join(f"- `/{word}`: {words.of(it)}" for word, it in self._help_lines.items())
        said = words(
            "Ask me about your servers in plain words, for example *how full are the disks?* "
            "or *is nginx running?* You can attach screenshots, PDFs and logs."
        )
        return answered(f"{said}\n\n{lines}")

    async def _list_servers(self, turn: Turn, _rest: str) -> Ending:
        words = Words(turn.language)
        names = await self._servers(turn.tenant_id)
        if not names:
            return answered(
                words("No servers are known yet. An admin adds one with `it0 server add`.")
            )
        return answered("\n".join(f"- {code(name)}" for name in names))

    async def _list_skills(self, turn: Turn, _rest: str) -> Ending:
        words = Words(turn.language)
        if not self._skills.skills:
            return answered(words("No skills are installed."))
        said = words("Routines that I know. Ask in plain words; I choose the one that fits.")
        lines = "\n".join(
            f"- **{escape(skill.name)}**: {escape(skill.description)}"
            for skill in self._skills.skills
        )
        return answered(f"{said}\n\n{lines}")

    async def _engine(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        if not rest:
            return answered(await self._engine_now(turn, words))
        if turn.user.role is not Role.ADMIN:
            return refused(words("Only an admin of the team can change its engine."))
        wanted = rest.strip("`").casefold()
        if wanted == DEFAULT:
            await self._preferences.set_engine(turn, None)
            return answered(
                words(
                    "Your team uses the installation's engine again: **{engine}**.",
                    engine=escape(self._engines.default),
                )
            )
        if wanted not in self._engines.engines:
            problem = self._engines.choose(wanted)
            return refused(words.of(problem) if isinstance(problem, str) else wanted)
        await self._preferences.set_engine(turn, wanted)
        return answered(
            words("Your team's engine is **{engine}** from now on.", engine=escape(wanted))
        )

    async def _engine_now(self, turn: Turn, words: Words) -> str:
        chosen = (await self._memberships.standing(turn)).engine
        if chosen is None:
            said = words(
                "Your team uses the installation's engine, **{engine}**.",
                engine=escape(self._engines.default),
            )
        else:
            said = words("Your team's engine is **{engine}**.", engine=escape(chosen))
        names = ", ".join(f"`{name}`" for name in self._engines.engines)
        there = words("Engines here: {names}.", names=names)
        how = words("An admin changes it with `/engine NAME` or `/engine default`.")
        return f"{said} {there} {how}"
