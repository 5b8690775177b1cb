"""One message to Telegram: what it shows, where it goes, and how often that is tried."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from telegram import (
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    MessageEntity,
    ReplyParameters,
)
from telegram.error import BadRequest, ChatMigrated, TelegramError

from bots.telegram.client import Client, FloodWait
from bots.telegram.errors import MessageGone, bad_entities, failure, gone, not_modified
from bots.telegram.pace import Pace
from bots.telegram.render import MAX, Rendered, render
from bots.telegram.render_spans import units
from core.sinks import DeliveryFailed, View

T = TypeVar("T")

EMPTY = "…"
"""Shown where the text has nothing visible: Telegram takes no empty message."""
MAX_MOVED = 1000
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_MARKUP = re.compile(r"([!-/:-@\[-`{-~])")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a message goes."""

    chat_id: int
    thread_id: int | None = None
    reply_to: int | None = None


def shown(view: View) -> Rendered:
    """The text, and under it in italics what is being done; the status gives way."""
    body = render(view.text) if view.text else Rendered("", ())
    if view.status and not view.final:
        line = render(f"*{_MARKUP.sub(_escape, ' '.join(view.status.split()))}*")
        body = _under(body, line)
    return body if body.text else Rendered(EMPTY, ())


def _escape(char: re.Match[str]) -> str:
    return f"\\{char[1]}"


def _under(body: Rendered, line: Rendered) -> Rendered:
    if not body.text or not line.text:
        return line if not body.text else body
    start = units(body.text) + 2
    if start + units(line.text) > MAX:
        return body
    moved = (
        MessageEntity(type=entity.type, offset=entity.offset + start, length=entity.length)
        for entity in line.entities
    )
    return Rendered(f"{body.text}\n\n{line.text}", (*body.entities, *moved))


@dataclass(slots=True)
class Sender:
    """Sends and edits. Raises ``DeliveryFailed``; ``BadRequest`` where the caller decides."""

    client: Client
    pace: Pace
    _moved: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def current(self, chat_id: int) -> int:
        """Where a group is now."""
        return self._moved.get(chat_id, chat_id)

    def moved(self, old: int, new: int) -> None:
        """A group became a supergroup."""
        self._moved[old] = new
        while len(self._moved) > MAX_MOVED:
            self._moved.popitem(last=False)

    async def send(
        self, place: Place, body: Rendered, markup: InlineKeyboardMarkup | None = None
    ) -> int:
        """Post a message whose token was taken; return its id."""
        reply = place.reply_to and ReplyParameters(
            message_id=place.reply_to, allow_sending_without_reply=True
        )

        async def call(chat_id: int, entities: tuple[MessageEntity, ...]) -> int:
            message = await self.client.bot.send_message(
                chat_id,
                body.text,
                entities=entities or None,
                link_preview_options=_NO_PREVIEW,
                message_thread_id=place.thread_id,
                reply_parameters=reply or None,
                reply_markup=markup,
            )
            return message.message_id

        return await self._attempt(place.chat_id, body.entities, call)

    async def edit(
        self,
        chat_id: int,
        message_id: int,
        body: Rendered,
        markup: InlineKeyboardMarkup | None = None,
    ) -> None:
        """Make a message show this; its token was taken. Raises ``MessageGone``.

        A group that became a supergroup took no message along, and counts anew: the old id
        may be another message there.
        """

        async def call(at: int, entities: tuple[MessageEntity, ...]) -> None:
            try:
                await self.client.bot.edit_message_text(
                    body.text,
                    chat_id=at,
                    message_id=message_id,
                    entities=entities or None,
                    link_preview_options=_NO_PREVIEW,
                    reply_markup=markup,
                )
            except ChatMigrated as error:
                self.moved(chat_id, error.new_chat_id)
                raise MessageGone from error
            except BadRequest as error:
                if gone(error):
                    raise MessageGone from error
                if not not_modified(error):
                    raise

        await self._attempt(chat_id, body.entities, call)

    async def _attempt(
        self,
        chat_id: int,
        entities: tuple[MessageEntity, ...],
        call: Callable[[int, tuple[MessageEntity, ...]], Awaitable[T]],
    ) -> T:
        """Call; once more where the group is now, or without markup that was refused."""
        try:
            return await call(self.current(chat_id), entities)
        except ChatMigrated as error:
            self.moved(chat_id, error.new_chat_id)
            again = error.new_chat_id
        except BadRequest as error:
            if not entities or not bad_entities(error):
                raise
            _log.error("telegram.entities_refused", reason=error.message)
            again, entities = self.current(chat_id), ()
        except TelegramError as error:
            raise self.refused(chat_id, error) from error
        try:
            return await call(again, entities)
        except BadRequest:
            raise
        except TelegramError as error:
            raise self.refused(again, error) from error

    def refused(self, chat_id: int, error: TelegramError) -> DeliveryFailed:
        """What to raise; a penalty is noted first."""
        if isinstance(error, FloodWait):
            _log.warning("telegram.flood_wait", seconds=error.seconds)
            self.pace.punished(self.current(chat_id), error.seconds)
        return failure(error)
