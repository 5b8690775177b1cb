"""How a stranger becomes a user: invited by address, or let in by the code they were shown."""

from __future__ import annotations

import hashlib
import re

import sqlalchemy as sa

from core.access import PAIRING_CHARS, PAIRING_TTL_MS, new_code, parse_code
from core.commands_people import LetIn
from core.messages import Actor
from core.names import plain_name
from core.refusals import Rejected
from core.tenants import Role, User
from core.turns import Turn
from storage.accounts import identify, known_as, note
from storage.database import execute
from storage.people import insert_user, user_of_row
from storage.plan_limits import full
from storage.rows import text

NOWHERE = "invited.invalid"
"""Domain of the addresses of people who came without one; ``.invalid`` never exists (RFC 2606)."""
_MAX_LOCAL = 64
_PLAIN_ID = re.compile(r"[0-9A-Z]+")
"""The ids of Slack and Telegram; in one case, so that folding it joins no two."""
_RETURNED = "RETURNING id, tenant_id, email, name, role"


def address_of(actor: Actor) -> str:
    """The address of somebody who came without one: ``telegram-12345@invited.invalid``.

    One a person of a platform, and never two of one: an id with other characters is hashed.
    """
    parts = [actor.workspace, actor.external_id] if actor.workspace else [actor.external_id]
    local = "-".join([actor.platform, *parts]).casefold()
    if len(local) > _MAX_LOCAL or not all(_PLAIN_ID.fullmatch(part) for part in parts):
        exact = repr((actor.workspace, actor.external_id))
        local = f"{actor.platform}-{hashlib.sha256(exact.encode()).hexdigest()[:40]}"
    return f"{local}@{NOWHERE}"


def invited(
    conn: sa.Connection, key: bytes, code: tuple[str, str, int], who: tuple[str, str, Role]
) -> User | None:
    """The invited user of a tenant: a new one, or one who was shut out before the invitation.

    ``code`` is its tenant, its maker and its time; ``who`` the address, name and role. Nobody
    becomes a user who is there already: None then.
    """
    tenant_id, maker, made_at = code
    email, name, role = who
    joined = insert_user(conn, tenant_id, email, name, role)
    if isinstance(joined, str):
        row = execute(
            conn,
            "UPDATE users SET disabled_at = NULL, role = :role WHERE tenant_id = :tenant"
            f" AND email = :email AND disabled_at < :made {_RETURNED}",
            role=str(role),
            tenant=tenant_id,
            email=email,
            made=made_at,
        ).first()
        if row is None:
            return None
        joined = user_of_row(row)
    note(conn, key, tenant_id, maker, "user.joined", {"user": joined.id, "role": str(role)})
    return joined


def live_user(conn: sa.Connection, tenant_id: str, which: str, value: str | None) -> User | None:
    """A user of the tenant who is not shut out."""
    row = execute(
        conn,
        f"SELECT id, tenant_id, email, name, role FROM users WHERE {which}"
        " AND tenant_id = :tenant AND disabled_at IS NULL",
        value=value,
        tenant=tenant_id,
    ).first()
    return None if row is None else user_of_row(row)


def ask_in(conn: sa.Connection, actor: Actor, tenant_id: str | None) -> str:
    """Note a stranger who wants to be let in; the code that an admin needs for it.

    Where they wrote at a place of a tenant, its admins alone can use the code: others may have
    read it there, too.
    """
    execute(conn, "DELETE FROM pairings WHERE expires_at <= {now}")
    execute(
        conn,
        "DELETE FROM pairings WHERE platform = :platform AND workspace = :workspace"
        " AND external_id = :id AND COALESCE(tenant_id, '') <> :tenant",
        platform=actor.platform,
        workspace=actor.workspace,
        id=actor.external_id,
        tenant=tenant_id or "",
    )
    row = execute(
        conn,
        "INSERT INTO pairings (code, platform, workspace, external_id, tenant_id, name, created_at,"
        " expires_at) VALUES (:code, :platform, :workspace, :id, :tenant, :name, {now},"
        " {now} + :ttl)"
        " ON CONFLICT (platform, workspace, external_id) DO UPDATE SET name = excluded.name"
        " RETURNING code",
        code=parse_code(new_code(PAIRING_CHARS)),
        platform=actor.platform,
        workspace=actor.workspace,
        id=actor.external_id,
        tenant=tenant_id,
        name=plain_name(actor.name),
        ttl=PAIRING_TTL_MS,
    ).one()
    code = text(row[0])
    return f"{code[:4]}-{code[4:]}"


