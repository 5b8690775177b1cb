"""The fake Slack is as strict as the real one, driven with the real SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import Channel, SlackFake, Team, User, plain_text

BUTTON = {"type": "button", "action_id": "stop", "text": {"type": "plain_text", "text": "Stop"}}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "*hi* <https://a.example|a>"}}
METADATA = {"event_type": "it0_reply", "event_payload": {"turn": "t1", "part": 0}}


def rich(*leaves: dict[str, Any]) -> dict[str, Any]:
    """A rich text block of one section."""
    section = {"type": "rich_text_section", "elements": list(leaves)}
    return {"type": "rich_text", "elements": [section]}


@pytest.fixture
async def slack() -> AsyncIterator[SlackFake]:
    """The fake."""
    async with SlackFake() as fake:
        yield fake


@pytest.fixture
def team(slack: SlackFake) -> Team:
    """A workspace with the app."""
    return slack.team("acme")


@pytest.fixture
def ann(team: Team) -> User:
    """A member."""
    return team.user("ann")


@pytest.fixture
def ops(team: Team) -> Channel:
    """A channel with the bot."""
    return team.channel("ops")


@pytest.fixture
def client(slack: SlackFake, team: Team) -> AsyncWebClient:
    """The real client with the bot's token."""
    return AsyncWebClient(token=team.bot_token, base_url=slack.api_url)


async def refused(client: AsyncWebClient, method: str, **args: Any) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(SlackApiError) as caught:
        await client.api_call(method, json=args)
    return str(caught.value.response["error"])


async def test_a_message_is_posted_edited_and_deleted_with_its_whole_history(
    slack: SlackFake, client: AsyncWebClient, ops: Channel
) -> None:
    """Every text a message showed is kept; a deleted one is no longer there."""
    posted = await client.chat_postMessage(channel=ops.id, text="one", metadata=METADATA)
    await client.chat_update(channel=ops.id, ts=posted["ts"], text="two", blocks=[SECTION])
    (message,) = slack.bot_messages(ops)
    assert [text for _, text in message.shown] == ["one", "*hi* a"]
    assert message.metadata == METADATA
    found = await client.conversations_history(channel=ops.id, include_all_metadata=True)
    assert found["messages"][0]["metadata"] == METADATA
    assert "metadata" not in (await client.conversations_history(channel=ops.id))["messages"][0]
    await client.chat_delete(channel=ops.id, ts=posted["ts"])
    assert slack.messages(ops) == []
    assert await refused(client, "chat.update", channel=ops.id, ts=posted["ts"], text="x") == (
        "message_not_found"
    )


@pytest.mark.parametrize(
    ("method", "token", "code"),
    [
        ("auth.test", "xoxb-wrong", "invalid_auth"),
        ("auth.test", "", "not_authed"),
        ("no.such.method", None, "unknown_method"),
        ("apps.connections.open", None, "not_allowed_token_type"),
    ],
)
async def test_tokens_and_methods_are_checked(
    slack: SlackFake, team: Team, method: str, token: str | None, code: str
) -> None:
    """A wrong token, none, the wrong kind, and an unknown method have their own errors."""
    client = AsyncWebClient(
        token=team.bot_token if token is None else token, base_url=slack.api_url
    )
    assert await refused(client, method) == code


async def test_a_revoked_token_and_a_missing_scope_are_refused(
    slack: SlackFake, team: Team, client: AsyncWebClient, ops: Channel
) -> None:
    """``missing_scope`` names the scope; a revoked token stays dead."""
    team.scopes = frozenset({"users:read"})
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=ops.id, text="x")
    assert caught.value.response["needed"] == "chat:write"
    team.revoke_token()
    assert await refused(client, "auth.test") == "token_revoked"
    team.install()
    team.uninstall()
    again = AsyncWebClient(token=team.bot_token, base_url=slack.api_url)
    assert await refused(again, "auth.test") == "account_inactive"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"channel": "C404", "text": "x"}, "channel_not_found"),
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"text": "x", "metadata": {"event_type": "a"}}, "invalid_metadata_format"),
        ({"blocks": [SECTION] * 51}, "invalid_blocks"),
        ({"blocks": [{"type": "banner"}]}, "invalid_blocks"),
        ({"blocks": [rich({"type": "text", "text": ""})]}, "invalid_blocks"),
        (
            {"blocks": [rich({"type": "text", "text": "a", "style": {"big": True}})]},
            "invalid_blocks",
        ),
        (
            {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]},
            "invalid_blocks",
        ),
        (
            {"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]},
            "invalid_blocks",
        ),
        ({"blocks": [{"type": "actions", "elements": [BUTTON, BUTTON]}]}, "invalid_blocks"),
        (
            {"blocks": [{"type": "actions", "elements": [{**BUTTON, "value": "v" * 2001}]}]},
            "invalid_blocks",
        ),
        ({"blocks": [{"type": "context_actions", "elements": [BUTTON]}]}, "invalid_blocks"),
        ({"blocks": [{"type": "table", "rows": [[{"type": "raw_text"}]]}]}, "invalid_blocks"),
        ({"blocks": [{"type": "table", "rows": "x"}]}, "invalid_blocks"),
    ],
)
async def test_bad_posts_are_refused(
    slack: SlackFake, client: AsyncWebClient, ops: Channel, args: dict[str, Any], code: str
) -> None:
    """Nothing is posted that the real Slack would not take."""
    assert await refused(client, "chat.postMessage", **{"channel": ops.id, **args}) == code
    assert slack.messages(ops) == []


