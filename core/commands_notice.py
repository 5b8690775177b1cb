"""``/notice KEY``: what IT0 says by itself, as a turn that nobody typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from core.approval_cards import notice_card, settled_line
from core.approval_notice import NOTICE
from core.approvals import ApprovalDesk, Status
from core.clock import Clock
from core.commands_text import Handler, answered, code, refused
from core.turns import Ending, Outcome, Turn
from core.words import Sentence, Words

PREFIX: Final = "notice/"
"""Of the event ids of such turns; what comes from a platform has another one."""


class Notices(Protocol):
    """The sentences that wait to be said."""

    async def notice(self, tenant_id: str, key: str) -> Sentence | None:
        """The sentence of a key; None when it is forgotten."""


class NoticeCommand:
    """Says a stored sentence in its reader's language."""

    def __init__(self, notices: Notices, approvals: ApprovalDesk, clock: Clock) -> None:
        """Wire the stores."""
        self._notices = notices
        self._approvals = approvals
        self._clock = clock

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
        if rest.startswith(NOTICE):
            return await self._approval(turn, rest.removeprefix(NOTICE), words)
        message = await self._notices.notice(turn.tenant_id, rest)
        if message is None:
            return refused(words("There was news for you here, but it is no longer kept."))
        return answered(words.of(message))

    async def _approval(self, turn: Turn, approval_id: str, words: Words) -> Ending:
        """The card, with its buttons, while there is something to decide."""
        approval = await self._approvals.get(turn.tenant_id, approval_id)
        if approval is None:
            return refused(words("There was news for you here, but it is no longer kept."))
        if approval.status is not Status.PENDING:
            what = f"{code(approval.card.action[:200])}: {settled_line(approval, words)}."
            return answered(what)
        card = notice_card(approval, words, now_ms=self._clock.now_ms())
        return Ending(outcome=Outcome.ANSWERED, reply=card.text, approvals=card.approvals)