def let_in(
    conn: sa.Connection, key: bytes, turn: Turn, code: str, role: Role
) -> LetIn | Rejected | None:
    """Make whoever was shown the code a user of the turn's tenant, once.

    The turn may run again after a crash: then the audit log tells whom it let in.
    """
    crowd = full(conn, turn.tenant_id) if _waits(conn, turn, code) else None
    if crowd is not None:
        return crowd
    row = execute(
        conn,
        "DELETE FROM pairings WHERE code = :code AND expires_at > {now}"
        " AND (tenant_id IS NULL OR tenant_id = :tenant)"
        " RETURNING platform, workspace, external_id, name",
        code=parse_code(code),
        tenant=turn.tenant_id,
    ).first()
    if row is None:
        return _let_in_before(conn, turn)
    actor = Actor(
        platform=text(row[0]), workspace=text(row[1]), external_id=text(row[2]), name=text(row[3])
    )
    if any(one.user.tenant_id == turn.tenant_id for one in known_as(conn, actor)):
        return None  # they came in another way meanwhile
    email = address_of(actor)
    name = actor.name or email.partition("@")[0]
    joined = insert_user(conn, turn.tenant_id, email, name, role)
    if isinstance(joined, str):  # they were here before: an admin's word counts now
        back = execute(
            conn,
            "UPDATE users SET role = CASE WHEN disabled_at IS NULL THEN role ELSE :role END,"
            " disabled_at = NULL WHERE tenant_id = :tenant AND email = :email " + _RETURNED,
            role=str(role),
            tenant=turn.tenant_id,
            email=email,
        ).one()
        joined = user_of_row(back)
    detail: dict[str, str | int] = {
        "user": joined.id,
        "role": str(joined.role),
        "platform": actor.platform,
        "person": actor.external_id,
    }
    note(conn, key, turn.tenant_id, turn.user.id, "user.let_in", detail, turn.id)
    identify(conn, key, joined, actor)
    return _let_in_of(joined, actor.platform, actor.external_id)


def _waits(conn: sa.Connection, turn: Turn, code: str) -> bool:
    row = execute(
        conn,
        "SELECT 1 FROM pairings WHERE code = :code AND expires_at > {now}"
        " AND (tenant_id IS NULL OR tenant_id = :tenant)",
        code=parse_code(code),
        tenant=turn.tenant_id,
    ).first()
    return row is not None


def _let_in_before(conn: sa.Connection, turn: Turn) -> LetIn | None:
    row = execute(
        conn,
        "SELECT i.platform, i.external_id, u.id, u.tenant_id, u.email, u.name, u.role"
        " FROM audit_log a JOIN users u ON u.tenant_id = a.tenant_id"
        " AND a.detail LIKE '%' || u.id || '%'"
        " JOIN identities i ON i.user_id = u.id AND i.tenant_id = u.tenant_id"
        " AND i.platform <> 'it0' WHERE a.tenant_id = :tenant AND a.turn_id = :turn"
        " AND a.action = 'user.let_in' ORDER BY i.chosen_at DESC LIMIT 1",
        tenant=turn.tenant_id,
        turn=turn.id,
    ).first()
    if row is None:
        return None
    return _let_in_of(user_of_row(row[2:]), text(row[0]), text(row[1]))


def _let_in_of(user: User, platform: str, person: str) -> LetIn:
    return LetIn(name=user.name, platform=platform, person=person, role=user.role)
