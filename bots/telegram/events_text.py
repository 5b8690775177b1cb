"""The text of a message as IT0 gets it: without our name, with what it refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from telegram import (
    Message,
    MessageEntity,
    MessageOrigin,
    MessageOriginChannel,
    MessageOriginChat,
    MessageOriginHiddenUser,
    MessageOriginUser,
)

from core.names import plain_name

MAX_QUOTE_CHARS = 2000
_COMMAND = re.compile(r"/([a-z0-9_]+)(?:@([a-z0-9_]+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """Who the bot is."""

    id: int
    username: str


def text_of(message: Message) -> str:
    """Text or caption."""
    return message.text or message.caption or ""


def is_addressed(message: Message, me: Me) -> bool:
    """Whether a message in a group is meant for the bot: a mention, a reply or a command.

    What somebody else wrote, and was forwarded, calls nobody.
    """
    if message.forward_origin is not None:
        return False
    command = _COMMAND.match(_command(message))
    if command is not None:
        return command[2] is None or command[2].casefold() == me.username.casefold()
    return is_reply_to(message, me) or any(True for _ in _mentions(message, me))


def is_for_other_bot(message: Message, me: Me) -> bool:
    """Whether it is ``/command@somebody_else``."""
    if message.forward_origin is not None:
        return False
    command = _COMMAND.match(_command(message))
    return (
        command is not None
        and command[2] is not None
        and command[2].casefold() != me.username.casefold()
    )


def is_reply_to(message: Message, me: Me) -> bool:
    """Whether it answers a message of the bot; the root of a topic is nobody's message."""
    replied = message.reply_to_message
    return (
        replied is not None
        and replied.from_user is not None
        and replied.from_user.id == me.id
        and replied.forum_topic_created is None
    )


def read_text(message: Message, me: Me) -> str:
    """What is said, after what it refers to; a command stands alone.

    A forwarded text is a quotation, whatever it looks like: never a command.
    """
    if message.forward_origin is not None:
        said = f"Forwarded from {_name(message.forward_origin)}:"
        quoted = text_of(message).strip()
        return f"{said}\n{_as_quote(quoted)}" if quoted else said
    text = _without_mentions(message, me).strip()
    command = _COMMAND.match(_command(message))
    if command is not None:
        return f"/{command[1]}{text[command.end() :]}"
    quoted = _quoted(message, me)
    if not quoted:
        return text
    return f"{_as_quote(quoted)}\n\n{text}".strip()


def _as_quote(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def _name(origin: MessageOrigin) -> str:
    """Who wrote it first, as one short line; names are chosen freely."""
    match origin:
        case MessageOriginUser():
            name = origin.sender_user.full_name
        case MessageOriginHiddenUser():
            name = origin.sender_user_name
        case MessageOriginChat():
            name = origin.sender_chat.effective_name or ""
        case MessageOriginChannel():
            name = origin.chat.effective_name or ""
        case _:
            name = ""
    return plain_name(name) or "somebody"


def _command(message: Message) -> str:
    """The command that the message begins with, as Telegram found it; else nothing."""
    for entity in message.entities or message.caption_entities:
        if entity.type == MessageEntity.BOT_COMMAND and entity.offset == 0:
            return text_of(message)[: entity.length]  # ASCII: units are characters
    return ""


def _mentions(message: Message, me: Me) -> Iterator[MessageEntity]:
    """The entities that name the bot; offsets are in UTF-16 code units."""
    units = text_of(message).encode("utf-16-le", "surrogatepass")
    name = f"@{me.username}".casefold()
    for entity in message.entities or message.caption_entities:
        if entity.type == MessageEntity.TEXT_MENTION:
            if entity.user is not None and entity.user.id == me.id:
                yield entity
        elif entity.type == MessageEntity.MENTION:
            start, end = entity.offset * 2, (entity.offset + entity.length) * 2
            if units[start:end].decode("utf-16-le", "replace").casefold() == name:
                yield entity


def _without_mentions(message: Message, me: Me) -> str:
    units = text_of(message).encode("utf-16-le", "surrogatepass")
    for entity in sorted(_mentions(message, me), key=lambda found: -found.offset):
        before = units[: entity.offset * 2]
        after = units[(entity.offset + entity.length) * 2 :]
        if after.startswith(_BLANK) and (not before or before.endswith(_BLANKS)):
            after = after[2:]
        units = before + after
    return units.decode("utf-16-le", "replace")


_BLANK = " ".encode("utf-16-le")
_BLANKS = (_BLANK, "\n".encode("utf-16-le"))


def _quoted(message: Message, me: Me) -> str:
    """What the message refers to: the passage chosen by hand, else somebody else's message.

    The bot's own messages are known from the conversation; which passage is meant is not.
    """
    if message.quote is not None and (message.quote.is_manual or not is_reply_to(message, me)):
        return message.quote.text[:MAX_QUOTE_CHARS].strip()
    if message.reply_to_message is None or is_reply_to(message, me):
        return ""
    return text_of(message.reply_to_message)[:MAX_QUOTE_CHARS].strip()