async def test_the_bot_changes_only_its_own_messages_where_it_is_a_member(
    team: Team, client: AsyncWebClient, ann: User, ops: Channel
) -> None:
    """Other people's messages and other channels are out of its reach."""
    theirs = ann.say(ops, "mine")
    args = {"channel": ops.id, "ts": theirs.ts}
    assert await refused(client, "chat.update", **args, text="x") == "cant_update_message"
    assert await refused(client, "chat.delete", **args) == "cant_delete_message"
    away = team.channel("away", member=False)
    assert await refused(client, "chat.postMessage", channel=away.id, text="x") == "not_in_channel"
    own = await client.chat_postMessage(channel=ops.id, text="x")
    args = {"channel": ops.id, "ts": own["ts"]}
    assert await refused(client, "chat.update", **args, text="x" * 4001) == "msg_too_long"


async def test_the_sdk_streams_and_nothing_edits_an_open_stream(
    slack: SlackFake, client: AsyncWebClient, ann: User, ops: Channel, team: Team
) -> None:
    """``chat_stream`` flushes, appends and stops; blocks come last; then updates work again."""
    root = ann.say(ops, f"{team.mention} hi")
    stream = await client.chat_stream(
        channel=ops.id,
        thread_ts=root.ts,
        recipient_user_id=ann.id,
        recipient_team_id=team.id,
        buffer_size=4,
    )
    await stream.append(markdown_text="**one** ")
    (message,) = slack.bot_messages(ops, root.ts)
    assert message.streaming
    open_one = {"channel": ops.id, "ts": message.ts}
    assert await refused(client, "chat.update", **open_one, text="x") == "streaming_state_conflict"
    assert await refused(client, "chat.delete", **open_one) == "cant_delete_message"
    assert await refused(client, "chat.appendStream", **open_one, markdown_text="x") == (
        "streaming_mode_mismatch"
    )
    await stream.append(markdown_text="two")
    await stream.stop(blocks=[SECTION], metadata=METADATA)
    assert plain_text(message) == "**one** two\n*hi* a"
    assert [item.streaming for item in slack.bot_messages(ops, root.ts)] == [False]
    assert message.metadata == METADATA
    assert await refused(client, "chat.appendStream", **open_one, markdown_text="x") == (
        "message_not_in_streaming_state"
    )
    await client.chat_update(channel=ops.id, ts=message.ts, text="three", blocks=[])
    assert plain_text(message) == "three"
    assert [text for _, text in message.shown][-1] == "three"


async def test_a_stream_needs_a_thread_a_recipient_and_short_payloads(
    slack: SlackFake, client: AsyncWebClient, ann: User, ops: Channel, team: Team
) -> None:
    """The documented refusals of chat.startStream and appendStream; a private chat needs less."""
    root = ann.say(ops, "hi")
    who = {"recipient_user_id": ann.id, "recipient_team_id": team.id}
    start = {"channel": ops.id, "thread_ts": root.ts}
    assert await refused(client, "chat.startStream", channel=ops.id, **who) == "invalid_arguments"
    assert await refused(client, "chat.startStream", **start) == "missing_recipient_user_id"
    assert await refused(client, "chat.startStream", **start, recipient_user_id=ann.id) == (
        "missing_recipient_team_id"
    )
    both = {"markdown_text": "a", "chunks": [{"type": "markdown_text", "text": "b"}]}
    assert await refused(client, "chat.startStream", **start, **who, **both) == (
        "cannot_provide_both_markdown_text_and_chunks"
    )
    dm = team.dm(ann)
    first = ann.say(dm, "hi")
    begun = await client.chat_startStream(channel=dm.id, thread_ts=first.ts)
    args = {"channel": dm.id, "ts": begun["ts"]}
    long = "x" * 12_001
    assert await refused(client, "chat.appendStream", **args, markdown_text=long) == "msg_too_long"
    assert await refused(client, "chat.appendStream", **args) == "no_text"
    slack.switches.stream_life_s = 0.0
    assert await refused(client, "chat.appendStream", **args, markdown_text="x") == (
        "message_not_in_streaming_state"
    )


