"""A team's skills in its turns: with and without a model, and never in another team's."""

from __future__ import annotations

from core.risk import Level
from core.skill_text import make_skill
from core.skills import Skill, SkillStep
from core.tenants import Role
from tests.support.core_kit import Probe, Site

CANARY = "xcanaryx"


def routine(name: str, trigger: str, tool: str) -> Skill:
    """A team's own skill that calls a tool."""
    front = {"name": name, "description": f"{CANARY} d", "triggers": [trigger]}
    made = make_skill({**front, "tool": tool}, f"{CANARY} body", default_name=name)
    assert made.steps == (SkillStep(tool=tool),)
    return made


async def test_a_teams_skill_is_in_its_own_prompt_and_runbook_alone(site: Site) -> None:
    """One team's routine answers that team; another one's prompt and runbook never hold it."""
    probe = Probe("look", output="the cellar is dry")
    async with site.open(tools=[probe.tool()]) as house:
        other = await house.tenant("other")
        made = routine("cellar", "cellar", "look")
        kept = await house.core.team.skills.put(house.admin.tenant_id, [made], actor=house.admin.id)
        assert isinstance(kept, tuple)
        await house.ask("hello")
        await house.ask("hello", other)
        mine, theirs = (request.system for request in house.engine.requests)
        assert f"> - cellar: {CANARY} d" in mine
        assert f"> {CANARY} body" in mine
        assert "- disk: " in theirs
        assert CANARY not in theirs
        said = await house.ask("cellar?", engine="runbook")
        assert "the cellar is dry" in said.reply
        said = await house.ask("cellar?", other, engine="runbook")
        assert "the cellar is dry" not in said.reply
        assert [tenant for tenant, _ in probe.runs] == [house.admin.tenant_id]
        await house.core.team.skills.switch(
            house.admin.tenant_id, "cellar", enabled=False, actor=house.admin.id
        )
        await house.ask("hello")
        assert CANARY not in house.engine.requests[-1].system
        said = await house.ask("cellar?", engine="runbook")
        assert "the cellar is dry" not in said.reply
        await house.settled()


async def test_a_skill_gives_nobody_a_right(site: Site) -> None:
    """What the role or the risk forbids is refused at the door, whoever wrote the skill."""
    risky = Probe("flood", level=Level.L2, mutates=True)
    small = Probe("tidy", level=Level.L1, mutates=True)
    async with site.open(tools=[risky.tool(), small.tool()]) as house:
        viewer = await house.user(house.admin.tenant_id, "v@example.com", Role.VIEWER)
        made = [routine("flood", "flood cellar", "flood"), routine("tidy", "tidy cellar", "tidy")]
        await house.core.team.skills.put(house.admin.tenant_id, made, actor=house.admin.id)
        await house.ask("flood the cellar", engine="runbook")
        await house.ask("tidy the cellar", viewer, engine="runbook")
        assert (risky.runs, small.runs) == ([], [])
        log = await house.rows("SELECT COUNT(*) FROM audit_log WHERE action = 'tool.refused'")
        assert log == [(2,)]
        await house.ask("tidy the cellar", engine="runbook")
        assert len(small.runs) == 1
        await house.settled()
