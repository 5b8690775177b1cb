"""assistant.threads.*, agents.sessions.* and views.* of the fake Slack."""

from __future__ import annotations

import hashlib
import json
import time

from tests.fakes.slack_block_rules import check_view
from tests.fakes.slack_calls import ApiCall, Method
from tests.fakes.slack_limits import SPECIAL, TIER_3, TIER_4
from tests.fakes.slack_model import Channel, Json, SlackError

TRIGGER_LIFE_S = 3.0
MAX_PROMPTS = 4
_SESSION = ("active", "processing", "suspended", "closed")


def _thread(call: ApiCall) -> tuple[Channel, str]:
    channel = call.writable("channel_id")
    thread = call.need("thread_ts")
    if thread not in channel.messages:
        raise SlackError("invalid_thread_ts")
    return channel, thread


def _set_status(call: ApiCall) -> Json:
    channel, thread = _thread(call)
    if call.args.get("status") is None:
        raise SlackError("invalid_arguments", "missing required field: status")
    loading = call.structure("loading_messages") or []
    if not isinstance(loading, list) or len(loading) > 10:
        raise SlackError("invalid_arguments", "at most 10 loading_messages")
    call.team.statuses.append((time.monotonic(), channel.id, thread, call.text("status")))
    call.team.status_now[channel.id, thread] = call.text("status")
    call.app.watch.changed()
    return {}


def _set_title(call: ApiCall) -> Json:
    channel, thread = _thread(call)
    call.team.titles[channel.id, thread] = call.need("title")
    return {}


def _set_prompts(call: ApiCall) -> Json:
    channel = call.writable("channel_id")
    prompts = call.structure("prompts")
    if not isinstance(prompts, list) or not 1 <= len(prompts) <= MAX_PROMPTS:
        raise SlackError("invalid_arguments", f"1 to {MAX_PROMPTS} prompts")
    for prompt in prompts:
        if not (isinstance(prompt, dict) and prompt.get("title") and prompt.get("message")):
            raise SlackError("invalid_arguments", "a prompt has a title and a message")
    call.team.prompts[channel.id, call.text("thread_ts")] = prompts
    call.app.watch.changed()
    return {}


def _set_session(call: ApiCall) -> Json:
    channel, thread = _thread(call)
    status, title = call.need("status"), call.text("title")
    if status not in _SESSION:
        raise SlackError("invalid_arguments", f"status is one of {_SESSION}")
    if len(title) > 200:
        raise SlackError("invalid_arguments", "a title has at most 200 characters")
    key = (channel.id, thread)
    if key not in call.team.sessions and title:
        call.team.titles[key] = title
    call.team.sessions[key] = status
    call.team.statuses.append((time.monotonic(), channel.id, thread, status))
    call.app.watch.changed()
    return {"status": status, "agent_status": status, "title": call.team.titles.get(key, "")}


def _rename_session(call: ApiCall) -> Json:
    channel, thread = _thread(call)
    if (channel.id, thread) not in call.team.sessions:
        raise SlackError("session_not_found")
    call.team.titles[channel.id, thread] = call.need("title")
    return {"title": call.need("title")}


def _view(call: ApiCall, kinds: tuple[str, ...]) -> Json:
    view = check_view(call.structure("view"), kinds)
    digest = hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()
    blocks = [{"block_id": f"b{n}", **block} for n, block in enumerate(view["blocks"])]
    return {
        **view,
        "blocks": blocks,
        "id": call.app.new_id("V"),
        "team_id": call.team.id,
        "app_id": call.app.id,
        "bot_id": call.team.bot_id,
        "hash": f"{int(time.time())}.{digest[:8]}",
        "state": {"values": {}},
    }


def _publish(call: ApiCall) -> Json:
    user = call.need("user_id")
    if user not in call.team.users:
        raise SlackError("user_not_found")
    before = call.team.homes.get(user)
    if call.text("hash") and before is not None and call.text("hash") != before["hash"]:
        raise SlackError("hash_conflict")
    view = _view(call, ("home",))
    call.team.homes[user] = view
    call.app.watch.changed()
    return {"view": view}


def _open(call: ApiCall) -> Json:
    trigger = call.need("trigger_id")
    made_at = call.team.triggers.get(trigger)
    if made_at is None:
        raise SlackError("invalid_trigger_id")
    if made_at < 0:
        raise SlackError("exchanged_trigger_id")
    if time.monotonic() - made_at > TRIGGER_LIFE_S:
        raise SlackError("expired_trigger_id")
    view = _view(call, ("modal",))
    call.team.triggers[trigger] = -1.0
    call.team.modals.append(view)
    call.app.watch.changed()
    return {"view": view}


_WRITE = "assistant:write"
_BOTH = "assistant:write|chat:write"
METHODS = {
    "assistant.threads.setStatus": Method(
        run=_set_status, tier=SPECIAL, scope=_BOTH, switch="agents"
    ),
    "assistant.threads.setTitle": Method(
        run=_set_title, tier=TIER_3, scope=_WRITE, switch="agents"
    ),
    "assistant.threads.setSuggestedPrompts": Method(
        run=_set_prompts, tier=TIER_3, scope=_WRITE, switch="agents"
    ),
    "agents.sessions.setStatus": Method(
        run=_set_session, tier=TIER_3, scope="chat:write", switch="agents"
    ),
    "agents.sessions.rename": Method(
        run=_rename_session, tier=TIER_3, scope="chat:write", switch="agents"
    ),
    "views.publish": Method(run=_publish, tier=TIER_4),
    "views.open": Method(run=_open, tier=TIER_4),
}
