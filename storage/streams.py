"""Reading streams of turns back from the log."""

from __future__ import annotations

import json

import sqlalchemy as sa

from core.errors import NotFound
from core.streams import EventId, StreamEvent, StreamState
from core.words import sentence
from storage.database import Database, execute
from storage.endings import final_data
from storage.rows import integer, text
from storage.turnlog import FINAL


class SqlStreamLog:
    """Implements ``core.streams.StreamLog``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def read_stream(self, tenant_id: str, turn_id: str, after: EventId) -> StreamState:
        """See the port."""
        return await self._db.read(_read, tenant_id, turn_id, after)

    async def check_reader(self, tenant_id: str, user_id: str, turn_id: str) -> None:
        """See the port."""
        await self._db.read(check_reader, tenant_id, user_id, turn_id)


def check_reader(conn: sa.Connection, tenant_id: str, user_id: str, turn_id: str) -> None:
    """Raise ``NotFound`` unless the turn, or its conversation, is the user's own."""
    row = execute(
        conn,
        "SELECT 1 FROM turns t JOIN conversations c ON c.id = t.conversation_id"
        " WHERE t.id = :id AND t.tenant_id = :tenant AND c.deleted_at IS NULL"
        " AND (t.user_id = :user OR (c.user_id = :user AND t.kind = 'message'))",
        id=turn_id,
        tenant=tenant_id,
        user=user_id,
    ).first()
    if row is None:
        raise NotFound(sentence("There is no such turn."))


def _read(conn: sa.Connection, tenant_id: str, turn_id: str, after: EventId) -> StreamState:
    row = execute(
        conn,
        "SELECT attempt, status FROM turns WHERE id = :id AND tenant_id = :tenant",
        id=turn_id,
        tenant=tenant_id,
    ).first()
    if row is None:
        raise NotFound(sentence("There is no such turn."))
    attempt, status = integer(row[0]), text(row[1])
    start = after.number if after.attempt == attempt else 0
    final = None
    if status == "done":
        final = StreamEvent(EventId(attempt, FINAL), "completed", final_data(conn, turn_id))
    return StreamState(attempt=attempt, events=_events(conn, turn_id, attempt, start), final=final)


def _events(conn: sa.Connection, turn_id: str, attempt: int, after: int) -> tuple[StreamEvent, ...]:
    """Events after a number. Batches are few; the one that straddles it is cut here."""
    rows = execute(
        conn,
        "SELECT payload FROM turn_events WHERE turn_id = :turn AND attempt = :attempt"
        " AND n >= COALESCE((SELECT MAX(n) FROM turn_events WHERE turn_id = :turn"
        " AND attempt = :attempt AND n <= :next), 0) ORDER BY n",
        turn=turn_id,
        attempt=attempt,
        next=after + 1,
    ).all()
    found: list[StreamEvent] = []
    last = after
    for row in rows:
        for number, name, data in json.loads(text(row[0])):
            if number > last:
                last = number
                found.append(StreamEvent(EventId(attempt, number), name, data))
    return tuple(found)
