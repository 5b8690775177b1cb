"""The payload files have the shapes of the real Slack, and the fake sends the same ones."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import SlackFake, Team, User, pings, plain_text

PAYLOADS = Path(__file__).parent.parent / "payloads" / "slack"
NAMES = sorted(path.stem for path in PAYLOADS.glob("*.json"))
OUTER = {
    "token",
    "team_id",
    "context_team_id",
    "context_enterprise_id",
    "api_app_id",
    "event",
    "type",
    "event_id",
    "event_time",
    "authorizations",
    "is_ext_shared_channel",
    "event_context",
}


def payload(name: str) -> dict[str, Any]:
    """One payload file."""
    found: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text("utf-8"))
    return found


def _voice(team: Team, ann: User) -> None:
    clip = ann.file("audio_message.webm", "audio/webm", b"x", subtype="slack_audio")
    ann.say(team.dm(ann), "", files=[clip])


def test_every_kind_of_payload_is_there() -> None:
    """The directory is complete, as translate-in tests need it."""
    kinds = [(payload(name).get("event") or payload(name)).get("type", name) for name in NAMES]
    assert len(NAMES) >= 25
    assert set(kinds) >= {
        "agent_session_stopped",
        "app_home_opened",
        "app_mention",
        "app_uninstalled",
        "assistant_thread_started",
        "block_actions",
        "message",
        "slash_command",
        "tokens_revoked",
        "url_verification",
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name != "url_verification"])
def test_bolt_finds_its_way_in_every_payload(name: str) -> None:
    """The real Bolt reads workspace, channel and user; no payload leads to a real machine."""
    body = payload(name)
    if "event" in body:
        assert set(body) == OUTER
        text, kind = json.dumps(body), "application/json"
    else:
        form = {"payload": json.dumps(body)} if "actions" in body else body
        text, kind = urllib.parse.urlencode(form), "application/x-www-form-urlencoded"
    request = AsyncBoltRequest(body=text, headers={"content-type": kind})
    assert request.body == body
    assert request.context.team_id == "T061EG9R6"
    place = request.context.channel_id or request.context.user_id
    assert place or name in {"app_uninstalled", "tokens_revoked"}
    assert "127.0.0.1" not in text


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("message_im", lambda team, ann: ann.say(team.dm(ann), "hi")),
        ("message_voice_clip", _voice),
        ("app_home_opened_messages", lambda team, ann: ann.opens_home("messages")),
        ("message_channel_join", lambda team, ann: ann.join(team.channel("ops"))),
        ("bot_message", lambda team, ann: team.bot_message(team.channel("ops"), "x")),
        ("assistant_thread_started", lambda team, ann: ann.starts_assistant_thread()),
    ],
)
async def test_the_fake_sends_what_the_files_show(
    name: str, act: Callable[[Team, User], object]
) -> None:
    """Every key the fake sends is in the file; only the file may know more."""
    async with SlackFake() as slack:
        team = slack.team("acme")
        act(team, team.user("ann"))
        (delivery,) = slack.outbox.deliveries
        assert set(delivery.payload["event"]) <= set(payload(name)["event"])
        assert set(delivery.payload) == OUTER


async def test_the_visible_text_and_the_pings_of_blocks_are_told() -> None:
    """Blocks hide the fallback; lists, tables and mentions are read as people see them."""
    async with SlackFake() as slack:
        team = slack.team("acme")
        ann, ops = team.user("ann"), team.channel("ops")
        client = AsyncWebClient(token=team.bot_token, base_url=slack.api_url)
        items = [
            {"type": "rich_text_section", "elements": [{"type": "text", "text": word}]}
            for word in ("a", "b")
        ]
        listing = {"type": "rich_text_list", "style": "ordered", "elements": items}
        table = {"type": "table", "rows": [[{"type": "raw_text", "text": word} for word in "xy"]]}
        await client.chat_postMessage(
            channel=ops.id,
            text="fallback",
            blocks=[
                _rich({"type": "user", "user_id": ann.id}, {"type": "text", "text": " <!here>"}),
                {"type": "rich_text", "elements": [listing]},
                table,
            ],
        )
        (message,) = slack.bot_messages(ops)
        assert plain_text(message) == f"<@{ann.id}> <!here>\n1. a\n2. b\nx\ty"
        assert pings(message) == {f"@{ann.id}"}
        await client.chat_postMessage(channel=ops.id, text="<!here> hi")
        assert pings(slack.bot_messages(ops)[1]) == {"!here"}


def _rich(*leaves: dict[str, Any]) -> dict[str, Any]:
    section = {"type": "rich_text_section", "elements": list(leaves)}
    return {"type": "rich_text", "elements": [section]}


TEXT = {"type": "mrkdwn", "text": "a"}
PLAIN = {"type": "plain_text", "text": "a", "emoji": True}
OPTION = {"text": PLAIN, "value": "1"}
CONFIRM = {"title": PLAIN, "text": TEXT, "confirm": PLAIN, "deny": PLAIN}
BUTTON = {"type": "button", "action_id": "b", "text": PLAIN, "style": "danger", "confirm": CONFIRM}
SIDE = {"text": PLAIN, "value": "1"}
FEEDBACK = {
    "type": "feedback_buttons",
    "action_id": "f",
    "positive_button": SIDE,
    "negative_button": SIDE,
}
ICON = {"type": "icon_button", "icon": "trash", "text": PLAIN, "action_id": "i"}
LEAVES = (
    {"type": "text", "text": "a", "style": {"bold": True, "code": True}},
    {"type": "link", "url": "https://a.example", "text": "a"},
    {"type": "emoji", "name": "wave"},
    {"type": "channel", "channel_id": "C1"},
    {"type": "date", "timestamp": 1, "format": "{date}", "fallback": "then"},
)
CODE = {"type": "rich_text_preformatted", "elements": [LEAVES[0]], "language": "python"}
QUOTE = {"type": "rich_text_quote", "elements": list(LEAVES)}
SECTION = {"type": "rich_text_section", "elements": list(LEAVES)}
LIST = {"type": "rich_text_list", "style": "bullet", "indent": 1, "elements": [SECTION]}
GOOD = [
    {"type": "section", "text": TEXT, "accessory": BUTTON},
    {"type": "section", "fields": [TEXT, PLAIN]},
    {"type": "header", "text": PLAIN},
    {"type": "divider"},
    {"type": "context", "elements": [TEXT, PLAIN]},
    {"type": "actions", "elements": [BUTTON, {"type": "overflow", "options": [OPTION]}]},
    {"type": "context_actions", "elements": [FEEDBACK, ICON]},
    {"type": "markdown", "text": "# a"},
    {"type": "image", "image_url": "https://a.example/a.png", "alt_text": "a"},
    {"type": "rich_text", "elements": [SECTION, LIST, CODE, QUOTE]},
    {
        "type": "table",
        "rows": [[{"type": "raw_text", "text": "a"}, {"type": "rich_text", "elements": [SECTION]}]],
        "column_settings": [{"align": "right"}, {"is_wrapped": True}],
    },
]


@pytest.mark.parametrize("block", GOOD, ids=lambda block: block["type"])
async def test_good_blocks_are_taken(block: dict[str, Any]) -> None:
    """The fake refuses nothing that the Block Kit reference allows."""
    async with SlackFake() as slack:
        team = slack.team("acme")
        client = AsyncWebClient(token=team.bot_token, base_url=slack.api_url)
        ops = team.channel("ops")
        await client.chat_postMessage(channel=ops.id, text="x", blocks=[block])
        assert slack.bot_messages(ops)[0].blocks[0].items() >= block.items()


async def test_the_app_hears_only_what_it_subscribed_to_where_it_is() -> None:
    """Outside its channels a public mention alone is told; inside, what it subscribed to."""
    async with SlackFake() as slack:
        team = slack.team("acme")
        ann, away = team.user("ann"), team.channel("away", member=False)
        ann.say(away, f"{team.mention} hi")
        ann.say(team.channel("secret", member=False, private=True), f"{team.mention} hi")
        slack.app.subscriptions = frozenset({"app_mention"})
        ann.say(team.channel("ops"), f"{team.mention} hi")
        ann.say(team.dm(ann), "hi")
        assert [item.event_type for item in slack.deliveries()] == ["app_mention"] * 2


async def test_the_status_line_goes_when_the_bot_answers() -> None:
    """Slack removes "is thinking..." with the app's next message in the thread."""
    async with SlackFake() as slack:
        team = slack.team("acme")
        client = AsyncWebClient(token=team.bot_token, base_url=slack.api_url)
        ann = team.user("ann")
        dm, root = team.dm(ann), ann.say(team.dm(ann), "hi")
        await client.assistant_threads_setStatus(
            channel_id=dm.id, thread_ts=root.ts, status="is thinking..."
        )
        assert team.status_now == {(dm.id, root.ts): "is thinking..."}
        await client.chat_postMessage(channel=dm.id, thread_ts=root.ts, text="done")
        assert team.status_now == {}


