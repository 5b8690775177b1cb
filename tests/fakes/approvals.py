"""Approvals in memory: the desk where humans decide, and how an approval is made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from core.agent_config import OnTimeout
from core.approvals import Approval, Card, Decided, Decision, Status
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import sentence

NOW_MS = 1_900_000_000_000


def an_approval(card: Card, **changes: object) -> Approval:
    """One that waits for two more minutes."""
    made = Approval(
        id="appr_0190aaaabbbbccccddddeeeeabc123",
        tenant_id="ten_1",
        turn_id="turn_1",
        conversation_id="conv_1",
        call_id="call_1",
        digest="d" * 64,
        card=card,
        asked_by="usr_asker",
        four_eyes=False,
        on_timeout=OnTimeout.DENY,
        status=Status.PENDING,
        created_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 120_000,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # names are checked by replace


@dataclass
class DeskInMemory:
    """Implements ``bots.web.approvals.ApprovalBook`` with the rules of the real desk."""

    rows: dict[str, Approval] = field(default_factory=dict)
    now_ms: int = NOW_MS

    def put(self, approval: Approval) -> Approval:
        """Keep one."""
        self.rows[approval.id] = approval
        return approval

    async def decide(self, by: User, approval_id: str, decision: Decision) -> Decided | Rejected:
        """See the port."""
        approval = await self.get(by.tenant_id, approval_id)
        if approval is None:
            return _refused("not_found")
        if not by.role.includes(Role.OPERATOR):
            return _refused("not_allowed")
        if approval.status is not Status.PENDING:
            return Decided(approval=approval, first=False)
        if approval.expires_at_ms <= self.now_ms:
            return _refused("approval_expired")
        if decision.approve and approval.four_eyes and by.id == approval.asked_by:
            return _refused("four_eyes")
        settled = replace(
            approval,
            status=Status.APPROVED if decision.approve else Status.DENIED,
            decided_by=by.id,
            decided_by_name=by.name,
            decided_where=decision.where,
            comment=decision.comment,
            decided_at_ms=self.now_ms,
        )
        return Decided(approval=self.put(settled), first=True)

    async def pending(self, tenant_id: str) -> tuple[Approval, ...]:
        """See the port."""
        return tuple(
            one
            for one in self.rows.values()
            if (one.tenant_id, one.status) == (tenant_id, Status.PENDING)
            and one.expires_at_ms > self.now_ms
        )

    async def listed(
        self, tenant_id: str, status: Status | None, limit: int
    ) -> tuple[Approval, ...]:
        """See the port."""
        mine = [one for one in self.rows.values() if one.tenant_id == tenant_id]
        return tuple(one for one in reversed(mine) if status in {None, one.status})[:limit]

    async def get(self, tenant_id: str, approval_id: str) -> Approval | None:
        """See the port."""
        found = self.rows.get(approval_id)
        return found if found is not None and found.tenant_id == tenant_id else None


def _refused(code: str) -> Rejected:
    return Rejected(code=code, sentence=sentence("That is refused."))
