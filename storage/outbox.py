"""The outbox: events stored with what they tell of, and sent on later, at least once each.

An event is written in the transaction of its fact, so that neither exists without the other.
The relay (``billing.relay``) takes the unsent ones to the bus. A row is one of: unsent, sent
(``sent_at``), or put aside (``problem``), which an operator has to look at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa

from storage.database import execute


def publish(
    conn: sa.Connection,
    event_id: str,
    tenant_id: str,
    kind: str,
    payload: Mapping[str, object],
    at_ms: int,
) -> None:
    """Store an event in the caller's transaction; the first one of an id counts.

    The id is made from the fact, such as ``usage/CALL``, so that a fact which is stored twice
    is told once. ``tenant_id`` is empty for what concerns the installation alone.
    """
    execute(
        conn,
        "INSERT INTO outbox (id, tenant_id, kind, payload, created_at)"
        " VALUES (:id, :tenant, :kind, :payload, :at) ON CONFLICT (id) DO NOTHING",
        id=event_id,
        tenant=tenant_id,
        kind=kind,
        payload=json.dumps(dict(payload), ensure_ascii=False),
        at=at_ms,
    )


def drained(conn: sa.Connection, before_ms: int, tenant_id: str) -> bool:
    """Whether the aggregates hold every settled call that was made before ``before_ms``.

    Walks the unsent events, of which there are few. One that was put aside counts as waiting:
    an invoice must not be made of figures that are known to lack a call.
    """
    row = execute(
        conn,
        "SELECT 1 FROM outbox o WHERE o.sent_at IS NULL AND o.kind = 'usage.recorded'"
        " AND o.tenant_id = :tenant AND EXISTS (SELECT 1 FROM model_calls m"
        " WHERE 'usage/' || m.id = o.id AND m.created_at < :before) LIMIT 1",
        tenant=tenant_id,
        before=before_ms,
    ).first()
    return row is None
