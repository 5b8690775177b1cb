"""What ``chat_load`` takes for an answer, and what it makes of the figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup

from bench._chat_slack import Slack
from bench._chat_stage import Crowd, Person, Sight
from bench._chat_telegram import Telegram
from bench.chat_load import BARE, FREE, IT0, Measured, load_table
from tests.fakes.slack import SlackFake
from tests.fakes.telegram import TelegramFake

ASK = {"messages": 1, "text": "hello", "words": 3, "pause_s": 0.0, "timeout_s": 5.0}
STOP = {
    "type": "actions",
    "elements": [
        {
            "type": "button",
            "action_id": "it0_stop",
            "text": {"type": "plain_text", "text": "Stop"},
            "value": "x",
        }
    ],
}


@dataclass
class Script:
    """A stage that answers each message with the same sights, one after the other."""

    answer: list[tuple[str, bool]]
    """Text, and whether it is a preview."""
    said: list[str] = field(default_factory=list)
    shown: list[Sight] = field(default_factory=list)
    _new: asyncio.Queue[int] = field(default_factory=asyncio.Queue)

    def people(self, chats: int) -> list[Person]:
        """Numbers."""
        return [Person(external_id=str(chat)) for chat in range(chats)]

    def say(self, chat: int, text: str) -> None:
        """Take a message."""
        self.said.append(text)
        self._new.put_nowait(chat)

    async def changed(self) -> None:
        """Answer the next message."""
        chat = await self._new.get()
        self.shown = [
            Sight(chat=chat, at=time.monotonic() + at, text=text, preview=preview)
            for at, (text, preview) in enumerate(self.answer)
        ]

    def sights(self) -> Iterator[Sight]:
        """That answer, once."""
        shown, self.shown = self.shown, []
        yield from shown

    def answers(self, word: str) -> int:
        """None are kept."""
        return 0

    def calls(self) -> Mapping[str, int]:
        """None."""
        return {}

    def penalties(self) -> tuple[int, int]:
        """None."""
        return 0, 0


async def test_a_preview_is_text_but_no_answer() -> None:
    """The first words count wherever they show; the end counts in a finished message alone."""
    answer = [("Thinking...", True), ("w0", True), ("w0 w1 w2", True), ("w0 w1 w2", False)]
    told = await Crowd(Script(answer)).talk({**ASK, "chats": 1})
    start, first, final = told["turns"][0]
    assert 1 <= first - start < 2
    assert 3 <= final - start < 4


async def test_whoever_gets_no_answer_writes_no_more() -> None:
    """An unanswered message ends a person's talk and shows as a gap."""
    stage = Script([("w0 w1", False)])
    ask: dict[str, Any] = {**ASK, "chats": 2, "messages": 3, "timeout_s": 0.05}
    told = await Crowd(stage).talk(ask)
    assert told["turns"] == [None, None]
    assert sorted(stage.said) == ["c0n0 hello", "c1n0 hello"]


async def test_everybody_writes_as_often_as_asked() -> None:
    """Chats run side by side, the messages of one after another."""
    stage = Script([("w0 w1 w2", False)])
    told = await Crowd(stage).talk({**ASK, "chats": 2, "messages": 2})
    assert len(told["turns"]) == 4
    assert None not in told["turns"]
    assert sorted(stage.said) == ["c0n0 hello", "c0n1 hello", "c1n0 hello", "c1n1 hello"]


async def test_drafts_and_messages_with_buttons_are_previews_in_telegram() -> None:
    """The finished answer is a message without a keyboard; each is seen once."""
    async with TelegramFake() as fake:
        stage = Telegram(fake)
        chat = int(stage.people(1)[0].external_id)
        async with Bot(fake.token, base_url=fake.base_url) as bot:
            keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Stop", callback_data="x")]])
            await bot.send_message_draft(chat, 1, "w0")
            sent = await bot.send_message(chat, "w0 w1", reply_markup=keyboard)
            await bot.edit_message_text("w0 w1 w2", chat, sent.message_id)
        seen = [(sight.chat, sight.text, sight.preview) for sight in stage.sights()]
        assert seen == [(0, "w0", True), (0, "w0 w1", True), (0, "w0 w1 w2", False)]
        assert list(stage.sights()) == []
        assert stage.answers("w2") == 1
        assert stage.calls() == {"sendMessageDraft": 1, "sendMessage": 1, "editMessageText": 1}


async def test_messages_with_a_stop_button_are_previews_in_slack() -> None:
    """The finished answer is a message without that button."""
    async with SlackFake() as fake:
        stage = Slack(fake)
        person = stage.people(1)[0]
        team = fake.team("bench")
        channel = team.dm(team.users[person.external_id]).id
        client = AsyncWebClient(token=team.bot_token, base_url=fake.api_url)
        section = {"type": "section", "text": {"type": "mrkdwn", "text": "w0"}}
        sent = await client.chat_postMessage(channel=channel, text="w0", blocks=[section, STOP])
        first = list(stage.sights())
        await client.chat_update(channel=channel, ts=str(sent["ts"]), text="w0 w1", blocks=[])
        assert [(sight.chat, sight.preview) for sight in first] == [(0, True)]
        assert [(sight.text, sight.preview) for sight in stage.sights()] == [("w0 w1", False)]
        assert stage.answers("w1") == 1


def measured(**more: Any) -> Measured:
    """Figures that hold every bound."""
    figures: dict[str, Any] = {
        "missing": 0,
        "extra": 0,
        "first": [10.0],
        "final": [20.0],
        "rate": 10.0,
        "cpu_ms": 10.0,
        "fakes_cpu_ms": 5.0,
        "peak_mb": 100.0,
        "calls": {"sendMessage": 2},
        "penalties": 0,
        "provoked_again": 0,
    }
    return Measured(**(figures | more))


@pytest.mark.parametrize(
    ("figures", "broken"),
    [
        ({}, []),
        ({"missing": 1}, ["without an answer"]),
        ({"extra": 1}, ["second answers"]),
        ({"rate": 1.0}, ["messages a second"]),
        ({"cpu_ms": 100.0}, ["messages a second of its CPU"]),
        ({"penalties": 1}, ["penalties"]),
    ],
)
def test_only_our_own_figures_are_bound(figures: dict[str, Any], broken: list[str]) -> None:
    """What the bare bots lose or provoke is shown, not judged."""
    bad = measured(missing=9, extra=9, rate=0.1, penalties=9)
    report = load_table("title", {IT0: measured(**figures), BARE: bad, FREE: bad})
    assert report.broken == broken
