"""What Slack sends, in the core's words. Pure: nothing is asked and nothing is done here.

A channel's message counts when it mentions the bot, also in a thread that it answered before;
in direct messages all count. ``app_mention`` and its ``message`` twin get the same event id, as
do retries, so the inbox takes only one. Messages of bots never count: two bots could else
answer each other for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bots.slack.fields import Json, node, nodes, number, text
from bots.slack.text import Names, after_slash, as_command, mentions, plain
from core.messages import Actor, ConversationAddress, InboundMessage, RemoteFile

PLATFORM = "slack"
_PLAIN_SUBTYPES = frozenset({"", "file_share", "thread_broadcast"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """Who we are in a workspace."""

    workspace: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Somebody wrote to us."""

    message: InboundMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Somebody edited what they wrote."""

    message: InboundMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A message is gone."""

    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPressed:
    """Slack's own stop button; the message is ``/stop`` in the thread."""

    message: InboundMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Somebody looks at the Home tab, or at an empty conversation with us."""

    actor: Actor
    channel: str
    thread: str
    home: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The workspace took our token back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A button under one of our messages."""

    event_id: str
    actor: Actor
    address: ConversationAddress
    value: str


Happening = Said | Changed | Deleted | StopPressed | Opened | Removed


def workspace_of(body: Json) -> str:
    """The workspace whose installation this is about, also in a channel shared with others."""
    for found in nodes(body, "authorizations"):
        return text(found, "team_id")
    return (
        text(body, "view", "app_installed_team_id")
        or text(body, "message", "team")
        or text(body, "team", "id")
        or text(body, "team_id")
    )


def read_event(body: Json, bot: Bot, names: Names) -> Happening | None:
    """What an Events API body says; None where nothing is to be done."""
    event = node(body, "event")
    match text(event, "type"):
        case "message" | "app_mention":
            return _message(event, bot, names)
        case "app_home_opened":
            home = text(event, "tab") != "messages"
            return _opened(event, bot, thread="", home=home)
        case "assistant_thread_started":
            return _assistant(node(event, "assistant_thread"), bot)
        case "agent_session_stopped":
            return _stopped(event, bot)
        case "tokens_revoked" if not node(event, "tokens").get("bot"):
            return None  # only tokens of users, which we never ask for
        case "tokens_revoked" | "app_uninstalled":
            return Removed()
        case _:
            return None


def read_command(body: Json, bot: Bot, channel: str, names: Names) -> InboundMessage:
    """``/it0 TEXT``, asked in the direct messages ``channel`` with the person."""
    trigger = text(body, "trigger_id")
    return InboundMessage(
        event_id=f"{PLATFORM}:{bot.workspace}:{channel}:command:{trigger}",
        address=_address(bot, channel, ""),
        actor=_actor(body, bot, text(body, "user_id")),
        text=after_slash(plain(text(body, "text"), bot.user, names)),
        group=bot.workspace,
    )


def read_press(body: Json, workspace: str) -> Pressed | None:
    """A pressed button; None for what is no button of a message."""
    actions, channel = nodes(body, "actions"), text(body, "channel", "id")
    user = text(body, "user", "id")
    if not actions or not channel or not text(actions[0], "value"):
        return None
    at = text(actions[0], "action_ts")
    container = node(body, "container")
    thread = text(container, "thread_ts") or text(body, "message", "thread_ts")
    return Pressed(
        event_id=f"{PLATFORM}:{workspace}:{channel}:press:{user}:{at}",
        actor=Actor(
            platform=PLATFORM,
            workspace=text(body, "user", "team_id") or workspace,
            external_id=user,
        ),
        address=ConversationAddress(
            platform=PLATFORM, workspace=workspace, channel=channel, thread=thread
        ),
        value=text(actions[0], "value"),
    )


def is_direct(channel: str) -> bool:
    """Whether a channel is the direct messages of one person with the bot."""
    return channel.startswith("D")


def _message(event: Json, bot: Bot, names: Names) -> Happening | None:
    match text(event, "subtype"):
        case "message_changed":
            return _changed(event, bot, names)
        case "message_deleted":
            previous = node(event, "previous_message")
            return _deleted(event, previous, bot)
        case subtype if subtype in _PLAIN_SUBTYPES:
            pass
        case _:
            return None
    if not _counts(event, text(event, "channel"), bot):
        return None
    return Said(message=_inbound(event, text(event, "channel"), bot, names))


