"""What Telegram tells, in the core's words. Pure: an ``Update`` in, at most one happening out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from telegram import CallbackQuery, Chat, ChatMemberUpdated, Message, Update, User
from telegram.constants import ChatMemberStatus, ChatType

from bots.telegram.events_files import files_of, unusable
from bots.telegram.events_text import Me, is_addressed, is_for_other_bot, read_text, text_of
from core.messages import Actor, ConversationAddress, InboundMessage
from core.words import Sentence, sentence

PLATFORM = "telegram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message, or one of an album."""

    message: InboundMessage
    addressed: bool = True
    """False for a part of a group's album that does not name the bot; another part may."""


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
class Added:
    """The bot was added to a group; or back to one, which may be linked."""

    event_id: str
    actor: Actor
    address: ConversationAddress
    group: str


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


Happening = Said | Edit | Pressed | Moved | Added | Shut | Unusable


def translate(update: Update, me: Me) -> Happening | None:
    """Read an update; None if it is nothing to IT0."""
    if update.message is not None:
        return _message(update.message, me)
    if update.edited_message is not None:
        said = _message(update.edited_message, me)
        if not isinstance(said, Said) or not said.addressed:
            return None
        at = update.edited_message.edit_date
        mark = "" if at is None else str(int(at.timestamp()))
        return Edit(message=replace(said.message, album=None, edit=mark))
    if update.callback_query is not None:
        return _pressed(update.callback_query, me)
    if update.my_chat_member is not None:
        return _membership(update.my_chat_member, me)
    return None


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
            album=_album(message, me),
            group=_group(message.chat),
            source_ref=str(message.message_id),
        ),
        addressed=addressed,
    )


def _album(message: Message, me: Me) -> str | None:
    if not message.media_group_id:
        return None
    return f"{PLATFORM}:{me.id}:{message.chat.id}:{message.media_group_id}"


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


_OUT = frozenset({ChatMemberStatus.BANNED, ChatMemberStatus.LEFT})


def _membership(change: ChatMemberUpdated, me: Me) -> Added | Shut | None:
    before, status = change.old_chat_member.status, change.new_chat_member.status
    address = ConversationAddress(
        platform=PLATFORM, workspace=str(me.id), channel=str(change.chat.id), thread=""
    )
    if status in _OUT:
        return Shut(address=address, status=str(status))
    if before not in _OUT or change.chat.type not in {ChatType.GROUP, ChatType.SUPERGROUP}:
        return None
    return Added(
        event_id=f"{PLATFORM}:{me.id}:{change.chat.id}:added:{change.date.timestamp():.0f}",
        actor=_actor(change.from_user),
        address=address,
        group=str(change.chat.id),
    )


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
