"""A risky call on the real core, decided on Telegram: by a button, by a command, by nobody."""

from __future__ import annotations

import pytest

from core.risk import Level
from core.steps import ToolCall
from tests.bots.telegram.kit import open_scene
from tests.bots.telegram.test_approvals import labels
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.telegram import TelegramFake
from tests.support.core_kit import Probe, Site


@pytest.mark.parametrize("drafts", [False, True])
@pytest.mark.parametrize(
    ("how", "runs", "told"),
    [
        ("Approve", 1, "Approved by"),
        ("Deny", 0, "Denied by"),
        ("/approve", 1, "Approved by"),
        ("/deny not now", 0, "Denied by"),
    ],
)
async def test_a_card_is_decided_where_it_is_shown(
    place: Site, how: str, runs: int, told: str, *, drafts: bool
) -> None:
    """The card is one message with its buttons; afterwards the answer is, without them."""
    wreck = Probe("wreck", Level.L2, mutates=True)
    engine = ScriptedEngine(
        [Say("Trying.", tools=(ToolCall(id="t1", name="wreck"),)), Say(" Tried.")]
    )
    async with (
        TelegramFake(drafts=drafts) as fake,
        open_scene(place, fake, engine, tools=[wreck.tool()]) as scene,
    ):
        ada = scene.admin
        ada.say(ada.user, "wreck it")
        await fake.wait_for(lambda: bool(ada.shown()) and labels(ada)[:1] == [["Approve", "Deny"]])
        await scene.house.until("SELECT COUNT(*) FROM conversations WHERE parked_until IS NOT NULL")
        card = ada.shown()[-1]
        assert "Approve? wreck" in card.text
        assert wreck.runs == []
        if how.startswith("/"):
            ada.say(ada.user, how)
            await fake.wait_for(lambda: any(told in text for text in ada.texts()))
        else:
            press = ada.press(ada.user, card, how)
            await fake.wait_for(lambda: bool(press.answers))
            assert str(press.answers[0]["text"]).startswith(told)
        await scene.house.until("SELECT COUNT(*) FROM turns WHERE delivered_at IS NOT NULL", 1)
        await scene.house.settled()
        assert "Tried." in card.text
        assert "Approve?" not in card.text
        assert card.markup is None
        assert len(wreck.runs) == runs
