"""conversations.*, users.info, bots.info, team.info, auth.* of the fake Slack."""

from __future__ import annotations

import base64

from tests.fakes.slack_calls import ApiCall, Method
from tests.fakes.slack_events import message_json
from tests.fakes.slack_limits import SPECIAL, TIER_3, TIER_4
from tests.fakes.slack_model import Channel, Json, Message, SlackError
from tests.fakes.slack_user import User

_HISTORY = "channels:history|groups:history|im:history"
_READ = "channels:read|groups:read|im:read"
_OFFSETS = {"Europe/London": 0, "Asia/Shanghai": 28_800, "America/New_York": -18_000}


def _auth_test(call: ApiCall) -> Json:
    team = call.team
    return {
        "url": f"https://{team.domain}.slack.com/",
        "team": team.name,
        "user": call.app.name,
        "team_id": team.id,
        "user_id": team.bot_user_id,
        "bot_id": team.bot_id,
        "is_enterprise_install": False,
    }


def _auth_revoke(call: ApiCall) -> Json:
    if call.flag("test"):
        return {"revoked": False}
    call.team.revoke_token()
    return {"revoked": True}


def _open(call: ApiCall) -> Json:
    wanted = call.text("users")
    if "," in wanted:
        raise SlackError("not_supported_by_this_fake", "one user")
    user = _user(call, wanted or call.need("users"))
    channel = call.team.dm(user)
    shape: Json = {"id": channel.id}
    if call.flag("return_im"):
        shape |= {"is_im": True, "user": user.id, "created": 0, "is_open": True}
    return {"no_op": True, "already_open": True, "channel": shape}


def _info(call: ApiCall) -> Json:
    return {"channel": _channel_shape(call, call.channel())}


def _list(call: ApiCall) -> Json:
    wanted = (call.text("types") or "public_channel").split(",")
    kinds = {"channel": "public_channel", "group": "private_channel", "im": "im"}
    found = [
        _channel_shape(call, channel)
        for channel in call.team.channels.values()
        if kinds[channel.kind] in wanted
        and (channel.kind == "channel" or call.team.id in channel.bots)
    ]
    return {"channels": found, "response_metadata": {"next_cursor": ""}}


def _members(call: ApiCall) -> Json:
    channel = _readable(call)
    bots = {call.team.teams[item].bot_user_id for item in channel.bots}
    return {
        "members": sorted(channel.members | bots),
        "response_metadata": {"next_cursor": ""},
    }


def _join(call: ApiCall) -> Json:
    channel = call.channel()
    if channel.kind != "channel":
        raise SlackError("method_not_supported_for_channel_type")
    channel.bots.add(call.team.id)
    return {"channel": _channel_shape(call, channel)}


def _channel_shape(call: ApiCall, channel: Channel) -> Json:
    shape: Json = {
        "id": channel.id,
        "created": 0,
        "is_archived": channel.archived,
        "is_im": channel.kind == "im",
        "is_org_shared": False,
        "context_team_id": call.team.id,
    }
    if channel.kind == "im":
        return {**shape, "user": channel.user, "is_open": True}
    shape |= {
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": channel.kind == "channel",
        "is_group": channel.kind == "group",
        "is_private": channel.kind == "group",
        "is_mpim": False,
        "is_member": call.team.id in channel.bots,
        "is_shared": channel.shared,
        "is_ext_shared": channel.shared,
        "shared_team_ids": channel.teams,
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }
    return shape


def _history(call: ApiCall) -> Json:
    channel = _readable(call)
    found = [item for item in _alive(channel) if item.thread_ts in {None, item.ts} or _shown(item)]
    return _page(call, channel, list(reversed(_between(call, found))))


def _replies(call: ApiCall) -> Json:
    channel, wanted = _readable(call), call.need("ts")
    found = channel.thread(wanted)
    if not found:
        raise SlackError("thread_not_found")
    return _page(call, channel, _between(call, found))


def _readable(call: ApiCall) -> Channel:
    channel = call.channel()
    if call.team.id not in channel.bots:
        raise SlackError("not_in_channel")
    return channel


def _alive(channel: Channel) -> list[Message]:
    return [item for item in channel.messages.values() if item.deleted_at is None]


def _shown(message: Message) -> bool:
    return message.subtype == "thread_broadcast"


def _between(call: ApiCall, found: list[Message]) -> list[Message]:
    oldest, latest = call.text("oldest"), call.text("latest")
    same = call.flag("inclusive")
    return [
        item
        for item in found
        if (not oldest or item.ts > oldest or (same and item.ts == oldest))
        and (not latest or item.ts < latest or (same and item.ts == latest))
    ]


