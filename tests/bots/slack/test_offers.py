"""The button of a reply's offer: shown under the final text, pressed once."""

from __future__ import annotations

import json

from core.messages import ConversationAddress
from core.sinks import Destination, View
from core.turns import Offer
from tests.bots.slack.kit import SlackHouse, slack_house
from tests.fakes.slack import Message, SlackFake, plain_text
from tests.support.core_kit import Site

OFFER = Offer(label="Confirm", command="/language")


async def _offering(world: SlackHouse, *, command: bool) -> Message:
    """A reply in a thread of the channel that carries the button."""
    asked = world.mention("what does it cost?")
    await world.answer(world.channel, asked.ts, "Fine.")
    await world.house.settled()
    ((turn, tenant, channel, thread),) = await world.house.rows(
        "SELECT id, tenant_id, channel, thread FROM turns"
    )
    stored = json.dumps({"label": OFFER.label, "command": OFFER.command})
    await world.house.write("UPDATE turns SET offer = :offer", offer=stored)
    to = Destination(
        tenant_id=tenant,
        turn_id=turn,
        event_id="e",
        address=ConversationAddress(
            platform="slack", workspace=world.team.id, channel=channel, thread=thread
        ),
        command=command,
    )
    view = View(text="That costs $49.99.", final=True, offer=OFFER)
    await world.slack.sink.post(to, 1, view)
    return await world.answer(world.channel, asked.ts, "$49.99")


async def test_a_press_is_answered_once_where_it_was_offered(fake: SlackFake, place: Site) -> None:
    """Two presses are one command turn, in the same thread; the second one is told so."""
    async with slack_house(place, fake) as world:
        reply = await _offering(world, command=True)
        world.admin.press(reply, "it0_offer")
        await world.house.until("SELECT outcome FROM turns WHERE kind = 'command'", "answered")
        assert world.channel.ephemerals == []
        world.admin.press(reply, "it0_offer")
        await fake.wait_for(lambda: world.channel.ephemerals)
        assert [plain_text(told) for told in world.channel.ephemerals] == [
            "This was done already. To do it again, type the command that is in the message."
        ]
        await world.house.settled()
        rows = await world.house.rows("SELECT text, thread FROM turns WHERE kind = 'command'")
        assert rows == [("/language", reply.thread_ts)]
        assert await world.house.rows("SELECT COUNT(*) FROM conversations") == [(1,)]


async def test_an_answer_of_a_model_keeps_its_thumbs(fake: SlackFake, place: Site) -> None:
    """What a model said can be rated beside what it offers; a command's answer cannot."""
    async with slack_house(place, fake) as world:
        reply = await _offering(world, command=False)
        assert "it0_feedback" in str(reply.blocks)
        assert "'style': 'primary'" in str(reply.blocks)


async def test_strangers_confirm_nothing(fake: SlackFake, place: Site) -> None:
    """Whoever is not of the team is told so; no turn comes of it."""
    async with slack_house(place, fake) as world:
        reply = await _offering(world, command=True)
        assert "it0_feedback" not in str(reply.blocks)
        assert await world.team.user("eve").press(reply, "it0_offer").delivery.done()
        assert await world.house.rows("SELECT COUNT(*) FROM turns") == [(1,)]
