"""Many chats at once in one workspace, against a Slack that counts."""

from __future__ import annotations

import asyncio

import pytest

from bots.slack.pace import POST_BURST
from tests.bots.slack.kit import SlackHouse, slack_house
from tests.fakes.scripted_engine import Say, ScriptedEngine, Until
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site

CHATS = 40


async def _answered(world: SlackHouse) -> None:
    """Everybody writes at once; wait until everybody has exactly one answer."""
    people = [await world.member(f"p{number}") for number in range(CHATS)]
    for person in people:
        person.say(world.team.dm(person), "hello")
    await asyncio.gather(*(world.answer(world.team.dm(one), None, "Fine.") for one in people))
    await world.house.settled()
    assert all(len(world.fake.bot_messages(world.team.dm(one))) == 1 for one in people)


@pytest.mark.parametrize("streaming", [True, False])
async def test_no_limit_of_slack_is_met(fake: SlackFake, place: Site, *, streaming: bool) -> None:
    """Where edits run short the answers come without previews, and none of them waits."""
    fake.limits.enabled = True
    fake.switches.streaming = streaming
    async with slack_house(place, fake, engine=ScriptedEngine([Say("Fine.")])) as world:
        await _answered(world)
        assert fake.limits.violations == []
        assert fake.count("chat.postMessage") == CHATS


async def test_threads_beyond_what_can_be_streamed_are_answered(
    fake: SlackFake, place: Site
) -> None:
    """The first are streamed, the next are edited, the others posted when they are done."""
    fake.limits.enabled = True
    async with slack_house(place, fake) as world:
        channels = [world.team.channel(f"c{number}") for number in range(CHATS)]
        asked = [world.admin.say(one, f"{world.team.mention} hello") for one in channels]
        pairs = zip(channels, asked, strict=True)
        await asyncio.gather(*(world.answer(one, said.ts, "Fine.") for one, said in pairs))
        await world.house.settled()
        assert fake.limits.violations == []
        assert 0 < fake.count("chat.startStream") < 20
        assert all(len(fake.bot_messages(one)) == 1 for one in channels)


async def test_a_hundred_answers_at_once_wait_for_nothing(fake: SlackFake, place: Site) -> None:
    """All are being written when they end: streams, edits and, beyond these, one post each."""
    fake.limits.enabled = True
    go = asyncio.Event()
    engine = ScriptedEngine([Until(go), Say("Fine.")])
    async with slack_house(place, fake, engine=engine) as world:
        channels = [world.team.channel(f"c{number}") for number in range(100)]
        asked = [world.admin.say(one, f"{world.team.mention} hello") for one in channels]
        await world.house.until("SELECT COUNT(*) FROM turns", 100)
        go.set()
        pairs = zip(channels, asked, strict=True)
        await asyncio.gather(*(world.answer(one, said.ts, "Fine.") for one, said in pairs))
        await world.house.settled()
        assert fake.limits.violations == []
        assert all(len(fake.bot_messages(one)) == 1 for one in channels)


async def test_a_busy_channel_meets_its_limit_once(fake: SlackFake, place: Site) -> None:
    """Slack takes one post a second there: the first that is refused makes the others wait."""
    fake.limits.enabled = True
    fake.switches.streaming = False
    go = asyncio.Event()
    engine = ScriptedEngine([Until(go), Say("Fine.")])
    async with slack_house(place, fake, engine=engine) as world:
        asked = [world.mention("hello") for _ in range(POST_BURST + 2)]
        await world.house.until("SELECT COUNT(*) FROM turns", len(asked))
        go.set()
        await asyncio.gather(*(world.answer(world.channel, one.ts, "Fine.") for one in asked))
        assert len(fake.limits.violations) <= 2
        assert all(len(fake.bot_messages(world.channel, one.ts)) == 1 for one in asked)
