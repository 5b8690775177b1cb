"""Who may come in: links of shared places, one-time codes, strangers who asked."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.access import LINK_TTL_MS, hash_code
from core.commands_conversations import ConversationInfo
from core.commands_people import LetIn
from core.commands_text import escape, is_shared
from core.messages import Actor, InboundMessage
from core.refusals import STRANGER, Rejected
from core.tenants import Role, User
from core.turns import Turn
from core.words import sentence
from storage.accounts import accounts_of, identify, known_as, note
from storage.codes import MEMBER, first_link_code, invite_code, link_code
from storage.conversations import list_own
from storage.database import Database, execute
from storage.joining import ask_in, invited, let_in, live_user
from storage.places import linked_tenant, sender
from storage.plan_limits import full
from storage.rows import integer, optional_text, text
from storage.team import admins

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
        "This place belongs to another team already. An admin of that team must unlink it first: "
        "they send `/unlink` here. A code that was sent here is used up; make a new one."
    ),
)
_NOT_HERE = Rejected(
    code="known_already",
    sentence=sentence(
        "I know you already, and this code is somebody else's. It is used up, for others have "
        "read it here; send me a new one in a private chat. To link this place to your team, "
        "send `/link` alone."
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

    async def redeem(
        self, message: InboundMessage, code: str, *, confirmed: bool = False
    ) -> Rejected | None:
        """See the port. The same sender may use a code twice: it changes nothing."""
        try:
            return await self._db.transaction(_redeem, self._key, message, code, confirmed)
        except _TakenMeanwhile:
            return _OTHER_TENANT

    async def link_group(self, message: InboundMessage) -> Rejected | None:
        """See the port."""
        return await self._db.transaction(_link_by_admin, self._key, message)

    async def ask_in(self, message: InboundMessage) -> str:
        """See the port; whoever asks again is told the same code while it lives."""
        return await self._db.transaction(_ask_in, message)

    async def link_code(self, user: User, *, ttl_ms: int = LINK_TTL_MS) -> str:
        """A code that makes its sender this user; the older ones of theirs die."""
        return await self._db.transaction(link_code, user, ttl_ms)

    async def first_link_code(self, admin: User) -> str | None:
        """A code for whoever installs; None once anybody of a chat platform is known."""
        return await self._db.transaction(first_link_code, admin)

    async def invite_code(self, by: User, *, email: str, role: Role) -> str | Rejected:
        """A code that makes its sender a new user of the inviter's tenant, or why there is none."""
        return await self._db.transaction(invite_code, self._key, by, email, role)

    async def let_in(self, turn: Turn, code: str, role: Role) -> LetIn | Rejected | None:
        """See ``core.commands_people.Codes``."""
        return await self._db.transaction(let_in, self._key, turn, code, role)

    async def known(self, actor: Actor, group: str | None) -> User | Rejected:
        """The user behind an account, in the place's tenant or the one that they chose."""
        return await self._db.read(_known, actor, group)

    async def recent(
        self, actor: Actor, group: str | None, *, limit: int
    ) -> tuple[ConversationInfo, ...] | Rejected:
        """A person's own conversations, the most recently used first; or how to get access."""
        return await self._db.read(_recent, actor, group, limit)


def _redeem(
    conn: sa.Connection,
    key: bytes,
    message: InboundMessage,
    code: str,
    confirmed: bool,  # noqa: FBT001  # database work takes its values by position
) -> Rejected | None:
    actor, group = message.actor, message.group
    found = _find(conn, code, actor)
    if found is None:
        return BAD_CODE
    if found.used:  # a second delivery: the first one did it all, and more may have changed since
        return None
    problem = _refusal(conn, found, message, confirmed=confirmed)
    if problem is not None:
        if problem in (_OTHER_TENANT, _NOT_HERE):
            _use(conn, code, "")  # it was read by everybody there
        return problem
    crowd = full(conn, found.tenant_id) if found.kind == "invite" else None
    if crowd is not None:  # the plan became smaller meanwhile; the code stays good
        return crowd
    user = _user_of(conn, key, found, actor)
    if user is None:
        return BAD_CODE
    _use(conn, code, _self(actor))
    if all(one.user.id != user.id for one in known_as(conn, actor)):
        identify(conn, key, user, actor)
    if group is not None and _may_link(user, message):
        _link(conn, key, user, actor.platform, group)
        if linked_tenant(conn, actor.platform, group) != user.tenant_id:
            raise _TakenMeanwhile
    return None


def _may_link(user: User, message: InboundMessage) -> bool:
    """An admin of their own workspace: guests of a shared channel give none away."""
    member = message.actor.workspace in ("", message.address.workspace)
    return user.role is Role.ADMIN and member


