"""Where humans decide: the first decision counts, and wakes the turn that waits for it.

Locks are taken in one order: the conversation, the approval, the head of the audit log. A
decision and the parking of its turn meet at the conversation's row, so that none is missed.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.approval_notice import NOTICE, announced
from core.approvals import Approval, Decided, Decision, Status
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import sentence
from storage.announcements import announce
from storage.approval_rows import COLUMNS, approval_of, get, record, settle
from storage.database import Database, execute, now_ms
from storage.rows import text

MOST_TOLD = 20
"""Approvers who are told elsewhere of one question."""
MOST_LISTED = 100


class SqlApprovalDesk:
    """Implements ``core.approvals.ApprovalDesk``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` signs the audit chain."""
        self._db = db
        self._audit_key = audit_key

    async def decide(self, by: User, approval_id: str, decision: Decision) -> Decided | Rejected:
        """See the port."""
        return await self._db.transaction(decide, self._audit_key, by, approval_id, decision)

    async def pending(self, tenant_id: str) -> tuple[Approval, ...]:
        """See the port; at most 100."""
        return await self._db.read(pending, tenant_id)

    async def listed(
        self, tenant_id: str, status: Status | None, limit: int
    ) -> tuple[Approval, ...]:
        """The newest first, of one status or of all."""
        return await self._db.read(_listed, tenant_id, status, limit)

    async def get(self, tenant_id: str, approval_id: str) -> Approval | None:
        """See the port."""
        return await self._db.read(get, tenant_id, approval_id)


def decide(
    conn: sa.Connection, audit_key: bytes, by: User, approval_id: str, decision: Decision
) -> Decided | Rejected:
    """See ``core.approvals.ApprovalDesk``."""
    approval = get(conn, by.tenant_id, approval_id)
    if approval is None:
        return NO_APPROVAL
    if not by.role.includes(Role.OPERATOR):
        return MAY_NOT
    execute(
        conn,
        "SELECT 1 FROM conversations WHERE id = :id AND tenant_id = :tenant{row}",
        id=approval.conversation_id,
        tenant=by.tenant_id,
    ).first()
    approval = get(conn, by.tenant_id, approval_id) or approval
    if approval.status is not Status.PENDING:
        return Decided(approval=approval, first=False)
    if approval.expires_at_ms <= now_ms(conn):
        return _TOO_LATE
    if decision.approve and approval.four_eyes and by.id == approval.asked_by:
        return _FOUR_EYES
    status = Status.APPROVED if decision.approve else Status.DENIED
    settle(conn, approval, status, by=by.id, where=decision.where, comment=decision.comment)
    unpark(conn, approval.conversation_id)
    settled = get(conn, by.tenant_id, approval_id) or approval
    record(conn, audit_key, settled, str(status), by.id)
    return Decided(approval=settled, first=True)


NO_APPROVAL = Rejected(
    code="not_found",
    sentence=sentence("There is no such request for approval."),
)
MAY_NOT = Rejected(
    code="not_allowed",
    sentence=sentence("Only an operator or an admin of the team may decide about this."),
)
_TOO_LATE = Rejected(
    code="approval_expired",
    sentence=sentence("It is too late: nobody decided in time, and the request has expired."),
)
_FOUR_EYES = Rejected(
    code="four_eyes",
    sentence=sentence(
        "You asked for it yourself, and it needs a second pair of eyes: another operator or admin "
        "has to approve it."
    ),
)


def void_of(conn: sa.Connection, tenant_id: str, user_id: str) -> None:
    """Somebody left: what they asked for and is not begun needs no decision, and has none."""
    open_ones = (
        " FROM approvals WHERE tenant_id = :tenant AND asked_by = :user"
        " AND status IN ('pending', 'approved') AND used_at IS NULL"
    )
    waiting = execute(
        conn, f"SELECT DISTINCT conversation_id{open_ones}", tenant=tenant_id, user=user_id
    ).all()
    for row in sorted(waiting, key=repr):
        unpark(conn, text(row[0]))
    execute(
        conn,
        "UPDATE approvals SET status = 'void', decided_at = {now}"
        f" WHERE id IN (SELECT id{open_ones})",
        tenant=tenant_id,
        user=user_id,
    )


def unpark(conn: sa.Connection, conversation_id: str) -> None:
    """Let the conversation's turn go on at once."""
    execute(
        conn,
        "UPDATE conversations SET parked_until = NULL WHERE id = :id",
        id=conversation_id,
    )
    if conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")


def pending(conn: sa.Connection, tenant_id: str) -> tuple[Approval, ...]:
    """What waits for a decision that can still be made, the oldest first; at most 100."""
    rows = execute(
        conn,
        f"SELECT {COLUMNS} FROM approvals a WHERE a.status = 'pending'"
        " AND a.tenant_id = :tenant AND a.expires_at > {now} ORDER BY a.created_at, a.id LIMIT :n",
        tenant=tenant_id,
        n=MOST_LISTED,
    ).all()
    return tuple(approval_of(row) for row in rows)


def _listed(
    conn: sa.Connection, tenant_id: str, status: Status | None, limit: int
) -> tuple[Approval, ...]:
    rows = execute(
        conn,
        f"SELECT {COLUMNS} FROM approvals a WHERE a.tenant_id = :tenant"
        " AND a.status = COALESCE(CAST(:status AS TEXT), a.status)"
        " ORDER BY a.created_at DESC, a.id DESC LIMIT :n",
        tenant=tenant_id,
        status=None if status is None else str(status),
        n=min(limit, MOST_LISTED),
    ).all()
    return tuple(approval_of(row) for row in rows)


def tell(conn: sa.Connection, approval: Approval) -> None:
    """Ask everybody else who may decide, where they read their private messages."""
    rows = execute(
        conn,
        "SELECT id FROM users WHERE tenant_id = :tenant AND role IN ('operator', 'admin')"
        " AND disabled_at IS NULL AND id <> :asker ORDER BY role, id LIMIT :most",
        tenant=approval.tenant_id,
        asker=approval.asked_by,
        most=MOST_TOLD,
    ).all()
    for row in rows:
        announce(
            conn,
            tenant_id=approval.tenant_id,
            user_id=text(row[0]),
            conversation_id=None,
            key=f"{NOTICE}{approval.id}",
            message=announced(approval),
            at_ms=approval.created_at_ms,
        )


def announce_pending(conn: sa.Connection, tenant_id: str, user_id: str, at_ms: int) -> int:
    """Tell one person of everything that waits; returns how many that is."""
    waiting = pending(conn, tenant_id)
    for approval in waiting:
        announce(
            conn,
            tenant_id=tenant_id,
            user_id=user_id,
            conversation_id=None,
            key=f"{NOTICE}{approval.id}",
            message=announced(approval),
            at_ms=at_ms,
        )
    return len(waiting)
