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

    async def unshare(self, turn: Turn, conversation_id: str, email: str) -> Shared:
        """See the port."""
        return await self._db.transaction(_unshare, self._key, turn, conversation_id, email)

    async def shared_with(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """See the port."""
        return await self._db.read(_shared_with, tenant_id, user_id, limit)


def _colleague(conn: sa.Connection, turn: Turn, conversation_id: str, email: str) -> str | Shared:
    """The id of the colleague, or why there is nothing to share with them."""
    # Locked: a deletion either finds the share, or comes first and leaves nothing to share.
    if not owned(conn, turn.tenant_id, turn.user.id, conversation_id, lock="{row}"):
        return Shared.NOT_YOURS
    row = execute(
        conn,
        "SELECT id FROM users WHERE tenant_id = :tenant AND email = :email AND disabled_at IS NULL",
        tenant=turn.tenant_id,
        email=email,
    ).first()
    return Shared.NOBODY if row is None or row[0] == turn.user.id else text(row[0])


def _share(conn: sa.Connection, key: bytes, turn: Turn, conversation_id: str, email: str) -> Shared:
    colleague = _colleague(conn, turn, conversation_id, email)
    if isinstance(colleague, Shared):
        return colleague
    made = execute(
        conn,
        "INSERT INTO shares (conversation_id, user_id, tenant_id, created_at)"
        " VALUES (:cid, :user, :tenant, {now}) ON CONFLICT DO NOTHING RETURNING user_id",
        cid=conversation_id,
        user=colleague,
        tenant=turn.tenant_id,
    ).first()
    if made is not None:
        _note(conn, key, turn, "conversation.shared", conversation_id, colleague)
    return Shared.DONE


# Places that the colleague moved to it, and where its owner never wrote in it.
_MOVE_OUT = """
DELETE FROM places WHERE conversation_id = :cid AND tenant_id = :tenant AND EXISTS
 (SELECT 1 FROM turns t WHERE t.tenant_id = :tenant AND t.user_id = :user
  AND (t.conversation_id = :cid OR t.continue_in = :cid) AND t.platform = places.platform
  AND t.workspace = places.workspace AND t.channel = places.channel AND t.thread = places.thread)
AND NOT EXISTS
 (SELECT 1 FROM turns t WHERE t.conversation_id = :cid AND t.user_id = :owner
  AND t.platform = places.platform AND t.workspace = places.workspace
  AND t.channel = places.channel AND t.thread = places.thread)
"""


def _unshare(
    conn: sa.Connection, key: bytes, turn: Turn, conversation_id: str, email: str
) -> Shared:
    colleague = _colleague(conn, turn, conversation_id, email)
    if isinstance(colleague, Shared):
        return colleague
    ended = execute(
        conn,
        "DELETE FROM shares WHERE conversation_id = :cid AND user_id = :user"
        " AND tenant_id = :tenant RETURNING user_id",
        cid=conversation_id,
        user=colleague,
        tenant=turn.tenant_id,
    ).first()
    if ended is not None:
        execute(
            conn,
            _MOVE_OUT,
            cid=conversation_id,
            tenant=turn.tenant_id,
            user=colleague,
            owner=turn.user.id,
        )
        _note(conn, key, turn, "conversation.unshared", conversation_id, colleague)
    return Shared.DONE


def _note(
    conn: sa.Connection, key: bytes, turn: Turn, action: str, conversation_id: str, colleague: str
) -> None:
    entry = AuditEntry(
        actor=turn.user.id,
        action=action,
        turn_id=turn.id,
        detail={"conversation": conversation_id, "user": colleague},
    )
    append_audit(conn, key, turn.tenant_id, entry)


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
