"""Control commands, carried out at ingest: ``/stop``, and the stop that INTERRUPT implies."""

from __future__ import annotations

import sqlalchemy as sa

from core.inbox import ControlDone, Rejected
from core.messages import InboundMessage
from storage.database import execute
from storage.places import NO_CONVERSATION, STRANGER, find, sender
from storage.rows import text


def stop(conn: sa.Connection, message: InboundMessage) -> ControlDone | Rejected:
    """Ask every unfinished turn of the conversation to stop, once per event."""
    who = sender(conn, message)
    if who is None:
        return STRANGER
    user = who[0]
    before = execute(
        conn,
        "SELECT conversation_id, reply FROM controls WHERE event_id = :event"
        " AND tenant_id = :tenant AND user_id = :user",
        event=message.event_id,
        tenant=user.tenant_id,
        user=user.id,
    ).first()
    if before is not None:
        return ControlDone(conversation_id=text(before[0]), reply=text(before[1]))
    conversation_id = find(conn, user, message)
    if conversation_id is None:
        return NO_CONVERSATION
    stopped = cancel_before(conn, conversation_id, 2**62)
    match len(stopped):
        case 0:
            reply = "Nothing is running in this conversation."
        case 1:
            reply = "Stopped."
        case count:
            reply = f"Stopped, with {count - 1} waiting message{'s' * (count > 2)}."  # noqa: PLR2004
    execute(
        conn,
        "INSERT INTO controls (event_id, tenant_id, conversation_id, user_id, reply, created_at)"
        " VALUES (:event, :tenant, :cid, :user, :reply, {now}) ON CONFLICT DO NOTHING",
        event=message.event_id,
        tenant=user.tenant_id,
        cid=conversation_id,
        user=user.id,
        reply=reply,
    )
    return ControlDone(conversation_id=conversation_id, reply=reply, stopped=stopped)


def cancel_before(conn: sa.Connection, conversation_id: str, seq: int) -> tuple[str, ...]:
    """Ask the unfinished turns before ``seq`` to stop, in this process or another."""
    rows = execute(
        conn,
        "UPDATE turns SET cancel_at = {now} WHERE conversation_id = :cid AND seq < :seq"
        " AND seq > (SELECT done_seq FROM conversations WHERE id = :cid)"
        " AND status IN ('queued', 'running') AND cancel_at IS NULL RETURNING id",
        cid=conversation_id,
        seq=seq,
    ).all()
    if conn.dialect.name == "postgresql":
        for row in rows:
            execute(conn, "SELECT pg_notify('stop', CAST(:id AS TEXT))", id=text(row[0]))
    return tuple(text(row[0]) for row in rows)
