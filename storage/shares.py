"""Conversations that their owner lets a colleague resume."""

from __future__ import annotations

import sqlalchemy as sa

from core.audit import AuditEntry
from core.commands_conversations import ConversationInfo, Shared
from core.turns import Turn
from storage.audit import append_audit
from storage.database import Database, execute
from storage.erasure import owned
from storage.rows import integer, text


class SqlShares:
    """Implements ``core.commands_conversations.Shares``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` chains the row that each consent leaves."""
        self._db = db
        self._key = audit_key

    async def share(self, turn: Turn, conversation_id: str, email: str) -> Shared:
        """See the port."""
        return await self._db.transaction(_share, self._key, turn, conversation_id, email)

    async def shared_with(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """See the port."""
        return await self._db.read(_shared_with, tenant_id, user_id, limit)


def _share(conn: sa.Connection, key: bytes, turn: Turn, conversation_id: str, email: str) -> Shared:
    # Locked: a deletion either finds the share, or comes first and leaves nothing to share.
    if not owned(conn, turn.tenant_id, turn.user.id, conversation_id, lock="{row}"):
        return Shared.NOT_YOURS
    row = execute(
        conn,
        "SELECT id FROM users WHERE tenant_id = :tenant AND email = :email AND disabled_at IS NULL",
        tenant=turn.tenant_id,
        email=email,
    ).first()
    if row is None or text(row[0]) == turn.user.id:
        return Shared.NOBODY
    made = execute(
        conn,
        "INSERT INTO shares (conversation_id, user_id, tenant_id, created_at)"
        " VALUES (:cid, :user, :tenant, {now}) ON CONFLICT DO NOTHING RETURNING user_id",
        cid=conversation_id,
        user=text(row[0]),
        tenant=turn.tenant_id,
    ).first()
    if made is not None:
        entry = AuditEntry(
            actor=turn.user.id,
            action="conversation.shared",
            turn_id=turn.id,
            detail={"conversation": conversation_id, "user": text(row[0])},
        )
        append_audit(conn, key, turn.tenant_id, entry)
    return Shared.DONE


def allowed(conn: sa.Connection, turn: Turn, conversation_id: str) -> bool:
    """Whether its owner lets the turn's user resume the conversation; it stays so until then."""
    row = execute(
        conn,
        "SELECT 1 FROM conversations c JOIN shares s ON s.conversation_id = c.id"
        " AND s.tenant_id = c.tenant_id WHERE c.id = :cid AND c.tenant_id = :tenant"
        " AND s.user_id = :user AND c.deleted_at IS NULL{share}",
        cid=conversation_id,
        tenant=turn.tenant_id,
        user=turn.user.id,
    ).first()
    return row is not None


def _shared_with(
    conn: sa.Connection, tenant_id: str, user_id: str, limit: int
) -> tuple[ConversationInfo, ...]:
    rows = execute(
        conn,
        "SELECT c.id, c.title, c.platform, c.channel, c.updated_at, c.last_seq, u.name"
        " FROM shares s JOIN conversations c ON c.id = s.conversation_id"
        " AND c.tenant_id = s.tenant_id JOIN users u ON u.id = c.user_id"
        " WHERE s.tenant_id = :tenant AND s.user_id = :user AND c.deleted_at IS NULL"
        " ORDER BY c.updated_at DESC, c.id DESC LIMIT :n",
        tenant=tenant_id,
        user=user_id,
        n=limit,
    ).all()
    return tuple(
        ConversationInfo(
            id=text(row[0]),
            title=text(row[1]),
            platform=text(row[2]),
            channel=text(row[3]),
            updated_at_ms=integer(row[4]),
            turns=integer(row[5]),
            owner=text(row[6]),
        )
        for row in rows
    )
