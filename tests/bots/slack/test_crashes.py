"""Crashes and outages in the middle of an answer: one final text, never a second one."""

from __future__ import annotations

import pytest

from tests.bots.slack.kit import slack_house
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_crash_in_the_middle_of_an_answer(
    fake: SlackFake, place: Site, *, streaming: bool
) -> None:
    """The next process brings the same message to the final text."""
    fake.switches.streaming = streaming
    slow = ScriptedEngine([Say("One two three four five six.", pause_s=0.5)])
    async with slack_house(place, fake, engine=slow) as world:
        asked = world.mention("hello")
        channel = world.channel
        await fake.wait_for(lambda: any("One" in t for t in fake.texts(channel, asked.ts)))
        await world.house.crash()
    async with slack_house(place, fake, linked=False) as world:
        await world.answer(channel, asked.ts, "Fine.")
        await world.house.settled()
        assert fake.texts(channel, asked.ts) == ["Fine."]
        assert not fake.bot_messages(channel, asked.ts)[0].streaming


async def test_answers_that_slack_missed_arrive_afterwards(fake: SlackFake, place: Site) -> None:
    """Two questions in a thread, answered while Slack was down: each gets its own answer."""
    engine = ScriptedEngine(lambda request: [Say(f"Answer to {request.text}.")])
    fake.weather.methods = frozenset({"chat.stopStream", "chat.update", "chat.postMessage"})
    async with slack_house(place, fake, engine=engine) as world:
        first = world.mention("one")
        await fake.wait_for(lambda: fake.bot_messages(world.channel, first.ts))
        fake.weather.down = True
        world.mention("two", thread_ts=first.ts)
        await world.house.until("SELECT COUNT(*) FROM turns", 2)
        await fake.wait_for(lambda: fake.calls("chat.stopStream"))
        fake.weather.down = False
        await world.answer(world.channel, first.ts, "Answer to one.")
        await world.answer(world.channel, first.ts, "Answer to two.")
        await world.house.until("SELECT COUNT(*) FROM turns WHERE delivered_at IS NOT NULL", 2)
        assert sorted(fake.texts(world.channel, first.ts)) == ["Answer to one.", "Answer to two."]


async def test_a_revoked_token_loses_the_reply_and_nothing_else(
    fake: SlackFake, place: Site
) -> None:
    """The delivery is given up with a sentence; the next message after a repair is answered."""
    async with slack_house(place, fake) as world:
        fake.weather.methods = frozenset({"chat.stopStream"})
        fake.weather.errors = ["token_revoked"] * 50
        asked = world.mention("hello")
        await world.house.until("SELECT COUNT(*) FROM turns WHERE status = 'done'")
        await fake.wait_for(lambda: len(fake.weather.errors) < 50)
        fake.weather.errors.clear()
        again = world.mention("again")
        await world.answer(world.channel, again.ts, "Fine.")
        assert asked.ts != again.ts
