"""Standing orders and their runs as rows, and where an order's turns are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.audit import AuditEntry
from core.commands_text import is_shared
from core.ids import new_id
from core.messages import ConversationAddress
from core.order_runs import run_text
from core.schedule import Schedule
from core.standing_orders import (
    DEFAULT_BUDGET_TOKENS,
    Misfire,
    OrderRun,
    OrderState,
    RunState,
    StandingOrder,
)
from storage.audit import append_audit
from storage.database import execute
from storage.places import linked_tenant, where
from storage.rows import integer, optional_text, text

ORDERS = (
    "SELECT id, tenant_id, name, created_by, conversation_id, prompt, cron, timezone, misfire,"
    " condition, budget_tokens, next_run_at, state, problem, failures, revision, created_at,"
    " updated_at FROM standing_orders"
)


def order_of(row: Sequence[object]) -> StandingOrder:
    """A row of ``ORDERS``."""
    return StandingOrder(
        id=text(row[0]),
        tenant_id=text(row[1]),
        name=text(row[2]),
        created_by=text(row[3]),
        conversation_id=text(row[4]),
        prompt=text(row[5]),
        schedule=Schedule(cron=text(row[6]), timezone=text(row[7])),
        misfire=Misfire(text(row[8])),
        condition=text(row[9]),
        budget_tokens=DEFAULT_BUDGET_TOKENS if row[10] is None else integer(row[10]),
        next_run_at_ms=None if row[11] is None else integer(row[11]),
        state=OrderState(text(row[12])),
        problem=text(row[13]),
        failures=integer(row[14]),
        revision=integer(row[15]),
        created_at_ms=integer(row[16]),
        updated_at_ms=integer(row[17]),
    )


def find_order(
    conn: sa.Connection, tenant_id: str, order_id: str, *, lock: str = ""
) -> StandingOrder | None:
    """One of the team's that is not deleted."""
    row = execute(
        conn,
        f"{ORDERS} WHERE id = :id AND tenant_id = :tenant AND state <> 'deleted'{lock}",
        id=order_id,
        tenant=tenant_id,
    ).first()
    return None if row is None else order_of(row)


def runs_of(
    conn: sa.Connection, tenant_id: str, order_id: str, most: int, *, at_ms: int | None = None
) -> tuple[OrderRun, ...]:
    """The newest first; with ``at_ms`` the one of that due time."""
    rows = execute(
        conn,
        "SELECT order_id, due_at, state, turn_id, reason, manual, created_at FROM order_runs"
        " WHERE order_id = :id AND tenant_id = :tenant"
        " AND (CAST(:at AS BIGINT) IS NULL OR due_at = :at) ORDER BY due_at DESC LIMIT :most",
        id=order_id,
        tenant=tenant_id,
        most=most,
        at=at_ms,
    ).all()
    return tuple(
        OrderRun(
            order_id=text(row[0]),
            due_at_ms=integer(row[1]),
            state=RunState(text(row[2])),
            turn_id=optional_text(row[3]),
            reason=text(row[4]),
            manual=bool(integer(row[5])),
            created_at_ms=integer(row[6]),
        )
        for row in rows
    )


def add_run(  # what a row of a run has
    conn: sa.Connection,
    order: StandingOrder,
    due_ms: int,
    state: RunState,
    *,
    reason: str = "",
    turn_id: str | None = None,
    manual: bool = False,
) -> bool:
    """Record what becomes of a due time; False: that was recorded before."""
    row = execute(
        conn,
        "INSERT INTO order_runs (order_id, due_at, tenant_id, state, turn_id, reason, manual,"
        " created_at) VALUES (:id, :due, :tenant, :state, :turn, :reason, :manual, {now})"
        " ON CONFLICT (order_id, due_at) DO NOTHING RETURNING due_at",
        id=order.id,
        due=due_ms,
        tenant=order.tenant_id,
        state=str(state),
        turn=turn_id,
        reason=reason,
        manual=int(manual),
    ).first()
    return row is not None


