"""What was made with a token or in a session, and ends with it.

Tokens, sign-in links and the sessions that such links opened name their parent. Whoever makes
one holds the parent's row (``live_parent``), so that it is either stored before the parent is
revoked, and found by ``revoke_made``, or refused.
"""

from __future__ import annotations

import sqlalchemy as sa

from storage.database import execute
from storage.rows import text

_MAKERS = ("api_tokens", "web_sessions")


def live_parent(conn: sa.Connection, tenant_id: str, parent: str) -> bool:
    """Whether the token or session is live; holds it until this transaction ends."""
    return any(
        execute(
            conn,
            f"SELECT id FROM {table} WHERE id = :id AND tenant_id = :tenant"
            " AND revoked_at IS NULL AND expires_at > {now}{share}",
            id=parent,
            tenant=tenant_id,
        ).first()
        is not None
        for table in _MAKERS
    )


def revoke_made(
    conn: sa.Connection, tenant_id: str, maker: str, *, sessions: bool = True, spare: str = ""
) -> tuple[int, int]:
    """Revoke all that was made with what has just been revoked; counts of tokens and sessions.

    ``sessions``: also those that its own links opened. Somebody who signs out of one browser
    stays signed in on the phone that they let in from there. ``spare``: a session that goes on,
    with what was made in it: the one that asks for this.
    """
    tokens, ended, makers = 0, 0, [maker]
    while makers:
        parent = makers.pop()
        named = {"tenant": tenant_id, "parent": parent, "spare": spare}
        execute(
            conn,
            "DELETE FROM sign_in_codes WHERE tenant_id = :tenant AND parent = :parent",
            tenant=tenant_id,
            parent=parent,
        )
        tokens += _revoke(conn, "api_tokens", named)
        makers += _made(conn, "api_tokens", named)
        if sessions or parent != maker:
            ended += _revoke(conn, "web_sessions", named)
            makers += _made(conn, "web_sessions", named)
    return tokens, ended


def hand_on(conn: sa.Connection, session_id: str) -> None:
    """Before the row of an ended session goes: what it let in hangs on to what let itself in.

    Where somebody else made the link of that session, they count as the maker of what was made
    in it for the same person, too.
    """
    execute(
        conn,
        "UPDATE web_sessions SET made_by = (SELECT p.made_by FROM web_sessions p"
        " WHERE p.id = :id) WHERE parent = :id AND made_by = user_id"
        " AND user_id = (SELECT p.user_id FROM web_sessions p WHERE p.id = :id)",
        id=session_id,
    )
    execute(
        conn,
        "UPDATE web_sessions SET parent = (SELECT p.parent FROM web_sessions p WHERE p.id = :id)"
        " WHERE parent = :id",
        id=session_id,
    )


def _revoke(conn: sa.Connection, table: str, named: dict[str, str]) -> int:
    rows = execute(
        conn,
        f"UPDATE {table} SET revoked_at = {{now}} WHERE tenant_id = :tenant AND parent = :parent"
        " AND revoked_at IS NULL AND id <> :spare RETURNING id",
        **named,
    ).all()
    return len(rows)


def _made(conn: sa.Connection, table: str, named: dict[str, str]) -> list[str]:
    """Also those that ended before: what they made may live on."""
    rows = execute(
        conn,
        f"SELECT id FROM {table} WHERE tenant_id = :tenant AND parent = :parent AND id <> :spare",
        **named,
    ).all()
    return [text(row[0]) for row in rows]
