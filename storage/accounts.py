"""Accounts of chat platforms: who of each team they are, and what goes when they are nobody."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.audit import AuditEntry
from core.messages import Actor
from core.tenants import User
from storage.audit import append_audit
from storage.database import execute
from storage.people import LOCAL_PLATFORM, user_of_row
from storage.rows import text


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A live user that an account is."""

    user: User
    team: str


def known_as(conn: sa.Connection, actor: Actor) -> tuple[Known, ...]:
    """Everybody that the account is, of whichever team; first who it works as in private."""
    rows = execute(
        conn,
        "SELECT u.id, u.tenant_id, u.email, u.name, u.role, t.name FROM identities i"
        " JOIN users u ON u.id = i.user_id JOIN tenants t ON t.id = i.tenant_id"
        " WHERE i.platform = :platform AND i.workspace = :workspace AND i.external_id = :id"
        " AND u.disabled_at IS NULL ORDER BY i.chosen_at DESC, i.created_at, i.tenant_id",
        **_columns(actor),
    ).all()
    return tuple(Known(user=user_of_row(row), team=text(row[5])) for row in rows)


def identify(conn: sa.Connection, key: bytes, user: User, actor: Actor) -> None:
    """The account is this user from now on; whoever of the tenant it was before, it is no more.

    The team of somebody's first account counts in private chats; one that is added later waits
    to be chosen.
    """
    was = known_as(conn, actor)
    before = next((one.user for one in was if one.user.tenant_id == user.tenant_id), None)
    if before is not None and before.id != user.id:
        forget(conn, key, before, actor, by=user.id, turn_id="")
    execute(
        conn,
        "INSERT INTO identities (platform, workspace, external_id, tenant_id, user_id, created_at,"
        " chosen_at) VALUES (:platform, :workspace, :id, :tenant, :user, {now},"
        " CASE WHEN CAST(:chosen AS BIGINT) = 1 THEN {now} ELSE 0 END)"
        " ON CONFLICT (platform, workspace, external_id, tenant_id)"
        " DO UPDATE SET user_id = excluded.user_id, chosen_at = excluded.chosen_at",
        tenant=user.tenant_id,
        user=user.id,
        chosen=int(not was or was[0].user.tenant_id == user.tenant_id),
        **_columns(actor),
    )
    execute(
        conn,
        "DELETE FROM pairings WHERE platform = :platform AND workspace = :workspace"
        " AND external_id = :id",
        **_columns(actor),
    )
    detail = {"user": user.id, **_detail(actor)}
    if before is not None and before.id != user.id:
        detail["from"] = before.id
    note(conn, key, user.tenant_id, user.id, "identity.linked", detail)


# A private chat of Telegram has its person's id. One of Slack is known by what was written there:
# a message of the conversation that it points to, or the command that moved the pointer.
_PRIVATE = """
DELETE FROM places WHERE tenant_id = :tenant AND platform = :platform AND (channel = :id
 OR (platform = 'slack' AND channel LIKE 'D%' AND (
  EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = places.conversation_id
   AND t.sender = :id AND t.platform = :platform AND t.channel = places.channel)
  OR EXISTS (SELECT 1 FROM turns t WHERE t.tenant_id = :tenant AND t.user_id = :user
   AND t.kind = 'command' AND t.sender = :id AND t.platform = :platform
   AND t.channel = places.channel))))
"""


def forget(
    conn: sa.Connection, key: bytes, user: User, actor: Actor, *, by: str, turn_id: str
) -> bool:
    """The account is this user no more, and its private chats point to nothing of theirs."""
    gone = execute(
        conn,
        "DELETE FROM identities WHERE platform = :platform AND workspace = :workspace"
        " AND external_id = :id AND tenant_id = :tenant AND user_id = :user RETURNING user_id",
        tenant=user.tenant_id,
        user=user.id,
        **_columns(actor),
    ).first()
    if gone is None:
        return False
    execute(
        conn,
        _PRIVATE,
        tenant=user.tenant_id,
        user=user.id,
        platform=actor.platform,
        id=actor.external_id,
    )
    detail = {"user": user.id, **_detail(actor)}
    note(conn, key, user.tenant_id, by, "identity.unlinked", detail, turn_id)
    return True


def accounts_of(conn: sa.Connection, user: User) -> tuple[Actor, ...]:
    """The user's accounts of chat platforms."""
    rows = execute(
        conn,
        "SELECT platform, workspace, external_id FROM identities WHERE user_id = :user"
        " AND tenant_id = :tenant AND platform <> :own"
        " ORDER BY platform, workspace, external_id",
        user=user.id,
        tenant=user.tenant_id,
        own=LOCAL_PLATFORM,
    ).all()
    return tuple(
        Actor(platform=text(row[0]), workspace=text(row[1]), external_id=text(row[2]))
        for row in rows
    )


def _columns(actor: Actor) -> dict[str, str]:
    return {"platform": actor.platform, "workspace": actor.workspace, "id": actor.external_id}


def _detail(actor: Actor) -> dict[str, str | int]:
    detail: dict[str, str | int] = {"platform": actor.platform, "person": actor.external_id}
    if actor.workspace:
        detail["workspace"] = actor.workspace
    return detail


def note(
    conn: sa.Connection,
    key: bytes,
    tenant_id: str,
    actor: str,
    action: str,
    detail: dict[str, str | int],
    turn_id: str = "",
) -> None:
    """Leave an audit row."""
    entry = AuditEntry(actor=actor, action=action, turn_id=turn_id, detail=detail)
    append_audit(conn, key, tenant_id, entry)
