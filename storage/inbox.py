"""Ingest: one transaction from an inbound message to a stored, perhaps leased, turn."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, replace

import sqlalchemy as sa

from core.buttons import DECISIONS, Press
from core.ids import new_id
from core.inbox import Accepted, ControlDone, Edited
from core.messages import AttachmentRef, ConversationAddress, InboundMessage, Overlap
from core.refusals import NO_CONVERSATION, Rejected
from core.tenants import User
from core.turns import Turn, TurnKind
from core.words import sentence
from storage import albums, controls, decisions, files
from storage.controls import cancel_before
from storage.database import Database, execute
from storage.people import LOCAL_PLATFORM
from storage.places import Sender, create, find, move, sender, where
from storage.rows import integer, text


class SqlInbox:
    """Implements ``core.inbox.InboxStore``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` signs the audit chain: decisions go on record."""
        self._db = db
        self._audit_key = audit_key

    async def accept(
        self,
        message: InboundMessage,
        *,
        kind: TurnKind,
        title: str,
        worker: str | None,
        tenant_limit: int,
    ) -> Accepted | Rejected:
        """See the port. A second delivery of the event answers with the first turn."""
        refs: tuple[AttachmentRef, ...] = ()
        if message.attachments:
            refs = await asyncio.to_thread(_references, message)
        offer = _Offer(kind=kind, title=title, worker=worker, tenant_limit=tenant_limit, files=refs)
        try:
            return await self._db.transaction(_accept, message, offer)
        except _Duplicate:
            return await self._db.read(_first, message, refs)

    async def stop(self, message: InboundMessage) -> ControlDone | Rejected:
        """See the port."""
        return await self._db.transaction(controls.stop, message)

    async def press(self, press: Press) -> ControlDone | InboundMessage | Rejected:
        """See the port."""
        if press.action in DECISIONS:
            return await self._db.transaction(decisions.by_press, self._audit_key, press)
        return await self._db.transaction(controls.press, press)

    async def decide(
        self, message: InboundMessage, rest: str, *, approve: bool
    ) -> ControlDone | Rejected:
        """See the port."""
        return await self._db.transaction(
            decisions.by_command, self._audit_key, message, rest, approve=approve
        )

    async def edit(self, message: InboundMessage) -> Edited:
        """See the port."""
        return await self._db.transaction(controls.edit, message)

    async def retract(self, event_id: str) -> tuple[str, ...]:
        """See the port."""
        return await self._db.transaction(controls.retract, event_id)

    async def move(self, old: ConversationAddress, new: ConversationAddress) -> None:
        """See the port."""
        await self._db.transaction(move, old, new)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    kind: TurnKind
    title: str
    worker: str | None
    tenant_limit: int
    files: tuple[AttachmentRef, ...]


_OTHER_MESSAGE = Rejected(
    code="idempotency_key_reused",
    sentence=sentence(
        "This key was used for another message. Send this one with a key of its own."
    ),
)


class _Duplicate(Exception):  # not a fault: it only rolls the transaction back
    """The event was stored before."""


def _references(message: InboundMessage) -> tuple[AttachmentRef, ...]:
    return tuple(files.reference(item) for item in message.attachments)


def _accept(conn: sa.Connection, message: InboundMessage, offer: _Offer) -> Accepted | Rejected:
    who = sender(conn, message.actor, message.group)
    if isinstance(who, Rejected):
        return who
    user = who.user
    if message.album:
        joined = albums.join(conn, user, message)
        if joined is not None:
            return joined
    position = _enter(conn, user, message, offer)
    if position is None:
        return NO_CONVERSATION
    inserted = _insert(conn, who, message, offer, position)
    if inserted is None:
        raise _Duplicate
    turn_id, created_at = inserted
    if message.album:
        albums.wait(conn, position.conversation_id)
    stopped = _interrupt(conn, user, message, position)
    if not position.leased and conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")
    full = None
    if position.leased:
        full = replace(
            _turn(turn_id, who, message, offer, position),
            engine=message.engine or who.engine,
            created_at_ms=created_at,
        )
    return Accepted(
        turn_id=turn_id,
        tenant_id=user.tenant_id,
        conversation_id=position.conversation_id,
        leased=full,
        stopped=stopped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """Where the message stands: the conversation's row is locked until the commit."""

    conversation_id: str
    seq: int
    epoch: int
    leased: bool


def _enter(
    conn: sa.Connection, user: User, message: InboundMessage, offer: _Offer
) -> _Position | None:
    """Take the next number of the conversation; None when the one that is named is not there."""
    conversation_id = find(conn, user, message)
    while True:
        if conversation_id is None:
            if message.conversation_id is not None:
                return None
            conversation_id = create(conn, user, message, offer.title)
        position = _bump(conn, user, conversation_id, offer)
        if position is not None:
            return position
        conversation_id = None  # deleted just now: the place begins a new one


def _bump(conn: sa.Connection, user: User, conversation_id: str, offer: _Offer) -> _Position | None:
    worker = offer.worker
    if worker is not None and not _may_lease(conn, user, conversation_id, worker, offer):
        worker = None
    row = execute(conn, _BUMP, cid=conversation_id, me=worker, title=offer.title).first()
    if row is None:
        return None
    seq = integer(row[0])
    return _Position(
        conversation_id=conversation_id,
        seq=seq,
        epoch=integer(row[3]),
        leased=worker is not None and row[2] == worker and integer(row[1]) == seq - 1,
    )


def _may_lease(
    conn: sa.Connection, user: User, conversation_id: str, worker: str, offer: _Offer
) -> bool:
    """Whether nobody holds the conversation, and the tenant has a slot left in this worker.

    Locks the row, so that it stays so. The holder may be this very worker, still delivering
    the turn before: its lease must not be taken for a new one.
    """
    row = execute(
        conn,
        "SELECT lease_owner, (SELECT COUNT(*) FROM conversations WHERE lease_owner = :me"
        f" AND tenant_id = :tenant), CASE WHEN {_PAUSED} THEN 1 ELSE 0 END"
        " FROM conversations WHERE id = :cid{row}",
        cid=conversation_id,
        me=worker,
        tenant=user.tenant_id,
    ).one()
    return row[0] is None and integer(row[1]) < offer.tenant_limit and not integer(row[2])


# The reply before is still on its way (storage.deliveries). A time far ahead was written before
# the clock was set back.
_PAUSED = "ready_at > {now} AND ready_at <= {now} + 120000"

_BUMP = f"""
UPDATE conversations SET last_seq = last_seq + 1, updated_at = {{now}},
  title = CASE WHEN title = '' THEN :title ELSE title END,
  ready_at    = CASE WHEN done_seq = last_seq AND NOT ({_PAUSED}) THEN {{now}} ELSE ready_at END,
  lease_epoch = CASE WHEN done_seq = last_seq AND lease_owner IS NULL
                      AND CAST(:me AS TEXT) IS NOT NULL THEN lease_epoch + 1 ELSE lease_epoch END,
  lease_owner = CASE WHEN done_seq = last_seq AND lease_owner IS NULL
                     THEN CAST(:me AS TEXT) ELSE lease_owner END
WHERE id = :cid AND deleted_at IS NULL RETURNING last_seq, done_seq, lease_owner, lease_epoch
"""


def _insert(
    conn: sa.Connection,
    who: Sender,
    message: InboundMessage,
    offer: _Offer,
    position: _Position,
) -> tuple[str, int] | None:
    user = who.user
    files.store(conn, user.tenant_id, zip(offer.files, message.attachments, strict=True))
    row = execute(
        conn,
        """
        INSERT INTO turns (id, tenant_id, conversation_id, seq, user_id, event_id, kind, overlap,
                           engine, platform, workspace, channel, thread, text, attachments,
                           status, attempt, sender, source_ref, language, files,
                           album, model, created_at)
        VALUES (:id, :tenant, :cid, :seq, :user, :event, :kind, :overlap, :engine, :platform,
                :workspace, :channel, :thread, :text, :attachments, :status, :attempt,
                :sender, :source, :language, :files, :album, :model, {now})
        ON CONFLICT (event_id) DO NOTHING RETURNING id, created_at
        """,
        id=new_id("turn"),
        tenant=user.tenant_id,
        cid=position.conversation_id,
        seq=position.seq,
        user=user.id,
        event=message.event_id,
        kind=str(offer.kind),
        overlap=str(message.overlap),
        engine=message.engine,
        model=message.model,
        text=message.text,
        attachments=json.dumps([asdict(ref) for ref in offer.files]),
        status="running" if position.leased else "queued",
        attempt=1 if position.leased else 0,
        sender=message.actor.external_id,
        source=message.source_ref,
        album=message.album or "",
        language=who.language,
        files=json.dumps([asdict(file) for file in message.files]),
        **where(message.address),
    ).first()
    if row is None:
        return None
    files.link(conn, user.tenant_id, text(row[0]), offer.files)
    return text(row[0]), integer(row[1])


def _interrupt(
    conn: sa.Connection, user: User, message: InboundMessage, position: _Position
) -> tuple[str, ...]:
    if message.overlap is not Overlap.INTERRUPT:
        return ()
    return cancel_before(conn, position.conversation_id, position.seq, user)


def _turn(
    turn_id: str, who: Sender, message: InboundMessage, offer: _Offer, position: _Position
) -> Turn:
    return Turn(
        id=turn_id,
        tenant_id=who.user.tenant_id,
        conversation_id=position.conversation_id,
        seq=position.seq,
        epoch=position.epoch,
        attempt=1,
        failures=0,
        kind=offer.kind,
        event_id=message.event_id,
        user=who.user,
        address=message.address,
        text=message.text,
        attachments=offer.files,
        engine=message.engine,
        engine_named=message.engine is not None,
        model=message.model,
        overlap=message.overlap,
        cancelled=False,
        created_at_ms=0,
        sender=message.actor.external_id,
        source_ref=message.source_ref,
        language=who.language,
        files=message.files,
    )


def _first(
    conn: sa.Connection, message: InboundMessage, files: tuple[AttachmentRef, ...]
) -> Accepted | Rejected:
    """The turn of an event that was stored before, if it is the same person's."""
    who = sender(conn, message.actor, message.group)
    if isinstance(who, Rejected):
        return who
    row = execute(
        conn,
        "SELECT id, tenant_id, conversation_id, text, attachments FROM turns"
        " WHERE event_id = :event AND tenant_id = :tenant AND user_id = :user",
        event=message.event_id,
        tenant=who.user.tenant_id,
        user=who.user.id,
    ).first()
    if row is None:
        return Rejected(
            code="event_taken", sentence=sentence("This event id was used by somebody else.")
        )
    erased = not text(row[3]) and text(row[4]) == "[]"  # no message is stored empty
    # A platform's own id vouches for the message, whose text may have been edited since; a
    # client of ours chooses its keys, and may choose one twice.
    same = (
        message.actor.platform != LOCAL_PLATFORM
        or message.album is not None
        or erased
        or (
            text(row[3]) == message.text
            and [ref["sha256"] for ref in json.loads(text(row[4]))] == [ref.sha256 for ref in files]
            and message.conversation_id in (None, row[2])
        )
    )
    if not same:
        return _OTHER_MESSAGE
    return Accepted(
        turn_id=text(row[0]),
        tenant_id=text(row[1]),
        conversation_id=text(row[2]),
        duplicate=True,
    )
