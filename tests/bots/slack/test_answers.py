"""A message in Slack becomes an answer there: both ways in, streamed and edited."""

from __future__ import annotations

import pytest

from tests.bots.slack.kit import slack_house
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site


@pytest.mark.parametrize("http", [False, True], ids=["socket", "http"])
async def test_a_mention_is_answered_in_its_thread(
    fake: SlackFake, place: Site, *, http: bool
) -> None:
    """A mention in a channel gets one streamed answer in the thread it begins."""
    async with slack_house(place, fake, http=http) as world:
        asked = world.mention("how are the servers?")
        answer = await world.answer(world.channel, asked.ts, "Fine.")
        await world.house.settled()
        assert answer.thread_ts == asked.ts
        assert len(fake.bot_messages(world.channel, asked.ts)) == 1
        assert await world.house.rows("SELECT text FROM turns") == [("how are the servers?",)]
