"""What a happening leads to: the core is told, and the person hears what it said."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from telegram.error import TelegramError

from bots.telegram.client import Client
from bots.telegram.events import Edit, Moved, Pressed, Said, Shut, Unusable, merge
from bots.telegram.notices import Notices
from core.buttons import BadButton, Buttons, Press
from core.inbox import Acceptance, ControlDone, Inbox
from core.messages import InboundMessage
from core.refusals import Rejected
from core.words import Words, sentence

MAX_ANSWER_CHARS = 200
"""Bot API, answerCallbackQuery."""
TOLD_EVERY_S = 60.0
MAX_TOLD = 1000

_FORGED = sentence("This button is not yours, or no longer works.")

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

    async def said(self, parts: list[Said]) -> None:
        """A message, or the parts of an album."""
        if any(part.addressed for part in parts):
            message = merge(parts) if parts[0].album else parts[0].message
            self._answer(message, await self.inbox.accept(message))

    async def handle(self, happening: Edit | Pressed | Moved | Shut | Unusable) -> None:
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
            case Shut(address=address, status=status):
                _log.info("telegram.shut_out", chat=address.channel, status=status)
            case Unusable():
                self._explain(happening)

    def _answer(self, message: InboundMessage, acceptance: Acceptance | None) -> None:
        """Turns answer for themselves; what became no turn is answered here."""
        match acceptance:
            case ControlDone(reply=reply):
                said = reply
            case Rejected(sentence=refusal, quiet=False):
                said = Words(message.actor.language).of(refusal)
            case _:
                return
        self.notices.say(message.address, said, reply_to=message.source_ref)

    async def _press(self, pressed: Pressed) -> None:
        words = Words(pressed.actor.language)
        try:
            action, turn_id = self.buttons.unseal(pressed.data, pressed.address)
        except BadButton:
            _log.warning("telegram.forged_button", chat=pressed.address.channel)
            return self._answer_query(pressed, words.of(_FORGED), alert=True)
        person = pressed.actor.external_id
        done = await self.inbox.press(
            Press(
                event_id=f"telegram:{self.client.bot_id}:cb:{action}{turn_id}:{person}",
                actor=pressed.actor,
                address=pressed.address,
                group=pressed.group,
                action=action,
                turn_id=turn_id,
            )
        )
        if isinstance(done, Rejected):
            return self._answer_query(pressed, words.of(done.sentence), alert=True)
        return self._answer_query(pressed, done.reply, alert=False)

    def _answer_query(self, pressed: Pressed, text: str, *, alert: bool) -> None:
        """Best effort: the button stops spinning, with a sentence."""

        async def answer() -> None:
            try:
                await self.client.bot.answer_callback_query(
                    pressed.query_id, text[:MAX_ANSWER_CHARS], show_alert=alert
                )
            except TelegramError as error:  # too old, most likely
                _log.info("telegram.press_not_answered", reason=error.message)

        self.notices.run(answer(), pressed.address.channel)

    def _explain(self, unusable: Unusable) -> None:
        """Once a minute: who sends a pack of stickers needs to be told once."""
        key = (unusable.address.channel, str(unusable.sentence))
        told = self._told.get(key)
        if told is not None and self.now() - told < TOLD_EVERY_S:
            return
        self._told[key] = self.now()
        self._told.move_to_end(key)
        while len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
        said = Words(unusable.language).of(unusable.sentence)
        self.notices.say(unusable.address, said, reply_to=unusable.source_ref)