async def test_the_users_stop_button_ends_the_stream(
    slack: SlackFake, client: AsyncWebClient, ann: User, team: Team
) -> None:
    """After Slack's own stop button appends are refused, and the app hears which streams ended."""
    dm = team.dm(ann)
    root = ann.say(dm, "hi")
    begun = await client.chat_startStream(channel=dm.id, thread_ts=root.ts, markdown_text="a")
    ann.stops(dm, root.ts)
    args = {"channel": dm.id, "ts": begun["ts"]}
    assert await refused(client, "chat.appendStream", **args, markdown_text="b") == (
        "stopped_by_user"
    )
    (event,) = slack.deliveries("agent_session_stopped")
    assert event.payload["event"]["streaming_message_ts"] == [begun["ts"]]


async def test_streaming_and_agent_methods_can_be_taken_away(
    slack: SlackFake, client: AsyncWebClient, ann: User, team: Team
) -> None:
    """An old workspace answers ``unknown_method``."""
    dm = team.dm(ann)
    root = ann.starts_assistant_thread()
    thread = {"channel_id": dm.id, "thread_ts": root.ts}
    await client.assistant_threads_setStatus(
        channel_id=dm.id, thread_ts=root.ts, status="is thinking..."
    )
    await client.agents_sessions_setStatus(**thread, status="processing", title="Disk")
    await client.assistant_threads_setSuggestedPrompts(
        **thread, prompts=[{"title": "Disk", "message": "disk on web-3"}]
    )
    await client.assistant_threads_setTitle(**thread, title="Disk on web-3")
    assert [status for *_, status in team.statuses] == ["is thinking...", "processing"]
    assert team.titles[dm.id, root.ts] == "Disk on web-3"
    slack.switches.streaming = slack.switches.agents = False
    assert await refused(client, "chat.startStream", channel=dm.id) == "unknown_method"
    assert await refused(client, "agents.sessions.setStatus", **thread) == "unknown_method"


async def test_threads_are_read_in_pages_by_get_and_post(
    client: AsyncWebClient, ann: User, ops: Channel
) -> None:
    """Replies come oldest first with the root, history newest first without replies."""
    root = ann.say(ops, "root")
    for number in range(3):
        await client.chat_postMessage(channel=ops.id, thread_ts=root.ts, text=f"reply {number}")
    page = await client.conversations_replies(channel=ops.id, ts=root.ts, limit=3)
    assert [item["text"] for item in page["messages"]] == ["root", "reply 0", "reply 1"]
    assert page["messages"][0]["reply_count"] == 3
    cursor = page["response_metadata"]["next_cursor"]
    form = {"channel": ops.id, "ts": root.ts, "limit": 3, "cursor": cursor}
    rest = await client.api_call("conversations.replies", data=form)
    assert [item["text"] for item in rest["messages"]] == ["reply 2"]
    assert rest["has_more"] is False
    history = await client.conversations_history(channel=ops.id)
    assert [item["text"] for item in history["messages"]] == ["root"]


