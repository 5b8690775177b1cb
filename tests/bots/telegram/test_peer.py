"""The adapter against a Bot API server that somebody else wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from bots.telegram.app import Telegram, TelegramConfig
from core.buttons import Action
from core.messages import ConversationAddress
from tests.bots.telegram.kit import (
    BUTTONS,
    SECRET,
    end,
    introduce,
    open_house,
    quicken,
    serve,
)
from tests.bots.telegram.test_webhook import picture
from tests.fakes.scripted_engine import ScriptedEngine
from tests.support.core_gate import Gate
from tests.support.core_kit import House, Probe, Site
from tests.support.peers import TelegramPeer, telegram_peer
from tests.support.processes import free_port

# The first run installs the peer.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHAT = 4711


def address_of(peer: TelegramPeer) -> ConversationAddress:
    """The person's chat with the bot."""
    return ConversationAddress(
        platform="telegram",
        workspace=peer.bot_token.partition(":")[0],
        channel=str(CHAT),
        thread="",
    )


@asynccontextmanager
async def open_peer(
    site: Site, engine: ScriptedEngine, *accepts: str
) -> AsyncGenerator[tuple[TelegramPeer, House]]:
    """The peer, a core with the adapter, and its webhook registered."""
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(telegram_peer(accepts=accepts))
        url = f"http://127.0.0.1:{free_port()}"
        config = TelegramConfig(
            token=peer.bot_token,
            api_url=peer.url,
            file_url=None,
            webhook_secret=SECRET,
            public_url=url,
        )
        telegram = await stack.enter_async_context(Telegram.open(config, BUTTONS))
        quicken(telegram.notices.sender.pace)
        tools = [Probe("look").tool()]
        house = await stack.enter_async_context(open_house(site, telegram, engine, tools))
        await stack.enter_async_context(serve(telegram, house, url))
        listening = asyncio.create_task(telegram.listen(house.core.inbox))
        stack.push_async_callback(end, listening)
        await introduce(house, CHAT)
        client = telegram.account.client.bot
        async with asyncio.timeout(30):
            # Another process's state can only be asked for again.
            while not (await client.get_webhook_info()).url:  # noqa: ASYNC110  # another process signals nothing
                await asyncio.sleep(0.05)
        yield peer, house


async def test_a_question_is_answered_at_the_peer(place: Site) -> None:
    """A placeholder is posted and edited to the answer, once."""
    async with open_peer(place, Gate().engine()) as (peer, house):
        await peer.say("hello", chat_id=CHAT)
        await peer.wait_for_calls(1, method="editMessageText")
        await house.settled()
        calls = [call for call in await peer.calls() if call.chat_id == CHAT]
        assert [(call.method, call.text) for call in calls] == [
            ("sendMessage", "…"),
            ("editMessageText", "Answer to hello."),
        ]


async def test_a_draft_is_shown_at_the_peer(place: Site) -> None:
    """Where the server has drafts, the placeholder comes only with the answer."""
    async with open_peer(place, Gate().engine(), "sendMessageDraft") as (peer, house):
        await peer.say("hello", chat_id=CHAT)
        await peer.wait_for_calls(1, method="editMessageText")
        await house.settled()
        methods = [call.method for call in await peer.calls() if call.chat_id == CHAT]
        assert methods[0] == "sendMessageDraft"
        assert methods[-2:] == ["sendMessage", "editMessageText"]


async def test_a_button_at_the_peer_stops_its_turn(place: Site) -> None:
    """The press is answered and the message says that it was stopped."""
    gate = Gate()
    async with open_peer(place, gate.engine()) as (peer, house):
        await peer.say("hold", chat_id=CHAT)
        await gate.reached.wait()
        (posted,) = await peer.wait_for_calls(1, method="sendMessage")
        turn = (await house.rows("SELECT id FROM turns WHERE text = 'hold'"))[0][0]
        data = BUTTONS.seal(Action.STOP, turn, address_of(peer))
        assert data in str(posted.raw["reply_markup"])
        assert posted.message_id is not None
        await peer.press(data, chat_id=CHAT, message_id=posted.message_id)
        (answer,) = await peer.wait_for_calls(1, method="answerCallbackQuery")
        assert answer.text == "Stopped."
        await house.until("SELECT outcome FROM turns WHERE text = 'hold'", "cancelled")


async def test_a_photo_at_the_peer_reaches_the_engine(place: Site) -> None:
    """It is downloaded in the turn."""
    engine = Gate().engine()
    async with open_peer(place, engine) as (peer, house):
        await peer.send_photo(picture(9), chat_id=CHAT, caption="look")
        await peer.wait_for_calls(1, method="editMessageText")
        await house.settled()
        assert len(engine.requests[-1].attachments) == 1