def _page(call: ApiCall, channel: Channel, found: list[Message]) -> Json:
    limit = call.number("limit", 100)
    if not 1 <= limit <= 1000:
        raise SlackError("invalid_limit")
    start = _start_of(call)
    page, rest = found[start : start + limit], len(found) - start - limit
    metadata = call.flag("include_all_metadata")
    shapes = [_with_replies(item, channel, metadata=metadata) for item in page]
    answer: Json = {"messages": shapes, "has_more": rest > 0, "pin_count": 0}
    if rest > 0:
        cursor = base64.b64encode(f"next:{start + limit}".encode()).decode()
        answer["response_metadata"] = {"next_cursor": cursor}
    return answer


def _start_of(call: ApiCall) -> int:
    cursor = call.text("cursor")
    if not cursor:
        return 0
    try:
        return int(base64.b64decode(cursor).decode().removeprefix("next:"))
    except ValueError:
        raise SlackError("invalid_cursor") from None


def _with_replies(message: Message, channel: Channel, *, metadata: bool) -> Json:
    shape = message_json(message, metadata=metadata)
    if message.thread_ts in {None, message.ts}:
        replies = [item for item in channel.thread(message.ts) if item.ts != message.ts]
        if replies:
            shape |= {
                "thread_ts": message.ts,
                "reply_count": len(replies),
                "reply_users": sorted({item.user for item in replies}),
                "latest_reply": replies[-1].ts,
            }
    return shape


def _user(call: ApiCall, wanted: str) -> User:
    for team in call.team.teams.values():
        if wanted in team.users:
            shared = any(team.id in item.teams for item in call.team.channels.values())
            if team is call.team or shared:
                return team.users[wanted]
    raise SlackError("user_not_found")


def _users_info(call: ApiCall) -> Json:
    wanted = call.need("user")
    if wanted == call.team.bot_user_id:
        return {"user": _bot_user(call)}
    return {"user": _user_shape(call, _user(call, wanted))}


def _users_list(call: ApiCall) -> Json:
    people = [_user_shape(call, user) for user in call.team.users.values()]
    return {"members": [*people, _bot_user(call)], "response_metadata": {"next_cursor": ""}}


def _user_shape(call: ApiCall, user: User) -> Json:
    profile: Json = {
        "real_name": user.real_name,
        "display_name": user.name,
        "title": "",
        "team": user.team.id,
    }
    if "users:read.email" in call.team.scopes and user.team is call.team:
        profile["email"] = user.email
    shape: Json = {
        "id": user.id,
        "team_id": user.team.id,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": user.real_name,
        "tz": user.tz,
        "tz_label": user.tz,
        "tz_offset": _OFFSETS.get(user.tz, 0),
        "profile": profile,
        "is_admin": False,
        "is_restricted": False,
        "is_ultra_restricted": False,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "updated": 0,
    }
    if user.team is not call.team:
        shape["is_stranger"] = True
    if call.flag("include_locale"):
        shape["locale"] = user.locale
    return shape


def _bot_user(call: ApiCall) -> Json:
    return {
        "id": call.team.bot_user_id,
        "team_id": call.team.id,
        "name": call.app.name,
        "deleted": False,
        "real_name": call.app.name,
        "profile": {"bot_id": call.team.bot_id, "api_app_id": call.app.id},
        "is_bot": True,
    }


def _bots_info(call: ApiCall) -> Json:
    if call.text("bot") not in {"", call.team.bot_id}:
        raise SlackError("bot_not_found")
    return {
        "bot": {
            "id": call.team.bot_id,
            "deleted": False,
            "name": call.app.name,
            "updated": 0,
            "app_id": call.app.id,
            "user_id": call.team.bot_user_id,
        }
    }


def _team_info(call: ApiCall) -> Json:
    team = call.team.teams.get(call.text("team") or call.team.id)
    if team is None:
        raise SlackError("team_not_found")
    shape = {"id": team.id, "name": team.name, "domain": team.domain, "email_domain": ""}
    return {"team": shape}


METHODS = {
    "auth.test": Method(run=_auth_test, tier=SPECIAL),
    "auth.revoke": Method(run=_auth_revoke, tier=TIER_3),
    "conversations.open": Method(run=_open, tier=TIER_3, scope="im:write"),
    "conversations.info": Method(run=_info, tier=TIER_3, scope=_READ),
    "conversations.history": Method(run=_history, tier=TIER_3, scope=_HISTORY),
    "conversations.replies": Method(run=_replies, tier=TIER_3, scope=_HISTORY),
    "conversations.list": Method(run=_list, tier=20, scope=_READ),
    "conversations.members": Method(run=_members, tier=TIER_4, scope=_READ),
    "conversations.join": Method(run=_join, tier=TIER_3, scope="channels:join"),
    "users.list": Method(run=_users_list, tier=20, scope="users:read"),
    "users.info": Method(run=_users_info, tier=TIER_4, scope="users:read"),
    "bots.info": Method(run=_bots_info, tier=TIER_3, scope="users:read"),
    "team.info": Method(run=_team_info, tier=TIER_3, scope="team:read"),
}
