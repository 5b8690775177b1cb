"""The fake Slack tells an app what the real one would, driven with the real Bolt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.fakes.slack import SlackFake, Team, User, plain_text

BUTTON = {"type": "button", "action_id": "stop", "text": {"type": "plain_text", "text": "Stop"}}
FEEDBACK = {
    "type": "feedback_buttons",
    "action_id": "feedback",
    "positive_button": {"text": {"type": "plain_text", "text": "Good"}, "value": "good"},
    "negative_button": {"text": {"type": "plain_text", "text": "Bad"}, "value": "bad"},
}
BLOCKS = [
    {"type": "actions", "elements": [BUTTON]},
    {"type": "context_actions", "elements": [FEEDBACK]},
]


@pytest.fixture
async def slack() -> AsyncIterator[SlackFake]:
    """The fake; retries come quickly."""
    async with SlackFake() as fake:
        fake.outbox.retry_delays_s = (0.0, 0.0, 0.0)
        yield fake


@pytest.fixture
def team(slack: SlackFake) -> Team:
    """A workspace with the app."""
    return slack.team("acme")


@pytest.fixture
def ann(team: Team) -> User:
    """A member."""
    return team.user("ann")


class Ears:
    """A Bolt app that writes down every event, command and press, and answers some."""

    def __init__(self, slack: SlackFake, team: Team) -> None:
        """It listens to everything."""
        client = AsyncWebClient(token=team.bot_token, base_url=slack.api_url)
        self.app = AsyncApp(
            client=client,
            signing_secret=slack.signing_secret,
            process_before_response=True,
            ignoring_self_events_enabled=False,
        )
        self.heard: list[dict[str, Any]] = []
        for kind in ("message", "app_mention", "app_home_opened", "assistant_thread_started"):
            self.app.event(kind)(self._event)
        for kind in ("app_uninstalled", "tokens_revoked"):
            self.app.event(kind)(self._event)
        self.app.command("/it0")(self._command)
        self.app.action("stop")(self._press)
        self.app.action("feedback")(self._press)

    def types(self) -> list[str]:
        """What was heard: type and subtype."""
        events = [body["event"] for body in self.heard if "event" in body]
        return [f"{item['type']} {item.get('subtype', '')}".strip() for item in events]

    async def _event(self, body: dict[str, Any]) -> None:
        self.heard.append(body)

    async def _command(self, ack: Any, body: dict[str, Any], respond: Any) -> None:
        await ack("one moment")
        self.heard.append(body)
        await respond(text="for all", response_type="in_channel")

    async def _press(self, ack: Any, body: dict[str, Any]) -> None:
        await ack()
        self.heard.append(body)

    @asynccontextmanager
    async def over_http(self, slack: SlackFake) -> AsyncIterator[None]:
        """Served at a request URL."""
        runner = web.AppRunner(self.app.web_app(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        slack.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        yield
        await slack.settled()
        await runner.cleanup()

    @asynccontextmanager
    async def over_sockets(self, slack: SlackFake) -> AsyncIterator[None]:
        """Connected in Socket Mode."""
        client = AsyncWebClient(token=slack.app_token, base_url=slack.api_url)
        handler = AsyncSocketModeHandler(self.app, slack.app_token, web_client=client)
        before = len(slack.outbox.sockets.open)
        await handler.connect_async()  # type: ignore[no-untyped-call]
        await slack.wait_for(lambda: len(slack.outbox.sockets.open) > before)
        yield
        await slack.settled()
        await handler.close_async()  # type: ignore[no-untyped-call]


@pytest.fixture(params=["http", "sockets"])
async def ears(request: pytest.FixtureRequest, slack: SlackFake, team: Team) -> AsyncIterator[Ears]:
    """The app, in both modes."""
    ears = Ears(slack, team)
    async with getattr(ears, f"over_{request.param}")(slack):
        yield ears


async def test_a_mention_comes_as_message_and_app_mention(
    slack: SlackFake, team: Team, ann: User, ears: Ears
) -> None:
    """Two events with their own ids and one ts, signed, in the full shape."""
    message = ann.say(team.channel("ops"), f"{team.mention} disk?")
    await slack.settled()
    assert sorted(ears.types()) == ["app_mention", "message"]
    assert {body["event"]["ts"] for body in ears.heard} == {message.ts}
    assert len({body["event_id"] for body in ears.heard}) == 2
    assert {body["authorizations"][0]["user_id"] for body in ears.heard} == {team.bot_user_id}
    blocks = ears.heard[0]["event"]["blocks"]
    assert blocks[0]["elements"][0]["elements"] == [
        {"type": "user", "user_id": team.bot_user_id},
        {"type": "text", "text": " disk?"},
    ]


async def test_what_people_do_to_messages_is_told(
    slack: SlackFake, team: Team, ann: User, ears: Ears
) -> None:
    """Files, edits, unfurls, deletions, tombstones, joins, other bots and the bot's own posts."""
    ops = team.channel("ops")
    message = ann.say(ops, "see", files=[ann.file("a.log", "text/plain", b"x")])
    await slack.settled()
    for act in (
        lambda: ann.edit(message, "look"),
        lambda: ann.unfurl(message),
        lambda: ann.say(ops, "reply", thread_ts=message.ts),
        lambda: ann.delete(message),
        lambda: ann.join(ops),
        lambda: team.bot_message(ops, "build failed"),
    ):
        act()
        await slack.settled()
    await ears.app.client.chat_postMessage(channel=ops.id, text="mine")
    await slack.settled()
    assert ears.types() == [
        "message file_share",
        "message message_changed",
        "message message_changed",
        "message",
        "message message_changed",
        "message channel_join",
        "message bot_message",
        "message",
    ]
    events = [body["event"] for body in ears.heard]
    assert "edited" in events[1]["message"]
    assert events[1]["previous_message"]["text"] == "see"
    assert events[4]["message"]["subtype"] == "tombstone"
    assert events[7]["bot_id"] == team.bot_id


