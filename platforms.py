"""The chat platforms that are configured: each adapter is imported only when it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog
from aiohttp import web

from core import telemetry
from core.buttons import Buttons
from core.inbox import Inbox
from core.intake import FileSource
from core.keys import Keys
from core.sinks import ReplySink
from settings import Settings
from storage.access import SqlGate
from storage.database import Database
from storage.installs import SqlInstalls

if TYPE_CHECKING:
    from bots.slack.ports import Summary

RESTART_S = 5.0

_log = structlog.get_logger()


class Platform(Protocol):
    """An adapter."""

    @property
    def sink(self) -> ReplySink:
        """Where replies go."""

    @property
    def files(self) -> FileSource:
        """Where files come from."""

    def routes(self, inbox: Inbox) -> Sequence[web.RouteDef]:
        """What the platform calls."""

    async def listen(self, inbox: Inbox) -> None:
        """Hear from the platform until cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platforms:
    """The configured ones, by name."""

    members: Mapping[str, Platform]

    @property
    def sinks(self) -> dict[str, ReplySink]:
        """By platform."""
        return {name: platform.sink for name, platform in self.members.items()}

    @property
    def sources(self) -> dict[str, FileSource]:
        """By platform."""
        return {name: platform.files for name, platform in self.members.items()}

    def routes(self, inbox: Inbox) -> list[web.RouteDef]:
        """All that the HTTP edge mounts for them."""
        return [route for platform in self.members.values() for route in platform.routes(inbox)]

    @asynccontextmanager
    async def listening(self, inbox: Inbox, names: Sequence[str]) -> AsyncGenerator[None]:
        """Listen to these platforms while inside."""
        tasks = [
            asyncio.create_task(_listen(name, platform, inbox))
            for name, platform in self.members.items()
            if name in names
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(name: str, platform: Platform, inbox: Inbox) -> None:
    """Outlive every bug of an adapter: the other platforms and the API must go on."""
    while True:
        try:
            return await platform.listen(inbox)
        except Exception:  # noqa: BLE001  # a process boundary
            telemetry.LOOP_ERRORS.labels(name).inc()
            _log.exception("platform.listening_failed", platform=name)
        await asyncio.sleep(RESTART_S)


async def check_platforms(settings: Settings) -> list[tuple[str, bool, str]]:
    """Ask each configured platform who the bot is: its name, whether it works, what it says."""
    found: list[tuple[str, bool, str]] = []
    telegram, slack = settings.telegram, settings.slack
    if telegram.token is not None:
        from bots.telegram.probe import probe as ask_telegram  # noqa: PLC0415  # as below

        found.append(("Telegram", *await ask_telegram(telegram.token, telegram.api_url)))
    if slack.configured:
        from bots.slack.probe import probe as ask_slack  # noqa: PLC0415  # as below

        answer = await ask_slack(slack.bot_token, slack.app_token, slack.api_url)
        found.append(("Slack", *answer))
    return found


@asynccontextmanager
async def open_platforms(
    settings: Settings, db: Database, keys: Keys, summary: Summary | None = None
) -> AsyncGenerator[Platforms]:
    """Open the configured adapters; nothing is sent before they listen or reply.

    ``summary`` is what a person reads on a home page, where the platform has one.
    """
    buttons = Buttons(keys.derive("buttons"))
    members: dict[str, Platform] = {}
    async with AsyncExitStack() as stack:
        if settings.telegram.token is not None:
            from bots.telegram.app import (  # noqa: PLC0415  # only where it is configured
                Telegram,
                TelegramConfig,
            )

            members["telegram"] = await stack.enter_async_context(
                Telegram.open(
                    TelegramConfig(
                        token=settings.telegram.token,
                        api_url=settings.telegram.api_url,
                        file_url=settings.telegram.file_url,
                        webhook_secret=settings.telegram.webhook_secret,
                        public_url=settings.http.public_url,
                    ),
                    buttons,
                )
            )
        if settings.slack.configured:
            from bots.slack.app import Slack, SlackConfig  # noqa: PLC0415  # as above

            slack = settings.slack
            members["slack"] = await stack.enter_async_context(
                Slack.open(
                    SlackConfig(
                        bot_token=slack.bot_token,
                        app_token=slack.app_token,
                        signing_secret=slack.signing_secret,
                        client_id=slack.client_id,
                        client_secret=slack.client_secret,
                        api_url=slack.api_url,
                        public_url=settings.http.public_url,
                    ),
                    buttons,
                    SqlInstalls(db, keys.derive("installs")),
                    SqlGate(db, keys.derive("audit")),
                    keys.derive("slack-state"),
                    summary,
                )
            )
        yield Platforms(members=members)
