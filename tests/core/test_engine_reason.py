"""Why an engine answers: told when it begins, told at the end, and stored in the asker's words."""

from __future__ import annotations

import json
from dataclasses import replace

from core.agent_config import ConfigChanges
from core.engine_choice import BY_INSTALLATION, BY_MESSAGE, BY_TEAM
from core.inbox import Accepted
from core.words import Words
from tests.fakes.scripted_engine import Fail, Say, ScriptedEngine
from tests.support.core_kit import Final, House, Site

CHINESE = "zh-hans"


async def choose(house: House, engine: str) -> None:
    """An admin chooses the team's engine."""
    change = ConfigChanges(engine=engine)
    await house.core.team.agents.change(house.admin.id, house.admin.tenant_id, change, 0)


async def ask(house: House, engine: str | None, language: str = "") -> Final:
    """A message that names an engine or none, from somebody who reads a language."""
    said = house.message("how are you?", engine=engine)
    said = replace(said, actor=replace(said.actor, language=language))
    accepted = await house.core.inbox.accept(said)
    assert isinstance(accepted, Accepted)
    return await house.final(accepted)


async def stored(house: House, final: Final) -> str:
    """What is kept of the reason."""
    ((reason,),) = await house.rows(
        "SELECT engine_reason FROM turns WHERE id = :id", id=final.turn_id
    )
    return str(reason)


async def test_who_chose_the_engine_is_told_and_stored(site: Site) -> None:
    """The same sentence in the first event, in the last one, and in the turn's row."""
    async with site.open(ScriptedEngine([Say("Well.")])) as house:
        told = [("scripted", BY_MESSAGE, await ask(house, "scripted"))]
        told.append(("runbook", BY_INSTALLATION, await ask(house, None)))
        await choose(house, "scripted")
        told.append(("scripted", BY_TEAM, await ask(house, None)))
        for engine, reason, final in told:
            begun = json.loads(final.events[0].data)
            assert (begun["engine"], begun["engine_reason"]) == (engine, reason)
            assert (final.engine, final.engine_reason) == (engine, reason)
            assert await stored(house, final) == reason


async def test_a_command_is_answered_by_no_engine(site: Site) -> None:
    """So there is no reason either."""
    async with site.open() as house:
        final = await house.ask("/help", engine=None)
        assert (final.engine, final.engine_reason) == ("", "")
        assert await stored(house, final) == ""


async def test_after_an_outage_the_reason_is_the_outage(site: Site) -> None:
    """Which engine failed and why, in the asker's language from the first word on."""
    down = Fail("Anthropic cannot be reached. Try later.", reason="unreachable")
    async with site.open(ScriptedEngine([down])) as house:
        await choose(house, "scripted")
        english = await ask(house, None)
        said = "Anthropic cannot be reached; the offline engine (runbook) answers."
        assert (english.engine, english.engine_reason) == ("runbook", said)
        chinese = await ask(house, None, CHINESE)
        words = Words(CHINESE)
        problem = words("Anthropic cannot be reached")
        translated = words(
            "{problem}; the offline engine ({engine}) answers.", problem=problem, engine="runbook"
        )
        assert translated != said
        (changed,) = [json.loads(e.data) for e in chinese.events if e.name == "engine"]
        assert changed == {"engine": "runbook", "reason": translated}
        assert json.loads(chinese.events[0].data)["engine_reason"] == words.of(BY_TEAM)
        assert chinese.engine_reason == await stored(house, chinese) == translated
