"""The list of a person's conversations: pages, search, titles, and what changed.

Pages are cut by (last use, id), so that none repeats or leaves out a conversation that was not
used in between. A search looks into the ``SEARCHED`` newest conversations alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa

from core.errors import NotFound
from core.reading import Activity, Entries, Entry, News
from storage.conversations import UNTITLED
from storage.database import Database, execute
from storage.rows import integer, text

SEARCHED = 1_000
OVERLAP_MS = 5_000
"""Changes that were committed late are told again rather than missed; the reader knows ids."""
MOST_NEWS = 200
_AROUND = 60
"""Characters of an excerpt on each side of what was found."""

# A conversation whose turn waits for a human is parked.
_COLUMNS = """
c.id, c.title, c.platform, c.updated_at, c.last_seq,
CASE WHEN c.done_seq >= c.last_seq THEN 'idle'
 WHEN EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.status = 'running')
  THEN 'running'
 WHEN c.parked_until > {now} THEN 'waiting' ELSE 'queued' END
"""
_OWN = "c.tenant_id = :tenant AND c.user_id = :user AND c.deleted_at IS NULL"
# Others' commands in a shared conversation were answered for their eyes only.
_READABLE = "t.tenant_id = :tenant AND (t.kind = 'message' OR t.user_id = :user)"
_FOUND = """
(t.event_id NOT LIKE 'notice/%' AND (LOWER(t.text) LIKE :low ESCAPE '!' OR t.text LIKE :raw
 ESCAPE '!') OR LOWER(COALESCE(t.reply, '')) LIKE :low ESCAPE '!'
 OR COALESCE(t.reply, '') LIKE :raw ESCAPE '!')
"""
_PAGE = f"""
SELECT {_COLUMNS} FROM conversations c
WHERE {_OWN} AND (c.updated_at < :at OR (c.updated_at = :at AND c.id < :id))
ORDER BY c.updated_at DESC, c.id DESC LIMIT :n
"""
_SEARCH = f"""
SELECT {_COLUMNS} FROM
 (SELECT * FROM conversations c WHERE {_OWN} ORDER BY c.updated_at DESC, c.id DESC
  LIMIT {SEARCHED}) c
WHERE (c.updated_at < :at OR (c.updated_at = :at AND c.id < :id))
 AND (LOWER(c.title) LIKE :low ESCAPE '!' OR c.title LIKE :raw ESCAPE '!'
  OR EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND {_READABLE} AND {_FOUND}))
ORDER BY c.updated_at DESC, c.id DESC LIMIT :n
"""
_WHERE_FOUND = f"""
SELECT t.text, COALESCE(t.reply, ''), t.event_id FROM turns t
WHERE t.conversation_id = :cid AND {_READABLE} AND {_FOUND} ORDER BY t.seq DESC LIMIT 1
"""
_LAST = 9_223_372_036_854_775_807
_PLACE = re.compile(r"(\d{1,18})-([\w-]{1,64})")


class SqlShelf:
    """Implements ``core.reading.Shelf``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def listed(
        self, tenant_id: str, user_id: str, *, query: str, after: str | None, limit: int
    ) -> Entries:
        """See the port."""
        at, last = _LAST, "~"
        if after is not None:
            found = _PLACE.fullmatch(after)
            if found is None:
                message = "no page of the list gave this place"
                raise ValueError(message)
            at, last = int(found[1]), found[2]
        return await self._db.read(_listed, (tenant_id, user_id), query.strip(), (at, last), limit)

    async def entry(self, tenant_id: str, user_id: str, conversation_id: str) -> Entry:
        """See the port."""
        return await self._db.read(_entry, tenant_id, user_id, conversation_id)

    async def rename(self, tenant_id: str, user_id: str, conversation_id: str, title: str) -> Entry:
        """See the port."""
        return await self._db.transaction(_rename, tenant_id, user_id, conversation_id, title)

    async def news(self, tenant_id: str, user_id: str, *, since_ms: int | None) -> News:
        """See the port."""
        return await self._db.read(_news, tenant_id, user_id, since_ms)


def _listed(
    conn: sa.Connection, who: tuple[str, str], query: str, place: tuple[int, str], limit: int
) -> Entries:
    tenant_id, user_id = who
    values: dict[str, str | int] = {
        "tenant": tenant_id,
        "user": user_id,
        "at": place[0],
        "id": place[1],
    }
    if query:
        values |= _patterns(query)
    rows = execute(conn, _SEARCH if query else _PAGE, n=limit + 1, **values).all()
    entries = [_entry_of(row) for row in rows[:limit]]
    following = None
    if len(rows) > limit and entries:
        following = f"{entries[-1].updated_at_ms}-{entries[-1].id}"
    if query:
        entries = [_with_excerpt(conn, who, query, entry) for entry in entries]
    return Entries(entries=tuple(entries), following=following)


