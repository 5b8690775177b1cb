"""What strangers cost: next to nothing, however much they do."""

from __future__ import annotations

import asyncio

import pytest

from bots.slack.pace import Pace
from bots.slack.people import People
from bots.slack.seldom import HOUR_S, Seldom
from bots.slack.workspaces import Api, Installation
from core.messages import Actor
from tests.bots.slack.kit import slack_house
from tests.bots.slack.sink_kit import Desk, desk
from tests.bots.slack.test_pace import Clock
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site, eventually

MANY = 20


async def test_many_messages_cost_one_answer(fake: SlackFake, place: Site) -> None:
    """Who they are is asked once, they are told once, and nothing else is called."""
    async with slack_house(place, fake) as world:
        eve = world.team.user("eve")
        before = len(fake.calls())
        eve.say(world.team.dm(eve), "hi")
        await fake.wait_for(lambda: fake.texts(world.team.dm(eve)))
        for number in range(MANY):
            eve.say(world.team.dm(eve), f"hi {number}")
        await fake.settled()
        made = [call.method for call in fake.calls()[before:]]
        assert sorted(made) == ["chat.postMessage", "users.info"]


async def test_many_presses_cost_one_answer(fake: SlackFake, place: Site) -> None:
    """A member presses meanwhile and is thanked."""
    async with slack_house(place, fake) as world:
        eve = world.team.user("eve")
        world.channel.members.add(eve.id)
        asked = world.mention("hello")
        answer = await world.answer(world.channel, asked.ts, "Fine.")
        for _ in range(MANY):
            assert await eve.press(answer, "it0_feedback").delivery.done()
        world.admin.press(answer, "it0_feedback")
        await fake.wait_for(lambda: len(world.channel.ephemerals) == 2)
        told = [message.ephemeral_to for message in world.channel.ephemerals]
        assert sorted(told, key=str) == sorted([eve.id, world.admin.id])
        assert len([1 for call in fake.calls("users.info") if call.args["user"] == eve.id]) == 1


async def test_many_looks_at_the_home_tab_cost_one(fake: SlackFake, place: Site) -> None:
    """The empty conversation costs none; a member's Home tab is always current."""
    async with slack_house(place, fake) as world:
        eve = world.team.user("eve")
        for _ in range(MANY):
            eve.opens_home("messages")
            eve.opens_home()
        await fake.settled()
        for _ in range(2):
            world.admin.opens_home()
            await fake.settled()
        await eventually(lambda: fake.count("views.publish") >= 3)
        shown = [call.args["user_id"] for call in fake.calls("views.publish")]
        assert shown == [eve.id, world.admin.id, world.admin.id]
        assert fake.calls("assistant.threads.setSuggestedPrompts") == []


async def test_worn_out_buttons_are_explained_a_few_times(fake: SlackFake, place: Site) -> None:
    """Nobody can make the bot talk by pressing what it does not know."""
    async with slack_house(place, fake) as world:
        asked = world.mention("hello")
        answer = await world.answer(world.channel, asked.ts, "Fine.")
        button = {"type": "button", "action_id": "x", "value": "g1.0", "text": {}}
        answer.blocks = [{"type": "actions", "block_id": "b", "elements": [button]}]
        for _ in range(MANY):
            assert await world.admin.press(answer, "x").delivery.done()
        await fake.settled()
        await eventually(lambda: len(world.channel.ephemerals) == 5)


async def test_a_quiet_refusal_of_a_slash_command_is_quiet(fake: SlackFake, place: Site) -> None:
    """The first is answered with how to get in, the next with nothing."""
    async with slack_house(place, fake, http=True) as world:
        eve = world.team.user("eve")
        used = []
        for _ in range(2):
            used.append(eve.slash("/it0", "hello", world.channel))
            assert await used[-1].delivery.done()
        assert "/it0 link CODE" in used[0].responses.shown[0]
        assert used[1].responses.shown == []


def test_an_hour_later_it_is_said_again() -> None:
    """To each person of each workspace on its own."""
    clock = Clock()
    seldom = Seldom(clock)
    assert seldom.allows("press", "T1", "U1")
    assert not seldom.allows("press", "T1", "U1")
    assert seldom.allows("press", "T2", "U1")
    assert seldom.allows("press", "T1", "U2")
    assert seldom.allows("home", "T1", "U1")
    clock.time += HOUR_S
    assert seldom.allows("press", "T1", "U1")
    assert [seldom.allows("button", "T1", "U1", an_hour=2) for _ in range(3)] == [True, True, False]


def _installation(place: Desk) -> Installation:
    api = Api(place.session, place.fake.api_url)
    token, bot = place.team.bot_token, place.team.bot_user_id
    return Installation(workspace=place.team.id, bot_user=bot, token=token, api=api)


def _actor(place: Desk, user: str) -> Actor:
    return Actor(platform="slack", workspace=place.team.id, external_id=user)


async def test_messages_that_come_together_share_one_request(fake: SlackFake) -> None:
    """All of them get the name."""
    async with desk(fake) as place:
        people, installation = People(Pace()), _installation(place)
        actor = _actor(place, place.user.id)
        asked = [people.describe(installation, actor) for _ in range(MANY)]
        assert {described.name for described in await asyncio.gather(*asked)} == {place.user.name}
        assert len(fake.calls("users.info")) == 1


@pytest.mark.parametrize("trouble", ["unknown", "down"])
async def test_a_person_whom_slack_does_not_describe_is_not_asked_for_again(
    fake: SlackFake, trouble: str
) -> None:
    """Neither one that is not there nor, for a while, one whose answer was lost."""
    async with desk(fake) as place:
        people, installation = People(Pace()), _installation(place)
        user = "U0GONE" if trouble == "unknown" else place.user.id
        fake.weather.down = trouble == "down"
        for _ in range(3):
            described = await people.describe(installation, _actor(place, user))
            assert described == _actor(place, user)
        assert len(fake.calls("users.info")) == 1