async def test_a_slash_command_is_answered_in_its_ack_and_later(
    slack: SlackFake, team: Team, ann: User, ears: Ears
) -> None:
    """The ack is shown to the user alone, the response URL takes five posts."""
    ops = team.channel("ops")
    act = ann.slash("/it0", "servers", ops)
    await slack.wait_for(lambda: len(act.responses.posts) == 2)
    assert sorted(act.responses.shown) == ["for all", "one moment"]
    assert slack.texts(ops) == ["for all"]
    assert [item.text for item in ops.ephemerals] == ["one moment"]
    hook = AsyncWebhookClient(act.responses.url)
    statuses = [(await hook.send(text="x")).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 404]


async def test_buttons_are_pressed_only_where_they_are_shown(
    slack: SlackFake, team: Team, ann: User, ears: Ears
) -> None:
    """A press carries the message, the block and the value; views open with its trigger, once."""
    ops = team.channel("ops")
    await ears.app.client.chat_postMessage(channel=ops.id, text="x", blocks=BLOCKS)
    (message,) = slack.bot_messages(ops)
    act = ann.press(message, "stop")
    ann.press(message, "feedback", "negative")
    await slack.settled()
    presses = {b["actions"][0]["action_id"]: b for b in ears.heard if "actions" in b}
    assert presses["stop"]["container"]["message_ts"] == message.ts
    assert presses["feedback"]["actions"][0]["value"] == "bad"
    with pytest.raises(LookupError):
        ann.press(message, "approve")
    hook = AsyncWebhookClient(act.responses.url)
    await hook.send(text="stopped", replace_original=True)
    assert plain_text(message) == "stopped"
    view = {"type": "modal", "title": {"type": "plain_text", "text": "T"}, "blocks": []}
    await ears.app.client.views_open(trigger_id=act.trigger_id, view=view)
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await ears.app.client.views_open(trigger_id=act.trigger_id, view=view)


async def test_home_assistant_and_uninstall_are_told(
    slack: SlackFake, team: Team, ann: User, ears: Ears
) -> None:
    """The app's own places, and its end."""
    ann.opens_home()
    ann.opens_home("messages")
    root = ann.starts_assistant_thread()
    await slack.settled()
    assert sorted(ears.types()) == ["app_home_opened"] * 2 + ["assistant_thread_started"]
    threads = [b["event"].get("assistant_thread", {}).get("thread_ts") for b in ears.heard]
    assert root.ts in threads
    team.uninstall()
    await slack.wait_for(lambda: len(slack.deliveries("app_uninstalled")) == 1)
    assert not team.installed
    ann.say(team.channel("ops"), "hello?")
    assert slack.deliveries("message") == []


async def test_events_can_come_twice_and_backwards(
    slack: SlackFake, team: Team, ann: User, ears: Ears
) -> None:
    """A duplicate has the same event id; the order of arrival is not the order of writing."""
    dm = team.dm(ann)
    with slack.backwards():
        first, second = ann.say(dm, "1"), ann.say(dm, "2")
    await slack.settled()
    assert [body["event"]["ts"] for body in ears.heard] == [second.ts, first.ts]
    slack.weather.duplicates = 1
    ann.say(dm, "3")
    await slack.settled()
    assert ears.heard[2]["event_id"] == ears.heard[3]["event_id"]
    slack.outbox.redeliver(slack.deliveries("message")[0])
    await slack.settled()
    assert ears.heard[4]["event_id"] == ears.heard[1]["event_id"]


async def test_people_of_another_workspace_write_in_a_shared_channel(
    slack: SlackFake, team: Team, ears: Ears
) -> None:
    """The event names their workspace; ``users.info`` calls them strangers."""
    other = slack.team("globex", installed=False)
    shared = team.share(team.channel("joint"), other)
    bob = other.user("bob")
    bob.say(shared, "hi")
    await slack.settled()
    (body,) = ears.heard
    assert (body["team_id"], body["is_ext_shared_channel"]) == (team.id, True)
    assert (body["event"]["source_team"], body["event"]["user_team"]) == (other.id, other.id)
    info = await ears.app.client.users_info(user=bob.id)
    assert info["user"]["is_stranger"] is True


