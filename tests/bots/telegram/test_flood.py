"""Many people at once, and a Telegram that punishes like the real one."""

from __future__ import annotations

import pytest

from tests.bots.telegram.kit import open_scene
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.telegram import FloodLimits, TelegramFake
from tests.support.core_kit import Site


@pytest.mark.slow
@pytest.mark.parametrize("drafts", [True, False])
async def test_a_hundred_chats_stream_at_once(place: Site, drafts: bool) -> None:
    """W6: no penalty at all, nothing is refused, everybody gets one answer."""
    text = "word " * 30
    engine = ScriptedEngine([Say(text, pause_s=0.05)])
    async with (
        TelegramFake(drafts=drafts, flood=FloodLimits()) as fake,
        open_scene(place, fake, engine, hurry=False, slots=120) as scene,
    ):
        chats = [fake.private(10_000 + number) for number in range(100)]
        for chat in chats:
            await scene.know(chat)
        for chat in chats:
            chat.say(chat.user, "hello")
        await fake.wait_for(
            lambda: all(text.strip() in chat.texts() for chat in chats), timeout_s=60
        )
        await scene.house.settled()
        assert dict(fake.penalties) == {}
        assert [call for call in fake.calls if call.status == 429] == []
        assert all(len(chat.texts()) == 1 for chat in chats)


@pytest.mark.slow
async def test_a_busy_forum_is_never_punished_twice(place: Site) -> None:
    """W6: three topics stream in one group; every one gets its answer, at the group's pace."""
    text = "word " * 20
    engine = ScriptedEngine([Say(text, pause_s=0.05)])
    async with (
        TelegramFake(flood=FloodLimits(group_burst=2, group_per_s=1.0)) as fake,
        open_scene(place, fake, engine, hurry=False) as scene,
    ):
        forum = fake.supergroup("Ops", [scene.admin.user], forum=True)
        await scene.link(forum)
        topics = [forum.topic(f"T{number}", by=scene.admin.user) for number in range(3)]
        for topic in topics:
            forum.say(scene.admin.user, "@it0_bot hello", topic=topic)
        await fake.wait_for(
            lambda: all(text.strip() in forum.texts(topic.id) for topic in topics), timeout_s=60
        )
        assert len(fake.penalties.get(forum.id, [])) <= 1
        assert all(item.provoked_again == 0 for item in fake.penalties.get(forum.id, []))
