"""Approvals of running turns: asked once a call, used up once, void when the turn is over."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from core.agent_config import OnTimeout
from core.approvals import Approval, Question, Status
from core.errors import It0Error
from core.ids import new_id
from core.steps import ToolStartedStep
from core.turns import Turn
from storage.approval_desk import tell
from storage.approval_rows import COLUMNS, SYSTEM, approval_of, get, record, settle
from storage.database import Database, execute, now_ms
from storage.holding import hold
from storage.rows import integer, text


class UsedUp(It0Error):
    """The approval of a call that is about to begin is not there, or was used: nothing runs."""

    code = "approval_used"


class SqlApprovals:
    """Implements ``core.approvals.ApprovalStore``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` signs the audit chain."""
        self._db = db
        self._audit_key = audit_key

    async def ask(self, turn: Turn, question: Question) -> Approval:
        """See the port."""
        return await self._db.transaction(_ask, self._audit_key, turn, question)

    async def of_call(self, turn: Turn, call_id: str) -> Approval | None:
        """See the port."""
        return await self._db.transaction(_of_call, self._audit_key, turn, call_id)

    async def by_plan(self, turn: Turn, call_id: str, digest: str) -> Approval | None:
        """See the port."""
        return await self._db.transaction(_by_plan, turn, call_id, digest)

    async def tell(self, approval: Approval) -> None:
        """See the port."""
        await self._db.transaction(tell, approval)


def _ask(conn: sa.Connection, audit_key: bytes, turn: Turn, question: Question) -> Approval:
    hold(conn, turn)
    at = now_ms(conn)
    row = execute(
        conn,
        "INSERT INTO approvals (id, tenant_id, turn_id, conversation_id, call_id, digest, tool,"
        " level, card, asked_by, four_eyes, on_timeout, status, created_at, expires_at) VALUES"
        " (:id, :tenant, :turn, :cid, :call, :digest, :tool, :level, :card, :by, :four_eyes,"
        " :on_timeout, 'pending', :at, :expires)"
        " ON CONFLICT (turn_id, call_id) DO NOTHING RETURNING id",
        id=new_id("appr"),
        tenant=turn.tenant_id,
        turn=turn.id,
        cid=turn.conversation_id,
        call=question.call_id,
        digest=question.digest,
        tool=question.card.tool,
        level=question.level.name,
        card=question.card.dump(),
        by=question.asked_by,
        four_eyes=int(question.four_eyes),
        on_timeout=str(question.on_timeout),
        at=at,
        expires=at + question.timeout_s * 1000,
    ).first()
    if row is not None:
        _ask_steps(conn, turn.tenant_id, text(row[0]), question.steps)
    approval = _found(conn, "a.turn_id = :turn AND a.call_id = :call", turn, question.call_id)
    if approval is None:
        message = "a question that was just stored is not there"
        raise RuntimeError(message)
    if row is not None:
        record(conn, audit_key, approval, "asked", turn.user.id)
    return approval


def _ask_steps(
    conn: sa.Connection, tenant_id: str, approval_id: str, digests: Sequence[str]
) -> None:
    for n, digest in enumerate(digests, start=1):
        execute(
            conn,
            "INSERT INTO approval_steps (approval_id, n, tenant_id, digest)"
            " VALUES (:id, :n, :tenant, :digest)",
            id=approval_id,
            n=n,
            tenant=tenant_id,
            digest=digest,
        )


def _of_call(conn: sa.Connection, audit_key: bytes, turn: Turn, call_id: str) -> Approval | None:
    hold(conn, turn)
    approval = _found(conn, "a.turn_id = :turn AND a.call_id = :call", turn, call_id)
    if approval is None or approval.status is not Status.PENDING:
        return approval
    if approval.expires_at_ms > now_ms(conn):
        return approval
    approves = approval.on_timeout is OnTimeout.APPROVE
    status = Status.APPROVED if approves else Status.EXPIRED
    settle(conn, approval, status, by=SYSTEM, where="timeout", comment="")
    settled = _found(conn, "a.turn_id = :turn AND a.call_id = :call", turn, call_id)
    if settled is not None:
        record(conn, audit_key, settled, str(status), SYSTEM)
    return settled


def _found(conn: sa.Connection, which: str, turn: Turn, call_id: str) -> Approval | None:
    row = execute(
        conn,
        f"SELECT {COLUMNS} FROM approvals a WHERE {which} AND a.tenant_id = :tenant",
        turn=turn.id,
        call=call_id,
        tenant=turn.tenant_id,
    ).first()
    return None if row is None else approval_of(row)


_NEXT_STEP = """
SELECT s.approval_id, s.n, s.digest FROM approvals a
 JOIN approval_steps s ON s.approval_id = a.id AND s.tenant_id = a.tenant_id
WHERE a.turn_id = :turn AND a.tenant_id = :tenant AND a.status = 'approved'
  AND s.call_id IS NULL ORDER BY a.created_at DESC, a.id DESC, s.n LIMIT 1
"""


def _by_plan(conn: sa.Connection, turn: Turn, call_id: str, digest: str) -> Approval | None:
    hold(conn, turn)
    mine = execute(
        conn,
        "SELECT s.approval_id FROM approvals a JOIN approval_steps s ON s.approval_id = a.id"
        " WHERE a.turn_id = :turn AND a.tenant_id = :tenant AND s.call_id = :call"
        " AND s.digest = :digest",
        turn=turn.id,
        tenant=turn.tenant_id,
        call=call_id,
        digest=digest,
    ).first()
    if mine is None:
        step = execute(conn, _NEXT_STEP, turn=turn.id, tenant=turn.tenant_id).first()
        if step is None or step[2] != digest or _plan_broke(conn, turn, text(step[0])):
            return None
        execute(
            conn,
            "UPDATE approval_steps SET call_id = :call WHERE approval_id = :id AND n = :n",
            call=call_id,
            id=text(step[0]),
            n=integer(step[1]),
        )
        mine = step
    return get(conn, turn.tenant_id, text(mine[0]))


def _plan_broke(conn: sa.Connection, turn: Turn, approval_id: str) -> bool:
    """A step failed, or nobody knows how it ended: what follows was planned on other ground."""
    used = execute(
        conn,
        "SELECT call_id FROM approval_steps WHERE approval_id = :id AND call_id IS NOT NULL",
        id=approval_id,
    ).all()
    calls = {text(row[0]) for row in used}
    done = execute(
        conn,
        "SELECT payload FROM turn_steps WHERE turn_id = :turn AND kind = 'tool' ORDER BY n",
        turn=turn.id,
    ).all()
    ran = {call for call, failed in map(_outcome, done) if not failed}
    return not calls <= ran


def _outcome(row: Sequence[object]) -> tuple[str, bool]:
    payload = json.loads(text(row[0]))
    return str(payload["id"]), bool(payload["is_error"])


def use(conn: sa.Connection, turn: Turn, step: ToolStartedStep) -> None:
    """Use an approval up, in the transaction in which its call begins. Raises ``UsedUp``."""
    planned = execute(
        conn,
        "SELECT 1 FROM approval_steps s JOIN approvals a ON a.id = s.approval_id"
        " WHERE s.approval_id = :id AND s.call_id = :call AND a.turn_id = :turn"
        " AND a.tenant_id = :tenant AND a.status = 'approved'",
        id=step.approval_id,
        call=step.tool_call_id,
        turn=turn.id,
        tenant=turn.tenant_id,
    ).first()
    if planned is not None:
        return
    used = execute(
        conn,
        "UPDATE approvals SET used_at = {now} WHERE id = :id AND call_id = :call"
        " AND turn_id = :turn AND tenant_id = :tenant AND status = 'approved'"
        " AND used_at IS NULL RETURNING id",
        id=step.approval_id,
        call=step.tool_call_id,
        turn=turn.id,
        tenant=turn.tenant_id,
    ).first()
    if used is None:
        raise UsedUp("The approval of this call is not valid any more: nothing was run.")


def void(conn: sa.Connection, turn: Turn) -> None:
    """The turn has ended: nobody has to decide about its calls any more."""
    execute(
        conn,
        "UPDATE approvals SET status = 'void', decided_at = {now}"
        " WHERE turn_id = :turn AND tenant_id = :tenant AND status = 'pending'",
        turn=turn.id,
        tenant=turn.tenant_id,
    )