def _counts(message: Json, channel: str, bot: Bot) -> bool:
    user = text(message, "user")
    if not user or user in {bot.user, "USLACKBOT"} or text(message, "bot_id"):
        return False
    return is_direct(channel) or mentions(text(message, "text"), bot.user)


def _changed(event: Json, bot: Bot, names: Names) -> Happening | None:
    """An edit by the writer; links that unfold and other changes are none."""
    message, previous = node(event, "message"), node(event, "previous_message")
    channel = text(event, "channel")
    if text(message, "subtype") == "tombstone":
        return _deleted(event, previous, bot)
    if text(message, "text") == text(previous, "text") or not node(message, "edited"):
        return None
    if not (_counts(message, channel, bot) or _counts(previous, channel, bot)):
        return None
    if text(message, "edited", "user") != text(message, "user"):
        return None
    said = _inbound(message, channel, bot, names)
    return Changed(message=replace(said, edit=text(message, "edited", "ts")))


def _deleted(event: Json, previous: Json, bot: Bot) -> Deleted | None:
    channel = text(event, "channel")
    if not _counts(previous, channel, bot):
        return None
    ts = text(event, "deleted_ts") or text(previous, "ts")
    return Deleted(event_id=_event_id(bot, channel, ts))


def _inbound(message: Json, channel: str, bot: Bot, names: Names) -> InboundMessage:
    ts = text(message, "ts")
    thread = text(message, "thread_ts") or ("" if is_direct(channel) else ts)
    said = plain(text(message, "text"), bot.user, names)
    return InboundMessage(
        event_id=_event_id(bot, channel, ts),
        address=_address(bot, channel, thread),
        actor=_actor(message, bot, text(message, "user")),
        text=as_command(said),
        files=_files(message),
        group=bot.workspace,
        source_ref=ts,
    )


def _files(message: Json) -> tuple[RemoteFile, ...]:
    found = (_file(item) for item in nodes(message, "files"))
    return tuple(file for file in found if file is not None)


def _file(file: Json) -> RemoteFile | None:
    """A file of an event; None for one that is no file any more."""
    ref = text(file, "url_private_download") or text(file, "id")
    if not ref or text(file, "mode") in {"tombstone", "hidden_by_limit"}:
        return None
    media_type = text(file, "mimetype") or "application/octet-stream"
    if text(file, "subtype") == "slack_audio" and not media_type.startswith("audio/"):
        media_type = "audio/mp4"
    name = text(file, "name") or text(file, "title") or "file"
    return RemoteFile(ref=ref, name=name, media_type=media_type, size=number(file, "size"))


def _opened(event: Json, bot: Bot, *, thread: str, home: bool) -> Opened | None:
    channel, user = text(event, "channel"), text(event, "user")
    if not channel or not user:
        return None
    actor = _actor(event, bot, user)
    return Opened(actor=actor, channel=channel, thread=thread, home=home)


def _assistant(thread: Json, bot: Bot) -> Opened | None:
    channel, user = text(thread, "channel_id"), text(thread, "user_id")
    if not channel or not user:
        return None
    actor = Actor(platform=PLATFORM, workspace=bot.workspace, external_id=user)
    return Opened(actor=actor, channel=channel, thread=text(thread, "thread_ts"), home=False)


def _stopped(event: Json, bot: Bot) -> StopPressed | None:
    channel, user = text(event, "channel"), text(event, "user")
    if not channel or not user:
        return None
    at = text(event, "event_ts")
    return StopPressed(
        message=InboundMessage(
            event_id=f"{PLATFORM}:{bot.workspace}:{channel}:stopped:{at}",
            address=_address(bot, channel, text(event, "thread_ts")),
            actor=_actor(event, bot, user),
            text="/stop",
            group=bot.workspace,
        )
    )


def _actor(message: Json, bot: Bot, user: str) -> Actor:
    """Who wrote, in their own workspace: in a shared channel that is another one."""
    team = text(message, "user_team") or text(message, "source_team") or text(message, "team")
    return Actor(platform=PLATFORM, workspace=team or bot.workspace, external_id=user)


def _address(bot: Bot, channel: str, thread: str) -> ConversationAddress:
    return ConversationAddress(
        platform=PLATFORM, workspace=bot.workspace, channel=channel, thread=thread
    )


def _event_id(bot: Bot, channel: str, ts: str) -> str:
    return f"{PLATFORM}:{bot.workspace}:{channel}:{ts}"
