"""Rows of approvals: reading one, settling one, and what goes on record."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from core.agent_config import OnTimeout
from core.approvals import Approval, Card, Status
from core.audit import AuditEntry
from storage.audit import append_audit
from storage.database import execute
from storage.rows import integer, optional_text, text

SYSTEM = "system"
"""Who decided when a timeout did."""

COLUMNS = """
 a.id, a.tenant_id, a.turn_id, a.conversation_id, a.call_id, a.digest, a.card, a.asked_by,
 a.four_eyes, a.on_timeout, a.status, a.created_at, a.expires_at, a.decided_by, a.decided_where,
 a.comment, a.decided_at, a.used_at,
 (SELECT COALESCE(NULLIF(u.name, ''), u.email) FROM users u
   WHERE u.id = a.decided_by AND u.tenant_id = a.tenant_id)
"""


def get(conn: sa.Connection, tenant_id: str, approval_id: str) -> Approval | None:
    """One of the tenant's."""
    row = execute(
        conn,
        f"SELECT {COLUMNS} FROM approvals a WHERE a.id = :id AND a.tenant_id = :tenant",
        id=approval_id,
        tenant=tenant_id,
    ).first()
    return None if row is None else approval_of(row)


def approval_of(row: Sequence[object]) -> Approval:
    """A row of ``COLUMNS``."""
    decided_by = optional_text(row[13]) or ""
    return Approval(
        id=text(row[0]),
        tenant_id=text(row[1]),
        turn_id=text(row[2]),
        conversation_id=text(row[3]),
        call_id=text(row[4]),
        digest=text(row[5]),
        card=Card.load(text(row[6])),
        asked_by=text(row[7]),
        four_eyes=bool(integer(row[8])),
        on_timeout=OnTimeout(text(row[9])),
        status=Status(text(row[10])),
        created_at_ms=integer(row[11]),
        expires_at_ms=integer(row[12]),
        decided_by=decided_by,
        decided_where=optional_text(row[14]) or "",
        comment=text(row[15]),
        decided_at_ms=None if row[16] is None else integer(row[16]),
        used=row[17] is not None,
        decided_by_name=optional_text(row[18]) or decided_by,
    )


def settle(
    conn: sa.Connection, approval: Approval, status: Status, *, by: str, where: str, comment: str
) -> None:
    """Write what became of a pending one."""
    execute(
        conn,
        "UPDATE approvals SET status = :status, decided_by = :by, decided_where = :where,"
        " comment = :comment, decided_at = {now} WHERE id = :id AND status = 'pending'",
        status=str(status),
        by=by,
        where=where,
        comment=comment,
        id=approval.id,
    )


def record(
    conn: sa.Connection, audit_key: bytes, approval: Approval, what: str, actor: str
) -> None:
    """An audit row: ``approval.asked``, ``approval.approved`` and so on."""
    card = approval.card
    detail: dict[str, str | int] = {
        "approval_id": approval.id,
        "call_id": approval.call_id,
        "tool": card.tool,
        "summary": card.action[:500],
        "level": card.level,
        "reasons": "; ".join(card.risks)[:1000],
        "digest": approval.digest,
    }
    if card.servers:
        detail["servers"] = ",".join(card.servers)[:500]
    if approval.decided_where:
        detail["where"] = approval.decided_where
    if approval.comment:
        detail["comment"] = approval.comment[:500]
    entry = AuditEntry(
        actor=actor, action=f"approval.{what}", turn_id=approval.turn_id, detail=detail
    )
    append_audit(conn, audit_key, approval.tenant_id, entry)
