"""The real core, the real adapter and the fake Telegram: what end-to-end tests begin with.

::

    async with TelegramFake() as fake, open_scene(site, fake) as scene:
        scene.admin.say(scene.admin.user, "hello")
        await scene.answered(scene.admin, "Fine.")
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

import app
from bots.telegram.account import Account
from bots.telegram.app import Telegram, TelegramConfig
from bots.telegram.client import open_client
from bots.telegram.pace import Pace as ChatPace
from bots.telegram.sending import Sender
from bots.telegram.sink import TelegramSink
from core.access import parse_code
from core.buttons import Buttons
from core.messages import Actor, ConversationAddress, InboundMessage
from core.scheduling import Pace
from core.tools import Tool
from storage.access import SqlGate
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.telegram import Chat, TelegramFake
from tests.support.core_kit import PACE, Faults, House, Site

BUTTONS = Buttons(b"a key for the buttons of tests")
ADMIN = 5001
"""The Telegram id of the linked admin."""
SECRET = "a-secret-for-the-webhook"


def config_of(fake: TelegramFake, **more: Any) -> TelegramConfig:
    """How the adapter reaches the fake: by polling, unless a webhook is configured."""
    plain = TelegramConfig(
        token=fake.token, api_url=fake.url, file_url=None, webhook_secret=None, public_url=None
    )
    return replace(plain, **more)


@dataclass
class Scene:
    """A running bot, and the admin's private chat with it."""

    house: House
    fake: TelegramFake
    telegram: Telegram
    admin: Chat

    @property
    def gate(self) -> SqlGate:
        """Makes codes."""
        return gate_of(self.house)

    async def know(self, chat: Chat) -> None:
        """Make the person of a private chat the admin, without a message."""
        await introduce(self.house, chat.id)

    async def answered(self, chat: Chat, text: str, timeout_s: float = 20.0) -> None:
        """Wait until a message of the bot in the chat shows exactly this text."""
        await self.fake.wait_for(lambda: text in chat.texts(), timeout_s)

    async def link(self, chat: Chat) -> None:
        """Link a chat (and in a private one its person) to the admin's team."""
        code = await self.gate.link_code(self.house.admin)
        who = chat.user if chat.kind == "private" else self.admin.user
        counted = "SELECT COUNT(*) FROM turns WHERE text = '/welcome'"
        before = (await self.house.rows(counted))[0][0]
        chat.say(who, f"/start {code}")
        await self.house.until(counted, before + 1)
        await self.house.settled()


def gate_of(house: House) -> SqlGate:
    """What makes and takes codes."""
    return SqlGate(house.core.storage.db, house.core.storage.keys.derive("audit"))


async def introduce(house: House, user_id: int) -> None:
    """Make a person of Telegram the admin, without a message."""
    address = ConversationAddress(
        platform="telegram", workspace="", channel=str(user_id), thread=""
    )
    actor = Actor(platform="telegram", workspace="", external_id=str(user_id))
    message = InboundMessage(event_id="none", address=address, actor=actor, text="")
    code = await gate_of(house).link_code(house.admin)
    assert await gate_of(house).redeem(message, parse_code(code)) is None


def quicken(pace: ChatPace) -> None:
    """Let time fly for the pace alone: a fake without limits needs none."""
    pace.now = lambda: time.monotonic() * 1_000_000
    pace.sleep = lambda seconds: asyncio.sleep(seconds / 1_000_000)


@asynccontextmanager
async def open_sink(fake: TelegramFake) -> AsyncGenerator[TelegramSink]:
    """The sink alone, in a hurry."""
    async with open_client(fake.token, fake.url, None) as client:
        pace = ChatPace()
        quicken(pace)
        yield TelegramSink(Account(client), Sender(client, pace), pace, BUTTONS)


@asynccontextmanager
async def open_scene(
    site: Site,
    fake: TelegramFake,
    engine: ScriptedEngine | None = None,
    *,
    config: TelegramConfig | None = None,
    tools: Sequence[Tool] = (),
    pace: Pace = PACE,
    link_admin: bool = True,
    hurry: bool = True,
    slots: int = 16,
) -> AsyncGenerator[Scene]:
    """Run a core with the adapter; a webhook's address gets a server of its own.

    ``link_admin=False``: the admin was linked before, in an earlier scene on the same site.
    ``hurry=False``: the pace is the real one, for a fake that punishes.
    """
    engine = engine or ScriptedEngine([Say("Fine.")])
    config = config or config_of(fake)
    async with AsyncExitStack() as stack:
        telegram = await stack.enter_async_context(Telegram.open(config, BUTTONS))
        if hurry:
            quicken(telegram.notices.sender.pace)
        house = await stack.enter_async_context(
            open_house(site, telegram, engine, tools, pace, slots)
        )
        if config.public_url is not None:
            await stack.enter_async_context(serve(telegram, house, config.public_url))
        listening = asyncio.create_task(telegram.listen(house.core.inbox))
        stack.push_async_callback(end, listening)
        admin = fake.hub.chats.get(ADMIN) or fake.private(ADMIN, first_name="Ada")
        scene = Scene(house=house, fake=fake, telegram=telegram, admin=admin)
        if link_admin:
            await scene.link(admin)
        yield scene


@asynccontextmanager
async def open_house(
    site: Site,
    telegram: Telegram,
    engine: ScriptedEngine,
    tools: Sequence[Tool],
    pace: Pace = PACE,
    slots: int = 16,
) -> AsyncGenerator[House]:
    """The core on a site, with the adapter as its only platform."""
    settings = site.settings(IT0_TURN_SLOTS=str(slots), IT0_SHUTDOWN_GRACE_S="5")
    parts = app.Parts(
        engines={"runbook": engine},
        tools=tuple(tools),
        sinks={"telegram": telegram.sink},
        sources={"telegram": telegram.files},
        pace=pace,
        tenant_slots=slots,
    )
    async with app.open_storage(settings) as storage:
        admin = await storage.people.install(
            tenant_name="My team", admin_email=settings.admin_email
        )
        faults = Faults(storage.db)
        faults.install()
        async with app.open_core(settings, storage, parts) as core:
            house = House(core, admin, faults, engine)
            yield house
            if faults.dead and not house.crashed:
                await house.crash()


@asynccontextmanager
async def serve(telegram: Telegram, house: House, public_url: str) -> AsyncGenerator[None]:
    """The adapter's routes on the port of its public address."""
    application = web.Application()
    application.add_routes(telegram.routes(house.core.inbox))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        port = int(public_url.rpartition(":")[2])
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()


async def end(listening: asyncio.Task[None]) -> None:
    """Stop listening."""
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
