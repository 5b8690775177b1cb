"""Replies on Telegram: the ``ReplySink`` of the core.

Telegram cannot be asked for a message that the bot sent, so ``find`` never knows one. A part's
id is ``CHAT:MESSAGE``, because a reply that is for its sender alone goes to another chat than
the one it answers in.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import structlog
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.error import BadRequest, Forbidden, TelegramError

from bots.telegram.account import Account
from bots.telegram.client import FloodWait, UnknownMethod
from bots.telegram.errors import MessageGone, failure
from bots.telegram.events_text import Me
from bots.telegram.pace import Pace
from bots.telegram.render import MAX, Rendered, measure, render
from bots.telegram.sending import EMPTY, Place, Sender, shown
from core.buttons import Action, Buttons
from core.messages import ConversationAddress
from core.sinks import DeliveryFailed, Destination, SinkLimits, Throttled, View
from core.words import Words

EDIT_INTERVAL_S = 0.7
MAX_REMEMBERED = 1000
_NOTICE = "notice"

_log = structlog.get_logger()


@dataclass(slots=True)
class TelegramSink:
    """Posts, edits and drafts, at the pace that Telegram allows."""

    account: Account
    sender: Sender
    pace: Pace
    buttons: Buttons
    _drafts: bool = True
    _replaced: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Messages that somebody deleted, and the one that took each one's place."""
    _held: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Turns whose placeholder was held back."""

    @property
    def limits(self) -> SinkLimits:
        """Telegram's."""
        return SinkLimits(max_chars=MAX, edit_interval_s=EDIT_INTERVAL_S, measure=measure)

    async def draft(self, to: Destination, view: View) -> bool:
        """Show a preview in a private chat; one that the pace does not allow is left out."""
        chat_id = int(to.address.channel)
        if not self._drafts or chat_id < 0:
            return False
        words = Words(to.language)
        thinking = View(text=words("Thinking…"))
        body = shown(view if view.text or view.status else thinking)
        try:
            async with self.pace.draft(chat_id):
                await self._draft(chat_id, to, body)
        except Throttled:
            return True
        return self._drafts

    async def _draft(self, chat_id: int, to: Destination, body: Rendered) -> None:
        try:
            await self.account.client.bot.send_message_draft(
                chat_id,
                _draft_id(to.turn_id),
                body.text,
                message_thread_id=_thread(to.address),
                entities=body.entities or None,
            )
        except UnknownMethod as error:
            _log.info("telegram.no_drafts", reason=error.message)
            self._drafts = False
        except BadRequest as error:  # this draft alone; the answer comes as a message
            _log.info("telegram.draft_refused", reason=error.message)
        except Forbidden as error:
            raise failure(error) from error
        except FloodWait as error:
            self.pace.drafts_cost = True
            self.pace.punished(chat_id, error.seconds)
        except TelegramError:
            _log.info("telegram.draft_failed")

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Post a part; in a group it answers the message it is about."""
        if to.private and _is_group(to.address):
            return await self._post_privately(to, part, view)
        chat_id = self.sender.current(int(to.address.channel))
        reply_to = to.source_ref if part == 1 and _is_group(to.address) else ""
        place = Place(
            chat_id=chat_id,
            thread_id=_thread(to.address),
            reply_to=int(reply_to) if reply_to.isdecimal() else None,
        )
        return await self._post(to, part, place, view)

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Make a part show this.

        A message that was deleted meanwhile is replaced once the text is final, so that the
        answer is not lost: first by a placeholder whose id is remembered here, which is then
        edited. An answer of Telegram that gets lost in between leaves a placeholder, never a
        second text; only a crash right after the edit, before the core has noted it, can.
        """
        ref = self._replaced.get(ref, ref)
        chat_id, message_id, kind = _parse_ref(ref)
        if kind == _NOTICE:
            return
        if self.sender.current(chat_id) == chat_id:  # a supergroup has other ids
            admitted = self.pace.final(chat_id) if view.final else self.pace.preview(chat_id)
            async with admitted:
                to.check()
                if await self._edit(chat_id, message_id, view, self._keyboard(to, view)):
                    return
        if not view.final:
            sentence = "The message was deleted."
            raise DeliveryFailed(sentence, retry_after_s=None, permanent=True)
        await self._replace(to, ref, view)

    async def _edit(
        self, chat_id: int, message_id: int, view: View, markup: InlineKeyboardMarkup | None
    ) -> bool:
        """False when the message is not there any more."""
        try:
            await self.sender.edit(chat_id, message_id, shown(view), markup)
        except MessageGone:
            return False
        except BadRequest as error:
            raise failure(error) from error
        return True

    async def find(self, to: Destination, part: int) -> str | None:  # noqa: ARG002  # the port's signature
        """Telegram cannot tell."""
        return None

    async def _replace(self, to: Destination, ref: str, view: View) -> None:
        _log.warning("telegram.message_replaced", turn=to.turn_id)
        chat_id, _, _ = _parse_ref(ref)
        thread = None if to.private else _thread(to.address)
        place = Place(chat_id=self.sender.current(chat_id), thread_id=thread)
        async with self.pace.final(place.chat_id):
            new = await self._send(place, Rendered(EMPTY, ()), None)
            _remember(self._replaced, ref, new)
        _, message_id, _ = _parse_ref(new)
        async with self.pace.final(place.chat_id):
            stands = await self._edit(place.chat_id, message_id, view, self._keyboard(to, view))
        if not stands:
            sentence = "The message was deleted again and again."
            raise DeliveryFailed(sentence, retry_after_s=None, permanent=True)

    async def _post_privately(self, to: Destination, part: int, view: View) -> str:
        """To the sender's own chat; who never opened it is told in the group how to."""
        place = Place(chat_id=int(to.sender))
        try:
            return await self._post(to, part, place, view)
        except DeliveryFailed as refused:
            if not refused.permanent:
                raise
        group = self.sender.current(int(to.address.channel))
        if part > 1:
            return f"{group}:0:{_NOTICE}"
        text = render(await self._open_a_chat(to))
        reply = int(to.source_ref) if to.source_ref.isdecimal() else None
        place = Place(chat_id=group, thread_id=_thread(to.address), reply_to=reply)
        async with self.pace.final(group):
            return f"{await self._send(place, text, None)}:{_NOTICE}"

    async def _open_a_chat(self, to: Destination) -> str:
        try:
            me: Me | None = await self.account.me()
        except TelegramError:
            me = None
        words = Words(to.language)
        if me is None:
            return words("That is for your eyes only. Open a private chat with me and ask again.")
        return words(
            "That is for your eyes only. [Open a private chat with me]({link}), press Start "
            "and ask again there.",
            link=f"https://t.me/{me.username}",
        )

    async def _post(self, to: Destination, part: int, place: Place, view: View) -> str:
        async with self._admit_post(to, part, place.chat_id, view):
            self._held.pop(to.turn_id, None)
            to.check()
            return await self._send(place, shown(view), self._keyboard(to, view))

    def _admit_post(
        self, to: Destination, part: int, chat_id: int, view: View
    ) -> AbstractAsyncContextManager[None]:
        """A placeholder is held back once, so that work can begin; the next time it is needed.

        Where there are drafts it comes when the answer is ready, and is needed at once.
        """
        drafts = self._drafts and chat_id > 0
        if view.final or (part == 1 and (drafts or to.turn_id in self._held)):
            return self.pace.final(chat_id)
        if part > 1:
            return self.pace.preview(chat_id)
        _remember(self._held, to.turn_id, "")
        return self.pace.placeholder(chat_id)

    async def _send(self, place: Place, body: Rendered, markup: InlineKeyboardMarkup | None) -> str:
        try:
            message_id = await self.sender.send(place, body, markup)
        except BadRequest as error:
            raise failure(error) from error
        return f"{self.sender.current(place.chat_id)}:{message_id}"

    def _keyboard(self, to: Destination, view: View) -> InlineKeyboardMarkup | None:
        """What a card asks; stop, while there is something to stop; what the answer offers."""
        words = Words(to.language)
        decide = ((Action.APPROVE, words("Approve")), (Action.DENY, words("Deny")))
        rows = [
            [self._button(to, action, approval, label) for action, label in decide]
            for approval in view.approvals
        ]
        if view.last and not to.private:
            if view.waiting or not view.final:
                rows.append([self._button(to, Action.STOP, to.turn_id, words("Stop"))])
            elif view.offer is not None:
                rows.append([self._button(to, Action.OFFER, to.turn_id, view.offer.label)])
        return InlineKeyboardMarkup(rows) if rows else None

    def _button(
        self, to: Destination, action: Action, subject: str, label: str
    ) -> InlineKeyboardButton:
        aside = to.private and _is_group(to.address)
        at = int(to.sender if aside else to.address.channel)
        address = ConversationAddress(
            platform=to.address.platform,
            workspace=to.address.workspace,
            channel=str(self.sender.current(at)),
            thread="" if aside else to.address.thread,
        )
        data = self.buttons.seal(action, subject, address)
        return InlineKeyboardButton(label, callback_data=data)


def _is_group(address: ConversationAddress) -> bool:
    return address.channel.startswith("-")


def _thread(address: ConversationAddress) -> int | None:
    return int(address.thread) if address.thread else None


def _parse_ref(ref: str) -> tuple[int, int, str]:
    chat_id, _, rest = ref.partition(":")
    message_id, _, kind = rest.partition(":")
    return int(chat_id), int(message_id), kind


def _remember(memory: OrderedDict[str, str], key: str, value: str) -> None:
    memory[key] = value
    while len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)


def _draft_id(turn_id: str) -> int:
    """The same for every draft of a turn, and never zero."""
    return int.from_bytes(hashlib.sha256(turn_id.encode()).digest()[:4], "big") >> 1 | 1
