"""The independent servers start and speak with the real client libraries."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.async_app import AsyncApp, AsyncSay
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import BadRequest, InvalidToken

from tests.support.peers import SlackPeer, slack_peer, telegram_peer
from tests.support.processes import free_port

# The first run installs the peers.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_CHAT = 4711


@dataclass(slots=True)
class _Hook:
    """An HTTP endpoint that keeps what is posted to it."""

    url: str
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.posts.append((dict(request.headers), await request.read()))
        return web.Response()


@asynccontextmanager
async def _hook() -> AsyncIterator[_Hook]:
    port = free_port()
    hook = _Hook(f"http://127.0.0.1:{port}/hook")
    app = web.Application()
    app.router.add_post("/hook", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield hook
    finally:
        await runner.cleanup()


def _json(hook: _Hook) -> dict[str, Any]:
    """The last update that was posted."""
    update: dict[str, Any] = json.loads(hook.posts[-1][1])
    return update


def _signature(peer: SlackPeer, headers: dict[str, str], body: bytes) -> str:
    """Slack's signature, from the definition in its documentation."""
    base = f"v0:{headers['X-Slack-Request-Timestamp']}:".encode() + body
    return "v0=" + hmac.new(peer.signing_secret.encode(), base, hashlib.sha256).hexdigest()


async def test_the_slack_peer_speaks_with_slack_sdk() -> None:
    """A bot token authenticates, posts in a thread and edits; the person's message is an event."""
    async with _hook() as hook, slack_peer(events_url=hook.url) as peer:
        client = AsyncWebClient(token=peer.bot_token, base_url=peer.api_url)
        assert (await client.auth_test())["user_id"] == peer.bot_user_id
        question = await peer.say("how is the disk?")
        headers, body = hook.posts[-1]
        assert headers["X-Slack-Signature"] == _signature(peer, headers, body)
        assert b"how is the disk?" in body
        sent = await client.chat_postMessage(
            channel=peer.channel_id, thread_ts=question, text="looking"
        )
        await client.chat_update(channel=peer.channel_id, ts=sent["ts"], text="half full")
        await client.reactions_add(channel=peer.channel_id, timestamp=question, name="eyes")
        await client.files_upload_v2(
            channel=peer.channel_id, thread_ts=question, content="df", filename="df.txt"
        )
        first, reply, shared = await peer.messages()
        assert shared.thread_ts == question
        assert (first.user, first.ts, first.thread_ts) == (peer.user_id, question, None)
        assert (reply.user, reply.text) == (peer.bot_user_id, "half full")
        assert (reply.thread_ts, reply.edited) == (question, True)


# slack_sdk sends the client's id and secret with a class that aiohttp is about to rename.
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
async def test_the_slack_peer_installs_an_app() -> None:
    """A code from the authorize page becomes a bot token once; used again, it is refused."""
    async with slack_peer() as peer, aiohttp.ClientSession() as browser:
        asked = {"client_id": peer.client_id, "redirect_uri": peer.redirect_uri, "state": "s1"}
        async with browser.get(peer.authorize_url, params=asked) as page:
            assert page.status == 200
            assert 'name="state" value="s1"' in await page.text()
        sent_to = parse_qs(urlsplit(await peer.approve(state="s1")).query)
        assert sent_to["state"] == ["s1"]
        exchange = {
            "client_id": peer.client_id,
            "client_secret": peer.client_secret,
            "code": sent_to["code"][0],
            "redirect_uri": peer.redirect_uri,
        }
        client = AsyncWebClient(base_url=peer.api_url)
        installed = await client.oauth_v2_access(**exchange)
        assert installed["team"]["id"] == peer.team_id
        assert installed["bot_user_id"] == peer.bot_user_id
        new = AsyncWebClient(token=installed["access_token"], base_url=peer.api_url)
        assert (await new.auth_test())["user_id"] == peer.bot_user_id
        with pytest.raises(SlackApiError, match="invalid_code"):
            await client.oauth_v2_access(**exchange)


