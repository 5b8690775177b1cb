"""What a happening leads to: the core is told, and the person hears what it said."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from telegram.error import TelegramError

from bots.telegram.client import Client
from bots.telegram.events import Added, Edit, Happening, Moved, Pressed, Said, Shut, Unusable
from bots.telegram.notices import Notices
from bots.telegram.render import render
from core.buttons import Action, BadButton, Buttons, Press
from core.inbox import Acceptance, Accepted, ControlDone, Inbox
from core.messages import ConversationAddress, InboundMessage
from core.refusals import NOT_LINKED, UNLINKED, Rejected
from core.words import Words, sentence

K = TypeVar("K")
V = TypeVar("V")

MAX_ANSWER_CHARS = 200
"""Bot API, answerCallbackQuery."""
TOLD_EVERY_S = 60.0
GROUP_TOLD_EVERY_S = 3600.0
MAX_TOLD = 1000
MAX_ALBUMS = 200
MAX_PARTS = 10
"""Telegram's own limit for an album."""

_DONE_ALREADY = sentence(
    "This was done already. To do it again, type the command that is in the message."
)
_FORGED = sentence("This button is not yours, or no longer works.")

_LINK = sentence(
    "{problem} An admin of the team whom I know sends `/link` here, without a code. One "
    "whom I do not know yet sends `/link CODE` here; `it0 link` on the server makes the "
    "code.",
    problem=UNLINKED.sentence,
)
"""As the core says it to a stranger; here it is a group that is told."""

_log = structlog.get_logger()


