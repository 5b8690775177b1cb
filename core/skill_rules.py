"""What a team's own skill must be before it is kept: named, said, small, and with real tools."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.messages import clean_text
from core.refusals import Rejected
from core.skill import MAX_NAME_CHARS, Skill, SkillStep, Source
from core.tools import Tool
from core.words import sentence

MAX_TEAM_SKILLS = 100
MAX_BODY_CHARS = 32_000
MAX_TEAM_CHARS = 500_000
"""Of all of a team's skills together: they are read at each turn."""
MAX_TRIGGER_CHARS = 2_000
"""Of one skill's triggers together."""
MAX_TEAM_TRIGGERS = 500
"""Of all of a team's skills: each message is compared with all of them (0.2 ms each)."""
_NAME = re.compile(r"\w[\w.-]*")

BAD = "bad_skill"
TOO_MANY = "too_many_skills"
UNKNOWN = "unknown_skill"
NOT_OWN = "skill_not_own"


def team_skill(skill: Skill, tools: Mapping[str, Tool]) -> Skill | Rejected:
    """The skill as a team's own, harmless to store and to show, or why it cannot be one."""
    made = replace(
        skill,
        name=clean_text(skill.key),
        description=clean_text(skill.description).strip(),
        body=clean_text(skill.body).strip(),
        source=Source.TEAM,
    )
    problem = _shape(made) or next(filter(None, (_step(step, tools) for step in made.steps)), "")
    if problem:
        said = sentence("The skill {name} {problem}.", name=made.name[:80], problem=problem)
        return Rejected(code=BAD, sentence=said)
    return made


def together(wrong: Sequence[Rejected]) -> Rejected:
    """One refusal for all that is wrong, a line each."""
    first, *rest = wrong
    return first if not rest else replace(first, sentence="\n".join(one.sentence for one in wrong))


def size_of(skill: Skill) -> int:
    """How much of ``MAX_TEAM_CHARS`` it takes."""
    return len(skill.name) + len(skill.description) + len(skill.body) + _written(skill.examples)


def too_many(skills: Sequence[Skill]) -> Rejected | None:
    """Whether a team would have more skills than it may."""
    sizes = (
        (MAX_TEAM_SKILLS, len(skills), sentence("skills")),
        (
            MAX_TEAM_TRIGGERS,
            sum(len(skill.examples) for skill in skills),
            sentence("triggers of skills"),
        ),
        (MAX_TEAM_CHARS, sum(size_of(skill) for skill in skills), sentence("characters of skills")),
    )
    for limit, size, what in sizes:
        if size > limit:
            said = sentence(
                "A team may have {limit} {what} of its own; these would be {size}.",
                limit=f"{limit:,}",
                what=what,
                size=f"{size:,}",
            )
            return Rejected(code=TOO_MANY, sentence=said)
    return None


def unknown(name: str) -> Rejected:
    """Nobody here has such a skill."""
    said = sentence("There is no skill {name}. `/skills` lists them all.", name=name[:80])
    return Rejected(code=UNKNOWN, sentence=said)


def _shape(skill: Skill) -> str:
    """What is wrong with its texts, to complete "The skill X ..."; empty when nothing is."""
    if not _NAME.fullmatch(skill.name) or len(skill.name) > MAX_NAME_CHARS:
        return sentence(
            "has a bad name: letters, digits, dots, dashes and underscores, at most {limit}",
            limit=MAX_NAME_CHARS,
        )
    if not skill.description:
        return sentence("has no description")
    if not skill.body and not skill.steps:
        return sentence("is empty: it has neither text nor tools")
    if len(skill.body) > MAX_BODY_CHARS:
        return sentence("has more than {limit} characters of text", limit=f"{MAX_BODY_CHARS:,}")
    if _written(skill.examples) > MAX_TRIGGER_CHARS:
        return sentence(
            "has more than {limit} characters of triggers", limit=f"{MAX_TRIGGER_CHARS:,}"
        )
    return ""


def _step(step: SkillStep, tools: Mapping[str, Tool]) -> str:
    """What is wrong with a call, whatever anybody's role: that is asked when it is made."""
    tool = tools.get(step.tool)
    if tool is None:
        return sentence("calls the tool {tool}, which does not exist here", tool=step.tool[:80])
    known = {param.name for param in tool.spec.params}
    strange = sorted({name for name, _ in step.arguments} - known)
    if strange:
        return sentence(
            "gives the tool {tool} an argument {argument}, which it does not have",
            tool=step.tool,
            argument=strange[0][:80],
        )
    return ""


def _written(examples: Sequence[str]) -> int:
    return sum(len(example) for example in examples)
