"""One-time codes: made here, and forgotten here where a reply still shows one."""

from __future__ import annotations

import re

import sqlalchemy as sa

from core.access import FIRST_LINK_TTL_MS, INVITE_TTL_MS, hash_code, new_code
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import sentence
from storage.accounts import note
from storage.database import execute
from storage.joining import live_user
from storage.people import LOCAL_PLATFORM
from storage.plan_limits import full
from storage.rows import text

MOST_CODES = 3
"""First codes that live at a time: a restart prints another, and one may be being typed."""
SHOWN_MS = 10 * 60 * 1000
"""How long a reply keeps its code after it was delivered: for callers who read it late."""
SOUGHT_MS = 3 * 24 * 3600 * 1000
"""How far back replies are searched; the housekeeping looks every few minutes."""

MEMBER = Rejected(
    code="user_exists",
    sentence=sentence(
        "Somebody of this team has that address already. They link another account of theirs "
        "with a code of their own: `/link`."
    ),
)
NO_ADMIN = Rejected(
    code="not_allowed",
    sentence=sentence("Only an admin of the team can let somebody in. Ask one of your admins."),
)


def link_code(conn: sa.Connection, user: User, ttl_ms: int) -> str:
    """A code that makes its sender this user; the unused ones of theirs die."""
    _keep_newest(conn, user, 0)
    return _insert_link(conn, user, ttl_ms)


def first_link_code(conn: sa.Connection, admin: User) -> str | None:
    """The code of a start; None once anybody of a chat platform is known."""
    known = execute(
        conn,
        "SELECT 1 FROM identities WHERE platform <> :own UNION ALL SELECT 1 FROM links LIMIT 1",
        own=LOCAL_PLATFORM,
    ).first()
    if known is not None:
        return None
    _keep_newest(conn, admin, MOST_CODES - 1)
    return _insert_link(conn, admin, FIRST_LINK_TTL_MS)


def _keep_newest(conn: sa.Connection, user: User, count: int) -> None:
    """Kill the user's unused link codes but so many, and everybody's that are too old."""
    execute(conn, "DELETE FROM codes WHERE expires_at <= {now}")
    execute(
        conn,
        "DELETE FROM codes WHERE tenant_id = :tenant AND user_id = :user AND kind = 'link'"
        " AND used_at IS NULL AND hash NOT IN (SELECT hash FROM codes WHERE tenant_id = :tenant"
        " AND user_id = :user AND kind = 'link' AND used_at IS NULL"
        " ORDER BY created_at DESC, expires_at DESC, hash LIMIT :count)",
        tenant=user.tenant_id,
        user=user.id,
        count=count,
    )


def _insert_link(conn: sa.Connection, user: User, ttl_ms: int) -> str:
    code = new_code()
    execute(
        conn,
        "INSERT INTO codes (hash, tenant_id, kind, user_id, created_by, created_at, expires_at)"
        " VALUES (:hash, :tenant, 'link', :user, :user, {now}, {now} + :ttl)",
        hash=hash_code(code),
        tenant=user.tenant_id,
        user=user.id,
        ttl=ttl_ms,
    )
    return code


def invite_code(
    conn: sa.Connection, key: bytes, by: User, email: str, role: Role
) -> str | Rejected:
    """A code that makes its sender a new user of the inviter's tenant, or why there is none."""
    email = email.casefold()
    maker = live_user(conn, by.tenant_id, "id = :value", by.id)
    if maker is None or maker.role is not Role.ADMIN:
        return NO_ADMIN  # such a code would open nothing: it dies with its maker's right
    if live_user(conn, by.tenant_id, "email = :value", email) is not None:
        return MEMBER
    crowd = full(conn, by.tenant_id, invited=True)
    if crowd is not None:
        return crowd
    code = new_code()
    execute(
        conn,
        "INSERT INTO codes (hash, tenant_id, kind, email, role, created_by, created_at,"
        " expires_at) VALUES (:hash, :tenant, 'invite', :email, :role, :by, {now}, {now} + :ttl)",
        hash=hash_code(code),
        tenant=by.tenant_id,
        email=email,
        role=str(role),
        by=by.id,
        ttl=INVITE_TTL_MS,
    )
    detail: dict[str, str | int] = {"role": str(role)}
    note(conn, key, by.tenant_id, by.id, "user.invited", detail)
    return code


_CODE = re.compile(r"`(.{4}-.{4}-.{4})`", re.DOTALL)
_LINK = re.compile(r"/sign-in#\S*")
_LIKE_CODE = "%`____-____-____`%"
_LIKE_LINK = "%/sign-in#%"
_BLANK = "····"


def blank_codes(conn: sa.Connection, limit: int) -> int:
    """Take codes and sign-in links out of delivered replies, and their live events.

    Returns of how many turns.

    What is stored of a code is its hash alone. A reply has to keep it only until it is shown.
    """
    rows = execute(
        conn,
        "SELECT id, reply FROM turns WHERE kind = 'command' AND delivered_at < {now} - :shown"
        " AND finished_at > {now} - :days AND ((LOWER(text) LIKE '/login%' AND reply LIKE :link)"
        " OR ((LOWER(text) LIKE '/link%' OR LOWER(text) LIKE '/invite%') AND reply LIKE :code))"
        " ORDER BY finished_at LIMIT :n",
        shown=SHOWN_MS,
        days=SOUGHT_MS,
        code=_LIKE_CODE,
        link=_LIKE_LINK,
        n=limit,
    ).all()
    for row in rows:
        execute(
            conn,
            "UPDATE turns SET reply = :reply WHERE id = :id",
            id=text(row[0]),
            reply=_blanked(text(row[1])),
        )
        execute(conn, "DELETE FROM turn_events WHERE turn_id = :id", id=text(row[0]))
    return len(rows)


def _blanked(reply: str) -> str:
    """Nothing is left that the query above finds, so that it comes to an end."""
    while (found := _CODE.search(reply)) is not None:
        reply = reply.replace(found[1], _BLANK)
    return _LINK.sub(f"/sign-in {_BLANK}", reply)
