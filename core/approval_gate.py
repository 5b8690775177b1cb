"""The gate: a call of level L2 runs after a human's decision about exactly this call, or never."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.agent_config import OnTimeout
from core.approvals import (
    REASON,
    Approval,
    ApprovalStore,
    Card,
    Question,
    Status,
    Waiting,
    digest_of,
)
from core.caution import Caution
from core.gate import Approved, Denied, Proposal
from core.risk import Level
from core.turns import Turn

_ASKED_CHARS = 300


@dataclass(frozen=True, slots=True)
class HumanGate:
    """Implements ``core.toolrunner.ApprovalGate`` on committed questions."""

    store: ApprovalStore

    async def decide(self, turn: Turn, proposal: Proposal) -> Approved | Denied:
        """See the port. Denials are told to the agent: why, and that it must not ask in a loop."""
        name, call_id = proposal.call.name, proposal.call.id
        digest = digest_of(name, proposal.arguments, proposal.assessment)
        approval = await self.store.of_call(turn, call_id)
        if approval is None:
            plan = await self.store.by_plan(turn, call_id, digest)
            if plan is not None:
                return Approved(by=plan.decided_by_name, approval_id=plan.id)
            approval = await self.store.ask(turn, _question(turn, proposal, digest))
        if approval.status is Status.PENDING:
            await self.store.tell(approval)
            raise Waiting((approval,))
        return replace(_verdict(approval, digest), approval=approval)


def _verdict(approval: Approval, digest: str) -> Approved | Denied:
    match approval.status:
        case Status.APPROVED if approval.used:
            return Denied(
                sentence="Not run: its approval was used up already, and one approval is good "
                "for one call."
            )
        case Status.APPROVED if approval.digest != digest:
            return Denied(
                sentence="Not run: what would run is no longer what was approved (the servers or "
                "the file changed meanwhile). Look again, then propose it anew."
            )
        case Status.APPROVED:
            return Approved(by=approval.decided_by_name, approval_id=approval.id)
        case Status.DENIED:
            reason = f" The reason given: {approval.comment}" if approval.comment else ""
            return Denied(
                sentence=f"Not run: {approval.decided_by_name} denied it.{reason} Do not propose "
                "the same again unless they ask for it."
            )
        case Status.EXPIRED:
            return Denied(
                sentence="Not run: the request for approval expired, nobody decided in time. Say "
                "so, and what you wanted to do; propose it again only when asked."
            )
        case _:
            return Denied(sentence="Not run: its request for approval is no longer valid.")


def _question(turn: Turn, proposal: Proposal, digest: str) -> Question:
    assessment, config = proposal.assessment, proposal.config
    caution = proposal.caution
    unattended = bool(turn.order_id)
    four_eyes = config.four_eyes or assessment.critical
    hands_off = four_eyes or caution.tainted or caution.freeze is not None or unattended
    return Question(
        call_id=proposal.call.id,
        digest=digest,
        level=Level.L2,
        card=_card(turn, proposal),
        asked_by=turn.user.id,
        four_eyes=four_eyes,
        on_timeout=OnTimeout.DENY if hands_off else config.on_timeout,
        timeout_s=config.approval_timeout_s,
        steps=tuple(step.digest for step in assessment.steps if _waits(step.level, caution)),
    )


def _waits(level: Level, caution: Caution) -> bool:
    """Whether a step's own call will need the plan's approval."""
    careful = caution.tainted or caution.freeze is not None
    return level >= (Level.L1 if careful else Level.L2)


def _card(turn: Turn, proposal: Proposal) -> Card:
    assessment = proposal.assessment
    return Card(
        tool=proposal.call.name,
        action=assessment.action or _spelled(proposal),
        level=assessment.level.name,
        servers=assessment.servers,
        why=str(proposal.arguments.get(REASON, "")),
        asked=_shortened(turn.text),
        asked_by=turn.user.name or turn.user.email,
        unattended=bool(turn.order_id),
        risks=assessment.reasons,
        change=assessment.change,
        undo=assessment.undo,
        steps=tuple(step.action for step in assessment.steps),
    )


def _spelled(proposal: Proposal) -> str:
    """The tool and every argument that decides what it does, none of them cut."""
    pairs = [f"{name}={value}" for name, value in proposal.arguments.items() if name != REASON]
    return " ".join([proposal.call.name, *pairs])


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ASKED_CHARS else f"{line[: _ASKED_CHARS - 1]}…"
