"""Ingest: one transaction from an inbound message to a stored, perhaps leased, turn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import sqlalchemy as sa

from core.ids import new_id
from core.inbox import Accepted, ControlDone, Rejected
from core.messages import Attachment, AttachmentRef, InboundMessage, Overlap
from core.tenants import Role, User
from core.turns import Turn, TurnKind
from storage.database import Database, execute
from storage.rows import integer, optional_text, text


class SqlInbox:
    """Implements ``core.inbox.InboxStore``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def accept(
        self,
        message: InboundMessage,
        *,
        kind: TurnKind,
        title: str,
        worker: str | None,
        full_tenants: frozenset[str],
    ) -> Accepted | Rejected:
        """See the port. A second delivery of the event answers with the first turn."""
        offer = _Offer(kind=kind, title=title, worker=worker, full_tenants=full_tenants)
        try:
            return await self._db.transaction(_accept, message, offer)
        except _Duplicate:
            return await self._db.read(_first, message)

    async def stop(self, message: InboundMessage) -> ControlDone | Rejected:
        """See the port."""
        return await self._db.transaction(_stop, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    kind: TurnKind
    title: str
    worker: str | None
    full_tenants: frozenset[str]


class _Duplicate(Exception):  # not a fault: it only rolls the transaction back
    """The event was stored before."""


_WHO = """
SELECT u.id, u.tenant_id, u.email, u.name, u.role, t.engine
FROM identities i JOIN users u ON u.id = i.user_id JOIN tenants t ON t.id = u.tenant_id
WHERE i.platform = :platform AND i.workspace = :workspace AND i.external_id = :external_id
  AND u.disabled_at IS NULL
"""

STRANGER = Rejected(
    code="unknown_person",
    sentence="I do not know you yet. Ask an admin of your team to invite you.",
)
NO_CONVERSATION = Rejected(
    code="not_found",
    sentence="There is no such conversation. List yours with /sessions.",
)


def _accept(conn: sa.Connection, message: InboundMessage, offer: _Offer) -> Accepted | Rejected:
    who = _who(conn, message)
    if who is None:
        return STRANGER
    user, tenant_engine = who
    conversation_id = _find(conn, user, message)
    if conversation_id is None and message.conversation_id is not None:
        return NO_CONVERSATION
    worker = None if user.tenant_id in offer.full_tenants else offer.worker
    if conversation_id is None:
        conversation_id = _create(conn, user, message, offer.title)
    if worker is not None and _leased(conn, conversation_id):
        worker = None
    bumped = execute(conn, _BUMP, cid=conversation_id, me=worker).one()
    seq = integer(bumped[0])
    leased = worker is not None and bumped[2] == worker and integer(bumped[1]) == seq - 1
    inserted = _insert(conn, user, message, offer, conversation_id, seq, leased=leased)
    if inserted is None:
        raise _Duplicate
    turn_id, created_at = inserted
    stopped = _interrupt(conn, message, conversation_id, seq)
    if not leased and conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")
    full = None
    if leased:
        full = replace(
            _turn(turn_id, user, message, offer, conversation_id),
            seq=seq,
            epoch=integer(bumped[3]),
            engine=message.engine or tenant_engine,
            created_at_ms=created_at,
        )
    return Accepted(
        turn_id=turn_id,
        tenant_id=user.tenant_id,
        conversation_id=conversation_id,
        leased=full,
        stopped=stopped,
    )


def _leased(conn: sa.Connection, conversation_id: str) -> bool:
    """Whether anybody holds the conversation; locks the row, so that it stays so.

    The holder may be this very worker, still delivering the turn before: its lease must not be
    taken for a new one.
    """
    row = execute(
        conn, "SELECT lease_owner FROM conversations WHERE id = :cid{row}", cid=conversation_id
    ).one()
    return row[0] is not None


def _who(conn: sa.Connection, message: InboundMessage) -> tuple[User, str | None] | None:
    actor = message.actor
    row = execute(
        conn,
        _WHO,
        platform=actor.platform,
        workspace=actor.workspace,
        external_id=actor.external_id,
    ).first()
    if row is None:
        return None
    user = User(
        id=text(row[0]),
        tenant_id=text(row[1]),
        email=text(row[2]),
        name=text(row[3]),
        role=Role(text(row[4])),
    )
    return user, optional_text(row[5])


def _find(conn: sa.Connection, user: User, message: InboundMessage) -> str | None:
    """The conversation that the message names, or that its place points to."""
    if message.conversation_id is not None:
        row = execute(
            conn,
            "SELECT id FROM conversations WHERE id = :id AND tenant_id = :tenant"
            " AND user_id = :user AND deleted_at IS NULL",
            id=message.conversation_id,
            tenant=user.tenant_id,
            user=user.id,
        ).first()
    else:
        row = execute(conn, _PLACE, tenant=user.tenant_id, **_address(message)).first()
    return None if row is None else text(row[0])


_PLACE = """
SELECT conversation_id FROM places WHERE tenant_id = :tenant AND platform = :platform
  AND workspace = :workspace AND channel = :channel AND thread = :thread
"""


def _address(message: InboundMessage) -> dict[str, str]:
    address = message.address
    return {
        "platform": address.platform,
        "workspace": address.workspace,
        "channel": address.channel,
        "thread": address.thread,
    }


def _create(conn: sa.Connection, user: User, message: InboundMessage, title: str) -> str:
    """Create the place's conversation; of two that race, the second uses the first's."""
    conversation_id = new_id("conv")
    place = execute(
        conn,
        "INSERT INTO places (tenant_id, platform, workspace, channel, thread, conversation_id)"
        " VALUES (:tenant, :platform, :workspace, :channel, :thread, :cid)"
        " ON CONFLICT DO NOTHING RETURNING conversation_id",
        tenant=user.tenant_id,
        cid=conversation_id,
        **_address(message),
    ).first()
    if place is None:
        return text(execute(conn, _PLACE, tenant=user.tenant_id, **_address(message)).one()[0])
    execute(
        conn,
        INSERT_CONVERSATION,
        id=conversation_id,
        tenant=user.tenant_id,
        user=user.id,
        title=title,
        **_address(message),
    )
    return conversation_id


INSERT_CONVERSATION = """
INSERT INTO conversations (id, tenant_id, user_id, platform, workspace, channel, thread, title,
                           created_at, updated_at)
VALUES (:id, :tenant, :user, :platform, :workspace, :channel, :thread, :title, {now}, {now})
"""

_BUMP = """
UPDATE conversations SET last_seq = last_seq + 1, updated_at = {now},
  ready_at    = CASE WHEN done_seq = last_seq THEN {now} ELSE ready_at END,
  lease_epoch = CASE WHEN done_seq = last_seq AND lease_owner IS NULL
                      AND CAST(:me AS TEXT) IS NOT NULL THEN lease_epoch + 1 ELSE lease_epoch END,
  lease_owner = CASE WHEN done_seq = last_seq AND lease_owner IS NULL
                     THEN CAST(:me AS TEXT) ELSE lease_owner END
WHERE id = :cid RETURNING last_seq, done_seq, lease_owner, lease_epoch
"""


def _insert(
    conn: sa.Connection,
    user: User,
    message: InboundMessage,
    offer: _Offer,
    conversation_id: str,
    seq: int,
    *,
    leased: bool,
) -> tuple[str, int] | None:
    refs = [_store(conn, user.tenant_id, item) for item in message.attachments]
    row = execute(
        conn,
        """
        INSERT INTO turns (id, tenant_id, conversation_id, seq, user_id, event_id, kind, overlap,
                           engine, platform, workspace, channel, thread, text, attachments,
                           status, attempt, created_at)
        VALUES (:id, :tenant, :cid, :seq, :user, :event, :kind, :overlap, :engine, :platform,
                :workspace, :channel, :thread, :text, :attachments, :status, :attempt, {now})
        ON CONFLICT (event_id) DO NOTHING RETURNING id, created_at
        """,
        id=new_id("turn"),
        tenant=user.tenant_id,
        cid=conversation_id,
        seq=seq,
        user=user.id,
        event=message.event_id,
        kind=str(offer.kind),
        overlap=str(message.overlap),
        engine=message.engine,
        text=message.text,
        attachments=json.dumps(refs),
        status="running" if leased else "queued",
        attempt=1 if leased else 0,
        **_address(message),
    ).first()
    return None if row is None else (text(row[0]), integer(row[1]))


def _store(conn: sa.Connection, tenant_id: str, item: Attachment) -> dict[str, str | int]:
    sha256 = hashlib.sha256(item.data).hexdigest()
    execute(
        conn,
        "INSERT INTO attachments (tenant_id, sha256, media_type, size, data, created_at)"
        " VALUES (:tenant, :sha, :type, :size, :data, {now}) ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        sha=sha256,
        type=item.media_type,
        size=len(item.data),
        data=item.data,
    )
    return {
        "sha256": sha256,
        "name": item.name,
        "media_type": item.media_type,
        "size": len(item.data),
    }


def _interrupt(
    conn: sa.Connection, message: InboundMessage, conversation_id: str, seq: int
) -> tuple[str, ...]:
    if message.overlap is not Overlap.INTERRUPT:
        return ()
    return cancel_before(conn, conversation_id, seq)


def cancel_before(conn: sa.Connection, conversation_id: str, seq: int) -> tuple[str, ...]:
    """Ask the unfinished turns before ``seq`` to stop, in this process or another."""
    rows = execute(
        conn,
        "UPDATE turns SET cancel_at = {now} WHERE conversation_id = :cid AND seq < :seq"
        " AND seq > (SELECT done_seq FROM conversations WHERE id = :cid)"
        " AND status IN ('queued', 'running') AND cancel_at IS NULL RETURNING id",
        cid=conversation_id,
        seq=seq,
    ).all()
    if conn.dialect.name == "postgresql":
        for row in rows:
            execute(conn, "SELECT pg_notify('stop', CAST(:id AS TEXT))", id=text(row[0]))
    return tuple(text(row[0]) for row in rows)


def _turn(
    turn_id: str, user: User, message: InboundMessage, offer: _Offer, conversation_id: str
) -> Turn:
    return Turn(
        id=turn_id,
        tenant_id=user.tenant_id,
        conversation_id=conversation_id,
        seq=0,
        epoch=0,
        attempt=1,
        failures=0,
        kind=offer.kind,
        event_id=message.event_id,
        user=user,
        address=message.address,
        text=message.text,
        attachments=tuple(
            AttachmentRef(
                sha256=hashlib.sha256(item.data).hexdigest(),
                name=item.name,
                media_type=item.media_type,
                size=len(item.data),
            )
            for item in message.attachments
        ),
        engine=message.engine,
        overlap=message.overlap,
        cancelled=False,
        created_at_ms=0,
    )


def _first(conn: sa.Connection, message: InboundMessage) -> Accepted | Rejected:
    """The turn of an event that was stored before, if it is the same person's."""
    who = _who(conn, message)
    if who is None:
        return STRANGER
    row = execute(
        conn,
        "SELECT id, tenant_id, conversation_id FROM turns"
        " WHERE event_id = :event AND tenant_id = :tenant AND user_id = :user",
        event=message.event_id,
        tenant=who[0].tenant_id,
        user=who[0].id,
    ).first()
    if row is None:
        return Rejected(code="event_taken", sentence="This event id was used by somebody else.")
    return Accepted(
        turn_id=text(row[0]),
        tenant_id=text(row[1]),
        conversation_id=text(row[2]),
        duplicate=True,
    )


def _stop(conn: sa.Connection, message: InboundMessage) -> ControlDone | Rejected:
    who = _who(conn, message)
    if who is None:
        return STRANGER
    user = who[0]
    before = execute(
        conn,
        "SELECT conversation_id, reply FROM controls WHERE event_id = :event"
        " AND tenant_id = :tenant AND user_id = :user",
        event=message.event_id,
        tenant=user.tenant_id,
        user=user.id,
    ).first()
    if before is not None:
        return ControlDone(conversation_id=text(before[0]), reply=text(before[1]))
    conversation_id = _find(conn, user, message)
    if conversation_id is None:
        return NO_CONVERSATION
    stopped = cancel_before(conn, conversation_id, 2**62)
    match len(stopped):
        case 0:
            reply = "Nothing is running in this conversation."
        case 1:
            reply = "Stopped."
        case count:
            reply = f"Stopped, with {count - 1} waiting message{'s' * (count > 2)}."  # noqa: PLR2004
    execute(
        conn,
        "INSERT INTO controls (event_id, tenant_id, conversation_id, user_id, reply, created_at)"
        " VALUES (:event, :tenant, :cid, :user, :reply, {now}) ON CONFLICT DO NOTHING",
        event=message.event_id,
        tenant=user.tenant_id,
        cid=conversation_id,
        user=user.id,
        reply=reply,
    )
    return ControlDone(conversation_id=conversation_id, reply=reply, stopped=stopped)
