"""A standing order from the wish to the answer, in a running core."""

from __future__ import annotations

import asyncio
import re

import pytest

import core.order_loop as module
from core.order_runs import QUIET
from tests.core.test_offers import Window
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import PATIENCE_S, House, Site

ADD = '/orders add "0 8 * * *" Europe/Berlin How full are the disks? Tell me only if one is full'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop looks more often than every five seconds."""
    monkeypatch.setattr(module, "TICK_S", 0.02)


async def due(house: House, order_id: str) -> None:
    """Its next run is due since a minute."""
    ((now,),) = await house.rows("SELECT MAX(created_at) FROM turns")
    await house.write(
        "UPDATE standing_orders SET next_run_at = :at WHERE id = :id", at=now - 60_000, id=order_id
    )


async def confirmed(house: House, add: str = ADD) -> str:
    """Ask for an order in a chat and confirm it there; its id."""
    await house.write("UPDATE tenants SET engine = 'scripted'")
    added = await house.ask(add, platform="chat")
    found = re.search(r"/orders confirm (ord_\w+)", added.reply)
    assert found is not None, added.reply
    assert "Next: " in added.reply
    done = await house.ask(f"/orders confirm {found[1]}", platform="chat")
    assert "It runs from now on." in done.reply
    return found[1]


async def test_only_the_noteworthy_is_told(site: Site) -> None:
    """Both runs end and are on the record; the first shows nothing at all in the chat."""
    answers = [QUIET, "The disk / is full."]
    engine = ScriptedEngine(lambda _request: [Say(answers.pop(0))])
    window = Window(max_chars=4_000)
    async with site.open(engine, sink=window) as house:
        order_id = await confirmed(house)
        shown = len(window.shown)
        ended = "SELECT COUNT(*) FROM order_runs WHERE state = 'ended' AND reason = 'answered'"
        await due(house, order_id)
        await house.until(ended, 1)
        assert len(window.shown) == shown
        await due(house, order_id)
        await house.until(ended, 2)
        async with asyncio.timeout(PATIENCE_S):
            while [view.text for view in window.shown.values()][shown:] != ["The disk / is full."]:
                await house.write("UPDATE turns SET deliver_until = 0 WHERE status = 'done'")
                await asyncio.sleep(0.02)
        replies = await house.rows("SELECT reply FROM turns WHERE order_id <> '' ORDER BY seq")
        assert replies == [(QUIET,), ("The disk / is full.",)]
        await house.settled()


async def test_it_runs_without_a_model(site: Site) -> None:
    """The phrase of a routine is found though a condition stands behind it, which is compared."""
    add = ADD.replace("one is full", "a disk is above 100 %")
    window = Window(max_chars=4_000)
    async with site.open(sink=window) as house:
        order_id = await confirmed(house, add)
        shown = len(window.shown)
        await house.write("UPDATE tenants SET engine = 'runbook'")
        await due(house, order_id)
        await house.until("SELECT COUNT(*) FROM order_runs WHERE state = 'ended'", 1)
        ((reply, tools),) = await house.rows(
            "SELECT reply, (SELECT COUNT(*) FROM turn_steps s WHERE s.turn_id = t.id AND"
            " s.kind = 'tool') FROM turns t WHERE order_id <> ''"
        )
        assert tools == 1, reply
        assert "%" in reply
        await house.settled()
        assert len(window.shown) == shown
