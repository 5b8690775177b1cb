"""The one door to tools: arguments, role, risk, approval, execution, audit, in this order.

What makes it trustworthy after a crash: a call that has a committed result returns it, and
a mutating call that was started without a committed result is reported as unknown and is
never run again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from core.agent_config import DEFAULTS, AgentConfig
from core.allowed_tools import AllowedTools
from core.audit import AuditEntry
from core.engines.engine import ToolDoor
from core.messages import clean_text
from core.risk import Level
from core.service_levels import PAY_FIRST, READ_ONLY
from core.steps import Step, ToolCall, ToolStartedStep, ToolStep
from core.tools import (
    Arguments,
    Tool,
    ToolContext,
    ToolResult,
    ToolSpec,
    check_arguments,
)
from core.turns import Turn
from core.words import sentence

MAX_OUTPUT_CHARS = 30_000
"""Longest tool output that reaches a model; more is cut with a note."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A human who may allow it did."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """It may not run; the sentence says why."""

    sentence: str


class ApprovalGate(Protocol):
    """Decides about L2 calls."""

    async def decide(self, turn: Turn, call: ToolCall, arguments: Arguments) -> Approved | Denied:
        """Ask whoever may allow exactly this call."""


class NoApprovals:
    """The gate of an installation without approvals: nothing risky runs."""

    async def decide(self, turn: Turn, call: ToolCall, arguments: Arguments) -> Approved | Denied:  # noqa: ARG002  # the port's signature
        """Deny, and say what to do instead."""
        return Denied(
            sentence=sentence(
                "{tool} is disruptive (level L2) and needs a human's approval. This "
                "installation cannot ask for approvals yet, so it was not run. Run it "
                "yourself on the server if it is needed now.",
                tool=call.name,
            )
        )


class StepLog(Protocol):
    """Commits steps of a leased turn."""

    async def record(self, turn: Turn, step: Step, *, audit: AuditEntry | None = None) -> None:
        """Append a step, with its audit row, fenced. Raises ``Fenced``."""


@dataclass(slots=True)
class ToolRunner:
    """Holds the tools and hands each turn its own door."""

    tools: Mapping[str, Tool]
    log: StepLog
    gate: ApprovalGate

    def door(
        self,
        turn: Turn,
        steps: tuple[Step, ...],
        config: AgentConfig = DEFAULTS,
        *,
        service: str = "full",
    ) -> TurnTools:
        """The door of one turn; ``steps`` are those committed by earlier attempts.

        ``service`` is what the team gets (``ServiceLevels``): it may be only to read.
        """
        done = {step.tool_call_id: step for step in steps if isinstance(step, ToolStep)}
        begun = {step.tool_call_id for step in steps if isinstance(step, ToolStartedStep)}
        allowed = AllowedTools(turn.user.role, config)
        return TurnTools(self, turn, done, begun, allowed, reads_only=service in READ_ONLY)


