"""Approvals: what waits for a human, who may decide, and what a decision is worth.

An approval belongs to one tool call of one turn. It is a committed row before anybody sees
its card, it is bound to the digest of exactly what will run, the first decision wins, and it
is used up in the transaction in which the call begins. Anything but an explicit approval of
that very call is a refusal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol

from core.agent_config import OnTimeout
from core.refusals import Rejected
from core.risk import Assessment, Level
from core.tenants import User
from core.tools import Arguments
from core.turns import Turn

REASON = "reason"
"""The argument of a changing tool that says why; approvers read it, and nothing runs by it."""
MOST_STEPS = 20
"""In a plan that is approved as a whole."""


class Status(StrEnum):
    """What became of a question."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Nobody decided in time, and the team's choice for that is to deny."""
    VOID = "void"
    """The turn ended, or what would run changed: there is nothing to decide any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What an approver is shown."""

    tool: str
    action: str
    """Exactly what will run."""
    level: str
    servers: tuple[str, ...] = ()
    why: str = ""
    """The reason that the agent gave."""
    asked: str = ""
    """What the person wrote, shortened."""
    asked_by: str = ""
    """The name of whose turn it is."""
    unattended: bool = False
    """A standing order of theirs asks."""
    risks: tuple[str, ...] = ()
    """Half sentences, the gravest first."""
    change: str = ""
    undo: str = ""
    steps: tuple[str, ...] = ()
    """Of a plan: what each would run, in order."""

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, payload: str) -> Card:
        """Rebuild what ``dump`` returned."""
        data = json.loads(payload)
        lists = {name: tuple(data[name]) for name in ("servers", "risks", "steps")}
        return cls(**{**data, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call of a turn that needs a human, before it is stored."""

    call_id: str
    digest: str
    level: Level
    card: Card
    asked_by: str
    """A user's id."""
    four_eyes: bool
    on_timeout: OnTimeout
    timeout_s: int
    steps: tuple[str, ...] = ()
    """The digests of a plan's steps, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A stored question, and what became of it."""

    id: str
    tenant_id: str
    turn_id: str
    conversation_id: str
    call_id: str
    digest: str
    card: Card
    asked_by: str
    four_eyes: bool
    on_timeout: OnTimeout
    status: Status
    created_at_ms: int
    expires_at_ms: int
    decided_by: str = ""
    """A user's id, or ``system`` for a timeout that approves."""
    decided_by_name: str = ""
    decided_where: str = ""
    comment: str = ""
    decided_at_ms: int | None = None
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a human says, through any door."""

    approve: bool
    where: str
    """Such as ``slack``; for the record."""
    comment: str = ""
    """The reason, told to the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision that counts: this one, or the one that came before it."""

    approval: Approval
    first: bool
    """Whether it is the decision that was asked to be made."""


class ApprovalStore(Protocol):
    """Where the questions of running turns are kept. Raises ``StorageFailure``."""

    async def ask(self, turn: Turn, question: Question) -> Approval:
        """Store it, fenced; asked before for this call, return what it became meanwhile."""

    async def of_call(self, turn: Turn, call_id: str) -> Approval | None:
        """The question about this call, if it was asked; one past its time is settled now."""

    async def by_plan(self, turn: Turn, call_id: str, digest: str) -> Approval | None:
        """The approved plan of this turn whose next step this is; the step is now this call's."""

    async def tell(self, approval: Approval) -> None:
        """Ask the approvers elsewhere, in their private chats; each is told once."""


class ApprovalDesk(Protocol):
    """Where humans decide. Raises ``StorageFailure``."""

    async def decide(self, by: User, approval_id: str, decision: Decision) -> Decided | Rejected:
        """Decide, once; refused for whoever may not, and after its time."""

    async def pending(self, tenant_id: str) -> tuple[Approval, ...]:
        """What waits in this tenant, the oldest first."""

    async def get(self, tenant_id: str, approval_id: str) -> Approval | None:
        """One of them, decided or not."""


class Waiting(Exception):
    """A call waits for a human: the turn gives its slot back until ``until_ms``."""

    def __init__(self, approvals: Sequence[Approval]) -> None:
        """The questions that are open."""
        super().__init__("a tool call waits for a human")
        self.approvals = tuple(approvals)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the questions."""
        return tuple(approval.id for approval in self.approvals)

    @property
    def until_ms(self) -> int:
        """When the first of them is past its time."""
        return min(approval.expires_at_ms for approval in self.approvals)


def digest_of(tool: str, arguments: Arguments, assessment: Assessment) -> str:
    """SHA-256 of exactly what will run; what only explains it is left out."""
    bound = {
        "tool": tool,
        "arguments": {name: value for name, value in arguments.items() if name != REASON},
        "action": assessment.action,
        "servers": assessment.servers,
        "binding": assessment.binding,
    }
    canonical = json.dumps(bound, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
