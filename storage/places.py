"""Who writes, and in which conversation: the person behind an actor, the place of a message."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.ids import new_id
from core.messages import Actor, ConversationAddress, InboundMessage
from core.refusals import STRANGER, UNLINKED, Rejected
from core.tenants import Role, User
from storage.database import execute
from storage.rows import optional_text, text

_WHO = """
SELECT u.id, u.tenant_id, u.email, u.name, u.role, t.engine, u.language
FROM identities i JOIN users u ON u.id = i.user_id JOIN tenants t ON t.id = u.tenant_id
WHERE i.platform = :platform AND i.workspace = :workspace AND i.external_id = :external_id
  AND (CAST(:tenant AS TEXT) IS NULL OR i.tenant_id = :tenant) AND u.disabled_at IS NULL
ORDER BY i.chosen_at DESC, i.created_at, i.tenant_id LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who wrote, as the message's tenant knows them."""

    user: User
    engine: str | None
    """The tenant's default engine."""
    language: str
    """Their choice, else what their platform says, else empty."""


def sender(conn: sa.Connection, actor: Actor, group: str | None) -> Sender | Rejected:
    """The person who wrote: in a linked group its tenant's user, else of the tenant they chose."""
    tenant: str | None = None
    if group is not None:
        tenant = linked_tenant(conn, actor.platform, group)
        if tenant is None:
            return UNLINKED
    row = execute(
        conn,
        _WHO,
        platform=actor.platform,
        workspace=actor.workspace,
        external_id=actor.external_id,
        tenant=tenant,
    ).first()
    if row is None:
        return STRANGER
    user = User(
        id=text(row[0]),
        tenant_id=text(row[1]),
        email=text(row[2]),
        name=text(row[3]),
        role=Role(text(row[4])),
    )
    language = optional_text(row[6]) or actor.language
    return Sender(user=user, engine=optional_text(row[5]), language=language)


def linked_tenant(conn: sa.Connection, platform: str, group: str) -> str | None:
    """The tenant that a shared place belongs to."""
    row = execute(
        conn,
        "SELECT tenant_id FROM links WHERE platform = :platform AND group_id = :group",
        platform=platform,
        group=group,
    ).first()
    return None if row is None else text(row[0])


_MOVE_LINK = """
UPDATE links SET group_id = :new WHERE platform = :platform AND group_id = :old AND NOT EXISTS
 (SELECT 1 FROM links n WHERE n.platform = :platform AND n.group_id = :new)
"""
_MOVE_PLACES = """
UPDATE places SET channel = :new
WHERE platform = :platform AND workspace = :workspace AND channel = :old AND NOT EXISTS
 (SELECT 1 FROM places n WHERE n.tenant_id = places.tenant_id AND n.platform = :platform
  AND n.workspace = :workspace AND n.channel = :new AND n.thread = places.thread)
"""
_MOVE_TURNS = """
UPDATE turns SET channel = :new WHERE platform = :platform AND workspace = :workspace
 AND channel = :old AND (status <> 'done' OR delivered_at IS NULL)
"""


def move(conn: sa.Connection, old: ConversationAddress, new: ConversationAddress) -> None:
    """A channel got another id. What stands at the new one already stays."""
    for statement in (_MOVE_LINK, _MOVE_PLACES, _MOVE_TURNS):
        execute(
            conn,
            statement,
            platform=old.platform,
            workspace=old.workspace,
            old=old.channel,
            new=new.channel,
        )


def find(conn: sa.Connection, user: User, message: InboundMessage) -> str | None:
    """The conversation that the message names, or that its place points to.

    Named may be one's own, or one that its owner shared.
    """
    if message.conversation_id is not None:
        row = execute(
            conn,
            "SELECT c.id FROM conversations c WHERE c.id = :id AND c.tenant_id = :tenant"
            " AND (c.user_id = :user OR EXISTS (SELECT 1 FROM shares s WHERE s.conversation_id"
            " = c.id AND s.user_id = :user AND s.tenant_id = :tenant)) AND c.deleted_at IS NULL",
            id=message.conversation_id,
            tenant=user.tenant_id,
            user=user.id,
        ).first()
    else:
        row = execute(conn, _PLACE, tenant=user.tenant_id, **where(message.address)).first()
    return None if row is None else text(row[0])


_PLACE = """
SELECT p.conversation_id FROM places p JOIN conversations c ON c.id = p.conversation_id
WHERE p.tenant_id = :tenant AND p.platform = :platform AND p.workspace = :workspace
  AND p.channel = :channel AND p.thread = :thread AND c.deleted_at IS NULL
"""


def where(address: ConversationAddress) -> dict[str, str]:
    """The columns of an address."""
    return {
        "platform": address.platform,
        "workspace": address.workspace,
        "channel": address.channel,
        "thread": address.thread,
    }


def create(conn: sa.Connection, user: User, message: InboundMessage, title: str) -> str:
    """Create the place's conversation; of two that race, the second uses the first's.

    A place that still points to a deleted conversation gets the new one.
    """
    conversation_id = new_id("conv")
    place = execute(
        conn,
        "INSERT INTO places (tenant_id, platform, workspace, channel, thread, conversation_id)"
        " VALUES (:tenant, :platform, :workspace, :channel, :thread, :cid)"
        " ON CONFLICT (tenant_id, platform, workspace, channel, thread)"
        " DO UPDATE SET conversation_id = excluded.conversation_id WHERE EXISTS"
        " (SELECT 1 FROM conversations c WHERE c.id = places.conversation_id"
        " AND c.deleted_at IS NOT NULL) RETURNING conversation_id",
        tenant=user.tenant_id,
        cid=conversation_id,
        **where(message.address),
    ).first()
    if place is None:
        row = execute(conn, _PLACE, tenant=user.tenant_id, **where(message.address)).first()
        return text(row[0]) if row else create(conn, user, message, title)
    insert_conversation(conn, user, conversation_id, message.address, title)
    return conversation_id


def insert_conversation(
    conn: sa.Connection,
    user: User,
    conversation_id: str,
    address: ConversationAddress,
    title: str,
) -> None:
    """Store a conversation without messages."""
    execute(
        conn,
        "INSERT INTO conversations (id, tenant_id, user_id, platform, workspace, channel, thread,"
        " title, created_at, updated_at) VALUES (:id, :tenant, :user, :platform, :workspace,"
        " :channel, :thread, :title, {now}, {now})",
        id=conversation_id,
        tenant=user.tenant_id,
        user=user.id,
        title=title,
        **where(address),
    )