@dataclass(slots=True)
class TurnTools(ToolDoor):
    """The door as one turn sees it: for its user, its tenant, its committed steps."""

    runner: ToolRunner
    turn: Turn
    done: dict[str, ToolStep]
    begun: set[str]
    allowed: AllowedTools
    reads_only: bool = False
    """An invoice is overdue for long: whoever asks, nothing is changed."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that the team has; what the role may not do is refused with a reason."""
        tools = self.runner.tools
        return tuple(tool.spec for name, tool in tools.items() if self.allowed.offers(name))

    def summary(self, call: ToolCall) -> str:
        """``name key=value ...``, bounded, on one line."""
        pairs = " ".join(f"{key}={value}" for key, value in call.arguments.items())
        text = " ".join(f"{call.name} {pairs}".split())
        return text if len(text) <= 200 else text[:199] + "…"  # noqa: PLR2004  # one line

    async def call(self, call: ToolCall) -> ToolResult:
        """Run the call, or return its committed result, or say why it was not run."""
        if (step := self.done.get(call.id)) is not None:
            return ToolResult(output=step.output, is_error=step.is_error)
        tool = self.runner.tools.get(call.name)
        if tool is None:
            names = ", ".join(spec.name for spec in self.specs()) or "none"
            return await self._refuse(call, f"There is no tool {call.name!r}. There are: {names}.")
        if (off := self.allowed.switched_off(call.name)) is not None and call.id not in self.begun:
            return await self._refuse(call, off)
        arguments = check_arguments(tool.spec, call.arguments)
        if isinstance(arguments, str):
            return await self._refuse(call, arguments)
        if call.id in self.begun:
            return await self._unknown(call)
        context = ToolContext(
            tenant_id=self.turn.tenant_id, user_id=self.turn.user.id, turn_id=self.turn.id
        )
        level = await tool.assess(context, arguments)
        refusal = await self._refusal(tool, call, arguments, level)
        if refusal is not None:
            return await self._refuse(call, refusal, level)
        return await self._execute(tool, context, call, arguments, level)

    async def unrun(self, call: ToolCall, reason: str) -> ToolResult:
        """Record a call that the engine turned down, with what it told the model."""
        if (step := self.done.get(call.id)) is not None:
            return ToolResult(output=step.output, is_error=step.is_error)
        return await self._refuse(call, clean_text(reason)[:MAX_OUTPUT_CHARS])

    async def _refusal(
        self, tool: Tool, call: ToolCall, arguments: Arguments, level: Level
    ) -> str | None:
        why = tool.why_forbidden(arguments) if level is Level.L3 else ""
        refusal = self.allowed.refusal(call.name, level, why)
        if refusal is not None:
            return refusal
        if self.reads_only and level > Level.L0:
            return PAY_FIRST
        if level is Level.L2:
            verdict = await self.runner.gate.decide(self.turn, call, arguments)
            if isinstance(verdict, Denied):
                return verdict.sentence
        return None

    async def _execute(
        self, tool: Tool, context: ToolContext, call: ToolCall, arguments: Arguments, level: Level
    ) -> ToolResult:
        if tool.mutates:
            self.begun.add(call.id)
            await self.runner.log.record(
                self.turn, ToolStartedStep(tool_call_id=call.id, name=call.name)
            )
        started = time.monotonic()
        work = asyncio.create_task(_bounded(tool, context, arguments))
        try:
            result = await (asyncio.shield(work) if tool.mutates else work)
        except asyncio.CancelledError:
            # A change that has begun is let finish and its outcome recorded, whoever
            # stopped the turn; a read is dropped.
            if tool.mutates:
                await self._record(call, await work, level, started)
            raise
        return await self._record(call, result, level, started)

    async def _record(
        self, call: ToolCall, result: ToolResult, level: Level, started: float
    ) -> ToolResult:
        detail = self._detail(call, level)
        detail["ms"] = round((time.monotonic() - started) * 1000)
        detail["output_sha256"] = hashlib.sha256(result.output.encode()).hexdigest()
        action = "tool.failed" if result.is_error else "tool.ran"
        return await self._commit(call, result, action, detail)

    async def _refuse(
        self, call: ToolCall, sentence: str, level: Level | None = None
    ) -> ToolResult:
        result = ToolResult(output=sentence, is_error=True)
        return await self._commit(call, result, "tool.refused", self._detail(call, level))

    async def _unknown(self, call: ToolCall) -> ToolResult:
        result = ToolResult(
            output=(
                f"Outcome unknown: {call.name} was started, then IT0 was interrupted before "
                "its result was recorded. It was not run again. Check the server's state "
                "before you decide what to do."
            ),
            is_error=True,
        )
        return await self._commit(call, result, "tool.unknown", self._detail(call, None))

    async def _commit(
        self, call: ToolCall, result: ToolResult, action: str, detail: dict[str, str | int]
    ) -> ToolResult:
        step = ToolStep(
            tool_call_id=call.id, name=call.name, output=result.output, is_error=result.is_error
        )
        entry = AuditEntry(
            actor=self.turn.user.id, action=action, turn_id=self.turn.id, detail=detail
        )
        await self.runner.log.record(self.turn, step, audit=entry)
        self.done[call.id] = step
        return result

    def _detail(self, call: ToolCall, level: Level | None) -> dict[str, str | int]:
        return {
            "tool": call.name[:100],
            "call_id": call.id,
            "summary": self.summary(call),
            "level": "none" if level is None else level.name,
            "role": str(self.turn.user.role),
        }


async def _bounded(tool: Tool, context: ToolContext, arguments: Arguments) -> ToolResult:
    name = tool.spec.name
    try:
        async with asyncio.timeout(tool.timeout_s):
            result = await tool.run(context, arguments)
    except TimeoutError:
        return ToolResult(
            output=f"{name} did not finish within {tool.timeout_s:g} s and was ended.",
            is_error=True,
        )
    except Exception:  # noqa: BLE001  # a tool is a process boundary: its bug must not take the turn with it
        _log.exception("tool.crashed", tool=name)
        return ToolResult(
            output=f"{name} failed inside IT0; the log has the details.", is_error=True
        )
    output = clean_text(result.output)
    if (cut := len(output) - MAX_OUTPUT_CHARS) > 0:
        output = f"{output[:MAX_OUTPUT_CHARS]}\n[{cut:,} more characters were cut]"
    return ToolResult(output=output, is_error=result.is_error)
