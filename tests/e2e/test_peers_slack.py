"""``it0 up`` against a Slack that others wrote: installation, signed events, threads, files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from tests.e2e.chat_kit import Product, answer, environment, product, question, shows_output
from tests.fakes.anthropic import FakeAnthropic
from tests.support.peers import SlackMessage, SlackPeer, slack_peer
from tests.support.processes import free_port

# The first run installs the peer.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(slots=True, kw_only=True)
class Scene:
    """The product, installed in the peer's workspace and linked with its person."""

    peer: SlackPeer
    it0: Product
    model: FakeAnthropic

    @property
    def mention(self) -> str:
        """The bot's name in a text."""
        return f"<@{self.peer.bot_user_id}>"

    async def shown(self, part: str, channel: str = "") -> SlackMessage:
        """Wait for a message of the bot that shows this."""
        async with asyncio.timeout(60):
            while True:
                for message in await self.peer.messages(channel=channel):
                    if part in message.text and message.user == self.peer.bot_user_id:
                        return message
                await asyncio.sleep(0.1)

    async def thread(self, ts: str) -> list[str]:
        """What the bot wrote in a thread."""
        return [
            message.text.strip()
            for message in await self.peer.messages()
            if message.thread_ts == ts and message.user == self.peer.bot_user_id
        ]


async def install(peer: SlackPeer, it0: Product) -> str:
    """Install the app as a browser does; the page at the end."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True)  # cookies of an address, not of a name
    ) as browser:
        async with browser.get(f"{it0.url}/slack/install", allow_redirects=False) as begun:
            where = begun.headers["Location"]
        assert where.startswith(peer.authorize_url)
        async with browser.get(where) as page:
            assert page.status == 200
        back = await peer.approve(state=URL(where).query["state"])
        assert back.startswith(peer.redirect_uri)
        async with browser.get(back) as done:
            assert done.status == 200, await done.text()
            return await done.text()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """The peer, the model and the product."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with (
        slack_peer(
            redirect_uri=f"{url}/slack/oauth_redirect", events_url=f"{url}/slack/events"
        ) as peer,
        FakeAnthropic() as model,
    ):
        environ = environment(model, port) | {
            "SLACK_CLIENT_ID": peer.client_id,
            "SLACK_CLIENT_SECRET": peer.client_secret,
            "SLACK_SIGNING_SECRET": peer.signing_secret,
            "IT0_SLACK_API_URL": peer.api_url,
        }
        async with product(tmp_path, environ, port) as it0:
            await it0.start()
            with shows_output(it0):
                assert "IT0 is installed in" in await install(peer, it0)
                made = Scene(peer=peer, it0=it0, model=model)
                bot = AsyncWebClient(token=peer.bot_token, base_url=peer.api_url)
                opened = await bot.conversations_open(users=peer.user_id)
                direct: str = opened["channel"]["id"]
                await peer.say(f"link {await it0.first_code()}", channel=direct)
                await made.shown("", channel=direct)
                yield made


async def test_a_mention_is_answered_in_its_thread(scene: Scene) -> None:
    """Where streaming is unknown, one message is posted in the thread and edited to the end."""
    ts = await scene.peer.say(f"{scene.mention} {question('peer', words=25, pause_ms=100)}")
    final = await scene.shown("peer24")
    assert final.thread_ts == ts
    assert final.edited
    assert await scene.thread(ts) == [answer("peer", 25)]


async def test_a_thread_goes_on(scene: Scene) -> None:
    """A second mention in the thread is the same conversation: the model sees the first."""
    ts = await scene.peer.say(f"{scene.mention} {question('first')}")
    await scene.shown(answer("first"))
    await scene.peer.say(f"{scene.mention} {question('second')}", thread_ts=ts)
    await scene.shown(answer("second"))
    (seen,) = [seen for seen in scene.model.seen if "second" in seen.prompt]
    assert answer("first") in str(seen.body["messages"])
    assert await scene.thread(ts) == [answer("first"), answer("second")]


async def test_a_file_reaches_the_model(scene: Scene) -> None:
    """The person's upload is fetched with the bot's token, and the model reads it."""
    person = AsyncWebClient(token=scene.peer.user_token, base_url=scene.peer.api_url)
    await person.files_upload_v2(
        channel=scene.peer.channel_id,
        filename="disk.log",
        content="web-3: no space left",
        initial_comment=f"{scene.mention} {question('file')}",
    )
    await scene.shown(answer("file"))
    (seen,) = [seen for seen in scene.model.seen if "file" in seen.prompt]
    assert "no space left" in str(seen.body["messages"])