def unfinished(conn: sa.Connection, order_id: str) -> bool:
    """Whether a turn of one of its last runs is not over."""
    row = execute(
        conn,
        "SELECT 1 FROM (SELECT turn_id FROM order_runs WHERE order_id = :id"
        " AND turn_id IS NOT NULL ORDER BY due_at DESC LIMIT 5) r"
        " JOIN turns t ON t.id = r.turn_id WHERE t.status <> 'done' LIMIT 1",
        id=order_id,
    ).first()
    return row is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a person is answered in a conversation, and under which account."""

    address: ConversationAddress
    sender: str
    language: str


# Where they wrote last, with an account that is still theirs.
_LAST = """
SELECT t.platform, t.workspace, t.channel, t.thread, t.sender, COALESCE(u.language, t.language)
FROM conversations c JOIN turns t ON t.conversation_id = c.id AND t.tenant_id = c.tenant_id
 JOIN users u ON u.id = t.user_id AND u.tenant_id = c.tenant_id
WHERE c.tenant_id = :tenant AND c.id = :cid AND c.deleted_at IS NULL AND t.user_id = :user
 AND EXISTS (SELECT 1 FROM identities i WHERE i.user_id = t.user_id
  AND i.tenant_id = c.tenant_id AND i.external_id = t.sender
  AND i.platform IN (t.platform, 'it0'))
ORDER BY t.seq DESC LIMIT 1
"""
# A conversation over the API in which nobody wrote yet.
_OWN = """
SELECT c.platform, c.workspace, c.channel, c.thread, c.user_id, COALESCE(u.language, '')
FROM conversations c JOIN users u ON u.id = c.user_id AND u.tenant_id = c.tenant_id
WHERE c.tenant_id = :tenant AND c.id = :cid AND c.deleted_at IS NULL AND c.user_id = :user
 AND c.platform IN ('api', 'web')
"""


def seat_of(conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str) -> Seat | None:
    """Where the person is told; None: the conversation, or their account there, is gone."""
    for statement in (_LAST, _OWN):
        row = execute(conn, statement, tenant=tenant_id, user=user_id, cid=conversation_id).first()
        if row is not None:
            break
    else:
        return None
    address = ConversationAddress(
        platform=text(row[0]), workspace=text(row[1]), channel=text(row[2]), thread=text(row[3])
    )
    if is_shared(address):
        group = address.workspace if address.platform == "slack" else address.channel
        if linked_tenant(conn, address.platform, group) != tenant_id:
            return None
    return Seat(address=address, sender=text(row[4]), language=text(row[5]))


def lock_conversation(conn: sa.Connection, tenant_id: str, conversation_id: str) -> None:
    """Before the order's row, wherever both are locked: as the end of a turn does."""
    execute(
        conn,
        "SELECT id FROM conversations WHERE id = :id AND tenant_id = :tenant{row}",
        id=conversation_id,
        tenant=tenant_id,
    ).first()


_NEXT = """
UPDATE conversations SET last_seq = last_seq + 1, updated_at = {now},
 ready_at = CASE WHEN done_seq = last_seq
  AND NOT (ready_at > {now} AND ready_at <= {now} + 120000) THEN {now} ELSE ready_at END
WHERE id = :cid AND tenant_id = :tenant AND deleted_at IS NULL RETURNING last_seq
"""
_INSERT = """
INSERT INTO turns (id, tenant_id, conversation_id, seq, user_id, event_id, kind, overlap,
                   platform, workspace, channel, thread, text, attachments, status, sender,
                   language, order_id, created_at)
VALUES (:id, :tenant, :cid, :seq, :user, :event, 'message', 'queue', :platform, :workspace,
        :channel, :thread, :text, '[]', 'queued', :sender, :language, :order, {now})
"""


def queue_turn(conn: sa.Connection, order: StandingOrder, due_ms: int, seat: Seat) -> str:
    """The run's turn, behind whatever waits in the conversation, which is locked."""
    turn_id = new_id("turn")
    seq = execute(conn, _NEXT, cid=order.conversation_id, tenant=order.tenant_id).one()[0]
    execute(
        conn,
        _INSERT,
        id=turn_id,
        tenant=order.tenant_id,
        cid=order.conversation_id,
        seq=integer(seq),
        user=order.created_by,
        event=f"order/{order.id}/{due_ms}",
        text=run_text(order.prompt, order.condition),
        sender=seat.sender,
        language=seat.language,
        order=order.id,
        **where(seat.address),
    )
    if conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")
    return turn_id


def note(  # what a row of the audit log has
    conn: sa.Connection,
    key: bytes,
    order: StandingOrder,
    action: str,
    *,
    actor: str,
    turn_id: str = "",
    **detail: str | int,
) -> None:
    """An audit row about the order, in the caller's transaction."""
    entry = AuditEntry(
        actor=actor, action=action, turn_id=turn_id, detail={"order": order.id, **detail}
    )
    append_audit(conn, key, order.tenant_id, entry)
