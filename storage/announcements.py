"""Announcements: IT0 speaks first, in a conversation that somebody has with it.

An announcement is a queued command turn, ``/notice KEY``, of the person who is told: whatever
answers and delivers turns then does so once, in order, on every platform. Its sentence is kept
in the outbox beside it and put into the reader's language when the turn runs. The turn changes
neither the title nor the age of its conversation, and no model reads it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import sqlalchemy as sa

from billing.events import Kind
from core.commands_notice import PREFIX
from core.commands_text import is_shared
from core.ids import new_id
from core.messages import ConversationAddress
from core.words import Sentence, Words, sentence
from storage.database import Database, execute, savepoint
from storage.outbox import publish
from storage.places import linked_tenant, where
from storage.rows import integer, text


def announce(
    conn: sa.Connection,
    *,
    tenant_id: str,
    user_id: str | None,
    conversation_id: str | None,
    key: str,
    message: Sentence,
    at_ms: int,
) -> int:
    """Tell a user, or every admin; returns how many are told. A key is told once a person.

    With ``conversation_id`` it is said where that conversation goes on, shared place or not;
    ``user_id`` None is then its owner. Else it is said in the person's latest private chat on
    Slack or Telegram, or in their latest conversation over the API; who has none is not told.
    Where that conversation itself waits for a human, it is said at the same place beside it: an
    approver is not kept from hearing of one question by another.
    """
    if conversation_id is not None:
        seat = _seat_of(conn, tenant_id, user_id, conversation_id)
        seats = [] if seat is None else [seat]
    else:
        users = [user_id] if user_id is not None else _admins(conn, tenant_id)
        found = (_private_seat(conn, tenant_id, user) for user in users)
        seats = [_beside(conn, tenant_id, seat) for seat in found if seat is not None]
    # One order of the conversations' locks, whoever announces.
    for one in sorted(seats, key=lambda seat: seat.conversation_id):
        _queue(conn, tenant_id, one, key)
    if seats:
        publish(conn, _stored(tenant_id, key), tenant_id, Kind.NOTICE, _written(message), at_ms)
        if conn.dialect.name == "postgresql":
            execute(conn, "SELECT pg_notify('turns', '')")
    return len(seats)


class SqlNotices:
    """Implements ``core.commands_notice.Notices``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def notice(self, tenant_id: str, key: str) -> Sentence | None:
        """See the port."""
        return await self._db.read(_notice, tenant_id, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """Where somebody is told, and as whom."""

    conversation_id: str
    user_id: str
    address: ConversationAddress
    sender: str
    language: str


_SEAT = """
SELECT c.id, t.user_id, t.platform, t.workspace, t.channel, t.thread, t.sender,
       COALESCE(u.language, t.language)
FROM conversations c JOIN turns t ON t.conversation_id = c.id AND t.tenant_id = c.tenant_id
 JOIN users u ON u.id = t.user_id AND u.tenant_id = c.tenant_id AND u.disabled_at IS NULL
WHERE c.tenant_id = :tenant AND c.deleted_at IS NULL
"""
# The account that wrote there is still this person's.
_KNOWN = """
 AND EXISTS (SELECT 1 FROM identities i WHERE i.user_id = t.user_id
  AND i.tenant_id = c.tenant_id AND i.external_id = t.sender
  AND i.platform IN (t.platform, 'it0'))
"""
# As ``core.commands_text.is_shared`` has it.
_CHAT = """
 AND ((t.platform = 'slack' AND SUBSTR(t.channel, 1, 1) = 'D')
  OR (t.platform = 'telegram' AND SUBSTR(t.channel, 1, 1) <> '-'))
"""
_STREAMED = " AND t.platform IN ('api', 'web')"


def _private_seat(conn: sa.Connection, tenant_id: str, user_id: str) -> _Seat | None:
    """The latest private chat in which the person wrote; else their latest one elsewhere.

    By their own messages: a place that points to a conversation of theirs may be somebody
    else's, who resumed it.
    """
    for places in (_CHAT, _STREAMED):
        row = execute(
            conn,
            f"{_SEAT} AND c.user_id = :user AND t.user_id = :user{_KNOWN}{places}"
            " ORDER BY c.updated_at DESC, t.seq DESC LIMIT 1",
            tenant=tenant_id,
            user=user_id,
        ).first()
        if row is not None:
            return _seat(*row)
    return None


_PARKED = """
SELECT updated_at FROM conversations WHERE id = :cid AND parked_until > {now}
"""
_ASIDE = """
INSERT INTO conversations (id, tenant_id, user_id, platform, workspace, channel, thread, title,
                           created_at, updated_at)
VALUES (:id, :tenant, :user, :platform, :workspace, :channel, :thread, :title, {now}, :at)
ON CONFLICT (id) DO NOTHING
"""


def _beside(conn: sa.Connection, tenant_id: str, seat: _Seat) -> _Seat:
    """The seat, or one at the same place in a conversation that holds nothing but notices.

    It is a little older than the other, so that what can go there goes on doing so. Once the
    person erased it, there is no such way.
    """
    row = execute(conn, _PARKED, cid=seat.conversation_id).first()
    if row is None:
        return seat
    words = Words(seat.language)
    place = "\0".join((tenant_id, seat.user_id, *where(seat.address).values()))
    aside = f"conv_{hashlib.sha256(place.encode()).hexdigest()[:28]}"
    execute(
        conn,
        _ASIDE,
        id=aside,
        tenant=tenant_id,
        user=seat.user_id,
        title=words("Notices"),
        at=integer(row[0]) - 1,
        **where(seat.address),
    )
    gone = execute(
        conn, "SELECT 1 FROM conversations WHERE id = :id AND deleted_at IS NOT NULL", id=aside
    ).first()
    return seat if gone is not None else replace(seat, conversation_id=aside)


def _seat_of(
    conn: sa.Connection, tenant_id: str, user_id: str | None, conversation_id: str
) -> _Seat | None:
    """Where the person wrote last in the conversation, unless that place left the team."""
    row = execute(
        conn,
        f"{_SEAT} AND c.id = :cid AND t.user_id = COALESCE(CAST(:user AS TEXT), c.user_id){_KNOWN}"
        " ORDER BY t.seq DESC LIMIT 1",
        tenant=tenant_id,
        cid=conversation_id,
        user=user_id,
    ).first()
    if row is None:
        return None
    seat = _seat(*row)
    place = seat.address
    if is_shared(place):
        group = place.workspace if place.platform == "slack" else place.channel
        if linked_tenant(conn, place.platform, group) != tenant_id:
            return None
    return seat


def _seat(*row: object) -> _Seat:
    return _Seat(
        conversation_id=text(row[0]),
        user_id=text(row[1]),
        address=ConversationAddress(
            platform=text(row[2]),
            workspace=text(row[3]),
            channel=text(row[4]),
            thread=text(row[5]),
        ),
        sender=text(row[6]),
        language=text(row[7]),
    )


def _admins(conn: sa.Connection, tenant_id: str) -> list[str]:
    rows = execute(
        conn,
        "SELECT id FROM users WHERE tenant_id = :tenant AND role = 'admin'"
        " AND disabled_at IS NULL ORDER BY id",
        tenant=tenant_id,
    ).all()
    return [text(row[0]) for row in rows]


# As the inbox gives a message its number (``storage.inbox``), but for title and age.
_NEXT = """
UPDATE conversations SET last_seq = last_seq + 1,
 ready_at = CASE WHEN done_seq = last_seq
  AND NOT (ready_at > {now} AND ready_at <= {now} + 120000) THEN {now} ELSE ready_at END
WHERE id = :cid AND deleted_at IS NULL RETURNING last_seq
"""
_INSERT = """
INSERT INTO turns (id, tenant_id, conversation_id, seq, user_id, event_id, kind, overlap,
                   platform, workspace, channel, thread, text, attachments, status, sender,
                   language, created_at)
VALUES (:id, :tenant, :cid, :seq, :user, :event, 'command', 'queue', :platform, :workspace,
        :channel, :thread, :text, '[]', 'queued', :sender, :language, {now})
ON CONFLICT (event_id) DO NOTHING RETURNING id
"""


class _Told(Exception):  # not a fault: it only gives the number in the conversation back
    """The person was told before."""


def _queue(conn: sa.Connection, tenant_id: str, seat: _Seat, key: str) -> None:
    try:
        with savepoint(conn):
            row = execute(conn, _NEXT, cid=seat.conversation_id).first()
            if row is not None:
                _insert(conn, tenant_id, seat, key, integer(row[0]))
    except _Told:
        return


def _insert(conn: sa.Connection, tenant_id: str, seat: _Seat, key: str, seq: int) -> None:
    stored = execute(
        conn,
        _INSERT,
        id=new_id("turn"),
        tenant=tenant_id,
        cid=seat.conversation_id,
        seq=seq,
        user=seat.user_id,
        event=f"{PREFIX}{key}/{seat.user_id}",
        text=f"/notice {key}",
        sender=seat.sender,
        language=seat.language,
        **where(seat.address),
    ).first()
    if stored is None:
        raise _Told


def _stored(tenant_id: str, key: str) -> str:
    return f"{PREFIX}{tenant_id}/{key}"


def _notice(conn: sa.Connection, tenant_id: str, key: str) -> Sentence | None:
    row = execute(
        conn,
        "SELECT payload FROM outbox WHERE id = :id AND tenant_id = :tenant",
        id=_stored(tenant_id, key),
        tenant=tenant_id,
    ).first()
    return None if row is None else _read(json.loads(text(row[0])))


def _written(message: Sentence) -> dict[str, object]:
    """A sentence as JSON; its values may be sentences themselves."""
    values = {
        name: _written(value) if isinstance(value, Sentence) else value
        for name, value in message.values.items()
    }
    return {"message": message.message, "values": values}


def _read(stored: dict[str, object]) -> Sentence:
    values = stored["values"]
    if not isinstance(values, dict):
        problem = "a stored sentence has no values"
        raise TypeError(problem)
    return sentence(
        str(stored["message"]),
        **{
            str(name): _read(value) if isinstance(value, dict) else value
            for name, value in values.items()
        },
    )