@dataclass(slots=True)
class Reception:
    """Carries out happenings. Raises ``StorageFailure`` when nothing was stored."""

    inbox: Inbox
    buttons: Buttons
    client: Client
    notices: Notices
    now: Callable[[], float] = time.monotonic
    _told: OrderedDict[tuple[str, str], float] = field(default_factory=OrderedDict)
    _albums: OrderedDict[str, list[InboundMessage] | None] = field(default_factory=OrderedDict)
    """Albums in groups: None once a part has named the bot, until then the parts that did not."""

    async def said(self, said: Said) -> None:
        """A message, or one part of an album; the core puts the parts together."""
        meant = self._meant(said)
        for message in meant:
            self._answer(message, await self.inbox.accept(message))
        album, group = said.message.album, said.message.group
        if meant and album is not None and group is not None:
            _remember(self._albums, album, None, MAX_ALBUMS)

    async def handle(self, happening: Edit | Pressed | Moved | Added | Shut | Unusable) -> None:
        """Everything else."""
        match happening:
            case Edit(message=message):
                self._answer(message, await self.inbox.edit(message))
            case Pressed():
                await self._press(happening)
            case Moved(old=old, new=new):
                self.notices.sender.moved(int(old.channel), int(new.channel))
                await self.inbox.move(old, new)
                _log.info("telegram.group_moved", old=old.channel, new=new.channel)
            case Added():
                await self._greet(happening)
            case Shut(address=address, status=status):
                _log.info("telegram.shut_out", chat=address.channel, status=status)
            case Unusable():
                self._explain(happening)

    def _meant(self, said: Said) -> list[InboundMessage]:
        """The messages that are now known to be for the bot.

        In a group one part of an album names it, usually the first, and means them all. Which
        album that was is known in memory only: it comes within a second.
        """
        message = said.message
        if message.album is None or message.group is None:
            return [message] if said.addressed else []
        held = self._albums.get(message.album, [])
        if said.addressed or held is None:
            return [*(held or []), message]
        _remember(self._albums, message.album, [*held, message][-MAX_PARTS:], MAX_ALBUMS)
        return []

    def _answer(self, message: InboundMessage, acceptance: Acceptance | None) -> None:
        """Turns answer for themselves; what became no turn is answered here."""
        match acceptance:
            case ControlDone(reply=reply):
                said = reply
            case Rejected(code=code) if code == NOT_LINKED and message.group is not None:
                language = message.actor.language
                return self._say_how_to_link(message.address, language, message.source_ref)
            case Rejected(sentence=refusal, quiet=False):
                said = Words(message.actor.language).of(refusal)
            case _:
                return None
        return self.notices.say(message.address, said, reply_to=message.source_ref)

    async def _greet(self, added: Added) -> None:
        """Say how to link the group, unless it is linked: it may have had the bot before.

        The core is asked by a press of no button: it answers who they are to it, and does
        nothing.
        """
        asked = Press(
            event_id=added.event_id,
            actor=added.actor,
            address=added.address,
            group=added.group,
            action=Action.STOP,
            subject="",
        )
        done = await self.inbox.press(asked)
        if isinstance(done, Rejected) and done.code == NOT_LINKED:
            self._say_how_to_link(added.address, added.actor.language)

    def _say_how_to_link(
        self, address: ConversationAddress, language: str, reply_to: str = ""
    ) -> None:
        """Once an hour, however many strangers ask there."""
        if self._tell((address.channel, _LINK), GROUP_TOLD_EVERY_S):
            self.notices.say(address, Words(language).of(_LINK), reply_to=reply_to)

    async def _press(self, pressed: Pressed) -> None:
        words = Words(pressed.actor.language)
        try:
            action, subject = self.buttons.unseal(pressed.data, pressed.address)
        except BadButton:
            _log.warning("telegram.forged_button", chat=pressed.address.channel)
            return self._answer_query(pressed, words.of(_FORGED), alert=True)
        person = pressed.actor.external_id
        done = await self.inbox.press(
            Press(
                event_id=f"telegram:{self.client.bot_id}:cb:{action}{subject}:{person}",
                actor=pressed.actor,
                address=pressed.address,
                group=pressed.group,
                action=action,
                subject=subject,
            )
        )
        if isinstance(done, Rejected):
            return self._answer_query(pressed, words.of(done.sentence), alert=True)
        match done:
            case ControlDone(reply=reply):
                said = reply
            case Accepted(duplicate=True):
                said = words.of(_DONE_ALREADY)
            case Accepted():  # a turn answers for itself
                said = ""
        return self._answer_query(pressed, said, alert=False)

    def _answer_query(self, pressed: Pressed, text: str, *, alert: bool) -> None:
        """Best effort: the button stops spinning, with a sentence. It shows no markup."""
        said = render(text).text if text else ""

        async def answer() -> None:
            try:
                await self.client.bot.answer_callback_query(
                    pressed.query_id, said[:MAX_ANSWER_CHARS], show_alert=alert
                )
            except TelegramError as error:  # too old, most likely
                _log.info("telegram.press_not_answered", reason=error.message)

        self.notices.run(answer(), pressed.address.channel)

    def lost(self, happening: Happening) -> None:
        """Say that a message could not be taken; it is our fault."""
        if isinstance(happening, Said) and happening.addressed:
            message = happening.message
            said = Words(message.actor.language)(
                "Something went wrong here, and your message was not taken. Send it again, or "
                "tell the operator to look into the log."
            )
            self.notices.say(message.address, said, reply_to=message.source_ref)

    def _explain(self, unusable: Unusable) -> None:
        """Once a minute: who sends a pack of stickers needs to be told once."""
        if not self._tell((unusable.address.channel, str(unusable.sentence)), TOLD_EVERY_S):
            return
        said = Words(unusable.language).of(unusable.sentence)
        self.notices.say(unusable.address, said, reply_to=unusable.source_ref)

    def _tell(self, what: tuple[str, str], every_s: float) -> bool:
        """Whether it is time to say it (again)."""
        told = self._told.get(what)
        if told is not None and self.now() - told < every_s:
            return False
        _remember(self._told, what, self.now(), MAX_TOLD)
        return True


def _remember(memory: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
