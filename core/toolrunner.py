"""The one door to tools: arguments, role, risk, approval, execution, audit, in this order.

What makes it trustworthy after a crash: a call that has a committed result returns it, and
a mutating call that was started without a committed result is reported as unknown and is
never run again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from core.agent_config import DEFAULTS, AgentConfig
from core.allowed_tools import AllowedTools
from core.audit import AuditEntry
from core.caution import Caution
from core.clock import Clock, SystemClock
from core.engines.engine import ToolDoor
from core.events import ApprovalSettled, Progress, TurnEvent
from core.gate import ApprovalGate, Approved, Denied, Proposal
from core.messages import clean_text
from core.redact import Redactor, redact_now, redact_text
from core.risk import Assessment, Level
from core.service_levels import PAY_FIRST, READ_ONLY
from core.steps import Exchange, Step, ToolCall, ToolStartedStep, ToolStep
from core.tools import (
    Arguments,
    Tool,
    ToolContext,
    ToolResult,
    ToolSpec,
    check_arguments,
)
from core.turns import Turn

MAX_OUTPUT_CHARS = 30_000
"""Longest tool output that reaches a model; more is cut with a note."""
_SUMMED_CHARS = 1_000
"""Of the arguments, looked at for the one line about a call."""

_log = structlog.get_logger()


def unheard(_event: TurnEvent) -> None:
    """Nobody listens."""


class StepLog(Protocol):
    """Commits steps of a leased turn."""

    async def record(self, turn: Turn, step: Step, *, audit: AuditEntry | None = None) -> None:
        """Append a step, with its audit row, fenced. Raises ``Fenced``."""


def one_line(call: ToolCall) -> str:
    """``name key=value ...``, bounded, on one line, without secrets."""
    pairs = " ".join(f"{key}={value}" for key, value in call.arguments.items())
    text = redact_now(" ".join(f"{call.name} {pairs[:_SUMMED_CHARS]}".split()))
    return text if len(text) <= 200 else text[:199] + "…"  # noqa: PLR2004  # one line


@dataclass(slots=True)
class ToolRunner:
    """Holds the tools and hands each turn its own door."""

    tools: Mapping[str, Tool]
    log: StepLog
    gate: ApprovalGate
    clock: Clock = field(default_factory=SystemClock)

    def door(
        self,
        turn: Turn,
        steps: tuple[Step, ...],
        config: AgentConfig = DEFAULTS,
        *,
        service: str = "full",
        tainted: bool = False,
        tell: Callable[[TurnEvent], None] = unheard,
    ) -> TurnTools:
        """The door of one turn; ``steps`` are those committed by earlier attempts.

        ``service`` is what the team gets (``ServiceLevels``): it may be only to read.
        ``tainted``: the conversation so far holds text that others wrote.
        """
        done = {step.tool_call_id: step for step in steps if isinstance(step, ToolStep)}
        return TurnTools(
            runner=self,
            turn=turn,
            done=done,
            begun={step.tool_call_id for step in steps if isinstance(step, ToolStartedStep)},
            allowed=AllowedTools(turn.user.role, config),
            reads_only=service in READ_ONLY,
            tainted=tainted or any(self.untrusted(step.name) for step in done.values()),
            tell=tell,
        )

    def untrusted(self, tool: str) -> bool:
        """Whether the tool's output is text that others wrote; an unknown one's is."""
        known = self.tools.get(tool)
        return known is None or known.untrusted

    def tainted(self, exchanges: Sequence[Exchange]) -> bool:
        """Whether what was said before holds text that others wrote: outputs or attachments."""
        return any(
            exchange.attachments
            or any(
                isinstance(step, ToolStep) and self.untrusted(step.name) for step in exchange.steps
            )
            for exchange in exchanges
        )


@dataclass(slots=True, kw_only=True)
class TurnTools(ToolDoor):
    """The door as one turn sees it: for its user, its tenant, its committed steps."""

    runner: ToolRunner
    turn: Turn
    done: dict[str, ToolStep]
    begun: set[str]
    allowed: AllowedTools
    reads_only: bool = False
    """An invoice is overdue for long: whoever asks, nothing is changed."""
    tainted: bool = False
    tell: Callable[[TurnEvent], None] = unheard
    """Hears what is going on while a call runs."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that the team has; what the role may not do is refused with a reason."""
        tools = self.runner.tools
        return tuple(tool.spec for name, tool in tools.items() if self.allowed.offers(name))

    def untrusted(self, tool: str) -> bool:
        """Whether the tool's output is text that others wrote; an unknown one's is."""
        return self.runner.untrusted(tool)

    def summary(self, call: ToolCall) -> str:
        """See ``one_line``."""
        return one_line(call)

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
        context = self._context(call)
        caution = self._caution()
        assessment = caution.weigh(tool.spec.name, await tool.assess(context, arguments))
        if assessment.problem:
            return await self._refuse(call, assessment.problem, assessment)
        refusal = self._refusal(call, assessment)
        if refusal is not None:
            return await self._refuse(call, refusal, assessment)
        work = _Work(tool=tool, call=call, arguments=arguments, assessment=assessment)
        if assessment.level is Level.L2:
            verdict = await self._verdict(work, caution)
            if isinstance(verdict, Denied):
                return await self._refuse(call, verdict.sentence, assessment)
            work = replace(work, approval=verdict)
        return await self._execute(work, context)

    async def unrun(self, call: ToolCall, reason: str) -> ToolResult:
        """Record a call that the engine turned down, with what it told the model."""
        if (step := self.done.get(call.id)) is not None:
            return ToolResult(output=step.output, is_error=step.is_error)
        return await self._refuse(call, clean_text(reason)[:MAX_OUTPUT_CHARS])

    def _context(self, call: ToolCall) -> ToolContext:
        turn = self.turn
        return ToolContext(
            tenant_id=turn.tenant_id,
            user_id=turn.user.id,
            turn_id=turn.id,
            role=turn.user.role,
            conversation_id=turn.conversation_id,
            call_id=call.id,
            language=turn.language,
            order_id=turn.order_id,
            raised=self.allowed.config.raised,
            progress=self._progress(),
        )

    def _progress(self) -> Callable[[str], None]:
        stream = Redactor()

        def show(line: str) -> None:
            text = stream.feed(f"{line}\n").rstrip("\n")
            if text:
                self.tell(Progress(text=text))

        return show

    def _caution(self) -> Caution:
        config = self.allowed.config
        freeze = config.freeze
        frozen = freeze is not None and freeze.holds(self.runner.clock.now_ms())
        return Caution(
            tainted=self.tainted,
            freeze=freeze.reason if freeze is not None and frozen else None,
            raised=config.raised,
        )

    async def _verdict(self, work: _Work, caution: Caution) -> Approved | Denied:
        proposal = Proposal(
            call=work.call,
            arguments=work.arguments,
            assessment=work.assessment,
            caution=caution,
            config=self.allowed.config,
        )
        verdict = await self.runner.gate.decide(self.turn, proposal)
        if verdict.approval is not None:
            self.tell(ApprovalSettled(approval=verdict.approval))
        return verdict

    def _refusal(self, call: ToolCall, assessment: Assessment) -> str | None:
        level = assessment.level
        why = "; ".join(assessment.reasons) if level is Level.L3 else ""
        refusal = self.allowed.refusal(call.name, level, why)
        if refusal is None and self.reads_only and level > Level.L0:
            return PAY_FIRST
        return refusal

    async def _execute(self, work: _Work, context: ToolContext) -> ToolResult:
        call = work.call
        if work.changes:
            approval_id = "" if work.approval is None else work.approval.approval_id
            await self.runner.log.record(
                self.turn,
                ToolStartedStep(tool_call_id=call.id, name=call.name, approval_id=approval_id),
            )
            self.begun.add(call.id)
        started = time.monotonic()
        running = asyncio.create_task(_bounded(work.tool, context, work.arguments))
        try:
            result = await (asyncio.shield(running) if work.changes else running)
        except asyncio.CancelledError:
            # A change that has begun is let finish and its outcome recorded, whoever
            # stopped the turn; a read is dropped.
            if work.changes:
                await self._record(work, await running, started)
            raise
        return await self._record(work, result, started)

    async def _record(self, work: _Work, result: ToolResult, started: float) -> ToolResult:
        detail = self._detail(work.call, work.assessment)
        detail["ms"] = round((time.monotonic() - started) * 1000)
        detail["output_sha256"] = hashlib.sha256(result.output.encode()).hexdigest()
        servers = result.servers or work.assessment.servers
        if servers:
            detail["servers"] = ",".join(servers)[:500]
        if result.exit_status is not None:
            detail["exit_status"] = result.exit_status
        if work.approval is not None:
            detail["approval_id"] = work.approval.approval_id
            detail["approved_by"] = work.approval.by
        if work.tool.untrusted:
            self.tainted = True
        action = "tool.failed" if result.is_error else "tool.ran"
        return await self._commit(work.call, result, action, detail)

    async def _refuse(
        self, call: ToolCall, sentence: str, assessment: Assessment | None = None
    ) -> ToolResult:
        result = ToolResult(output=redact_now(sentence), is_error=True)
        return await self._commit(call, result, "tool.refused", self._detail(call, assessment))

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

    def _detail(self, call: ToolCall, assessment: Assessment | None) -> dict[str, str | int]:
        detail: dict[str, str | int] = {
            "tool": call.name[:100],
            "call_id": call.id,
            "summary": self.summary(call),
            "level": "none" if assessment is None else assessment.level.name,
            "role": str(self.turn.user.role),
        }
        if assessment is not None and assessment.reasons:
            detail["reasons"] = "; ".join(assessment.reasons)[:1000]
        if self.turn.order_id:
            detail["order_id"] = self.turn.order_id
        return detail


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A call that may run."""

    tool: Tool
    call: ToolCall
    arguments: Arguments
    assessment: Assessment
    approval: Approved | None = None

    @property
    def changes(self) -> bool:
        """Whether running it twice would differ from running it once."""
        return self.tool.mutates and self.assessment.level > Level.L0


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
    output = await redact_text(clean_text(result.output))
    if (cut := len(output) - MAX_OUTPUT_CHARS) > 0:
        output = f"{output[:MAX_OUTPUT_CHARS]}\n[{cut:,} more characters were cut]"
    return replace(result, output=output)