def _refusal(
    conn: sa.Connection, code: _Code, message: InboundMessage, *, confirmed: bool
) -> Rejected | None:
    """Why a live code does nothing for this sender at this place."""
    actor, group = message.actor, message.group
    home = None if group is None else linked_tenant(conn, actor.platform, group)
    if home not in (None, code.tenant_id):
        return _OTHER_TENANT
    return _dead(conn, code) or _doubt(conn, code, message, confirmed=confirmed)


def _doubt(
    conn: sa.Connection, code: _Code, message: InboundMessage, *, confirmed: bool
) -> Rejected | None:
    """Why somebody who is known already does not become another one by a mere code.

    A link that they press by mistake, or a code that is passed off as something else, would make
    what they write next somebody else's.
    """
    known = known_as(conn, message.actor)
    if not known or any(one.user.id == code.user_id for one in known):
        return None
    if is_shared(message.address):
        return _NOT_HERE
    if confirmed:
        return None
    here = next((one for one in known if one.user.tenant_id == code.tenant_id), None)
    team, name = _target(conn, code)
    if here is None:
        now = known[0]
        asked = sentence(
            "You are known here as {name} of the team {team}. Send `/link CODE confirm` to become "
            "{other} of the team {other_team}, too. You stay with your team until you choose the "
            "other one with `/tenant`.",
            name=escape(now.user.name),
            team=escape(now.team),
            other=escape(name),
            other_team=escape(team),
        )
        return Rejected(code="known_already", sentence=asked)
    asked = sentence(
        "You are known here as {name} of the team {team}. Send `/link CODE confirm` to become "
        "{other} of the team {other_team} instead: what you write after that is theirs.",
        name=escape(here.user.name),
        team=escape(here.team),
        other=escape(name),
        other_team=escape(team),
    )
    if admins(conn, code.tenant_id) == {here.user.id} and len(accounts_of(conn, here.user)) == 1:
        asked = sentence(
            "{problem} This is the only account of the team's only admin: after that, `it0 link` "
            "on the server makes the code for another one.",
            problem=asked,
        )
    return Rejected(code="known_already", sentence=asked)


def _target(conn: sa.Connection, code: _Code) -> tuple[str, str]:
    """The team of a code, and who its sender becomes."""
    row = execute(
        conn,
        "SELECT t.name, (SELECT u.name FROM users u WHERE u.id = :user AND u.tenant_id = t.id)"
        " FROM tenants t WHERE t.id = :tenant",
        user=code.user_id or "",
        tenant=code.tenant_id,
    ).one()
    return text(row[0]), optional_text(row[1]) or code.email or ""


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


def _use(conn: sa.Connection, code: str, by: str) -> None:
    execute(
        conn,
        "UPDATE codes SET used_at = {now}, used_by = :by WHERE hash = :hash AND used_at IS NULL",
        hash=hash_code(code),
        by=by,
    )


def _dead(conn: sa.Connection, code: _Code) -> Rejected | None:
    """Why a code opens nothing any more.

    An invitation dies with its maker's right to invite: somebody who leaves opens no door later.
    It makes nobody a person who is there already, whoever has that address.
    """
    if code.kind == "link":
        user = live_user(conn, code.tenant_id, "id = :value", code.user_id)
        return BAD_CODE if user is None else None
    maker = live_user(conn, code.tenant_id, "id = :value", code.created_by)
    if maker is None or maker.role is not Role.ADMIN:
        return BAD_CODE
    there = live_user(conn, code.tenant_id, "email = :value", code.email)
    return None if there is None else MEMBER


def _user_of(conn: sa.Connection, key: bytes, code: _Code, actor: Actor) -> User | None:
    """Who the code makes its sender; an invited person is added to the team now."""
    if code.kind == "link":
        return live_user(conn, code.tenant_id, "id = :value", code.user_id)
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
    if not _may_link(who.user, message):
        return Rejected(
            code="not_allowed",
            sentence=sentence("Only a member of this workspace can link it to a team."),
        )
    _link(conn, key, who.user, message.actor.platform, message.group)
    if linked_tenant(conn, message.actor.platform, message.group) != who.user.tenant_id:
        return _OTHER_TENANT
    return None


def _ask_in(conn: sa.Connection, message: InboundMessage) -> str:
    tenant_id = None
    if message.group is not None:
        tenant_id = linked_tenant(conn, message.actor.platform, message.group)
    return ask_in(conn, message.actor, tenant_id)


def _known(conn: sa.Connection, actor: Actor, group: str | None) -> User | Rejected:
    who = sender(conn, actor, group)
    return who if isinstance(who, Rejected) else who.user


def _recent(
    conn: sa.Connection, actor: Actor, group: str | None, limit: int
) -> tuple[ConversationInfo, ...] | Rejected:
    who = sender(conn, actor, group)
    if isinstance(who, Rejected):
        return who
    return list_own(conn, who.user.tenant_id, who.user.id, limit)