async def test_people_files_views_and_reactions_answer_as_documented(
    slack: SlackFake, client: AsyncWebClient, ann: User, ops: Channel, team: Team
) -> None:
    """The remaining methods, each with one refusal of its own."""
    info = await client.users_info(user=ann.id, include_locale=True)
    assert (info["user"]["locale"], info["user"]["profile"]["email"]) == (ann.locale, ann.email)
    team.scopes -= {"users:read.email"}
    assert "email" not in (await client.users_info(user=ann.id))["user"]["profile"]
    listed = await client.conversations_list(types="public_channel,im")
    assert {item["id"] for item in listed["channels"]} == set(team.channels)
    assert len((await client.users_list())["members"]) == 2
    opened = await client.conversations_open(users=ann.id)
    assert opened["channel"]["id"] == team.dm(ann).id
    await client.files_upload_v2(
        channel=ops.id, content="a" * 50, filename="long.md", initial_comment="Here"
    )
    (message,) = slack.bot_messages(ops)
    assert (message.files[0].data, message.text) == (b"a" * 50, "Here")
    await client.reactions_add(channel=ops.id, timestamp=message.ts, name="eyes")
    again = {"channel": ops.id, "timestamp": message.ts, "name": "eyes"}
    assert await refused(client, "reactions.add", **again) == "already_reacted"
    await client.views_publish(user_id=ann.id, view={"type": "home", "blocks": [SECTION]})
    assert team.homes[ann.id]["blocks"][0]["text"] == SECTION["text"]
    wrong = {"type": "home", "blocks": [{"type": "markdown", "text": "x"}]}
    assert await refused(client, "views.publish", user_id=ann.id, view=wrong) == (
        "invalid_arguments"
    )
    await client.chat_postEphemeral(channel=ops.id, user=team.bot_user_id, text="psst")
    assert await refused(client, "chat.postEphemeral", channel=ops.id, user="U9", text="x") == (
        "user_not_in_channel"
    )


async def test_a_download_without_a_good_token_gets_a_login_page(
    slack: SlackFake, ann: User, team: Team
) -> None:
    """The real Slack answers 200 with HTML, which must not be taken for the file."""
    url = ann.file("disk.png", "image/png", b"\x89PNG").shape["url_private_download"]
    async with aiohttp.ClientSession() as session:
        for token, kind in ((team.bot_token, "image/png"), ("xoxb-wrong", "text/html")):
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(url, headers=headers) as answer:
                assert (answer.status, answer.content_type) == (200, kind)


async def test_too_many_calls_are_limited_and_recorded(
    slack: SlackFake, client: AsyncWebClient, ops: Channel
) -> None:
    """A burst in a channel ends in 429 with whole seconds; calling on is a second violation."""
    slack.limits.enabled = True
    slack.limits.posts_per_s = 0.1
    for _ in range(3):
        await client.chat_postMessage(channel=ops.id, text="x")
    for _ in range(2):
        with pytest.raises(SlackApiError) as caught:
            await client.chat_postMessage(channel=ops.id, text="x")
        assert caught.value.response.status_code == 429
        assert 1 <= int(caught.value.response.headers["Retry-After"]) <= 10
    assert [item.ignored for item in slack.limits.violations] == [False, True]
    slack.limits.per_minute["auth.test"] = 1
    await client.auth_test()
    assert await refused(client, "auth.test") == "ratelimited"


async def test_weather_strikes_before_or_after_the_effect(
    slack: SlackFake, client: AsyncWebClient, ops: Channel
) -> None:
    """Down and limited: no effect. A lost answer: the message is there, the caller sees 502."""
    slack.weather.methods = frozenset({"chat.postMessage"})
    slack.weather.lost_answers = 1
    with pytest.raises(SlackApiError):
        await client.chat_postMessage(channel=ops.id, text="there")
    slack.weather.limited = 1
    slack.weather.errors = ["internal_error"]
    assert await refused(client, "chat.postMessage", channel=ops.id, text="x") == "ratelimited"
    assert await refused(client, "chat.postMessage", channel=ops.id, text="x") == "internal_error"
    slack.weather.down = True
    with pytest.raises(SlackApiError):
        await client.chat_postMessage(channel=ops.id, text="x")
    await client.auth_test()
    assert slack.texts(ops) == ["there"]
    assert [call.status for call in slack.calls("chat.postMessage")] == [200, 429, 200, 503]


async def test_a_hundred_streams_at_once_keep_their_texts_apart(
    slack: SlackFake, client: AsyncWebClient, team: Team
) -> None:
    """Every conversation gets its own text, whole and once."""
    slack.app.echo = False

    async def talk(number: int) -> str:
        dm = team.dm(team.user(f"user{number}"))
        root = team.users[dm.user].say(dm, "hi")
        stream = await client.chat_stream(channel=dm.id, thread_ts=root.ts, buffer_size=1)
        for word in range(3):
            await stream.append(markdown_text=f"{number}.{word} ")
        await stream.stop()
        return slack.texts(dm)[0]

    texts = await asyncio.gather(*(talk(number) for number in range(100)))
    assert texts == [f"{n}.0 {n}.1 {n}.2 " for n in range(100)]
    assert slack.count("chat.stopStream") == 100
