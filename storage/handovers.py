"""Handovers in the database: written once, told whom they are for, accepted once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from core.audit import AuditEntry
from core.handover import Facts, Handover, Wanted, Writer, markdown
from core.ids import new_id
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import Words, sentence
from storage.announcements import announce
from storage.approval_desk import announce_pending
from storage.audit import append_audit
from storage.database import Database, execute, now_ms
from storage.erasure import owned
from storage.handover_facts import gather
from storage.rows import integer, optional_text, text

NO_HANDOVER = Rejected(
    code="not_found",
    sentence=sentence("There is no such handover from you or for you. `/handover list` has them."),
)
_NOT_YOURS = Rejected(
    code="not_allowed", sentence=sentence("Only the person whom it is handed to can accept it.")
)
_NOBODY = Rejected(
    code="unknown_person",
    sentence=sentence("Nobody in your team has that e-mail address. Look at it again."),
)
_YOURSELF = Rejected(
    code="not_allowed",
    sentence=sentence("That is yourself. Hand over to somebody else, or leave `to` out."),
)
_VIEWER = Rejected(
    code="not_allowed",
    sentence=sentence("That person is a viewer: only an operator or an admin can take over."),
)
_NO_CONVERSATION = Rejected(
    code="not_found", sentence=sentence("There is no such conversation of yours.")
)


class SqlHandovers:
    """Implements ``core.handover.HandoverDesk``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` signs the audit chain."""
        self._db = db
        self._key = audit_key

    async def write(self, by: Writer, wanted: Wanted) -> Handover | Rejected:
        """See the port."""
        prepared = await self._db.read(_prepare, by, wanted)
        if not isinstance(prepared, Facts):
            return prepared
        body = markdown(prepared, Words(by.language))
        return await self._db.transaction(_store, self._key, by, wanted, prepared.since_ms, body)

    async def accept(self, user: User, handover_id: str) -> Handover | Rejected:
        """See the port."""
        return await self._db.transaction(_accept, self._key, user, handover_id)

    async def find(self, user: User, handover_id: str) -> Handover | Rejected:
        """See the port."""
        found = await self._db.read(_find, user, handover_id)
        return NO_HANDOVER if found is None else found

    async def listed(self, user: User, limit: int) -> tuple[Handover, ...]:
        """See the port."""
        return await self._db.read(_listed, user, limit)


def _prepare(conn: sa.Connection, by: Writer, wanted: Wanted) -> Facts | Handover | Rejected:
    """The facts; or the handover that this turn wrote before, or why there is none."""
    before = _find(conn, by.user, _id(by)) if by.turn_id else None
    if before is not None:
        return before
    taker = _taker(conn, by, wanted)
    if isinstance(taker, Rejected):
        return taker
    in_turn, here = bool(by.turn_id), wanted.since_ms is None
    if here and not in_turn and not owned(conn, by.user.tenant_id, by.user.id, by.conversation_id):
        return _NO_CONVERSATION
    return gather(conn, by, wanted.since_ms)


def _id(by: Writer) -> str:
    if not by.turn_id:
        return new_id("hnd")
    return f"hnd_{hashlib.sha256(by.turn_id.encode()).hexdigest()[:28]}"


def _taker(conn: sa.Connection, by: Writer, wanted: Wanted) -> str | Rejected | None:
    """The id of the person whom it is handed to, if anybody."""
    if not wanted.to:
        return None
    row = execute(
        conn,
        "SELECT id, role FROM users WHERE tenant_id = :tenant AND email = :email"
        " AND disabled_at IS NULL",
        tenant=by.user.tenant_id,
        email=wanted.to.casefold(),
    ).first()
    if row is None:
        return _NOBODY
    if row[0] == by.user.id:
        return _YOURSELF
    return text(row[0]) if Role(text(row[1])).includes(Role.OPERATOR) else _VIEWER


def _store(
    conn: sa.Connection, key: bytes, by: Writer, wanted: Wanted, since_ms: int, body: str
) -> Handover | Rejected:
    taker = _taker(conn, by, wanted)
    if isinstance(taker, Rejected):
        return taker
    at, handover_id = now_ms(conn), _id(by)
    stored = execute(
        conn,
        "INSERT INTO handovers (id, tenant_id, from_user, to_user, conversation_id, since, body,"
        " created_at) VALUES (:id, :tenant, :by, :to, :cid, :since, :body, :at)"
        " ON CONFLICT (id) DO NOTHING RETURNING id",
        id=handover_id,
        tenant=by.user.tenant_id,
        by=by.user.id,
        to=taker,
        cid=by.conversation_id,
        since=since_ms,
        body=body,
        at=at,
    ).first()
    made = _find(conn, by.user, handover_id)
    if made is None:
        message = "a handover that was just stored is not there"
        raise RuntimeError(message)
    if stored is None:
        return made
    told = taker is None or _announce(conn, by.user, made, at)
    _record(conn, key, by.user, made, "handover.written", by.turn_id)
    return replace(made, told=told)


def _announce(conn: sa.Connection, by: User, made: Handover, at_ms: int) -> bool:
    told = announce(
        conn,
        tenant_id=made.tenant_id,
        user_id=made.to_user,
        conversation_id=None,
        key=f"handover/{made.id}",
        message=sentence(
            "{name} hands over to you. `/handover accept {id}` takes over.\n\n{body}",
            name=by.name or by.email,
            id=made.id,
            body=made.body,
        ),
        at_ms=at_ms,
    )
    return told > 0


def _accept(conn: sa.Connection, key: bytes, user: User, handover_id: str) -> Handover | Rejected:
    found = _find(conn, user, handover_id, lock="{row}")
    if found is None:
        return NO_HANDOVER
    if found.to_user != user.id:
        return _NOT_YOURS
    if found.accepted_at_ms is not None:
        return found
    at = now_ms(conn)
    execute(
        conn,
        "UPDATE handovers SET accepted_at = :at WHERE id = :id AND tenant_id = :tenant",
        at=at,
        id=found.id,
        tenant=user.tenant_id,
    )
    if user.role.includes(Role.OPERATOR):
        announce_pending(conn, user.tenant_id, user.id, at)
    _record(conn, key, user, found, "handover.accepted", "")
    return replace(found, accepted_at_ms=at)


def _record(
    conn: sa.Connection, key: bytes, actor: User, made: Handover, action: str, turn_id: str
) -> None:
    detail: dict[str, str | int] = {"handover_id": made.id, "since_ms": made.since_ms}
    if made.to_user is not None:
        detail["to"] = made.to_user
    entry = AuditEntry(actor=actor.id, action=action, turn_id=turn_id, detail=detail)
    append_audit(conn, key, made.tenant_id, entry)


# -- reading ----------------------------------------------------------------------------------

_SELECT = """
SELECT h.id, h.tenant_id, h.from_user, h.to_user, h.conversation_id, h.since, h.body,
 h.created_at, h.accepted_at, (SELECT COALESCE(NULLIF(u.name, ''), u.email) FROM users u
  WHERE u.id = h.to_user AND u.tenant_id = h.tenant_id)
FROM handovers h WHERE h.tenant_id = :tenant AND (h.from_user = :user OR h.to_user = :user)
"""


def _find(conn: sa.Connection, user: User, handover_id: str, *, lock: str = "") -> Handover | None:
    if lock:
        execute(
            conn,
            f"SELECT 1 FROM handovers WHERE id = :id AND tenant_id = :tenant{lock}",
            id=handover_id,
            tenant=user.tenant_id,
        ).first()
    row = execute(
        conn,
        f"{_SELECT} AND h.id = :id",
        id=handover_id,
        tenant=user.tenant_id,
        user=user.id,
    ).first()
    return None if row is None else _handover(row)


def _listed(conn: sa.Connection, user: User, limit: int) -> tuple[Handover, ...]:
    rows = execute(
        conn,
        f"{_SELECT} ORDER BY h.created_at DESC, h.id DESC LIMIT :most",
        tenant=user.tenant_id,
        user=user.id,
        most=limit,
    ).all()
    return tuple(_handover(row) for row in rows)


def _handover(row: Sequence[object]) -> Handover:
    return Handover(
        id=text(row[0]),
        tenant_id=text(row[1]),
        from_user=text(row[2]),
        to_user=optional_text(row[3]),
        conversation_id=text(row[4]),
        since_ms=integer(row[5]),
        body=text(row[6]),
        created_at_ms=integer(row[7]),
        accepted_at_ms=None if row[8] is None else integer(row[8]),
        to_name=optional_text(row[9]) or "",
    )
