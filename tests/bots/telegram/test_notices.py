"""Sentences outside of turns: in order, few at a time, and never a reason to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bots.telegram.notices import MAX_WAITING, MAX_WAITING_IN_CHAT, Notices
from core.messages import ConversationAddress
from tests.bots.telegram.kit import open_sink
from tests.fakes.telegram import Chat, TelegramFake


@asynccontextmanager
async def open_notices(fake: TelegramFake) -> AsyncGenerator[Notices]:
    """The notices alone."""
    async with open_sink(fake) as sink:
        notices = Notices(sink.sender)
        try:
            yield notices
        finally:
            await notices.close()


def at(chat: Chat) -> ConversationAddress:
    """A chat's address."""
    return ConversationAddress(
        platform="telegram", workspace="123456", channel=str(chat.id), thread=""
    )


async def test_they_come_in_order_and_not_too_many() -> None:
    """Who provokes many at once gets the first few; another chat is not concerned."""
    async with TelegramFake(max_delay_s=0.02) as fake:
        loud, calm = fake.private(7), fake.private(8)
        async with open_notices(fake) as notices:
            for number in range(10):
                notices.say(at(loud), f"n{number}")
            notices.say(at(calm), "**yes**")
        assert loud.texts() == [f"n{number}" for number in range(MAX_WAITING_IN_CHAT)]
        assert calm.texts() == ["yes"]


async def test_memory_is_bounded_whoever_provokes_them() -> None:
    """20,000 chats at once: a few are told, and nothing is remembered of any."""
    async with TelegramFake() as fake:
        people = [fake.private(number) for number in range(1, 20_001)]
        async with open_notices(fake) as notices:
            for chat in people:
                notices.say(at(chat), "no")
            assert len(notices._tasks) == len(notices._last) == MAX_WAITING
            await asyncio.wait(notices._tasks)
            await asyncio.sleep(0)
            assert (notices._tasks, notices._last, notices._waiting) == (set(), {}, {})
        assert sum(bool(chat.texts()) for chat in people) == MAX_WAITING


async def test_a_refused_one_is_forgotten() -> None:
    """The next one is said."""
    async with TelegramFake() as fake:
        chat = fake.private(7)
        chat.status = "blocked"
        async with open_notices(fake) as notices:
            notices.say(at(chat), "lost")
        chat.status = "member"
        async with open_notices(fake) as notices:
            notices.say(at(chat), "heard")
            notices.say(at(chat), "")
        assert chat.texts() == ["heard"]
        assert len(fake.calls) == 2
