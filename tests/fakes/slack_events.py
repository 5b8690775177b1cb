"""The payloads Slack sends, in their full shape."""

from __future__ import annotations

import base64
import json
import re
import time

from tests.fakes.slack_model import App, Channel, File, Json, Message

_TOKEN = re.compile(r"<(@[UW][A-Z0-9]+|#C[A-Z0-9]+|![a-z]+|https?://[^>|]+)(?:\|([^>]*))?>")
_TYPES = {
    "image/png": ("png", "PNG"),
    "image/jpeg": ("jpg", "JPEG"),
    "application/pdf": ("pdf", "PDF"),
    "text/plain": ("text", "Plain Text"),
    "audio/webm": ("webm", "WebM"),
    "audio/mp4": ("m4a", "MPEG 4 Audio"),
}


def envelope(
    app: App, event: Json, *, team: str, bot_user: str, context_team: str, shared: bool
) -> Json:
    """The outer ``event_callback``. ``team`` is where the app is installed."""
    context = {
        "et": event["type"],
        "tid": team,
        "aid": app.id,
        "cid": event.get("channel", ""),
    }
    return {
        "token": app.verification_token,
        "team_id": team,
        "context_team_id": context_team,
        "context_enterprise_id": None,
        "api_app_id": app.id,
        "event": event,
        "type": "event_callback",
        "event_id": app.new_id("Ev"),
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": team,
                "user_id": bot_user,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": shared,
        "event_context": "4-" + base64.b64encode(json.dumps(context).encode()).decode(),
    }


def message_json(message: Message, *, metadata: bool = False) -> Json:
    """A message as history, replies and events show it."""
    shape: Json = {"type": "message", "ts": message.ts}
    if message.user:
        shape["user"] = message.user
    if "username" in message.options:
        shape["username"] = message.options["username"]
    for name in ("client_msg_id", "subtype", "thread_ts", "edited", "bot_id", "app_id"):
        if (value := getattr(message, name)) is not None:
            shape[name] = value
    shape |= {"text": message.text, "team": message.team}
    if message.bot_id and message.user:
        shape["bot_profile"] = {
            "id": message.bot_id,
            "app_id": message.app_id,
            "name": "it0",
            "deleted": False,
            "updated": 0,
            "team_id": message.team,
        }
    stream_blocks = message.stream.blocks if message.stream else []
    if blocks := [*stream_blocks, *message.blocks]:
        shape["blocks"] = blocks
    if message.files:
        shape |= {"files": [item.shape for item in message.files], "upload": False}
    if message.reactions:
        shape["reactions"] = [
            {"name": name, "users": users, "count": len(users)}
            for name, users in message.reactions.items()
        ]
    if metadata and message.metadata is not None:
        shape["metadata"] = message.metadata
    return shape


def message_event(message: Message, channel: Channel, parent: Message | None) -> Json:
    """The ``message`` event of a new message."""
    event = message_json(message)
    if parent is not None and parent.ts != message.ts:
        event["parent_user_id"] = parent.user
    if channel.shared:
        event |= {"source_team": message.team, "user_team": message.team}
    if message.files:
        event["display_as_bot"] = False
    return event | {
        "channel": channel.id,
        "event_ts": message.ts,
        "channel_type": channel.kind,
    }


def mention_event(event: Json) -> Json:
    """The ``app_mention`` twin of a ``message`` event."""
    dropped = {"channel_type", "subtype", "parent_user_id"}
    return {**{k: v for k, v in event.items() if k not in dropped}, "type": "app_mention"}


def changed_event(channel: Channel, ts: str, message: Json, previous: Json) -> Json:
    """An edit, an unfurl, a deleted root that has replies."""
    return {
        "type": "message",
        "subtype": "message_changed",
        "message": {**message, "source_team": message["team"], "user_team": message["team"]},
        "previous_message": previous,
        "channel": channel.id,
        "hidden": True,
        "ts": ts,
        "event_ts": ts,
        "channel_type": channel.kind,
    }


def deleted_event(channel: Channel, ts: str, previous: Json) -> Json:
    """A message that is gone."""
    return {
        "type": "message",
        "subtype": "message_deleted",
        "previous_message": previous,
        "channel": channel.id,
        "hidden": True,
        "deleted_ts": previous["ts"],
        "ts": ts,
        "event_ts": ts,
        "channel_type": channel.kind,
    }


def rich_text(app: App, text: str) -> list[Json]:
    """The block that Slack's own client makes of what a user types."""
    elements: list[Json] = []
    at = 0
    for found in _TOKEN.finditer(text):
        elements += _text(text[at : found.start()])
        at = found.end()
        match found[1][0]:
            case "@":
                elements.append({"type": "user", "user_id": found[1][1:]})
            case "#":
                elements.append({"type": "channel", "channel_id": found[1][1:]})
            case "!":
                elements.append({"type": "broadcast", "range": found[1][1:]})
            case _:
                elements.append({"type": "link", "url": found[1]})
    elements += _text(text[at:])
    section = {"type": "rich_text_section", "elements": elements}
    return [{"type": "rich_text", "block_id": app.new_id("b")[-5:], "elements": [section]}]


def file_shape(app: App, file: File, user: str, subtype: str | None) -> Json:
    """A file object, with URLs of this server that want a token."""
    filetype, pretty = _TYPES.get(file.mimetype, ("binary", "Binary"))
    base = f"{app.base_url}/files-pri/{file.team}-{file.id}"
    now = int(time.time())
    shape: Json = {
        "id": file.id,
        "created": now,
        "timestamp": now,
        "name": file.name,
        "title": file.name,
        "mimetype": file.mimetype,
        "filetype": filetype,
        "pretty_type": pretty,
        "user": user,
        "user_team": file.team,
        "editable": False,
        "size": len(file.data),
        "mode": "hosted",
        "is_external": False,
        "external_type": "",
        "is_public": True,
        "public_url_shared": False,
        "display_as_bot": False,
        "username": "",
        "url_private": f"{base}/{file.name}",
        "url_private_download": f"{base}/download/{file.name}",
        "media_display_type": file.mimetype.split("/")[0],
        "permalink": f"https://fake.slack.com/files/{user}/{file.id}/{file.name}",
        "permalink_public": f"https://slack-files.com/{file.team}-{file.id}-0000000000",
        "has_rich_preview": False,
        "file_access": "visible",
    }
    if subtype is not None:
        shape |= {
            "subtype": subtype,
            "duration_ms": 1500,
            "transcription": {"status": "processing"},
        }
    return shape


def _text(text: str) -> list[Json]:
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return [{"type": "text", "text": plain}] if plain else []
