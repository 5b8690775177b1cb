"""What Telegram tells, in the core's words. Pure: an ``Update`` in, at most one happening out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from telegram import CallbackQuery, Chat, ChatMemberUpdated, Message, Update, User
from telegram.constants import ChatMemberStatus, ChatType

from bots.telegram.events_files import files_of, unusable
from bots.telegram.events_text import Me, is_addressed, is_for_other_bot, read_text, text_of
from core.messages import MAX_ATTACHMENTS, Actor, ConversationAddress, InboundMessage
from core.words import Sentence, sentence

PLATFORM = "telegram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message, or one of an album."""

    message: InboundMessage
    addressed: bool = True
    """False for a part of a group's album that does not name the bot; another part may."""
    album: str = ""
    """What the parts of an album have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A message has another text now."""

    message: InboundMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A button was pressed; its data comes from outside and is not checked yet."""

    query_id: str
    data: str
    actor: Actor
    address: ConversationAddress
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A group became a supergroup, under another id."""

    old: ConversationAddress
    new: ConversationAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """The bot was blocked by a person, or removed from a group."""

    address: ConversationAddress
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Something that is no message for IT0; what to say about it."""

    address: ConversationAddress
    source_ref: str
    language: str
    sentence: Sentence


Happening = Said | Edit | Pressed | Moved | Shut | Unusable


def translate(update: Update, me: Me) -> Happening | None:
    """Read an update; None if it is nothing to IT0."""
    if update.message is not None:
        return _message(update.message, me)
    if update.edited_message is not None:
        said = _message(update.edited_message, me)
        return Edit(message=said.message) if isinstance(said, Said) and said.addressed else None
    if update.callback_query is not None:
        return _pressed(update.callback_query, me)
    if update.my_chat_member is not None:
        return _membership(update.my_chat_member, me)
    return None


def merge(parts: list[Said]) -> InboundMessage:
    """An album as one message, under the lowest id."""
    ordered = sorted(parts, key=lambda part: int(part.message.source_ref))
    files = [file for part in ordered for file in part.message.files]
    texts = [part.message.text for part in ordered if part.message.text]
    if len(files) > MAX_ATTACHMENTS:
        left = len(files) - MAX_ATTACHMENTS
        texts.append(f"(I sent {left} more files with this, which did not fit one message.)")
    return replace(ordered[0].message, text="\n".join(texts), files=tuple(files[:MAX_ATTACHMENTS]))


def _message(message: Message, me: Me) -> Said | Moved | Unusable | None:
    if message.migrate_to_chat_id is not None:
        return _moved(message, me, message.chat.id, message.migrate_to_chat_id)
    if message.migrate_from_chat_id is not None:  # either may come first
        return _moved(message, me, message.migrate_from_chat_id, message.chat.id)
    sender = message.from_user
    if sender is None or message.is_automatic_forward or message.via_bot is not None:
        return None
    shared = message.chat.type != ChatType.PRIVATE
    addressed = not shared or is_addressed(message, me)
    if is_for_other_bot(message, me) or (not addressed and message.media_group_id is None):
        return None
    if message.sender_chat is not None:
        return _refused(message, me, _ANONYMOUS) if addressed else None
    if sender.is_bot:
        return None
    problem = unusable(message)
    if problem is not None:
        return _refused(message, me, problem)
    files = files_of(message)
    if not files and not text_of(message):
        return None  # a service message
    return Said(
        message=InboundMessage(
            event_id=f"{PLATFORM}:{me.id}:{message.chat.id}:{message.message_id}",
            address=_address(message, me),
            actor=_actor(sender),
            text=read_text(message, me),
            files=files,
            group=_group(message.chat),
            source_ref=str(message.message_id),
        ),
        addressed=addressed,
        album=str(message.media_group_id or ""),
    )


def _moved(message: Message, me: Me, old: int, new: int) -> Moved:
    place = replace(_address(message, me), thread="")
    return Moved(old=replace(place, channel=str(old)), new=replace(place, channel=str(new)))


_ANONYMOUS = sentence(
    "I cannot see who you are while you write in the name of a group or channel, so I do not "
    "know what you may do. Write in your own name."
)


def _refused(message: Message, me: Me, problem: Sentence) -> Unusable:
    sender = message.from_user
    return Unusable(
        address=_address(message, me),
        source_ref=str(message.message_id),
        language=(sender and sender.language_code) or "",
        sentence=problem,
    )


def _pressed(query: CallbackQuery, me: Me) -> Pressed | None:
    if query.message is None or query.data is None or query.from_user.is_bot:
        return None
    shown = query.message
    address = ConversationAddress(
        platform=PLATFORM, workspace=str(me.id), channel=str(shown.chat.id), thread=""
    )
    if isinstance(shown, Message):
        address = _address(shown, me)
    return Pressed(
        query_id=query.id,
        data=query.data,
        actor=_actor(query.from_user),
        address=address,
        group=_group(shown.chat),
    )


def _membership(change: ChatMemberUpdated, me: Me) -> Shut | None:
    status = change.new_chat_member.status
    if status not in {ChatMemberStatus.BANNED, ChatMemberStatus.LEFT}:
        return None
    address = ConversationAddress(
        platform=PLATFORM, workspace=str(me.id), channel=str(change.chat.id), thread=""
    )
    return Shut(address=address, status=str(status))


def _address(message: Message, me: Me) -> ConversationAddress:
    """A topic is a place of its own; the threads of replies in other groups are not."""
    in_topic = message.is_topic_message and message.message_thread_id is not None
    return ConversationAddress(
        platform=PLATFORM,
        workspace=str(me.id),
        channel=str(message.chat.id),
        thread=str(message.message_thread_id) if in_topic else "",
    )


def _group(chat: Chat) -> str | None:
    return None if chat.type == ChatType.PRIVATE else str(chat.id)


def _actor(user: User) -> Actor:
    return Actor(
        platform=PLATFORM,
        workspace="",
        external_id=str(user.id),
        name=user.full_name,
        language=user.language_code or "",
    )
