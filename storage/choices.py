"""What people chose: their team, where they have several; a language; the team's engine."""

from __future__ import annotations

import sqlalchemy as sa

from core.audit import AuditEntry
from core.commands_people import Membership, Standing
from core.commands_text import is_shared
from core.messages import ConversationAddress
from core.turns import Turn
from storage.accounts import accounts_of, forget, note
from storage.audit import append_audit
from storage.database import Database, execute
from storage.rows import integer, optional_text, text


class SqlChoices:
    """Implements ``core.commands_people.Memberships`` and ``core.commands_people.Preferences``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` chains the rows of changes that concern a whole team."""
        self._db = db
        self._key = audit_key

    async def standing(self, turn: Turn) -> Standing:
        """See the port."""
        return await self._db.read(_standing, turn)

    async def memberships(self, turn: Turn) -> tuple[Membership, ...]:
        """See the port."""
        return await self._db.read(_memberships, turn)

    async def choose_team(self, turn: Turn, tenant_id: str) -> bool:
        """See the port."""
        return await self._db.transaction(_choose, turn, tenant_id)

    async def unlink(self, turn: Turn) -> bool:
        """See the port."""
        return await self._db.transaction(_unlink, self._key, turn)

    async def set_language(self, turn: Turn, language: str | None) -> None:
        """See the port."""
        await self._db.transaction(_set_language, turn, language)

    async def set_engine(self, turn: Turn, engine: str | None) -> None:
        """See the port."""
        await self._db.transaction(_set_engine, self._key, turn, engine)


def _standing(conn: sa.Connection, turn: Turn) -> Standing:
    row = execute(
        conn,
        "SELECT t.name, t.engine, u.language FROM tenants t JOIN users u ON u.tenant_id = t.id"
        " WHERE t.id = :tenant AND u.id = :user",
        tenant=turn.tenant_id,
        user=turn.user.id,
    ).one()
    return Standing(
        team=text(row[0]),
        engine=optional_text(row[1]),
        language=optional_text(row[2]),
        linked=_linked(conn, turn.tenant_id, turn.address),
    )


def _linked(conn: sa.Connection, tenant_id: str, address: ConversationAddress) -> bool:
    """Whether the place is in a linked workspace (Slack), or is a linked group (Telegram)."""
    row = execute(
        conn,
        "SELECT 1 FROM links WHERE platform = :platform AND group_id IN (:workspace, :channel)"
        " AND tenant_id = :tenant",
        platform=address.platform,
        workspace=address.workspace,
        channel=address.channel,
        tenant=tenant_id,
    ).first()
    return row is not None


# The other memberships of the very identity that wrote. It is found through the turn's own user,
# so that nobody who names another person's platform id sees that person's teams.
_SELVES = """
FROM identities me JOIN identities i ON i.platform = me.platform AND i.workspace = me.workspace
  AND i.external_id = me.external_id
JOIN users u ON u.id = i.user_id AND u.tenant_id = i.tenant_id
JOIN tenants t ON t.id = i.tenant_id
WHERE me.user_id = :user AND me.tenant_id = :tenant AND me.platform = :platform
  AND me.external_id = :sender AND u.disabled_at IS NULL
"""


def _self(turn: Turn) -> dict[str, str]:
    return {
        "user": turn.user.id,
        "tenant": turn.tenant_id,
        "platform": turn.address.platform,
        "sender": turn.sender,
    }


def _memberships(conn: sa.Connection, turn: Turn) -> tuple[Membership, ...]:
    rows = execute(
        conn,
        "SELECT DISTINCT t.id, t.name, u.role " + _SELVES + " ORDER BY t.name, t.id",
        **_self(turn),
    ).all()
    return tuple(
        Membership(tenant_id=text(row[0]), team=text(row[1]), role=text(row[2])) for row in rows
    )


def _choose(conn: sa.Connection, turn: Turn, tenant_id: str) -> bool:
    """The choice made last counts, also when two are made in one millisecond."""
    rows = execute(
        conn,
        "SELECT i.platform, i.workspace, i.external_id, i.tenant_id, i.chosen_at " + _SELVES,
        **_self(turn),
    ).all()
    mine = [row for row in rows if row[3] == tenant_id]
    if not mine:
        return False
    latest = max(integer(row[4]) for row in rows)
    for row in mine:
        execute(
            conn,
            "UPDATE identities SET chosen_at = CASE WHEN {now} > CAST(:latest AS BIGINT)"
            " THEN {now} ELSE CAST(:latest AS BIGINT) + 1 END"
            " WHERE platform = :platform AND workspace = :workspace AND external_id = :id"
            " AND tenant_id = :tenant",
            latest=latest,
            platform=text(row[0]),
            workspace=text(row[1]),
            id=text(row[2]),
            tenant=tenant_id,
        )
    return True


def _unlink(conn: sa.Connection, key: bytes, turn: Turn) -> bool:
    """Once a turn: run again after a crash, it answers the same."""
    before = execute(
        conn,
        "SELECT 1 FROM audit_log WHERE tenant_id = :tenant AND turn_id = :turn"
        " AND action IN ('group.unlinked', 'identity.unlinked')",
        tenant=turn.tenant_id,
        turn=turn.id,
    ).first()
    if before is not None:
        return True
    return _unlink_place(conn, key, turn) if is_shared(turn.address) else _leave(conn, key, turn)


def _unlink_place(conn: sa.Connection, key: bytes, turn: Turn) -> bool:
    row = execute(
        conn,
        "DELETE FROM links WHERE platform = :platform AND group_id IN (:workspace, :channel)"
        " AND tenant_id = :tenant RETURNING group_id",
        platform=turn.address.platform,
        workspace=turn.address.workspace,
        channel=turn.address.channel,
        tenant=turn.tenant_id,
    ).first()
    if row is None:
        return False
    detail: dict[str, str | int] = {"platform": turn.address.platform, "group": text(row[0])}
    note(conn, key, turn.tenant_id, turn.user.id, "group.unlinked", detail, turn.id)
    return True


def _leave(conn: sa.Connection, key: bytes, turn: Turn) -> bool:
    gone = [
        forget(conn, key, turn.user, account, by=turn.user.id, turn_id=turn.id)
        for account in accounts_of(conn, turn.user)
        if account.platform == turn.address.platform and account.external_id == turn.sender
    ]
    return any(gone)


def _set_language(conn: sa.Connection, turn: Turn, language: str | None) -> None:
    execute(
        conn,
        "UPDATE users SET language = :language WHERE id = :user AND tenant_id = :tenant",
        language=language,
        user=turn.user.id,
        tenant=turn.tenant_id,
    )


def _set_engine(conn: sa.Connection, key: bytes, turn: Turn, engine: str | None) -> None:
    changed = execute(
        conn,
        "UPDATE tenants SET engine = :engine WHERE id = :tenant"
        " AND COALESCE(engine, '') <> COALESCE(CAST(:engine AS TEXT), '') RETURNING id",
        engine=engine,
        tenant=turn.tenant_id,
    ).first()
    if changed is not None:
        entry = AuditEntry(
            actor=turn.user.id,
            action="tenant.engine",
            turn_id=turn.id,
            detail={"engine": engine or "default"},
        )
        append_audit(conn, key, turn.tenant_id, entry)
