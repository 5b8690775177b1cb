"""Who may come in: links of shared places, one-time codes, strangers who asked."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.access import (
    INVITE_TTL_MS,
    LINK_TTL_MS,
    PAIRING_CHARS,
    PAIRING_TTL_MS,
    hash_code,
    new_code,
    parse_code,
)
from core.audit import AuditEntry
from core.messages import Actor, InboundMessage
from core.refusals import STRANGER, Rejected
from core.tenants import Role, User
from core.words import sentence
from storage.audit import append_audit
from storage.database import Database, execute
from storage.people import insert_user, user_of_row
from storage.places import linked_tenant, sender
from storage.rows import optional_text, text

BAD_CODE = Rejected(
    code="bad_code",
    sentence=sentence(
        "This code is not valid, was used before, or is too old. Ask for a new one: `/link` "
        "makes one for yourself, an admin's `/invite` one for somebody else."
    ),
)
_OTHER_TENANT = Rejected(
    code="linked_elsewhere",
    sentence=sentence(
        "This place belongs to another team already. An admin of that team must unlink it first."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """A code that is good for this sender."""

    kind: str
    tenant_id: str
    user_id: str | None
    email: str | None
    role: str | None
    created_by: str


class SqlGate:
    """Implements ``core.inbox.GateStore``, and makes the codes."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` chains the rows that each change leaves."""
        self._db = db
        self._key = audit_key

    async def redeem(self, message: InboundMessage, code: str) -> Rejected | None:
        """See the port. The same sender may use a code twice: it changes nothing."""
        return await self._db.transaction(_redeem, self._key, message, code)

    async def link_group(self, message: InboundMessage) -> Rejected | None:
        """See the port."""
        return await self._db.transaction(_link_by_admin, self._key, message)

    async def ask_in(self, message: InboundMessage) -> str:
        """See the port; whoever asks again is told the same code while it lives."""
        return await self._db.transaction(_ask_in, message.actor)

    async def link_code(self, user: User, *, ttl_ms: int = LINK_TTL_MS) -> str:
        """A code that makes its sender this user; the older ones of theirs die."""
        return await self._db.transaction(_link_code, user, ttl_ms)

    async def invite_code(self, by: User, *, email: str, role: Role) -> str:
        """A code that makes its sender a new user of the inviter's tenant."""
        return await self._db.transaction(_invite_code, self._key, by, email, role)


def _redeem(conn: sa.Connection, key: bytes, message: InboundMessage, code: str) -> Rejected | None:
    actor, group = message.actor, message.group
    found = _find(conn, code, actor)
    if found is None:
        return BAD_CODE
    if group is not None and linked_tenant(conn, actor.platform, group) not in (
        None,
        found.tenant_id,
    ):
        return _OTHER_TENANT
    user = _user_of(conn, key, found, actor)
    if user is None:
        return BAD_CODE
    _use(conn, code, actor)
    _identify(conn, key, user, actor)
    if group is not None and user.role is Role.ADMIN:
        _link(conn, key, user, actor.platform, group)
    return None


def _self(actor: Actor) -> str:
    return f"{actor.platform}:{actor.workspace}:{actor.external_id}"


def _find(conn: sa.Connection, code: str, actor: Actor) -> _Code | None:
    """The code, if it is good, or if this very sender used it before; locks it."""
    row = execute(
        conn,
        "SELECT kind, tenant_id, user_id, email, role, created_by FROM codes WHERE hash = :hash"
        " AND expires_at > {now} AND (used_at IS NULL OR used_by = :me){row}",
        hash=hash_code(code),
        me=_self(actor),
    ).first()
    if row is None:
        return None
    return _Code(
        kind=text(row[0]),
        tenant_id=text(row[1]),
        user_id=optional_text(row[2]),
        email=optional_text(row[3]),
        role=optional_text(row[4]),
        created_by=text(row[5]),
    )


def _use(conn: sa.Connection, code: str, actor: Actor) -> None:
    execute(
        conn,
        "UPDATE codes SET used_at = {now}, used_by = :me WHERE hash = :hash AND used_at IS NULL",
        hash=hash_code(code),
        me=_self(actor),
    )


def _user_of(conn: sa.Connection, key: bytes, code: _Code, actor: Actor) -> User | None:
    """Who the code makes its sender; an invited person is added to the team now."""
    if code.kind == "link":
        which, value = "id = :value", code.user_id
    else:
        which, value = "email = :value", code.email
        role = Role(code.role or Role.VIEWER)
        name = actor.name or (code.email or "").partition("@")[0]
        added = insert_user(conn, code.tenant_id, code.email or "", name, role)
        if isinstance(added, User):
            detail: dict[str, str | int] = {"user": added.id, "role": str(role)}
            _note(conn, key, added.tenant_id, code.created_by, "user.joined", detail)
            return added
    row = execute(
        conn,
        f"SELECT id, tenant_id, email, name, role FROM users WHERE {which}"
        " AND tenant_id = :tenant AND disabled_at IS NULL",
        value=value,
        tenant=code.tenant_id,
    ).first()
    return None if row is None else user_of_row(row)