async def test_http_retries_say_why_until_it_is_accepted(
    slack: SlackFake, team: Team, ann: User
) -> None:
    """A failing and a slow answer are retried with number and reason; a refusal ends it."""
    seen: list[tuple[str | None, str | None]] = []
    late = asyncio.Event()

    async def endpoint(request: web.Request) -> web.Response:
        headers = request.headers
        seen.append((headers.get("X-Slack-Retry-Num"), headers.get("X-Slack-Retry-Reason")))
        slack.outbox.ack_timeout_s = 0.5 if len(seen) == 1 else 3.0
        if len(seen) == 1:
            return web.Response(status=500)
        if len(seen) == 2:
            await late.wait()
        return web.Response(headers={"X-Slack-No-Retry": "1"}, status=200 if len(seen) < 4 else 400)

    app = web.Application()
    app.router.add_post("/", endpoint)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    ann.say(team.dm(ann), "hi")
    await slack.settled()
    late.set()
    assert seen == [(None, None), ("1", "http_error"), ("2", "http_timeout")]
    ann.say(team.dm(ann), "again")
    await slack.settled()
    assert len(seen) == 4
    await runner.cleanup()
    ann.say(team.dm(ann), "nobody there")
    await slack.settled()
    assert [item.status for item in slack.outbox.deliveries[-1].attempts] == [0, 0, 0, 0]


async def test_bolt_answers_the_url_challenge(slack: SlackFake, team: Team) -> None:
    """The request URL is verified as the app's settings page does it."""
    async with Ears(slack, team).over_http(slack):
        assert await slack.outbox.verify_url()
        slack.app.signing_secret = "other"
        assert not await slack.outbox.verify_url()


async def test_unacknowledged_envelopes_go_to_another_connection(
    slack: SlackFake, team: Team, ann: User
) -> None:
    """A connection that dies before its ack loses nothing; its event comes again elsewhere."""
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(token=slack.app_token, base_url=slack.api_url)
        url = (await client.apps_connections_open(app_token=slack.app_token))["url"]
        async with session.ws_connect(url) as deaf:
            assert (await deaf.receive_json())["type"] == "hello"
            ears = Ears(slack, team)
            async with ears.over_sockets(slack):
                slack.outbox.sockets.open[1].received = 1
                ann.say(team.dm(ann), "hi")
                assert (await deaf.receive_json())["retry_attempt"] == 0
                await deaf.close()
                await slack.settled()
                assert ears.types() == ["message"]
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_a_connection_is_refreshed_or_cut_and_the_client_comes_back(
    slack: SlackFake, team: Team, ann: User
) -> None:
    """``disconnect`` is followed by a new connection; what was written meanwhile arrives."""
    ears = Ears(slack, team)
    async with ears.over_sockets(slack):
        await slack.outbox.sockets.refresh()
        ann.say(team.dm(ann), "one")
        await slack.wait_for(lambda: ears.types() == ["message"])
        slack.outbox.sockets.cut()
        ann.say(team.dm(ann), "two")
        await slack.wait_for(lambda: ears.types() == ["message", "message"])


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # the SDK's own, under aiohttp 3.14
async def test_oauth_installs_a_second_workspace_with_a_single_use_code(slack: SlackFake) -> None:
    """The page redirects with code and state; the code works once, for this client and URI."""
    new = slack.team("globex", installed=False)
    slack.installs.installer = new.user("bob")
    query = {
        "client_id": slack.app.client_id,
        "scope": "chat:write,commands",
        "state": "s1",
        "redirect_uri": "http://127.0.0.1/back",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{slack.url}/oauth/v2/authorize", params=query, allow_redirects=False) as page,
    ):
        back = page.headers["Location"]
    code = back.split("code=")[1].split("&")[0]
    assert "state=s1" in back
    client = AsyncWebClient(base_url=slack.api_url)
    args = {
        "client_id": slack.app.client_id,
        "client_secret": slack.app.client_secret,
        "code": code,
        "redirect_uri": query["redirect_uri"],
    }
    with pytest.raises(SlackApiError, match="bad_client_secret"):
        await client.oauth_v2_access(**{**args, "client_secret": "x"})
    with pytest.raises(SlackApiError, match="bad_redirect_uri"):
        await client.oauth_v2_access(**{**args, "redirect_uri": "http://127.0.0.1/other"})
    granted = await client.oauth_v2_access(**args)
    assert (granted["team"]["id"], granted["access_token"]) == (new.id, new.bot_token)
    assert granted["scope"] == "chat:write,commands"
    with pytest.raises(SlackApiError, match="code_already_used"):
        await client.oauth_v2_access(**args)
