"""Private answers for people whom Slack does not let the bot write."""

from __future__ import annotations

import pytest

from bots.slack.errors import Refused, Unclear
from core.sinks import DeliveryFailed, View
from tests.bots.slack.kit import slack_house
from tests.bots.slack.sink_kit import desk
from tests.fakes.slack import SlackFake, plain_text
from tests.support.core_kit import Site

FINAL = View(text="You are Ann.", final=True)


@pytest.mark.parametrize("method", ["conversations.open", "chat.postMessage"])
async def test_who_cannot_be_written_is_told_where_they_asked(
    fake: SlackFake, place: Site, method: str
) -> None:
    """Only they see it, without the content; the answer counts as not delivered."""
    async with slack_house(place, fake) as world:
        fake.weather.methods = frozenset({method})
        fake.weather.errors = ["cannot_dm_bot"] * 50
        asked = world.mention("/sessions")
        await fake.wait_for(lambda: world.channel.ephemerals)
        await world.house.settled()
        (told,) = world.channel.ephemerals
        assert told.ephemeral_to == world.admin.id
        assert "eyes only" in plain_text(told)
        assert "direct chat" in plain_text(told)
        assert fake.bot_messages(world.channel, asked.ts) == fake.bot_messages(world.dm) == []
        ((problem,),) = await world.house.rows("SELECT delivery_problem FROM turns")
        assert "write that person directly" in problem


async def test_a_preview_tells_nobody(fake: SlackFake) -> None:
    """Only the answer itself does, so it is told once."""
    async with desk(fake) as place:
        to = place.to(place.ask(), private=True)
        fake.weather.methods = frozenset({"conversations.open"})
        fake.weather.errors = ["cannot_dm_bot"] * 50
        sink = place.sink()
        assert await sink.draft(to, View(text=""))
        assert await sink.find(to, 1) is None
        with pytest.raises(Refused):
            await sink.post(to, 1, View(text="…"))
        assert place.channel.ephemerals == []
        with pytest.raises(Refused) as caught:
            await sink.post(to, 1, FINAL)
        assert caught.value.permanent
        assert len(place.channel.ephemerals) == 1


@pytest.mark.parametrize("limited", [True, False])
async def test_a_slack_that_fails_for_now_closes_no_chat(fake: SlackFake, *, limited: bool) -> None:
    """It is tried again, and nobody is told to do something about it."""
    async with desk(fake) as place:
        to = place.to(place.ask(), private=True)
        fake.weather.methods = frozenset({"conversations.open"})
        fake.weather.limited = 5 if limited else 0
        fake.weather.errors = ["internal_error"] * 5
        for send in (place.sink().post(to, 1, FINAL), place.sink().find(to, 1)):
            with pytest.raises(DeliveryFailed) as caught:
                await send
            assert not caught.value.permanent
        assert place.channel.ephemerals == []


async def test_what_could_not_be_told_for_now_is_told_later(fake: SlackFake) -> None:
    """The answer is not given up before its reader knows."""
    async with desk(fake) as place:
        to = place.to(place.ask(), private=True)
        sink = place.sink()
        fake.weather.methods = frozenset({"conversations.open", "chat.postEphemeral"})
        fake.weather.errors = ["cannot_dm_bot", "internal_error", "cannot_dm_bot"]
        with pytest.raises(Unclear):
            await sink.post(to, 1, FINAL)
        with pytest.raises(Refused):
            await sink.post(to, 1, FINAL)
        assert len(place.channel.ephemerals) == 1


async def test_a_reader_who_cannot_be_told_is_given_up(fake: SlackFake) -> None:
    """Neither the channel nor the direct messages take anything."""
    async with desk(fake) as place:
        to = place.to(place.ask(), private=True)
        fake.weather.methods = frozenset({"conversations.open", "chat.postEphemeral"})
        fake.weather.errors = ["cannot_dm_bot", "channel_not_found"]
        with pytest.raises(Refused) as caught:
            await place.sink().post(to, 1, FINAL)
        assert caught.value.reason == "cannot_dm_bot"
        assert caught.value.permanent
