"""``/skills``, ``/skills on NAME``, ``/skills off NAME``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.commands_skills import SkillCommands
from core.refusals import Rejected
from core.skill import Skill
from core.skill_rules import unknown
from core.skills import BUILT_IN, SkillLibrary
from core.tenants import Role
from core.turns import Ending, Outcome
from tests.core.test_prompts import turn_of

INSTALLED = SkillLibrary.load(BUILT_IN)


class Desk:
    """One team's skills in memory."""

    def __init__(self, *own: Skill, installed: SkillLibrary = INSTALLED) -> None:
        """``own`` are the team's."""
        self.own = own
        self.installed = installed
        self.switches: dict[str, bool] = {}
        self.asked: list[tuple[str, str, bool, str, str]] = []

    async def of(self, tenant_id: str) -> SkillLibrary:
        """The team's library."""
        return self.installed.for_team(self.own, self.switches)

    async def switch(
        self, tenant_id: str, name: str, *, enabled: bool, actor: str, turn_id: str = ""
    ) -> Skill | Rejected:
        """Switch one."""
        self.asked.append((tenant_id, name, enabled, actor, turn_id))
        skill = (await self.of(tenant_id)).find(name)
        if skill is None:
            return unknown(name)
        self.switches[skill.key] = enabled
        return replace(skill, enabled=enabled)


async def say(desk: Desk, rest: str = "", role: Role = Role.ADMIN) -> Ending:
    """What the command answers."""
    turn = turn_of()
    turn = replace(turn, user=replace(turn.user, role=role))
    return await SkillCommands(desk).handlers()["skills"](turn, rest)


async def test_the_list_says_where_each_is_from() -> None:
    """On and off, the team's own first; a viewer sees it too; nothing in it is markup."""
    mine = Skill(name="deploy", description="Ask *Bob* <b>now</b>.", body="x")
    desk = Desk(mine)
    await say(desk, "off memory")
    reply = (await say(desk, role=Role.VIEWER)).reply
    on, _, off = reply.partition("Switched off:")
    lines = on.splitlines()
    assert lines[2] == "- **deploy**: Ask \\*Bob\\* \\<b\\>now\\</b\\>. (your team's own)"
    assert any(line.startswith("- **disk**: ") and "(built in)" in line for line in lines)
    assert off.count("\n- ") == 1
    assert "- **memory**: " in off
    assert "`/skills off NAME`" in off


async def test_an_admin_switches() -> None:
    """The change is asked for in the name of the user and the turn."""
    desk = Desk()
    off = await say(desk, "off `Disk`")
    assert (off.outcome, off.reply) == (Outcome.ANSWERED, "The skill `disk` is off.")
    on = await say(desk, "ON disk")
    assert (on.outcome, on.reply) == (Outcome.ANSWERED, "The skill `disk` is on.")
    assert desk.asked == [
        ("ten_1", "Disk", False, "usr_1", "trn_1"),
        ("ten_1", "disk", True, "usr_1", "trn_1"),
    ]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_nobody_else_switches(role: Role) -> None:
    """They are told who can; the desk is not even asked."""
    desk = Desk()
    answer = await say(desk, "off disk", role)
    assert (answer.outcome, "Only an admin" in answer.reply) == (Outcome.REFUSED, True)
    assert desk.asked == []


@pytest.mark.parametrize("rest", ["disk", "on", "off ", "toggle disk", "off ``"])
async def test_what_is_no_switch_is_explained(rest: str) -> None:
    """The three forms are shown; nothing changes."""
    desk = Desk()
    answer = await say(desk, rest)
    assert (answer.outcome, "`/skills on NAME`" in answer.reply) == (Outcome.REFUSED, True)
    assert desk.asked == []


async def test_a_skill_that_is_not_there() -> None:
    """A sentence with the way to the list; without any skill, that is said."""
    answer = await say(Desk(), "on nope")
    assert answer.outcome is Outcome.REFUSED
    assert "There is no skill nope." in answer.reply
    assert (await say(Desk(installed=SkillLibrary()))).reply == "No skills are installed."
