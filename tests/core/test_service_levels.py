"""What an overdue invoice leaves: reading, until it is paid."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from core.risk import Level
from core.service_levels import PAY_FIRST
from core.steps import ToolCall
from core.turn import TurnRunner
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import House, Probe, Site

CALLS = (ToolCall(id="t1", name="look"), ToolCall(id="t2", name="tweak"))


@dataclass
class Levels:
    """``ServiceLevels`` of a table."""

    levels: dict[str, str]

    async def of(self, tenant_id: str) -> str:
        """The tenant's."""
        return self.levels[tenant_id]


def serve(house: House, level: str) -> None:
    """Wire what the admin's team gets."""
    runner = house.core.scheduler.runner
    assert isinstance(runner, TurnRunner)
    runner.briefing = replace(runner.briefing, services=Levels({house.admin.tenant_id: level}))


@pytest.mark.parametrize("level", ["full", "no_overage", "read_only", "off"])
async def test_who_does_not_pay_may_still_look(site: Site, level: str) -> None:
    """Reads run; changes are refused also to an admin, with the sentence and on record."""
    look, tweak = Probe("look"), Probe("tweak", Level.L1, mutates=True)
    engine = ScriptedEngine([Say("Trying.", tools=CALLS), Say("Tried.")])
    async with site.open(engine, tools=[look.tool(), tweak.tool()]) as house:
        serve(house, level)
        assert (await house.ask("go")).outcome == "answered"
        reads_only = level in {"read_only", "off"}
        assert (len(look.runs), len(tweak.runs)) == (1, 0 if reads_only else 1)
        rows = await house.rows("SELECT payload FROM turn_steps WHERE kind = 'tool'")
        failed = [step["output"] for (row,) in rows if (step := json.loads(row))["is_error"]]
        assert failed == ([PAY_FIRST] if reads_only else [])
        actions = await house.rows("SELECT action FROM audit_log WHERE action = 'tool.refused'")
        assert len(actions) == len(failed)
        await house.settled()
