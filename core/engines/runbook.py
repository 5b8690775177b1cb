"""The runbook engine: answers from skills and tools, without a model and without a network.

It is what answers when no credentials are set or the provider is down, so it depends on
nothing but the tools. It says what it is, and it never pretends to have understood.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from core.engines.engine import EngineRequest
from core.engines.replies import joined_text, separator_after
from core.engines.runbook_plan import Plan, WouldChange, make_plan
from core.engines.runbook_words import WhyOffline, Words, ask_for, offline_line, words_for
from core.engines.toolcalls import run_tools
from core.events import Completed, StopReason, TextDelta, TextReset, TurnEvent
from core.fleet.inventory import Inventory, Server
from core.fleet.report import Verdict, clean, verdict_of
from core.order_runs import plain
from core.skills import SkillLibrary, SkillShelf
from core.steps import ModelStep, Step, ToolCall, ToolStep

NAME = "runbook"
_FOLLOW_UP = re.compile(
    r"\s*(?:(?:and|again|what about|how about|same|now|on)\b|[那再])", re.IGNORECASE
)
_FOLLOW_UP_CHARS = 60


class RunbookEngine:
    """Implements ``core.engines.engine.Engine`` with no model behind it."""

    def __init__(
        self,
        *,
        skills: SkillShelf,
        inventory: Inventory,
        why: WhyOffline = WhyOffline.UNKNOWN,
    ) -> None:
        """``skills`` has each team's routines; ``inventory`` tells which words name servers.

        ``why`` no model answers is said under each answer.
        """
        self._why = why
        self._skills = skills
        self._inventory = inventory

    @property
    def name(self) -> str:
        """``runbook``."""
        return NAME

    @property
    def has_model(self) -> bool:
        """False: history means nothing to it, so none is compacted for it."""
        return False

    async def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """Match the message, call the tools of the skill, show and judge what they say."""
        request = replace(request, text=plain(request.text))
        words = words_for(request.text)
        plan = await self._plan(request)
        if request.refusal is not None and not isinstance(plan, Plan):
            yield Completed(stop_reason=StopReason.REFUSED)  # the refusal itself says more
            return
        if request.attempt > 1:
            yield TextReset(text=joined_text(request.steps), reason=words.again)
        if _is_answered(request.steps):
            yield Completed()
            return
        if before := separator_after(request.steps):
            yield TextDelta(text=before)
        if request.attachments:
            names = ", ".join(clean(attachment.name) for attachment in request.attachments)
            yield TextDelta(text=words.attachments.format(names=names) + "\n\n")
        async with aclosing(_say(plan, request, words)) as events:
            async for event in events:
                yield event
        why = self._why if request.refusal is None else WhyOffline.REFUSED
        yield TextDelta(text=f"\n\n{offline_line(words, why)}")
        yield Completed()

    async def _plan(self, request: EngineRequest) -> Plan | WouldChange | None:
        servers = await self._inventory.servers(request.tenant_id)
        library = await self._skills.of(request.tenant_id)
        # In a thread: a team's many triggers must not hold up the other turns.
        return await asyncio.to_thread(_plan, request, library, servers)


def _plan(
    request: EngineRequest, library: SkillLibrary, servers: tuple[Server, ...]
) -> Plan | WouldChange | None:
    """The plan for the message, or for the last question with this message's details."""
    specs = request.tools.specs()
    plan = make_plan(request.text, library, servers, specs)
    if plan is None and request.history and _is_follow_up(request.text):
        before = request.history[-1].user_text
        return make_plan(f"{request.text} {before}", library, servers, specs)
    return plan


def _is_follow_up(text: str) -> bool:
    """Whether a message leans on the one before it, such as "and on web-4?"."""
    return bool(_FOLLOW_UP.match(text)) and len(text) <= _FOLLOW_UP_CHARS


def _is_answered(steps: Sequence[Step]) -> bool:
    """Whether a model already gave the final answer before the turn was interrupted."""
    return bool(steps) and isinstance(steps[-1], ModelStep) and not steps[-1].tool_calls


async def _say(
    plan: Plan | WouldChange | None, request: EngineRequest, words: Words
) -> AsyncGenerator[TurnEvent, None]:
    """What the plan brings, or what can be asked."""
    match plan:
        case Plan() if plan.missing:
            yield TextDelta(text=ask_for(words, plan.missing[0]))
        case Plan():
            async with aclosing(_carry_out(plan, request, words)) as events:
                async for event in events:
                    yield event
        case WouldChange(verb=verb):
            yield TextDelta(text=words.would_change.format(verb=verb, examples=words.examples))
        case None:
            yield TextDelta(text=words.unmatched.format(examples=words.examples))


async def _carry_out(
    plan: Plan, request: EngineRequest, words: Words
) -> AsyncGenerator[TurnEvent, None]:
    """Call what has no committed result yet; answers come in the plan's order."""
    if not plan.calls:
        yield TextDelta(text=plan.skill.body or plan.skill.description)
        return
    results: list[Step] = [step for step in request.steps if isinstance(step, ToolStep)]
    calls = [_under_a_free_id(call, results) for call in plan.calls]
    pending = [call for call in calls if _result(call, results) is None]
    async with aclosing(run_tools(request.tools, pending, results)) as events:
        async for event in events:
            yield event
    done = [result for call in calls if (result := _result(call, results))]
    yield TextDelta(text=done[0].output if len(done) == 1 else _together(done, words))
    if plan.left_out:
        yield TextDelta(text=f"\n\n{words.left_out.format(count=plan.left_out)}")


def _result(call: ToolCall, results: list[Step]) -> ToolStep | None:
    for step in results:
        if isinstance(step, ToolStep) and step.tool_call_id == call.id:
            return step
    return None


def _under_a_free_id(call: ToolCall, results: list[Step]) -> ToolCall:
    """Keep the id unless an earlier attempt, with other skills, gave it to another tool."""
    taken = _result(call, results)
    if taken is None or taken.name == call.name:
        return call
    return replace(call, id=f"{call.id}-{call.name}")


def _together(done: list[ToolStep], words: Words) -> str:
    """One judging line, the first line of every check, then the details of the bad ones."""
    firsts = [step.output.partition("\n")[0] for step in done]
    verdicts = [
        Verdict.UNKNOWN if step.is_error else verdict_of(first)
        for step, first in zip(done, firsts, strict=True)
    ]
    bad = [step for step, verdict in zip(done, verdicts, strict=True) if verdict > Verdict.FINE]
    unknown = verdicts.count(Verdict.UNKNOWN)
    head = (
        words.not_well.format(bad=len(bad), count=len(done))
        if bad
        else words.all_well.format(count=len(done) - unknown)
    )
    if unknown:
        head += f" {words.could_not.format(count=unknown)}"
    details = [step.output.partition("\n")[2].strip() for step in bad]
    lines = "\n".join(f"- {first}" for first in firsts)
    return "\n\n".join([head, lines, *(detail for detail in details if detail)])