async def test_the_telegram_peer_speaks_with_python_telegram_bot() -> None:
    """A person's message comes by webhook; the bot's answer, edit and button are at the peer."""
    async with (
        _hook() as hook,
        telegram_peer() as peer,
        Bot(peer.bot_token, peer.base_url, peer.base_file_url) as bot,
    ):
        await bot.set_webhook(hook.url)
        await peer.say("how is the disk?", chat_id=_CHAT)
        update = Update.de_json(_json(hook), bot)
        assert update.message is not None
        assert update.message.text == "how is the disk?"
        button = InlineKeyboardMarkup([[InlineKeyboardButton("Why?", callback_data="why")]])
        sent = await bot.send_message(update.message.chat.id, "looking", reply_markup=button)
        await bot.edit_message_text("half full", chat_id=_CHAT, message_id=sent.message_id)
        await peer.press("why", chat_id=_CHAT, message_id=sent.message_id)
        pressed = Update.de_json(_json(hook), bot).callback_query
        assert pressed is not None
        assert pressed.data == "why"
        await bot.answer_callback_query(pressed.id, text="logs")
        calls = await peer.wait_for_calls(3)
        assert [(call.method, call.text) for call in calls] == [
            ("sendMessage", "looking"),
            ("editMessageText", "half full"),
            ("answerCallbackQuery", "logs"),
        ]
        assert calls[0].message_id == calls[1].message_id == sent.message_id


async def test_the_slack_peer_speaks_with_bolt() -> None:
    """Bolt accepts the peer's signature and answers a direct message in its thread."""
    port = free_port()
    async with slack_peer(events_url=f"http://127.0.0.1:{port}/slack/events") as peer:
        client = AsyncWebClient(token=peer.bot_token, base_url=peer.api_url)
        app = AsyncApp(client=client, signing_secret=peer.signing_secret)
        answered = asyncio.Event()

        @app.event("message")
        async def _(event: dict[str, str], say: AsyncSay) -> None:
            await say(f"you said {event['text']}", thread_ts=event["ts"])
            answered.set()

        runner = web.AppRunner(app.web_app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        dm = (await client.conversations_open(users=peer.user_id))["channel"]["id"]
        question = await peer.say("hello", channel=dm)
        await asyncio.wait_for(answered.wait(), 30)
        await runner.cleanup()
        reply = (await peer.messages(channel=dm))[-1]
        assert (reply.text, reply.thread_ts) == ("you said hello", question)


async def test_the_slack_peer_refuses_what_slack_refuses() -> None:
    """A token it never gave and a method it does not have are the errors that Slack sends."""
    async with slack_peer() as peer:
        stranger = AsyncWebClient(token="xoxb-other", base_url=peer.api_url)
        with pytest.raises(SlackApiError, match="invalid_auth"):
            await stranger.auth_test()
        client = AsyncWebClient(token=peer.bot_token, base_url=peer.api_url)
        with pytest.raises(SlackApiError, match="unknown_method"):
            await client.assistant_threads_setStatus(
                channel_id=peer.channel_id, thread_ts="1.1", status="thinks"
            )


async def test_the_telegram_peer_answers_as_telegram_does() -> None:
    """Secret header, a group's update, numbers as text, a refused edit, unknown methods."""
    async with (
        _hook() as hook,
        telegram_peer(accepts=("sendMessageDraft",)) as peer,
        Bot(peer.bot_token, peer.base_url, peer.base_file_url) as bot,
    ):
        await bot.set_webhook(hook.url, secret_token="s3cret")
        group = {"id": -100, "type": "supergroup", "title": "ops"}
        message = {"message_id": 1, "date": 1, "chat": group, "message_thread_id": 7, "text": "hi"}
        assert await peer.deliver({"update_id": 1, "message": message}) == 200
        assert hook.posts[-1][0]["X-Telegram-Bot-Api-Secret-Token"] == "s3cret"
        assert (await bot.send_message(-100, "123", message_thread_id=7)).text == "123"
        with pytest.raises(BadRequest, match="to edit not found"):
            await bot.edit_message_text("x", chat_id=-100, message_id=999)
        assert await bot.send_message_draft(_CHAT, 1, "half")
        with pytest.raises(InvalidToken):
            await bot.set_my_commands([])
        sent, draft = await peer.calls()
        assert (sent.text, sent.raw["message_thread_id"]) == ("123", 7)
        assert (draft.method, draft.text) == ("sendMessageDraft", "half")


async def test_the_telegram_peer_keeps_files() -> None:
    """The bot downloads the photo that a person sent, byte for byte."""
    async with (
        _hook() as hook,
        telegram_peer() as peer,
        Bot(peer.bot_token, peer.base_url, peer.base_file_url) as bot,
    ):
        await bot.set_webhook(hook.url)
        await peer.send_photo(b"\x89PNG bytes", chat_id=_CHAT, caption="see")
        message = Update.de_json(_json(hook), bot).message
        assert message is not None
        assert message.caption == "see"
        stored = await bot.get_file(message.photo[-1].file_id)
        assert bytes(await stored.download_as_bytearray()) == b"\x89PNG bytes"
