"""Who may come in: links of shared places, one-time codes, strangers who asked."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.access import (
    FIRST_LINK_TTL_MS,
    INVITE_TTL_MS,
    LINK_TTL_MS,
    hash_code,
    new_code,
)
from core.commands_conversations import ConversationInfo
from core.commands_people import LetIn
from core.messages import Actor, InboundMessage
from core.refusals import STRANGER, Rejected
from core.tenants import Role, User
from core.turns import Turn
from core.words import sentence
from storage.conversations import list_own
from storage.database import Database, execute
from storage.joining import ask_in, identify, invited, let_in, live_user, note
from storage.people import LOCAL_PLATFORM
from storage.places import linked_tenant, sender
from storage.rows import integer, optional_text, text

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
    created_at: int
    used: bool
    """By this very sender."""


class _TakenMeanwhile(Exception):  # not a fault: it only rolls the transaction back
    """Another team linked the place while this one did."""


class SqlGate:
    """Implements ``core.inbox.GateStore``, and makes the codes."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` chains the rows that each change leaves."""
        self._db = db
        self._key = audit_key

    async def redeem(self, message: InboundMessage, code: str) -> Rejected | None:
        """See the port. The same sender may use a code twice: it changes nothing."""
        try:
            return await self._db.transaction(_redeem, self._key, message, code)
        except _TakenMeanwhile:
            return _OTHER_TENANT

    async def link_group(self, message: InboundMessage) -> Rejected | None:
        """See the port."""
        return await self._db.transaction(_link_by_admin, self._key, message)

    async def ask_in(self, message: InboundMessage) -> str:
        """See the port; whoever asks again is told the same code while it lives."""
        return await self._db.transaction(ask_in, message.actor)

    async def link_code(self, user: User, *, ttl_ms: int = LINK_TTL_MS) -> str:
        """A code that makes its sender this user; the older ones of theirs die."""
        return await self._db.transaction(_link_code, user, ttl_ms)

    async def first_link_code(self, admin: User) -> str | None:
        """A code for whoever installs; None once anybody of a chat platform is known."""
        return await self._db.transaction(_first_link_code, admin)

    async def invite_code(self, by: User, *, email: str, role: Role) -> str:
        """A code that makes its sender a new user of the inviter's tenant."""
        return await self._db.transaction(_invite_code, self._key, by, email, role)

    async def let_in(self, turn: Turn, code: str, role: Role) -> LetIn | None:
        """See ``core.commands_people.Codes``."""
        return await self._db.transaction(let_in, self._key, turn, code, role)

    async def recent(
        self, actor: Actor, group: str | None, *, limit: int
    ) -> tuple[ConversationInfo, ...] | Rejected:
        """A person's own conversations, the most recently used first; or how to get access."""
        return await self._db.read(_recent, actor, group, limit)


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
    if not found.used:  # a second delivery must not undo what was chosen in between
        _use(conn, code, actor)
        identify(conn, key, user, actor)
    if group is not None and user.role is Role.ADMIN:
        _link(conn, key, user, actor.platform, group)
        if linked_tenant(conn, actor.platform, group) != user.tenant_id:
            raise _TakenMeanwhile
    return None


def _self(actor: Actor) -> str:
    return f"{actor.platform}:{actor.workspace}:{actor.external_id}"


def _find(conn: sa.Connection, code: str, actor: Actor) -> _Code | None:
    """The code, if it is good, or if this very sender used it before; locks it."""
    row = execute(
        conn,
        "SELECT kind, tenant_id, user_id, email, role, created_by, created_at, used_at FROM codes"
        " WHERE hash = :hash AND expires_at > {now} AND (used_at IS NULL OR used_by = :me){row}",
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
        created_at=integer(row[6]),
        used=row[7] is not None,
    )


def _use(conn: sa.Connection, code: str, actor: Actor) -> None:
    execute(
        conn,
        "UPDATE codes SET used_at = {now}, used_by = :me WHERE hash = :hash AND used_at IS NULL",
        hash=hash_code(code),
        me=_self(actor),
    )


def _user_of(conn: sa.Connection, key: bytes, code: _Code, actor: Actor) -> User | None:
    """Who the code makes its sender; an invited person is added to the team now.

    An invitation dies with its maker's right to invite: somebody who leaves opens no door later.
    """
    if code.kind == "link":
        return live_user(conn, code.tenant_id, "id = :value", code.user_id)
    maker = live_user(conn, code.tenant_id, "id = :value", code.created_by)
    if maker is None or maker.role is not Role.ADMIN:
        return None
    email = code.email or ""
    name = actor.name or email.partition("@")[0]
    made = (code.tenant_id, code.created_by, code.created_at)
    return invited(conn, key, made, (email, name, Role(code.role or Role.VIEWER)))


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
        note(conn, key, user.tenant_id, user.id, "group.linked", detail)


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


def _link_code(conn: sa.Connection, user: User, ttl_ms: int) -> str:
    execute(conn, "DELETE FROM codes WHERE expires_at <= {now}")
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


def _first_link_code(conn: sa.Connection, admin: User) -> str | None:
    known = execute(
        conn,
        "SELECT 1 FROM identities WHERE platform <> :own UNION ALL SELECT 1 FROM links LIMIT 1",
        own=LOCAL_PLATFORM,
    ).first()
    return None if known is not None else _link_code(conn, admin, FIRST_LINK_TTL_MS)


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
    note(conn, key, by.tenant_id, by.id, "user.invited", detail)
    return code


def _recent(
    conn: sa.Connection, actor: Actor, group: str | None, limit: int
) -> tuple[ConversationInfo, ...] | Rejected:
    who = sender(conn, actor, group)
    if isinstance(who, Rejected):
        return who
    return list_own(conn, who.user.tenant_id, who.user.id, limit)
