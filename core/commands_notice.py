"""``/notice KEY``: what IT0 says by itself, as a turn that nobody typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from core.commands_text import Handler, answered, refused
from core.turns import Ending, Turn
from core.words import Sentence, Words

PREFIX: Final = "notice/"
"""Of the event ids of such turns; what comes from a platform has another one."""


class Notices(Protocol):
    """The sentences that wait to be said."""

    async def notice(self, tenant_id: str, key: str) -> Sentence | None:
        """The sentence of a key; None when it is forgotten."""


class NoticeCommand:
    """Says a stored sentence in its reader's language."""

    def __init__(self, notices: Notices) -> None:
        """Wire the store."""
        self._notices = notices

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"notice": self.notice}

    async def notice(self, turn: Turn, rest: str) -> Ending:
        """Answer the turn of an announcement; who types the word is told that there is none."""
        words = Words(turn.language)
        if not turn.event_id.startswith(PREFIX):
            return refused(
                words("There is no command `/{word}`. `/help` lists them all.", word="notice")
            )
        message = await self._notices.notice(turn.tenant_id, rest)
        if message is None:
            return refused(words("There was news for you here, but it is no longer kept."))
        return answered(words.of(message))
