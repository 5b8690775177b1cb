"""What changed in a person's conversations since a moment: asked every few seconds by each page.

Each part is found by an index of the person's own: what was used, renamed or deleted since, and
what is busy, which is told each time because its state changes without a mark of time. What ended
was used.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.reading import News
from storage.conversation_rows import COLUMNS, OWN, entry_of
from storage.database import execute, now_ms
from storage.rows import integer, text

OVERLAP_MS = 10_000
"""A row has the time of its statement and is seen when its transaction commits: what was written
up to this long before the cursor is told again, and the reader knows it by its id."""
MOST = 200
"""Conversations in one answer; the cursor of a full one stands where the next has to begin."""

_CHANGED = f"""
SELECT {COLUMNS} FROM conversations c WHERE {OWN} AND c.updated_at >= :since
ORDER BY c.updated_at, c.id LIMIT :n
"""
_RENAMED = f"""
SELECT {COLUMNS}, c.renamed_at FROM conversations c WHERE {OWN} AND c.renamed_at >= :since
ORDER BY c.renamed_at, c.id LIMIT :n
"""
_BUSY = f"""
SELECT {COLUMNS} FROM conversations c WHERE {OWN} AND c.done_seq < c.last_seq
ORDER BY c.updated_at DESC, c.id LIMIT :n
"""
_DELETED = """
SELECT id, deleted_at FROM conversations WHERE tenant_id = :tenant AND user_id = :user
 AND deleted_at >= :since ORDER BY deleted_at, id LIMIT :n
"""
_PENDING = """
SELECT COUNT(*) FROM approvals a WHERE a.tenant_id = :tenant AND a.status = 'pending'
 AND a.expires_at > {now} AND NOT (a.four_eyes = 1 AND a.asked_by = :user)
 AND EXISTS (SELECT 1 FROM users u WHERE u.id = :user AND u.tenant_id = :tenant
  AND u.role IN ('operator', 'admin'))
"""


def news(conn: sa.Connection, tenant_id: str, user_id: str, since_ms: int | None) -> News:
    """See ``core.reading.Shelf``."""
    # The clock first: what commits while this reads is told next time.
    cursor = now_ms(conn)
    pending = integer(execute(conn, _PENDING, tenant=tenant_id, user=user_id).one()[0])
    if since_ms is None:
        return News(now_ms=cursor, changed=(), deleted=(), approvals=pending)
    # A cursor from the future was given before the clock was set back.
    since = max(0, min(since_ms, cursor) - OVERLAP_MS)
    where: dict[str, str | int] = {"tenant": tenant_id, "user": user_id, "since": since, "n": MOST}
    used, renamed, gone = (
        execute(conn, asked, **where).all() for asked in (_CHANGED, _RENAMED, _DELETED)
    )
    for rows, at in ((used, 3), (renamed, 6), (gone, 1)):
        if len(rows) == MOST:
            cursor = min(cursor, _onward(since, integer(rows[-1][at])))
    del where["since"]
    busy = execute(conn, _BUSY, **where).all()
    changed = {text(row[0]): entry_of(row) for row in (*used, *renamed, *busy)}
    return News(
        now_ms=cursor,
        changed=tuple(changed.values()),
        deleted=tuple(text(row[0]) for row in gone),
        approvals=pending,
    )


def _onward(since: int, last_ms: int) -> int:
    """The cursor that begins at the last one told, and always later than this answer did."""
    return max(last_ms, since + 1) + OVERLAP_MS
