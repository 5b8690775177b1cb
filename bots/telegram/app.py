"""Telegram, put together: what the composition root opens."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import structlog
from aiohttp import web
from telegram import BotCommand
from telegram.error import TelegramError

from bots.telegram.account import Account
from bots.telegram.client import Client, open_client
from bots.telegram.files import TelegramFiles
from bots.telegram.ingest import Behind, Ingest
from bots.telegram.notices import Notices
from bots.telegram.pace import Pace
from bots.telegram.polling import KINDS, Backoff, Polling
from bots.telegram.reception import Reception
from bots.telegram.sending import Sender
from bots.telegram.sink import TelegramSink
from core import telemetry
from core.buttons import Buttons
from core.commands import HELP
from core.errors import StorageFailure
from core.inbox import Inbox
from core.intake import FileSource
from core.sinks import ReplySink
from core.words import LANGUAGES, Words

T = TypeVar("T")

WEBHOOK = "/telegram/webhook"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  # the name of a header
MAX_DESCRIPTION = 256
"""Bot API, BotCommand."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramConfig:
    """What the environment says about Telegram."""

    token: str = field(repr=False)
    api_url: str | None
    """The root of a Bot API server; None: Telegram's own."""
    file_url: str | None
    """The root of its files, if that is elsewhere."""
    webhook_secret: str | None = field(repr=False)
    public_url: str | None

    @property
    def webhook_url(self) -> str | None:
        """Where Telegram is to post; None: we poll.

        Telegram's own server posts to https only, one of one's own also to http.
        """
        if self.webhook_secret is None or self.public_url is None:
            return None
        if not self.public_url.startswith("https://") and self.api_url is None:
            return None
        return self.public_url.rstrip("/") + WEBHOOK


@dataclass(slots=True, kw_only=True)
class Telegram:
    """The adapter of one bot."""

    sink: ReplySink
    files: FileSource
    config: TelegramConfig
    buttons: Buttons
    account: Account
    notices: Notices
    _ingests: dict[int, Ingest] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: TelegramConfig, buttons: Buttons) -> AsyncGenerator[Telegram]:
        """Make the adapter; nothing is sent yet."""
        async with open_client(config.token, config.api_url, config.file_url) as client:
            account = Account(client)
            pace = Pace()
            sender = Sender(client, pace)
            notices = Notices(sender)
            try:
                yield cls(
                    sink=TelegramSink(account, sender, pace, buttons),
                    files=TelegramFiles(client),
                    config=config,
                    buttons=buttons,
                    account=account,
                    notices=notices,
                )
            finally:
                await notices.close()

    def routes(self, inbox: Inbox) -> list[web.RouteDef]:
        """The webhook, if there is one."""
        if self.config.webhook_url is None:
            return []

        async def receive(request: web.Request) -> web.Response:
            return await self._receive(request, inbox)

        return [web.post(WEBHOOK, receive)]

    async def listen(self, inbox: Inbox) -> None:
        """Hear from Telegram until cancelled, whatever is down meanwhile."""
        ingest = await _insist(lambda: self._ingest(inbox))
        menu = asyncio.create_task(self._set_commands())
        url = self.config.webhook_url
        try:
            if url is None:
                await _insist(self._client.bot.delete_webhook)
                _log.info("telegram.polling", bot=ingest.me.username)
                await Polling(self._client, ingest).run()
            await _insist(lambda: self._set_webhook(url))
            _log.info("telegram.webhook", bot=ingest.me.username)
            await asyncio.Event().wait()
        finally:
            menu.cancel()
            await asyncio.gather(menu, return_exceptions=True)
            await ingest.close()

    @property
    def _client(self) -> Client:
        return self.account.client

    async def _ingest(self, inbox: Inbox) -> Ingest:
        """One for each inbox, shared by the webhook and whoever listens."""
        me = await self.account.me()
        found = self._ingests.get(id(inbox))
        if found is None:
            reception = Reception(inbox, self.buttons, self._client, self.notices)
            found = self._ingests[id(inbox)] = Ingest(reception, me)
        return found

    async def _set_webhook(self, url: str | None) -> None:
        await self._client.bot.set_webhook(
            url or "", secret_token=self.config.webhook_secret, allowed_updates=KINDS
        )

    async def _set_commands(self) -> None:
        """The menu of commands, in each language; without it the commands work, too."""
        for language in LANGUAGES:
            code = None if language == "en" else language  # English is for all the others
            try:
                await self._client.bot.set_my_commands(_menu(language), language_code=code)
            except Exception as error:  # noqa: BLE001  # a missing catalogue, a refusal: only a menu
                telemetry.LOOP_ERRORS.labels("telegram").inc()
                _log.warning("telegram.commands_not_set", language=language, reason=str(error))

    async def _receive(self, request: web.Request, inbox: Inbox) -> web.Response:
        """An update by webhook; anything but 2xx makes Telegram bring it again."""
        secret = self.config.webhook_secret or ""
        if not hmac.compare_digest(
            request.headers.get(SECRET_HEADER, "").encode(), secret.encode()
        ):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        try:
            raw = await request.json()
        except ValueError:
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        if not isinstance(raw, dict) or not isinstance(raw.get("update_id"), int):
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        try:
            task = (await self._ingest(inbox)).take(raw)
            if task is not None:
                await asyncio.shield(task)
        except (StorageFailure, Behind, TelegramError):
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        return web.Response()


def _menu(language: str) -> list[BotCommand]:
    words = Words(language)
    return [
        BotCommand(word, words.of(line).replace("`", "")[:MAX_DESCRIPTION])
        for word, line in HELP.items()
    ]


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    """Try until it works."""
    backoff = Backoff()
    while True:
        try:
            return await call()
        except TelegramError as error:
            await backoff.wait(error)
