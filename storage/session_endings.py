"""How sessions of browsers end, by people or by age, and what ends with them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.tenants import User
from storage.accounts import note
from storage.database import execute
from storage.derived import hand_on, revoke_made
from storage.rows import text


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a session ends."""

    why: str
    action: str = "session.ended"
    deep: bool = False
    """Also the sessions that links made in it opened."""
    spare: str = ""
    """A session that goes on in any case."""


def end_session(conn: sa.Connection, key: bytes, who: tuple[str, str, str], how: Ending) -> bool:
    """End a live session of this tenant and user; False when there is none."""
    tenant_id, user_id, session_id = who
    row = execute(
        conn,
        "UPDATE web_sessions SET revoked_at = {now} WHERE id = :id AND tenant_id = :tenant"
        " AND user_id = :user AND revoked_at IS NULL RETURNING id",
        id=session_id,
        tenant=tenant_id,
        user=user_id,
    ).first()
    if row is None:
        return False
    tokens, sessions = revoke_made(conn, tenant_id, session_id, sessions=how.deep, spare=how.spare)
    detail: dict[str, str | int] = {
        "session": session_id,
        "why": how.why,
        "tokens": tokens,
        "sessions": sessions,
    }
    note(conn, key, tenant_id, user_id, how.action, detail)
    return True


def succeed(conn: sa.Connection, key: bytes, user: User, session_id: str, heir: str) -> None:
    """End a session whose browser has another one now, which keeps what was made in it."""
    for table in ("api_tokens", "sign_in_codes", "web_sessions"):
        execute(
            conn,
            f"UPDATE {table} SET parent = :heir WHERE parent = :id AND tenant_id = :tenant",
            heir=heir,
            id=session_id,
            tenant=user.tenant_id,
        )
    end_session(conn, key, (user.tenant_id, user.id, session_id), Ending(why="replaced"))


_OF = "user_id = :user"
_LET_IN = "made_by = :user AND user_id <> :user"


def end_all(conn: sa.Connection, tenant_id: str, user_id: str) -> int:
    """End every session of somebody who is shut out, with what was made in them; how many.

    Also those of others that this person's links opened: whoever has them may be the same person.
    """
    execute(
        conn,
        "DELETE FROM sign_in_codes WHERE tenant_id = :tenant"
        " AND (user_id = :user OR created_by = :user)",
        tenant=tenant_id,
        user=user_id,
    )
    return _end_those(conn, tenant_id, user_id, _OF) + _end_those(conn, tenant_id, user_id, _LET_IN)


def end_let_in(conn: sa.Connection, tenant_id: str, user_id: str) -> int:
    """End what somebody let others in with, who may do so no longer; how many sessions."""
    execute(
        conn,
        "DELETE FROM sign_in_codes WHERE tenant_id = :tenant AND created_by = :user"
        " AND user_id <> :user",
        tenant=tenant_id,
        user=user_id,
    )
    return _end_those(conn, tenant_id, user_id, _LET_IN)


def _end_those(conn: sa.Connection, tenant_id: str, user_id: str, which: str) -> int:
    """End the live ones; what was made in ended ones may live on, and ends, too."""
    named = {"tenant": tenant_id, "user": user_id}
    rows = execute(
        conn, f"SELECT id FROM web_sessions WHERE tenant_id = :tenant AND {which}", **named
    ).all()
    ended = execute(
        conn,
        f"UPDATE web_sessions SET revoked_at = {{now}} WHERE tenant_id = :tenant AND {which}"
        " AND revoked_at IS NULL RETURNING id",
        **named,
    ).all()
    for session_id in {text(row[0]) for row in (*rows, *ended)}:
        revoke_made(conn, tenant_id, session_id)
    return len(ended)


_REVOKED = "revoked_at IS NOT NULL ORDER BY revoked_at"


def forget_sessions(conn: sa.Connection, limit: int) -> int:
    """Forget sessions that have ended, and end the tokens of those that nobody used any more."""
    execute(conn, "DELETE FROM sign_in_codes WHERE expires_at <= {now}")
    forgotten = 0
    # One statement for each index: what has ended in either way would be looked for in every row.
    for ended in ("expires_at <= {now} ORDER BY expires_at", _REVOKED):
        rows = execute(
            conn,
            f"SELECT id, tenant_id FROM web_sessions WHERE {ended}, id LIMIT :n{{row}}",
            n=limit - forgotten,
        ).all()
        for row in rows:
            revoke_made(conn, text(row[1]), text(row[0]), sessions=False)
            hand_on(conn, text(row[0]))
            execute(conn, "DELETE FROM web_sessions WHERE id = :id", id=text(row[0]))
        forgotten += len(rows)
    return forgotten
