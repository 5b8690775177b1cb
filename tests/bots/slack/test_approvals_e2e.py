"""A risky call on the real core, decided in a thread of Slack."""

from __future__ import annotations

import pytest

from core.risk import Level
from core.steps import ToolCall
from tests.bots.slack.kit import slack_house
from tests.bots.slack.test_approvals import buttons
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.slack import SlackFake, plain_text
from tests.support.core_kit import Probe, Site


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("how", "runs", "told"),
    [("it0_approve", 1, "Approved by"), ("it0_deny", 0, "Denied by")],
)
async def test_a_card_is_decided_where_it_is_shown(
    fake: SlackFake, place: Site, how: str, runs: int, told: str, *, streaming: bool
) -> None:
    """One message: the card with its buttons, then the answer without them; who pressed is told."""
    fake.switches.streaming = streaming
    wreck = Probe("wreck", Level.L2, mutates=True)
    engine = ScriptedEngine(
        [Say("Trying.", tools=(ToolCall(id="t1", name="wreck"),)), Say(" Tried.")]
    )
    async with slack_house(place, fake, engine=engine, tools=[wreck.tool()]) as world:
        asked = world.mention("wreck it")
        await fake.wait_for(
            lambda: any(
                "it0_approve" in buttons(one) for one in fake.bot_messages(world.channel, asked.ts)
            )
        )
        await world.house.until("SELECT COUNT(*) FROM conversations WHERE parked_until IS NOT NULL")
        (card,) = fake.bot_messages(world.channel, asked.ts)
        assert "Approve? wreck" in plain_text(card)
        assert wreck.runs == []
        world.admin.press(card, how)
        await fake.wait_for(lambda: bool(world.channel.ephemerals))
        assert plain_text(world.channel.ephemerals[0]).startswith(told)
        await world.house.until("SELECT COUNT(*) FROM turns WHERE delivered_at IS NOT NULL", 1)
        await world.house.settled()
        (answer,) = fake.bot_messages(world.channel, asked.ts)
        assert "Tried." in plain_text(answer)
        assert "Approve?" not in plain_text(answer)
        assert set(buttons(answer)) == {"it0_feedback"}
        assert len(wreck.runs) == runs
