"""Buttons, Slack's own stop button, the Home tab and the suggested prompts."""

from __future__ import annotations

import asyncio

from core.buttons import Action, Buttons
from core.messages import ConversationAddress
from tests.bots.slack.kit import SlackHouse, slack_house
from tests.fakes.scripted_engine import Say, ScriptedEngine, Signal, Until
from tests.fakes.slack import Message, SlackFake, plain_text
from tests.fakes.slack_blocks import blocks_text
from tests.support.core_kit import Site, eventually

OUTCOME = "SELECT outcome FROM turns"


def _stuck(began: asyncio.Event) -> ScriptedEngine:
    return ScriptedEngine([Signal(began), Until(asyncio.Event()), Say("Never.")])


async def _stoppable(world: SlackHouse) -> Message:
    """A reply that is being written, with its stop button."""
    world.admin.say(world.dm, "hello")
    found = await world.fake.wait_for(lambda: world.fake.bot_messages(world.dm))
    return found[0]


async def test_the_stop_button_stops_the_turn(fake: SlackFake, place: Site) -> None:
    """It is under a reply while it is written, and gone from the final text."""
    began = asyncio.Event()
    async with slack_house(place, fake, engine=_stuck(began)) as world:
        reply = await _stoppable(world)
        await began.wait()
        world.admin.press(reply, "it0_stop")
        await world.house.until(OUTCOME, "cancelled")
        await world.house.settled()
        assert "it0_stop" not in str(reply.blocks)


async def test_strangers_stop_nothing(fake: SlackFake, place: Site) -> None:
    """Whoever is not of the team is told how to get in, and the turn goes on."""
    began = asyncio.Event()
    async with slack_house(place, fake, engine=_stuck(began)) as world:
        reply = await _stoppable(world)
        await began.wait()
        assert await world.team.user("eve").press(reply, "it0_stop").delivery.done()
        await eventually(lambda: len(fake.bot_messages(world.dm)) > 1)
        assert await world.house.rows(OUTCOME) == [(None,)]
        world.admin.press(reply, "it0_stop")
        await world.house.until(OUTCOME, "cancelled")


async def test_a_forged_or_moved_button_does_nothing(fake: SlackFake, place: Site) -> None:
    """Data that we did not make, or made for another channel, is refused with a sentence."""
    async with slack_house(place, fake) as world:
        asked = world.mention("hello")
        answer = await world.answer(world.channel, asked.ts, "Fine.")
        keys = world.house.core.storage.keys
        elsewhere = ConversationAddress(
            platform="slack", workspace=world.team.id, channel="C0OTHER", thread=""
        )
        ((turn,),) = await world.house.rows("SELECT id FROM turns")
        moved = Buttons(keys.derive("buttons")).seal(Action.GOOD, turn, elsewhere)
        for value in ("g0123456789.0000000000000000000000", moved):
            answer.blocks = [_button(value)]
            assert await world.admin.press(answer, "it0_x").delivery.done()
        await fake.wait_for(lambda: len(world.channel.ephemerals) == 2)
        for told in world.channel.ephemerals:
            assert "no longer works" in plain_text(told)
        assert await world.house.rows("SELECT COUNT(*) FROM feedback") == [(0,)]


def _button(value: str) -> dict[str, object]:
    text = {"type": "plain_text", "text": "x"}
    element = {"type": "button", "action_id": "it0_x", "text": text, "value": value}
    return {"type": "actions", "block_id": "b", "elements": [element]}


async def test_feedback_is_kept_and_thanked_for(fake: SlackFake, place: Site) -> None:
    """A finished answer has Slack's thumbs; the last press of a person counts."""
    async with slack_house(place, fake) as world:
        asked = world.mention("hello")
        answer = await world.answer(world.channel, asked.ts, "Fine.")
        world.admin.press(answer, "it0_feedback")
        await world.house.until("SELECT good FROM feedback", 1)
        world.admin.press(answer, "it0_feedback", "negative")
        await world.house.until("SELECT good FROM feedback", 0)
        await fake.wait_for(lambda: world.channel.ephemerals)
        assert plain_text(world.channel.ephemerals[0]) == "Thank you."


async def test_slacks_own_stop_button(fake: SlackFake, place: Site) -> None:
    """It ends the stream at once and the turn with it; the reply says so."""
    began = asyncio.Event()
    async with slack_house(place, fake, engine=_stuck(began)) as world:
        asked = world.mention("hello")
        await fake.wait_for(lambda: fake.bot_messages(world.channel, asked.ts))
        await began.wait()
        world.admin.stops(world.channel, asked.ts)
        await world.house.until(OUTCOME, "cancelled")
        await world.house.settled()
        (reply,) = fake.bot_messages(world.channel, asked.ts)
        assert plain_text(reply) not in {"", "…"}


async def test_the_home_tab_shows_recent_conversations(fake: SlackFake, place: Site) -> None:
    """With their ids, and how to ask."""
    async with slack_house(place, fake) as world:
        asked = world.mention("how are the servers?")
        await world.answer(world.channel, asked.ts, "Fine.")
        await world.house.settled()
        world.admin.opens_home()
        await fake.wait_for(lambda: world.admin.id in world.team.homes)
        shown = blocks_text(world.team.homes[world.admin.id]["blocks"])
        ((conversation,),) = await world.house.rows("SELECT id FROM conversations")
        assert "how are the servers?" in shown
        assert conversation[-8:] in shown
        assert "/it0 help" in shown


async def test_the_home_tab_of_a_stranger_says_how_to_get_in(fake: SlackFake, place: Site) -> None:
    """And shows nothing of the team."""
    async with slack_house(place, fake) as world:
        stranger = world.team.user("eve")
        stranger.opens_home()
        await fake.wait_for(lambda: stranger.id in world.team.homes)
        shown = blocks_text(world.team.homes[stranger.id]["blocks"])
        assert "I do not know you yet" in shown
        assert "/it0 help" not in shown


async def test_prompts_are_suggested_where_a_conversation_begins(
    fake: SlackFake, place: Site
) -> None:
    """In the agent's messages tab, and in the older assistant's thread."""
    async with slack_house(place, fake) as world:
        world.admin.opens_home("messages")
        root = world.admin.starts_assistant_thread()
        await fake.wait_for(lambda: len(world.team.prompts) == 2)
        assert set(world.team.prompts) == {(world.dm.id, ""), (world.dm.id, root.ts)}


async def test_an_older_slack_without_prompts_is_fine(fake: SlackFake, place: Site) -> None:
    """The event is taken, and messages are answered."""
    fake.switches.agents = fake.switches.streaming = False
    async with slack_house(place, fake) as world:
        opened = world.admin.opens_home("messages")
        assert opened is not None
        assert await opened.done()
        asked = world.mention("hello")
        await world.answer(world.channel, asked.ts, "Fine.")
