"""What becomes of handovers when a conversation is erased."""

from __future__ import annotations

import sqlalchemy as sa

from storage.database import execute


def forget(conn: sa.Connection, tenant_id: str, conversation_id: str) -> None:
    """Take the text out of handovers that may quote a conversation which is erased.

    Its owner's own, whoever they were for; of a shared place everybody's.
    """
    execute(
        conn,
        "UPDATE handovers SET body = :gone WHERE tenant_id = :tenant AND EXISTS"
        " (SELECT 1 FROM conversations c WHERE c.id = :cid AND c.tenant_id = handovers.tenant_id"
        " AND handovers.created_at >= c.created_at AND handovers.since <= c.updated_at"
        " AND (handovers.from_user = c.user_id OR handovers.conversation_id = c.id"
        "  OR (c.platform = 'slack' AND SUBSTR(c.channel, 1, 1) <> 'D')"
        "  OR (c.platform = 'telegram' AND SUBSTR(c.channel, 1, 1) = '-')))",
        gone="A conversation that was named here has been deleted.",
        tenant=tenant_id,
        cid=conversation_id,
    )
