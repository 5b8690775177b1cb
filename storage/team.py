"""What an admin does to a team: roles, leavers, tokens. Each change leaves an audit row."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.audit import AuditEntry
from core.names import plain_name
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import sentence
from storage.accounts import accounts_of, forget
from storage.approval_desk import void_of
from storage.audit import append_audit
from storage.database import Database, execute
from storage.derived import revoke_made
from storage.joining import live_user
from storage.people import insert_user, user_of_row
from storage.plan_limits import full
from storage.rows import integer, optional_text, text
from storage.session_endings import end_all, end_let_in

_LAST_ADMIN = sentence("This is the team's last admin. Make somebody else an admin first.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A live token, without the token itself."""

    id: str
    user_id: str
    email: str
    created_at_ms: int
    expires_at_ms: int
    parent: str | None
    """The token it was made with."""


class SqlTeam:
    """Changes to a tenant's people. ``actor`` is the id of the user who makes them."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` chains the rows that the changes leave."""
        self._db = db
        self._key = audit_key

    async def add_user(
        self, tenant_id: str, *, email: str, name: str, role: Role, actor: str
    ) -> User | str | Rejected:
        """Add a person, or bring a disabled one back; a sentence when the address is taken.

        Rejected when the team has as many people as its plan allows.
        """
        return await self._db.transaction(_add, self._key, actor, (tenant_id, email, name, role))

    async def set_role(
        self, tenant_id: str, user_id: str, role: Role, *, actor: str
    ) -> User | str | None:
        """The user with the new role, a sentence that says why not, or None: no such user."""
        return await self._db.transaction(_set_role, self._key, actor, (tenant_id, user_id), role)

    async def disable_user(self, tenant_id: str, user_id: str, *, actor: str) -> User | str | None:
        """Shut a person out: their tokens, sessions, what they made with those, their accounts."""
        return await self._db.transaction(_disable, self._key, actor, (tenant_id, user_id))

    async def tokens(self, tenant_id: str, user_id: str | None) -> tuple[TokenRow, ...]:
        """The live tokens of a user, or of the whole tenant; the newest first."""
        return await self._db.read(_tokens, tenant_id, user_id)

    async def revoke_token(
        self, tenant_id: str, token_id: str, *, owner: str | None, actor: str
    ) -> bool:
        """Revoke a token and those made with it; False when ``owner`` (or nobody) has it."""
        return await self._db.transaction(
            _revoke_one, self._key, actor, (tenant_id, token_id), owner
        )


def _add(
    conn: sa.Connection, key: bytes, actor: str, who: tuple[str, str, str, Role]
) -> User | str | Rejected:
    tenant_id, email, name, role = who
    if live_user(conn, tenant_id, "email = :value", email.casefold()) is None:
        crowd = full(conn, tenant_id)
        if crowd is not None:
            return crowd
    added = insert_user(conn, tenant_id, email, name, role)
    if isinstance(added, str):
        row = execute(
            conn,
            "UPDATE users SET disabled_at = NULL, name = :name, role = :role"
            " WHERE tenant_id = :tenant AND email = :email AND disabled_at IS NOT NULL"
            " RETURNING id, tenant_id, email, name, role",
            tenant=tenant_id,
            email=email,
            name=plain_name(name),
            role=str(role),
        ).first()
        if row is None:
            return added
        added = user_of_row(row)
    detail: dict[str, str | int] = {"user": added.id, "role": str(role)}
    _note(conn, key, tenant_id, actor, "user.added", detail)
    return added


def _set_role(
    conn: sa.Connection, key: bytes, actor: str, who: tuple[str, str], role: Role
) -> User | str | None:
    tenant_id, user_id = who
    if role is not Role.ADMIN and admins(conn, tenant_id) == {user_id}:
        return _LAST_ADMIN
    row = execute(
        conn,
        "UPDATE users SET role = :role WHERE id = :id AND tenant_id = :tenant"
        " AND disabled_at IS NULL RETURNING id, tenant_id, email, name, role",
        role=str(role),
        id=user_id,
        tenant=tenant_id,
    ).first()
    if row is None:
        return None
    ended = 0 if role is Role.ADMIN else end_let_in(conn, tenant_id, user_id)
    detail: dict[str, str | int] = {"user": user_id, "role": str(role)}
    if ended:
        detail["sessions"] = ended
    _note(conn, key, tenant_id, actor, "user.role", detail)
    return user_of_row(row)


