"""W6: many chats stream at once through the real core and adapter, and Telegram punishes.

The fake counts sends and edits of a chat in one bucket, and a second one over all chats; a call
into a running penalty makes it longer. Order is read off the fake's record of calls, never off
the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.engines.engine import EngineRequest
from core.messages import Actor, ConversationAddress, InboundMessage
from tests.bots.telegram.kit import Scene, open_scene
from tests.fakes.scripted_engine import Move, Say, ScriptedEngine, Signal
from tests.fakes.telegram import Chat, FloodLimits, TelegramFake
from tests.fakes.telegram_records import Call
from tests.support.core_kit import Site, copy_sqlite

pytestmark = pytest.mark.slow

WORDS = 25
WORD_S = 0.05
"""An answer streams for more than a second, so that there are previews."""
PATIENCE_S = 90.0


@pytest.fixture
def place(sqlite_template: Path, tmp_path: Path) -> Site:
    """A site of the test's own."""
    return copy_sqlite(sqlite_template, tmp_path / "data")


def answer_to(name: str) -> str:
    """Different for each message, so that a mix-up shows."""
    return f"Answer to {name}: " + "word " * (WORDS - 4) + "end."


class _End(asyncio.Event):
    """Notes how many calls the platform had seen when the model had said its last word."""

    def __init__(self, fake: TelegramFake) -> None:
        super().__init__()
        self._fake = fake
        self.calls_before = 0

    def set(self) -> None:
        self.calls_before = len(self._fake.calls)
        super().set()


class Streamer:
    """An engine that streams ``answer_to`` the last word of each message."""

    def __init__(self, fake: TelegramFake) -> None:
        """The ends of answers are noted beside the fake's calls."""
        self.ends: dict[str, _End] = {}
        self.engine = ScriptedEngine(self._script)
        self._fake = fake

    def _script(self, request: EngineRequest) -> Sequence[Move]:
        name = request.text.split()[-1]
        self.ends[name] = _End(self._fake)
        return [Say(answer_to(name), pause_s=WORD_S), Signal(self.ends[name])]


async def admit_group(scene: Scene, group: Chat) -> None:
    """Link a group to the admin's team without a message in it."""
    actor = Actor(platform="telegram", workspace="", external_id=str(scene.admin.id))
    message = InboundMessage(
        event_id="none",
        address=ConversationAddress(
            platform="telegram", workspace="", channel=str(group.id), thread=""
        ),
        actor=actor,
        text="",
        group=str(group.id),
    )
    code = await scene.gate.link_code(scene.house.admin)
    assert await scene.gate.redeem(message, code) is None


async def until_shown(fake: TelegramFake, wanted: dict[str, Chat]) -> None:
    """Wait until every chat shows its answers; ``wanted`` is the chat of each name."""
    await fake.wait_for(
        lambda: all(answer_to(name) in chat.texts() for name, chat in wanted.items()),
        timeout_s=PATIENCE_S,
    )


def shows(call: Call, name: str) -> bool:
    """Whether this call brought a final answer: all its text, in a message without Stop."""
    message = call.method in {"sendMessage", "editMessageText"}
    final = not call.params.get("reply_markup") and call.params.get("text") == answer_to(name)
    return message and final and call.status == 200


def check_order(fake: TelegramFake, streamer: Streamer, name: str, chat: Chat) -> None:
    """After the model's end: the preview that was under way, a place for the answer, the answer."""
    after = fake.calls[streamer.ends[name].calls_before :]
    mine = [call for call in after if call.chat_id == chat.id and call.status == 200]
    final = next(at for at, call in enumerate(mine) if shows(call, name))
    previews = [
        call
        for call in mine[:final]
        if call.method == "sendMessageDraft"
        or (call.method == "editMessageText" and call.params.get("reply_markup"))
    ]
    assert len(previews) <= 1, [(call.method, call.params.get("text")) for call in mine[:final]]
    assert sum(shows(call, name) for call in fake.calls if call.chat_id == chat.id) == 1


def check_nothing_refused(fake: TelegramFake) -> None:
    """No penalty, in a chat or over all of them."""
    assert dict(fake.penalties) == {}
    assert [call for call in fake.calls if call.status == 429] == []


@pytest.mark.parametrize("drafts", [True, False])
async def test_a_hundred_private_chats_provoke_no_penalty(place: Site, drafts: bool) -> None:
    """Nobody is refused; each gets one answer, and no preview holds it up; with drafts or not."""
    async with TelegramFake(drafts=drafts, flood=FloodLimits()) as fake:
        streamer = Streamer(fake)
        async with open_scene(place, fake, streamer.engine, hurry=False, slots=120) as scene:
            wanted = {f"n{number}": fake.private(10_000 + number) for number in range(100)}
            for chat in wanted.values():
                await scene.know(chat)
            for name, chat in wanted.items():
                chat.say(chat.user, f"hello {name}")
            await until_shown(fake, wanted)
            await scene.house.settled()
        check_nothing_refused(fake)
        for name, chat in wanted.items():
            assert chat.texts() == [answer_to(name)]
            check_order(fake, streamer, name, chat)
        shown = {call.chat_id for call in fake.calls_of("sendMessageDraft")}
        assert shown.issuperset(chat.id for chat in wanted.values()) == drafts


async def test_busy_groups_stay_within_twenty_a_minute(place: Site) -> None:
    """Three messages in each of eight groups that have hardly more than 20 a minute."""
    async with TelegramFake(flood=FloodLimits(group_burst=6)) as fake:
        streamer = Streamer(fake)
        async with open_scene(place, fake, streamer.engine, hurry=False, slots=32) as scene:
            wanted: dict[str, Chat] = {}
            for number in range(8):
                group = fake.group(f"Team {number}", [scene.admin.user])
                await admit_group(scene, group)
                wanted |= {f"g{number}m{message}": group for message in range(3)}
            for name, group in wanted.items():
                group.say(scene.admin.user, f"@it0_bot hello {name}")
            await until_shown(fake, wanted)
            await scene.house.settled()
        check_nothing_refused(fake)
        for name, group in wanted.items():
            assert sorted(group.texts()) == sorted(
                answer_to(other) for other, its in wanted.items() if its is group
            )
            check_order(fake, streamer, name, group)


@pytest.mark.parametrize("drafts", [True, False])
async def test_no_chat_is_punished_twice_where_limits_are_tighter(
    place: Site, drafts: bool
) -> None:
    """Telegram may allow less than it says: the first penalty of a chat is its last one.

    One message at once, drafts count, and nobody writes into a penalty that runs.
    """
    tight = FloodLimits(private_burst=1, private_per_s=0.9, drafts_count=True)
    async with TelegramFake(drafts=drafts, flood=tight) as fake:
        streamer = Streamer(fake)
        async with open_scene(place, fake, streamer.engine, hurry=False, slots=32) as scene:
            wanted = {f"t{number}": fake.private(20_000 + number) for number in range(12)}
            for chat in wanted.values():
                await scene.know(chat)
            for name, chat in wanted.items():
                chat.say(chat.user, f"hello {name}")
            await until_shown(fake, wanted)
            await scene.house.settled()
        assert fake.penalties
        assert max(len(found) for found in fake.penalties.values()) == 1
        assert [
            item for found in fake.penalties.values() for item in found if item.provoked_again
        ] == []
        for name, chat in wanted.items():
            assert chat.texts() == [answer_to(name)]