def _identify(conn: sa.Connection, key: bytes, user: User, actor: Actor) -> None:
    """The sender is this user from now on, and this tenant is the one they chose."""
    execute(
        conn,
        "INSERT INTO identities (platform, workspace, external_id, tenant_id, user_id, created_at,"
        " chosen_at) VALUES (:platform, :workspace, :id, :tenant, :user, {now}, {now})"
        " ON CONFLICT (platform, workspace, external_id, tenant_id)"
        " DO UPDATE SET user_id = excluded.user_id, chosen_at = excluded.chosen_at",
        platform=actor.platform,
        workspace=actor.workspace,
        id=actor.external_id,
        tenant=user.tenant_id,
        user=user.id,
    )
    execute(
        conn,
        "DELETE FROM pairings WHERE platform = :platform AND workspace = :workspace"
        " AND external_id = :id",
        platform=actor.platform,
        workspace=actor.workspace,
        id=actor.external_id,
    )
    detail: dict[str, str | int] = {"user": user.id, "platform": actor.platform}
    _note(conn, key, user.tenant_id, user.id, "identity.linked", detail)


def _link(conn: sa.Connection, key: bytes, user: User, platform: str, group: str) -> None:
    linked = execute(
        conn,
        "INSERT INTO links (platform, group_id, tenant_id, user_id, created_at)"
        " VALUES (:platform, :group, :tenant, :user, {now}) ON CONFLICT DO NOTHING"
        " RETURNING group_id",
        platform=platform,
        group=group,
        tenant=user.tenant_id,
        user=user.id,
    ).first()
    if linked is not None:
        detail: dict[str, str | int] = {"platform": platform, "group": group}
        _note(conn, key, user.tenant_id, user.id, "group.linked", detail)


def _link_by_admin(conn: sa.Connection, key: bytes, message: InboundMessage) -> Rejected | None:
    if message.group is None:
        return STRANGER
    who = sender(conn, message.actor, None)
    if isinstance(who, Rejected):
        return who
    if who.user.role is not Role.ADMIN:
        return Rejected(
            code="not_allowed",
            sentence=sentence("Only an admin of the team can link this place to it."),
        )
    _link(conn, key, who.user, message.actor.platform, message.group)
    if linked_tenant(conn, message.actor.platform, message.group) != who.user.tenant_id:
        return _OTHER_TENANT
    return None


def _ask_in(conn: sa.Connection, actor: Actor) -> str:
    execute(conn, "DELETE FROM pairings WHERE expires_at <= {now}")
    row = execute(
        conn,
        "INSERT INTO pairings (code, platform, workspace, external_id, name, created_at,"
        " expires_at) VALUES (:code, :platform, :workspace, :id, :name, {now}, {now} + :ttl)"
        " ON CONFLICT (platform, workspace, external_id) DO UPDATE SET name = excluded.name"
        " RETURNING code",
        code=parse_code(new_code(PAIRING_CHARS)),
        platform=actor.platform,
        workspace=actor.workspace,
        id=actor.external_id,
        name=actor.name[:100],
        ttl=PAIRING_TTL_MS,
    ).one()
    code = text(row[0])
    return f"{code[:4]}-{code[4:]}"


def _link_code(conn: sa.Connection, user: User, ttl_ms: int) -> str:
    execute(
        conn,
        "DELETE FROM codes WHERE tenant_id = :tenant AND user_id = :user AND kind = 'link'"
        " AND used_at IS NULL",
        tenant=user.tenant_id,
        user=user.id,
    )
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


def _invite_code(conn: sa.Connection, key: bytes, by: User, email: str, role: Role) -> str:
    code = new_code()
    execute(
        conn,
        "INSERT INTO codes (hash, tenant_id, kind, email, role, created_by, created_at,"
        " expires_at) VALUES (:hash, :tenant, 'invite', :email, :role, :by, {now}, {now} + :ttl)",
        hash=hash_code(code),
        tenant=by.tenant_id,
        email=email.casefold(),
        role=str(role),
        by=by.id,
        ttl=INVITE_TTL_MS,
    )
    detail: dict[str, str | int] = {"role": str(role)}
    _note(conn, key, by.tenant_id, by.id, "user.invited", detail)
    return code


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
