"""``it0 up`` against a Bot API server that others wrote, by webhook."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.chat_kit import Product, answer, environment, product, question, shows_output
from tests.fakes.anthropic import FakeAnthropic
from tests.support.peers import BotCall, TelegramPeer, telegram_peer
from tests.support.processes import free_port

# The first run installs the peer.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHAT = 4711


@dataclass(slots=True, kw_only=True)
class Scene:
    """The product, linked with one person."""

    peer: TelegramPeer
    it0: Product
    model: FakeAnthropic

    async def shown(self, text: str) -> BotCall:
        """Wait for a message that shows exactly this, and return the call that brought it."""
        async with asyncio.timeout(60):
            while True:
                for call in await self.peer.calls():
                    if (call.text or "").strip() == text:
                        return call
                await asyncio.sleep(0.05)

    async def finished(self, text: str) -> BotCall:
        """Wait for the message to show exactly this without a Stop button: it is over.

        The last preview may show the whole text already, with the button.
        """
        async with asyncio.timeout(60):
            while True:
                for call in await self.peer.calls():
                    if (call.text or "").strip() == text and not call.raw.get("reply_markup"):
                        return call
                await asyncio.sleep(0.05)

    async def posted(self, part: str) -> tuple[BotCall, dict[str, Any]]:
        """Wait for a message with a button; the call, and the button."""
        async with asyncio.timeout(60):
            while True:
                for call in await self.peer.calls():
                    if call.raw.get("reply_markup") and part in (call.text or ""):
                        return call, _first_button(call.raw["reply_markup"])
                await asyncio.sleep(0.05)


def _first_button(markup: Any) -> dict[str, Any]:  # as the peer recorded it
    keyboard = json.loads(markup) if isinstance(markup, str) else markup
    button: dict[str, Any] = keyboard["inline_keyboard"][0][0]
    return button


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """The peer, the model and the product."""
    port = free_port()
    async with telegram_peer() as peer, FakeAnthropic() as model:
        environ = environment(model, port) | {
            "TELEGRAM_BOT_TOKEN": peer.bot_token,
            "IT0_TELEGRAM_API_URL": peer.url,
            "TELEGRAM_WEBHOOK_SECRET": "a-secret-of-tests",
        }
        async with product(tmp_path, environ, port) as it0:
            await it0.start()
            with shows_output(it0):
                await it0.printed("telegram.webhook")
                await peer.say(f"/start {await it0.first_code()}", chat_id=CHAT)
                await peer.wait_for_calls(1, method="sendMessage")
                yield Scene(peer=peer, it0=it0, model=model)


async def test_a_message_is_answered_in_its_placeholder(scene: Scene) -> None:
    """One message is posted for an answer, and edited until it shows the final text."""
    before = len(await scene.peer.calls())
    await scene.peer.say(question("peer", words=20, pause_ms=100), chat_id=CHAT)
    final = await scene.finished(answer("peer", 20))
    calls = (await scene.peer.calls())[before:]
    posts = [call for call in calls if call.method == "sendMessage"]
    assert len(posts) == 1
    assert {call.message_id for call in calls if call.method == "editMessageText"} == {
        posts[0].message_id
    }
    assert final.method == "editMessageText"


async def test_the_stop_button_ends_an_answer(scene: Scene) -> None:
    """A press comes back as a callback query; it is answered, and the answer ends early."""
    await scene.peer.say(question("halt", words=400, pause_ms=50), chat_id=CHAT)
    call, button = await scene.posted("halt0")
    assert call.message_id is not None
    await scene.peer.press(button["callback_data"], chat_id=CHAT, message_id=call.message_id)
    await scene.peer.wait_for_calls(1, method="answerCallbackQuery")
    await scene.peer.say(question("after"), chat_id=CHAT)
    await scene.shown(answer("after"))
    assert "halt399" not in "".join(call.text or "" for call in await scene.peer.calls())


async def test_a_photo_reaches_the_model(scene: Scene) -> None:
    """The bot downloads it from the peer, and the model gets it as an image."""
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "PNG")
    await scene.peer.send_photo(picture.getvalue(), chat_id=CHAT, caption=question("photo"))
    await scene.shown(answer("photo"))
    (seen,) = [seen for seen in scene.model.seen if "photo" in seen.prompt]
    kinds = [block["type"] for block in seen.body["messages"][-1]["content"]]
    assert "image" in kinds


async def test_an_update_that_comes_twice_is_answered_once(scene: Scene) -> None:
    """The peer is told 200 for both, and the model is asked once."""
    person = {"id": CHAT, "is_bot": False, "first_name": "Ann"}
    message = {
        "message_id": 90_001,
        "date": 1,
        "chat": {"id": CHAT, "type": "private", "first_name": "Ann"},
        "from": person,
        "text": question("twice"),
    }
    for _ in range(2):
        assert await scene.peer.deliver({"update_id": 2_000_000_001, "message": message}) == 200
    await scene.shown(answer("twice"))
    await scene.peer.say(question("last"), chat_id=CHAT)
    await scene.shown(answer("last"))
    assert len([seen for seen in scene.model.seen if "twice" in seen.prompt]) == 1
