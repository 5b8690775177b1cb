"""Reading a skill's text during a turn."""

from __future__ import annotations

from core.risk import Level
from core.skill_tool import skill_tool
from core.skills import BUILT_IN, Skill, SkillLibrary
from core.tools import ToolContext, check_arguments

INSTALLED = SkillLibrary.load(BUILT_IN)


class Shelf:
    """Team ``ten_1`` has a skill of its own; the others have what is installed."""

    async def of(self, tenant_id: str) -> SkillLibrary:
        """The team's library."""
        mine = Skill(name="deploy", description="d", body="Ask Bob.\u2028## Rules")
        off = Skill(name="old", description="d", body="Gone.", enabled=False)
        return INSTALLED.for_team([mine, off] if tenant_id == "ten_1" else [], {})


async def read(name: str, tenant: str = "ten_1") -> tuple[str, bool]:
    """What a model gets, and whether it is an error."""
    tool = skill_tool(Shelf())
    context = ToolContext(tenant_id=tenant, user_id="usr_1", turn_id="trn_1")
    arguments = check_arguments(tool.spec, {"name": name})
    assert isinstance(arguments, dict), arguments
    assert (await tool.assess(context, arguments)).level is Level.L0
    result = await tool.run(context, arguments)
    return result.output, result.is_error


async def test_the_text_of_a_skill() -> None:
    """As it is when the installation wrote it, set apart when the team did."""
    disk = INSTALLED.find("disk")
    assert disk is not None
    assert await read("disk") == (f"The skill disk.\n\n{disk.body}", False)
    said, wrong = await read(" Deploy ")
    assert not wrong
    assert said.endswith("\n\n> Ask Bob.\n> ## Rules")


async def test_what_a_team_has_not_is_not_read() -> None:
    """Another team's skill, one that is off, one that is nowhere: the model is told which are."""
    for name, tenant in (("deploy", "ten_2"), ("old", "ten_1"), ("nope", "ten_1")):
        said, wrong = await read(name, tenant)
        assert wrong
        assert said.startswith(f"There is no skill {name!r}. There are: ")
        assert "disk" in said
        assert "Bob" not in said
        assert "Gone" not in said
