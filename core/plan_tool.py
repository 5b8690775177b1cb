"""The tool ``propose_plan``: several steps, approved as a whole before the first one runs.

Nothing of a plan runs by its approval. Each step is a call of its own afterwards, through the
same door; the approval covers it when it is the plan's next step, exactly as it was shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from core.approvals import MOST_STEPS, REASON, digest_of
from core.risk import Assessment, Level, PlanStep
from core.tools import (
    Arguments,
    Param,
    Tool,
    ToolContext,
    ToolResult,
    ToolSpec,
    check_arguments,
)

PROPOSE_PLAN = "propose_plan"
MAX_PLAN_CHARS = 20_000

_SPEC = ToolSpec(
    name=PROPOSE_PLAN,
    description=(
        "Ask once for the approval of several changes that belong together, before the first of "
        "them. After it was approved make the calls in this order, exactly as proposed; one that "
        "differs, or that follows a failed one, is asked for on its own. For a single change "
        "call its tool at once instead."
    ),
    params=(
        Param(
            name="steps",
            kind="string",
            description=(
                'A JSON list of 2 to 20 calls, in order: [{"tool": "service_control", '
                '"arguments": {"service": "nginx", "action": "restart", "server": "web-1"}}, ...]'
            ),
            required=True,
            minimum=2,
            maximum=MAX_PLAN_CHARS,
            multiline=True,
        ),
        Param(
            name=REASON,
            kind="string",
            description="Why, in one sentence; whoever approves reads it.",
            required=True,
            minimum=1,
            maximum=300,
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    tool: Tool
    arguments: Arguments
    assessment: Assessment

    def shown(self) -> str:
        """What it would run, and where."""
        action = self.assessment.action or " ".join(
            [
                self.tool.spec.name,
                *(f"{name}={value}" for name, value in self.arguments.items() if name != REASON),
            ]
        )
        where = ", ".join(self.assessment.servers)
        return f"{action} [{where}]" if where else action

    def planned(self) -> PlanStep:
        """As the plan holds it."""
        name = self.tool.spec.name
        return PlanStep(
            action=self.shown(),
            digest=digest_of(name, self.arguments, self.assessment),
            level=self.assessment.level,
        )


def plan_tool(tools: Mapping[str, Tool]) -> Tool:
    """The tool on these tools; it never holds another plan."""

    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        steps = await _read(tools, context, str(arguments["steps"]))
        if isinstance(steps, str):
            return Assessment(level=Level.L0, problem=steps)
        return _whole(steps)

    return Tool(spec=_SPEC, assess=assess, run=_approved, mutates=False)


async def _approved(_context: ToolContext, _arguments: Arguments) -> ToolResult:
    return ToolResult(
        output="The plan was approved. Nothing has run yet. Make its calls now, one after the "
        "other, exactly as proposed. Stop and report when one fails."
    )


async def _read(
    tools: Mapping[str, Tool], context: ToolContext, written: str
) -> tuple[_Step, ...] | str:
    """The steps, assessed; or a sentence that says what is wrong with them."""
    try:
        listed = json.loads(written)
    except (ValueError, RecursionError):
        return "propose_plan: steps must be a JSON list of calls."
    if not isinstance(listed, list) or not 2 <= len(listed) <= MOST_STEPS:  # noqa: PLR2004  # one step is no plan
        return f"propose_plan: steps must be a JSON list of 2 to {MOST_STEPS} calls."
    steps: list[_Step] = []
    for number, entry in enumerate(listed, start=1):
        step = await _step(tools, context, entry)
        if isinstance(step, str):
            return f"Step {number}: {step}"
        steps.append(step)
    return tuple(steps)


async def _step(tools: Mapping[str, Tool], context: ToolContext, entry: object) -> _Step | str:
    if not isinstance(entry, dict) or not isinstance(entry.get("tool"), str):
        return 'a step is {"tool": NAME, "arguments": {...}}.'
    name, raw = entry["tool"], entry.get("arguments", {})
    tool = tools.get(name)
    if tool is None or name == PROPOSE_PLAN:
        return f"there is no tool {name!r} for a step."
    if not isinstance(raw, dict):
        return "arguments must be a JSON object."
    arguments = check_arguments(tool.spec, raw)
    if isinstance(arguments, str):
        return arguments
    assessment = await tool.assess(context, arguments)
    return assessment.problem or _Step(tool=tool, arguments=arguments, assessment=assessment)


def _whole(steps: tuple[_Step, ...]) -> Assessment:
    """As grave as the gravest step; a plan is always asked for."""
    found = [step.assessment for step in steps]
    planned = tuple(step.planned() for step in steps)
    lines = [f"{number}. {step.action}" for number, step in enumerate(planned, start=1)]
    changes = [
        f"Step {number}:\n{each.change}"
        for number, each in enumerate(found, start=1)
        if each.change
    ]
    undoing = [f"{number}. {each.undo}" for number, each in enumerate(found, start=1) if each.undo]
    gravest = sorted(found, key=lambda each: -each.level)
    return Assessment(
        level=max(Level.L2, *(each.level for each in found)),
        reasons=tuple(dict.fromkeys(reason for each in gravest for reason in each.reasons)),
        action="\n".join(lines),
        servers=tuple(dict.fromkeys(name for each in found for name in each.servers)),
        binding=" ".join(step.digest for step in planned),
        critical=any(each.critical for each in found),
        change="\n\n".join(changes),
        undo="\n".join(reversed(undoing)),
        steps=planned,
    )
