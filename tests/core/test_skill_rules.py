"""What a team may keep as its own skill, and how much."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.refusals import Rejected
from core.risk import Assessment, Level
from core.skill import Skill, SkillStep, Source
from core.skill_rules import (
    MAX_BODY_CHARS,
    MAX_TEAM_CHARS,
    MAX_TEAM_SKILLS,
    MAX_TEAM_TRIGGERS,
    MAX_TRIGGER_CHARS,
    team_skill,
    too_many,
)
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec


async def _level(_context: ToolContext, _arguments: Arguments) -> Assessment:
    return Assessment(level=Level.L0)


async def _run(_context: ToolContext, _arguments: Arguments) -> ToolResult:
    return ToolResult(output="")


AT = Param(name="at", kind="string", description="Where.")
LOOK = ToolSpec(name="look", description="Look.", params=(AT,))
TOOLS = {"look": Tool(spec=LOOK, assess=_level, run=_run, mutates=False)}


def skill(name: str = "deploy", body: str = "Ask Bob.", **more: object) -> Skill:
    """A skill of a team."""
    return Skill(name=name, description="How we do it.", body=body, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (skill("../etc"), "has a bad name"),
        (skill("x" * 65), "has a bad name"),
        (skill("a\u202eb"), "has a bad name"),
        (skill("<rules>"), "has a bad name"),
        (replace(skill(), description=" \x00"), "has no description"),
        (skill(body="\x00"), "is empty"),
        (skill(body="b" * (MAX_BODY_CHARS + 1)), "has more than 32,000 characters of text"),
        (
            skill(examples=("t" * 399,) * (MAX_TRIGGER_CHARS // 399 + 1)),
            "has more than 2,000 characters of triggers",
        ),
        (skill(steps=(SkillStep(tool="rm"),)), "calls the tool rm, which does not exist here"),
        (
            skill(steps=(SkillStep(tool="look", arguments=(("sudo", 1),)),)),
            "gives the tool look an argument sudo, which it does not have",
        ),
    ],
)
def test_what_is_no_good_skill_is_refused(bad: Skill, why: str) -> None:
    """With a sentence that says which and why."""
    answer = team_skill(bad, TOOLS)
    assert isinstance(answer, Rejected)
    assert (answer.code, why in answer.sentence) == ("bad_skill", True)


def test_a_good_one_becomes_the_teams() -> None:
    """Its name is spelled in one way, its source cannot be claimed."""
    step = SkillStep(tool="look", arguments=(("at", "{server}"),))
    made = team_skill(skill("Deploy  Web", source=Source.BUILT_IN, steps=(step,)), TOOLS)
    assert isinstance(made, Skill)
    assert (made.name, made.source, made.steps) == ("deploy-web", Source.TEAM, (step,))


@pytest.mark.parametrize(
    ("skills", "limit"),
    [
        ([skill(f"s{n}") for n in range(MAX_TEAM_SKILLS)], "100 skills"),
        (
            [
                skill(f"s{n}", body="b" * MAX_BODY_CHARS)
                for n in range(MAX_TEAM_CHARS // MAX_BODY_CHARS)
            ],
            "500,000 characters",
        ),
        (
            [skill(f"s{n}", examples=("a",) * 50) for n in range(MAX_TEAM_TRIGGERS // 50)],
            "500 triggers",
        ),
    ],
)
def test_a_team_has_so_much_and_no_more(skills: list[Skill], limit: str) -> None:
    """One more than the limit is refused, with the limit in the sentence."""
    assert too_many(skills) is None
    answer = too_many([*skills, skill("more", body="b" * MAX_BODY_CHARS, examples=("a",))])
    assert answer is not None
    assert (answer.code, f"A team may have {limit}" in answer.sentence) == (
        "too_many_skills",
        True,
    )


@given(st.text(), st.text(), st.text())
def test_what_is_kept_can_be_stored_and_shown(name: str, description: str, body: str) -> None:
    """Whatever is written: encodable, no NUL, and a name of one line that is its own key."""
    made = team_skill(Skill(name=name, description=description, body=body), TOOLS)
    if isinstance(made, Rejected):
        assert "\n" not in made.sentence.replace(name, "")
        return
    text = f"{made.name}{made.description}{made.body}"
    assert "\x00" not in text
    assert text.encode()
    assert made.name == made.key
    assert len(made.name.split()) == 1
