"""``/help``: what this team can do here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from core.commands_text import Handler, answered
from core.turns import Ending, Turn
from core.words import Words


class Preferences(Protocol):
    """What users and teams chose."""

    async def set_language(self, turn: Turn, language: str | None) -> None:
        """The user's language; None is the platform's."""

    async def set_engine(self, turn: Turn, engine: str | None) -> None:
        """The engine of the turn's team; None is the installation's."""


class TeamCommands:
    """Answers them."""

    def __init__(self, help_lines: Mapping[str, str]) -> None:
        """``help_lines`` are every command's, by word."""
        self._help_lines = help_lines

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {
            "help": self._help,
            "start": self._help,
        }

    async def _help(self, turn: Turn, _rest: str) -> Ending:
        words = Words(turn.language)
        lines = "\n".join(f"- `/{word}`: {words.of(it)}" for word, it in self._help_lines.items())
        said = words(
            "Ask me about your servers in plain words, for example *how full are the disks?* "
            "or *is nginx running?* You can attach screenshots, PDFs and logs."
        )
        return answered(f"{said}\n\n{lines}")
