"""chat.* of the fake Slack without streaming, and reactions."""

from __future__ import annotations

import time

from tests.fakes.slack_block_rules import check_blocks, check_metadata
from tests.fakes.slack_blocks import plain_text
from tests.fakes.slack_calls import ApiCall, Method
from tests.fakes.slack_events import message_json
from tests.fakes.slack_limits import SPECIAL, TIER_3, TIER_4
from tests.fakes.slack_model import Channel, Json, Message, SlackError

MAX_TEXT = 40_000
MAX_UPDATE_TEXT = 4_000
MAX_MARKDOWN_TEXT = 12_000
_OPTIONS = (
    "unfurl_links",
    "unfurl_media",
    "mrkdwn",
    "parse",
    "link_names",
    "username",
    "icon_emoji",
    "icon_url",
)


def blocks_of(call: ApiCall) -> list[Json]:
    """The blocks of a call, checked, each with an id."""
    blocks = check_blocks(call.structure("blocks") or [])
    return [{"block_id": call.app.new_id("b")[-5:], **block} for block in blocks]


def thread_of(call: ApiCall, channel: Channel) -> str | None:
    """The thread to post to. A reply's ts stands for its thread, as in Slack."""
    wanted = call.text("thread_ts")
    if not wanted:
        return None
    root = channel.messages.get(wanted)
    if root is None:
        raise SlackError("thread_not_found")
    return root.thread_ts or root.ts


def bot_message(call: ApiCall, channel: Channel, text: str, blocks: list[Json]) -> Message:
    """A message of the calling bot, not yet stored."""
    if call.team.scopes.isdisjoint({"chat:write.customize"}) and call.text("username"):
        raise SlackError("missing_scope", needed="chat:write.customize")
    return Message(
        channel=channel.id,
        ts=call.app.ts(),
        user=call.team.bot_user_id,
        team=call.team.id,
        text=text,
        blocks=blocks,
        thread_ts=thread_of(call, channel),
        metadata=check_metadata(call.structure("metadata")),
        bot_id=call.team.bot_id,
        app_id=call.app.id,
        options={name: call.args[name] for name in _OPTIONS if name in call.args},
    )


def _text_of(call: ApiCall, blocks: list[Json], most: int) -> str:
    text, markdown = call.text("text"), call.text("markdown_text")
    if markdown and (text or blocks):
        raise SlackError("markdown_text_conflict")
    if len(markdown) > MAX_MARKDOWN_TEXT or len(text) > most:
        raise SlackError("msg_too_long")
    if not (text or markdown or blocks):
        raise SlackError("no_text")
    return text or markdown


def _post(call: ApiCall) -> Json:
    channel = call.writable()
    blocks = blocks_of(call)
    message = bot_message(call, channel, _text_of(call, blocks, MAX_TEXT), blocks)
    if call.flag("reply_broadcast"):
        message.subtype = "thread_broadcast"
    call.team.add(channel, message)
    shape = message_json(message, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": shape}


def _update(call: ApiCall) -> Json:
    channel = call.writable()
    message = call.message(channel)
    if not call.owns(message):
        raise SlackError("cant_update_message")
    if message.streaming:
        raise SlackError("streaming_state_conflict")
    given = "blocks" in call.args and call.args["blocks"] is not None
    blocks = blocks_of(call)
    previous = message_json(message)
    text = _text_of(call, blocks or ([] if given else message.blocks), MAX_UPDATE_TEXT)
    metadata = call.structure("metadata")
    if metadata is not None:
        message.metadata = check_metadata(metadata)
    message.text, message.stream = text, None
    if given:
        message.blocks = blocks
    else:
        message.edited = {"user": call.team.bot_user_id, "ts": call.app.ts()}
    call.team.changed(channel, message, previous, show=True)
    shape = message_json(message, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "text": text, "message": shape}


def _delete(call: ApiCall) -> Json:
    channel = call.channel()
    message = call.message(channel)
    if not call.owns(message) or message.streaming:
        raise SlackError("cant_delete_message")
    call.team.remove(channel, message)
    return {"channel": channel.id, "ts": message.ts}


def _post_ephemeral(call: ApiCall) -> Json:
    channel, user = call.writable(), call.need("user")
    if user not in channel.members:
        raise SlackError("user_not_in_channel")
    blocks = blocks_of(call)
    message = bot_message(call, channel, _text_of(call, blocks, MAX_TEXT), blocks)
    message.ephemeral_to = user
    message.shown.append((time.monotonic(), plain_text(message)))
    channel.ephemerals.append(message)
    call.app.watch.changed()
    return {"message_ts": message.ts}


def _permalink(call: ApiCall) -> Json:
    channel = call.channel()
    message = call.message(channel, "message_ts")
    link = f"https://{call.team.domain}.slack.com/archives/{channel.id}"
    return {
        "channel": channel.id,
        "permalink": f"{link}/p{message.ts.replace('.', '')}",
    }


def _react(call: ApiCall) -> Json:
    name, users = _reaction(call)
    if call.team.bot_user_id in users:
        raise SlackError("already_reacted")
    message = call.message(call.channel(), "timestamp")
    message.reactions.setdefault(name, []).append(call.team.bot_user_id)
    call.app.watch.changed()
    return {}


def _unreact(call: ApiCall) -> Json:
    name, users = _reaction(call)
    if call.team.bot_user_id not in users:
        raise SlackError("no_reaction")
    users.remove(call.team.bot_user_id)
    if not users:
        del call.message(call.channel(), "timestamp").reactions[name]
    call.app.watch.changed()
    return {}


def _reaction(call: ApiCall) -> tuple[str, list[str]]:
    message, name = call.message(call.channel(), "timestamp"), call.need("name")
    if not name.replace("_", "").replace("-", "").replace("+", "").isalnum():
        raise SlackError("invalid_name")
    return name, message.reactions.get(name, [])


METHODS = {
    "chat.postMessage": Method(run=_post, tier=SPECIAL, scope="chat:write"),
    "chat.update": Method(run=_update, tier=TIER_3, scope="chat:write"),
    "chat.delete": Method(run=_delete, tier=TIER_3, scope="chat:write"),
    "chat.postEphemeral": Method(run=_post_ephemeral, tier=TIER_4, scope="chat:write"),
    "chat.getPermalink": Method(run=_permalink, tier=SPECIAL),
    "reactions.add": Method(run=_react, tier=TIER_3, scope="reactions:write"),
    "reactions.remove": Method(run=_unreact, tier=20, scope="reactions:write"),
}