def _disable(
    conn: sa.Connection, key: bytes, actor: str, who: tuple[str, str]
) -> User | str | None:
    tenant_id, user_id = who
    if admins(conn, tenant_id) == {user_id}:
        return _LAST_ADMIN
    row = execute(
        conn,
        "UPDATE users SET disabled_at = {now} WHERE id = :id AND tenant_id = :tenant"
        " AND disabled_at IS NULL RETURNING id, tenant_id, email, name, role",
        id=user_id,
        tenant=tenant_id,
    ).first()
    if row is None:
        return None
    user = user_of_row(row)
    void_of(conn, tenant_id, user_id)
    revoked = _revoke(conn, tenant_id, "user_id = :key", user_id)
    sessions = end_all(conn, tenant_id, user_id)
    accounts = accounts_of(conn, user)
    for account in accounts:  # who comes back links them again: they may have changed hands
        forget(conn, key, user, account, by=actor, turn_id="")
    detail: dict[str, str | int] = {
        "user": user_id,
        "tokens": revoked,
        "sessions": sessions,
        "accounts": len(accounts),
    }
    _note(conn, key, tenant_id, actor, "user.disabled", detail)
    return user


def admins(conn: sa.Connection, tenant_id: str) -> set[str]:
    """The tenant's admins; locks them, so that two cannot disable each other at once."""
    rows = execute(
        conn,
        "SELECT id FROM users WHERE tenant_id = :tenant AND role = 'admin'"
        " AND disabled_at IS NULL ORDER BY id{row}",
        tenant=tenant_id,
    ).all()
    return {text(row[0]) for row in rows}


def _tokens(conn: sa.Connection, tenant_id: str, user_id: str | None) -> tuple[TokenRow, ...]:
    rows = execute(
        conn,
        "SELECT k.id, k.user_id, u.email, k.created_at, k.expires_at, k.parent FROM api_tokens k"
        " JOIN users u ON u.id = k.user_id WHERE k.tenant_id = :tenant"
        " AND (CAST(:user AS TEXT) IS NULL OR k.user_id = :user) AND k.revoked_at IS NULL"
        " AND k.expires_at > {now} AND u.disabled_at IS NULL ORDER BY k.created_at DESC, k.id",
        tenant=tenant_id,
        user=user_id,
    ).all()
    return tuple(
        TokenRow(
            id=text(row[0]),
            user_id=text(row[1]),
            email=text(row[2]),
            created_at_ms=integer(row[3]),
            expires_at_ms=integer(row[4]),
            parent=optional_text(row[5]),
        )
        for row in rows
    )


def _revoke_one(
    conn: sa.Connection, key: bytes, actor: str, which: tuple[str, str], owner: str | None
) -> bool:
    tenant_id, token_id = which
    row = execute(
        conn,
        "SELECT user_id FROM api_tokens WHERE id = :id AND tenant_id = :tenant"
        " AND (CAST(:owner AS TEXT) IS NULL OR user_id = :owner) AND revoked_at IS NULL{row}",
        id=token_id,
        tenant=tenant_id,
        owner=owner,
    ).first()
    if row is None:
        return False
    revoked = _revoke(conn, tenant_id, "id = :key", token_id)
    detail: dict[str, str | int] = {"token": token_id, "user": text(row[0]), "tokens": revoked}
    _note(conn, key, tenant_id, actor, "token.revoked", detail)
    return True


def _revoke(conn: sa.Connection, tenant_id: str, which: str, key: str) -> int:
    """Revoke tokens and all that was made with them; returns how many tokens.

    Whoever is making a token holds its parent's row: it is either stored before the parent is
    revoked, and found here, or refused.
    """
    rows = execute(
        conn,
        f"SELECT id FROM api_tokens WHERE tenant_id = :tenant AND {which} ORDER BY id{{row}}",
        tenant=tenant_id,
        key=key,
    ).all()
    count = 0
    for row in rows:
        revoked = execute(
            conn,
            "UPDATE api_tokens SET revoked_at = {now} WHERE id = :id AND revoked_at IS NULL"
            " RETURNING id",
            id=text(row[0]),
        ).first()
        made, _ = revoke_made(conn, tenant_id, text(row[0]))
        count += made + (revoked is not None)
    return count


def _note(
    conn: sa.Connection,
    key: bytes,
    tenant_id: str,
    actor: str,
    action: str,
    detail: dict[str, str | int],
) -> None:
    entry = AuditEntry(actor=actor, action=action, turn_id="", detail=detail)
    append_audit(conn, key, tenant_id, entry)
