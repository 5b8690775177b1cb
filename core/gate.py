"""The gate before risky calls: what it is asked, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.agent_config import AgentConfig
from core.approvals import Approval
from core.caution import Caution
from core.risk import Assessment
from core.steps import ToolCall
from core.tools import Arguments
from core.turns import Turn
from core.words import sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A call that needs a human: what the gate is asked about."""

    call: ToolCall
    arguments: Arguments
    assessment: Assessment
    caution: Caution
    config: AgentConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A human who may allow it did."""

    by: str
    """Their name, for the record."""
    approval_id: str
    approval: Approval | None = None
    """As it was decided, to be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """It may not run; the sentence says why."""

    sentence: str
    approval: Approval | None = None


class ApprovalGate(Protocol):
    """Decides about L2 calls."""

    async def decide(self, turn: Turn, proposal: Proposal) -> Approved | Denied:
        """Ask whoever may allow exactly this call. Raises ``Waiting`` while nobody has decided."""


class NoApprovals:
    """The gate of an installation without approvals: nothing risky runs."""

    async def decide(self, turn: Turn, proposal: Proposal) -> Approved | Denied:  # noqa: ARG002  # the port's signature
        """Deny, and say what to do instead."""
        return Denied(
            sentence=sentence(
                "{tool} is disruptive (level L2) and needs a human's approval. This "
                "installation cannot ask for approvals yet, so it was not run. Run it "
                "yourself on the server if it is needed now.",
                tool=proposal.call.name,
            )
        )