def _patterns(query: str) -> dict[str, str]:
    """What ``LIKE`` compares with. SQLite lowers ASCII alone, so the text as typed counts too."""
    raw = re.sub(r"([!%_])", r"!\1", query)
    return {"low": f"%{raw.lower()}%", "raw": f"%{raw}%"}


def _with_excerpt(conn: sa.Connection, who: tuple[str, str], query: str, entry: Entry) -> Entry:
    if query.casefold() in entry.title.casefold():
        return entry
    row = execute(
        conn,
        _WHERE_FOUND,
        cid=entry.id,
        tenant=who[0],
        user=who[1],
        **_patterns(query),
    ).first()
    if row is None:
        return entry
    asked = "" if text(row[2]).startswith("notice/") else text(row[0])
    found = next((each for each in (asked, text(row[1])) if _at(each, query) >= 0), "")
    return Entry(
        id=entry.id,
        title=entry.title,
        platform=entry.platform,
        updated_at_ms=entry.updated_at_ms,
        turns=entry.turns,
        activity=entry.activity,
        excerpt=_excerpt(found, query),
    )


def _at(where: str, query: str) -> int:
    return where.lower().find(query.lower())


def _excerpt(where: str, query: str) -> str:
    """The place found on one line, with what stands around it."""
    at = _at(where, query)
    if at < 0:
        return ""
    start, end = max(0, at - _AROUND), at + len(query) + _AROUND
    cut = " ".join(where[start:end].split())
    return ("…" if start else "") + cut + ("…" if end < len(where) else "")


def _entry_of(row: Sequence[object]) -> Entry:
    return Entry(
        id=text(row[0]),
        title=text(row[1]) or UNTITLED,
        platform=text(row[2]),
        updated_at_ms=integer(row[3]),
        turns=integer(row[4]),
        activity=Activity(text(row[5])),
    )


def _entry(conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str) -> Entry:
    row = execute(
        conn,
        f"SELECT {_COLUMNS} FROM conversations c WHERE c.id = :id AND {_OWN}",
        id=conversation_id,
        tenant=tenant_id,
        user=user_id,
    ).first()
    if row is None:
        raise NotFound("There is no such conversation.")
    return _entry_of(row)


def _rename(
    conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str, title: str
) -> Entry:
    execute(
        conn,
        "UPDATE conversations SET title = :title WHERE id = :id AND tenant_id = :tenant"
        " AND user_id = :user AND deleted_at IS NULL",
        title=title,
        id=conversation_id,
        tenant=tenant_id,
        user=user_id,
    )
    return _entry(conn, tenant_id, user_id, conversation_id)


# What is busy is told each time; what ended has a turn that finished.
_CHANGED = f"""
SELECT {_COLUMNS} FROM conversations c
WHERE {_OWN} AND (c.updated_at >= :since OR c.done_seq < c.last_seq
 OR EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.finished_at >= :since))
ORDER BY c.updated_at DESC, c.id DESC LIMIT :n
"""
_DELETED = """
SELECT id FROM conversations WHERE tenant_id = :tenant AND user_id = :user
 AND deleted_at >= :since LIMIT :n
"""
_PENDING = """
SELECT COUNT(*) FROM approvals a JOIN users u ON u.id = :user AND u.tenant_id = a.tenant_id
WHERE a.tenant_id = :tenant AND a.status = 'pending' AND a.expires_at > {now}
 AND u.role IN ('operator', 'admin') AND NOT (a.four_eyes = 1 AND a.asked_by = :user)
"""


def _news(conn: sa.Connection, tenant_id: str, user_id: str, since_ms: int | None) -> News:
    # The clock first: what commits while this reads is told next time.
    now_ms = integer(execute(conn, "SELECT {now}").one()[0])
    who: dict[str, str] = {"tenant": tenant_id, "user": user_id}
    changed: tuple[Entry, ...] = ()
    deleted: tuple[str, ...] = ()
    if since_ms is not None:
        since = max(0, since_ms - OVERLAP_MS)
        rows = execute(conn, _CHANGED, since=since, n=MOST_NEWS, **who).all()
        changed = tuple(_entry_of(row) for row in rows)
        gone = execute(conn, _DELETED, since=since, n=MOST_NEWS, **who).all()
        deleted = tuple(text(row[0]) for row in gone)
    pending = integer(execute(conn, _PENDING, **who).one()[0])
    return News(now_ms=now_ms, changed=changed, deleted=deleted, approvals=pending)
