"""The codes of sign-in links: made here, and used up here, once."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.sign_in import LOGIN_TTL_MS, MOST_LINKS, Maker, hash_code, new_code
from core.tenants import User
from storage.accounts import note
from storage.database import execute
from storage.derived import live_parent
from storage.joining import live_user
from storage.rows import integer, optional_text, text

AGAIN_MS = 60 * 1000
"""How long an attempt whose answer was lost may be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A code that was good until now."""

    tenant_id: str
    user_id: str
    created_by: str
    parent: str | None
    ends_ms: int | None
    opened: str | None = None
    """The session that it opened a moment ago for the same attempt."""


def new_link(conn: sa.Connection, key: bytes, user: User, maker: Maker) -> str | None:
    """A code that signs its bearer in as ``user``; None when there is nobody to make or use it."""
    if maker.parent is not None and not live_parent(conn, user.tenant_id, maker.parent):
        return None
    if live_user(conn, user.tenant_id, "id = :value", user.id) is None:
        return None
    _keep_newest(conn, user, MOST_LINKS - 1)
    code = new_code()
    execute(
        conn,
        "INSERT INTO sign_in_codes (hash, tenant_id, user_id, created_by, created_at, expires_at,"
        " ends_at, parent) VALUES (:hash, :tenant, :user, :by, {now}, {now} + :ttl, :ends,"
        " :parent)",
        hash=hash_code(code),
        tenant=user.tenant_id,
        user=user.id,
        by=maker.user_id,
        ttl=LOGIN_TTL_MS,
        ends=maker.ends_ms,
        parent=maker.parent,
    )
    note(conn, key, user.tenant_id, maker.user_id, "session.link_made", {"user": user.id})
    return code


def use_code(conn: sa.Connection, code: str, attempt: str) -> Used | None:
    """Use a code up. Of two at once one gets it: the other waits here and finds it used.

    The attempt that has used it gets it again for ``AGAIN_MS``.
    """
    row = execute(
        conn,
        "UPDATE sign_in_codes SET used_at = COALESCE(used_at, {now}), attempt = :attempt"
        " WHERE hash = :hash AND expires_at > {now} AND (used_at IS NULL"
        " OR (used_at > {now} - :again AND attempt = CAST(:attempt AS TEXT)))"
        " RETURNING tenant_id, user_id, created_by, parent, ends_at, session_id",
        hash=hash_code(code),
        attempt=hash_code(attempt) if attempt else None,
        again=AGAIN_MS,
    ).first()
    if row is None:
        return None
    return Used(
        tenant_id=text(row[0]),
        user_id=text(row[1]),
        created_by=text(row[2]),
        parent=optional_text(row[3]),
        ends_ms=None if row[4] is None else integer(row[4]),
        opened=optional_text(row[5]),
    )


def note_opened(conn: sa.Connection, code: str, session_id: str) -> None:
    """Remember which session a code has opened."""
    execute(
        conn,
        "UPDATE sign_in_codes SET session_id = :id WHERE hash = :hash",
        id=session_id,
        hash=hash_code(code),
    )


def _keep_newest(conn: sa.Connection, user: User, count: int) -> None:
    execute(
        conn,
        "DELETE FROM sign_in_codes WHERE tenant_id = :tenant AND user_id = :user"
        " AND used_at IS NULL AND hash NOT IN (SELECT hash FROM sign_in_codes"
        " WHERE tenant_id = :tenant AND user_id = :user AND used_at IS NULL"
        " ORDER BY created_at DESC, hash LIMIT :count)",
        tenant=user.tenant_id,
        user=user.id,
        count=count,
    )
