"""What was carried out at ingest, so that an event that comes again is answered the same."""

from __future__ import annotations

import sqlalchemy as sa

from core.inbox import ControlDone
from core.tenants import User
from storage.database import execute
from storage.rows import text


def done_before(conn: sa.Connection, user: User, event_id: str) -> ControlDone | None:
    """What this person's event was answered with before."""
    row = execute(
        conn,
        "SELECT conversation_id, reply FROM controls WHERE event_id = :event"
        " AND tenant_id = :tenant AND user_id = :user",
        event=event_id,
        tenant=user.tenant_id,
        user=user.id,
    ).first()
    return None if row is None else ControlDone(conversation_id=text(row[0]), reply=text(row[1]))


def done(conn: sa.Connection, user: User, event_id: str, conversation_id: str, reply: str) -> None:
    """Keep the answer with its event."""
    execute(
        conn,
        "INSERT INTO controls (event_id, tenant_id, conversation_id, user_id, reply, created_at)"
        " VALUES (:event, :tenant, :cid, :user, :reply, {now}) ON CONFLICT DO NOTHING",
        event=event_id,
        tenant=user.tenant_id,
        cid=conversation_id,
        user=user.id,
        reply=reply,
    )
