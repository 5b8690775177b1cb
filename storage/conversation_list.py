"""The list of a person's conversations: its pages, one of them, another title.

Pages are cut by (last use, id), so that none repeats or leaves out a conversation that was not
used in between.
"""

from __future__ import annotations

import asyncio
import re

import sqlalchemy as sa

from core.errors import NotFound
from core.reading import Entries, Entry, News
from core.words import sentence
from storage.changes import news
from storage.conversation_rows import COLUMNS, OWN, entry_of
from storage.conversation_search import AFTER, Place, place_after, search
from storage.database import Database, execute

_PAGE = f"""
SELECT {COLUMNS} FROM conversations c WHERE {OWN} AND {AFTER}
ORDER BY c.updated_at DESC, c.id DESC LIMIT :n
"""
_FIRST: Place = (9_223_372_036_854_775_807, "")
_PLACE = re.compile(r"([0-9]{1,18})-([A-Za-z0-9_-]{1,64})")


class SqlShelf:
    """Implements ``core.reading.Shelf``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db
        self._searching = asyncio.Semaphore(1)  # others read between two searches

    async def listed(
        self, tenant_id: str, user_id: str, *, query: str, after: str | None, limit: int
    ) -> Entries:
        """See the port."""
        place = _FIRST
        if after is not None:
            found = _PLACE.fullmatch(after)
            if found is None:
                message = "no page of the list gave this place"
                raise ValueError(message)
            place = int(found[1]), found[2]
        who = tenant_id, user_id
        if query.strip():
            async with self._searching:
                return await self._db.read(search, who, query, place, limit)
        return await self._db.read(_listed, who, place, limit)

    async def entry(self, tenant_id: str, user_id: str, conversation_id: str) -> Entry:
        """See the port."""
        return await self._db.read(_entry, tenant_id, user_id, conversation_id)

    async def rename(self, tenant_id: str, user_id: str, conversation_id: str, title: str) -> Entry:
        """See the port."""
        return await self._db.transaction(_rename, tenant_id, user_id, conversation_id, title)

    async def news(self, tenant_id: str, user_id: str, *, since_ms: int | None) -> News:
        """See the port."""
        return await self._db.read(news, tenant_id, user_id, since_ms)


def _listed(conn: sa.Connection, who: tuple[str, str], place: Place, limit: int) -> Entries:
    rows = execute(
        conn, _PAGE, tenant=who[0], user=who[1], at=place[0], id=place[1], n=limit + 1
    ).all()
    entries = tuple(entry_of(row) for row in rows[:limit])
    following = place_after(entries[-1]) if len(rows) > limit else None
    return Entries(entries=entries, following=following)


def _entry(conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str) -> Entry:
    row = execute(
        conn,
        f"SELECT {COLUMNS} FROM conversations c WHERE c.id = :id AND {OWN}",
        id=conversation_id,
        tenant=tenant_id,
        user=user_id,
    ).first()
    if row is None:
        raise NotFound(sentence("There is no such conversation."))
    return entry_of(row)


def _rename(
    conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str, title: str
) -> Entry:
    execute(
        conn,
        "UPDATE conversations SET title = :title, renamed_at = {now} WHERE id = :id"
        " AND tenant_id = :tenant AND user_id = :user AND deleted_at IS NULL",
        title=title,
        id=conversation_id,
        tenant=tenant_id,
        user=user_id,
    )
    return _entry(conn, tenant_id, user_id, conversation_id)
