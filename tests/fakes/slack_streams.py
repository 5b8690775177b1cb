"""chat.startStream, appendStream and stopStream.

Sources: the methods' reference pages; what their users measured: a stream is locked to the kind
of its first payload (``streaming_mode_mismatch``), ``chat.update`` on an open one gives
``streaming_state_conflict``, and Slack ends a stream by itself after some minutes
(slackapi/python-slack-sdk#1859), after which only ``chat.update`` works.
"""

from __future__ import annotations

import time

from tests.fakes.slack_block_rules import check_blocks, check_metadata
from tests.fakes.slack_blocks import plain_text
from tests.fakes.slack_calls import ApiCall, Method
from tests.fakes.slack_chat import MAX_MARKDOWN_TEXT, MAX_TEXT, blocks_of, bot_message
from tests.fakes.slack_events import message_json
from tests.fakes.slack_limits import TIER_2, TIER_4
from tests.fakes.slack_model import Channel, Json, Message, SlackError, Stream

MAX_TITLE = 256
_STATUSES = ("pending", "in_progress", "complete", "error")


def _start(call: ApiCall) -> Json:
    channel = call.writable()
    if not call.text("thread_ts"):
        raise SlackError("invalid_arguments", "missing required field: thread_ts")
    if channel.kind != "im":
        _check_recipient(call)
    if call.text("task_display_mode") not in {"", "timeline", "plan"}:
        raise SlackError("invalid_arguments", "task_display_mode: timeline or plan")
    now = time.monotonic()
    message = bot_message(call, channel, "", [])
    message.metadata = None  # chat.startStream has no such argument; only chat.stopStream has
    message.stream = Stream(
        state="open",
        mode="",
        started_at=now,
        touched_at=now,
        recipient_user=call.text("recipient_user_id"),
        recipient_team=call.text("recipient_team_id"),
    )
    _append_to(call, message, message.stream)
    call.team.add(channel, message)
    return {"channel": channel.id, "ts": message.ts}


def _append(call: ApiCall) -> Json:
    channel, message, stream = _open_stream(call)
    if not (call.text("markdown_text") or call.structure("chunks")):
        raise SlackError("no_text")
    _append_to(call, message, stream)
    message.shown.append((time.monotonic(), plain_text(message)))
    call.app.watch.changed()
    return {"channel": channel.id, "ts": message.ts}


def _stop(call: ApiCall) -> Json:
    channel, message, stream = _open_stream(call)
    blocks = blocks_of(call)
    metadata = check_metadata(call.structure("metadata"))
    previous = message_json(message)
    _append_to(call, message, stream)
    if metadata is not None:
        message.metadata = metadata
    message.blocks = blocks
    stream.state = "stopped"
    if status := call.text("session_status"):
        thread = message.thread_ts or message.ts
        call.team.sessions[channel.id, thread] = status
        call.team.statuses.append((time.monotonic(), channel.id, thread, status))
    call.team.changed(channel, message, previous, show=True)
    shape = message_json(message, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": shape}


def _check_recipient(call: ApiCall) -> None:
    for name in ("recipient_user_id", "recipient_team_id"):
        if not call.text(name):
            raise SlackError(f"missing_{name}")
    team = call.team.teams.get(call.text("recipient_team_id"))
    if team is None:
        raise SlackError("team_not_found")
    if call.text("recipient_user_id") not in team.users:
        raise SlackError("user_not_found")


def _open_stream(call: ApiCall) -> tuple[Channel, Message, Stream]:
    channel = call.writable()
    message = call.message(channel)
    if not call.owns(message):
        raise SlackError("message_not_owned_by_app")
    stream, now = message.stream, time.monotonic()
    if stream is not None and stream.state == "open":
        idle, age = now - stream.touched_at, now - stream.started_at
        if idle > call.switches.stream_idle_s or age > call.switches.stream_life_s:
            stream.state = "expired"
    if stream is not None and stream.state == "stopped_by_user":
        raise SlackError("stopped_by_user")
    if stream is None or stream.state != "open":
        raise SlackError("message_not_in_streaming_state")
    stream.touched_at = now
    return channel, message, stream


def _append_to(call: ApiCall, message: Message, stream: Stream) -> None:
    """Add one payload. Nothing changes when it is refused."""
    markdown, chunks = call.text("markdown_text"), call.structure("chunks")
    if markdown and chunks:
        raise SlackError("cannot_provide_both_markdown_text_and_chunks")
    mode = "text" if markdown else "chunks" if chunks else ""
    if mode and stream.mode not in {"", mode}:
        raise SlackError("streaming_mode_mismatch")
    if chunks is not None and not isinstance(chunks, list):
        raise SlackError("invalid_chunks")
    text = markdown + "".join(_chunk_text(chunk) for chunk in chunks or [])
    if len(text) > MAX_MARKDOWN_TEXT or len(message.text) + len(text) > MAX_TEXT:
        raise SlackError("msg_too_long")
    stream.mode = stream.mode or mode
    message.text += text
    for chunk in chunks or []:
        match chunk["type"]:
            case "task_update":
                stream.tasks[chunk["id"]] = stream.tasks.get(chunk["id"], {}) | chunk
            case "plan_update":
                stream.plan = chunk["title"]
            case "blocks":
                stream.blocks += chunk["blocks"]
            case _:
                pass


def _chunk_text(chunk: object) -> str:
    if not isinstance(chunk, dict):
        raise SlackError("invalid_chunks", "a chunk must be an object")
    match chunk.get("type"):
        case "markdown_text":
            text = chunk.get("text")
            if not isinstance(text, str) or not text:
                raise SlackError("invalid_chunks", "markdown_text needs a text")
            return text
        case "task_update":
            if not chunk.get("id") or chunk.get("status") not in _STATUSES:
                raise SlackError("invalid_chunks", "task_update needs an id and a status")
            _check_title(chunk)
        case "plan_update":
            _check_title(chunk)
        case "blocks":
            check_blocks(chunk.get("blocks"))
        case kind:
            raise SlackError("invalid_chunks", f"unsupported type: {kind}")
    return ""


def _check_title(chunk: Json) -> None:
    title = chunk.get("title")
    if not isinstance(title, str) or not 1 <= len(title) <= MAX_TITLE:
        raise SlackError("invalid_chunks", f"a title has 1 to {MAX_TITLE} characters")


METHODS = {
    "chat.startStream": Method(run=_start, tier=TIER_2, scope="chat:write", switch="streaming"),
    "chat.appendStream": Method(run=_append, tier=TIER_4, scope="chat:write", switch="streaming"),
    "chat.stopStream": Method(run=_stop, tier=TIER_2, scope="chat:write", switch="streaming"),
}