async def test_a_worker_that_dies_before_the_answer_has_still_posted_once() -> None:
    """An effect stays when its caller is gone; the fake serves the next caller."""
    async with SlackFake(max_delay_s=0.05) as slack:
        team = slack.team("acme")
        ops = team.channel("ops")
        body = urllib.parse.urlencode({"channel": ops.id, "text": "once", "token": team.bot_token})
        host, port = slack.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = "POST /api/chat.postMessage HTTP/1.1\r\nHost: x\r\nContent-Length: "
        kind = "Content-Type: application/x-www-form-urlencoded"
        writer.write(f"{head}{len(body)}\r\n{kind}\r\n\r\n{body}".encode())
        await slack.wait_for(lambda: slack.texts(ops))
        writer.transport.abort()
        client = AsyncWebClient(token=team.bot_token, base_url=slack.api_url)
        await client.chat_postMessage(channel=ops.id, text="twice")
        assert slack.texts(ops) == ["once", "twice"]


async def test_a_stream_has_no_metadata_until_it_stops() -> None:
    """``chat.startStream`` takes none, so an open stream cannot be found by it."""
    async with SlackFake() as slack:
        team = slack.team("acme")
        client = AsyncWebClient(token=team.bot_token, base_url=slack.api_url)
        dm = team.dm(team.user("ann"))
        root = team.user("ann").say(dm, "hi")
        metadata = {"event_type": "it0_reply", "event_payload": {}}
        begun = await client.chat_startStream(
            channel=dm.id, thread_ts=root.ts, markdown_text="a", metadata=metadata
        )
        (message,) = slack.bot_messages(dm)
        assert message.metadata is None
        await client.chat_stopStream(channel=dm.id, ts=begun["ts"], metadata=metadata)
        assert [item.metadata for item in slack.bot_messages(dm)] == [metadata]
