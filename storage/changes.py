"""What changed in a person's conversations since a moment: asked every few seconds by each page.

Both halves are found by an index of the person's own: what was used since, and what is busy,
which is told each time because its state changes without a mark of time. What ended was used.
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
SELECT {COLUMNS} FROM conversations c WHERE {OWN} AND c.id IN
 (SELECT u.id FROM conversations u WHERE u.tenant_id = :tenant AND u.user_id = :user
   AND u.updated_at >= :since
  UNION SELECT b.id FROM conversations b WHERE b.tenant_id = :tenant AND b.user_id = :user
   AND b.done_seq < b.last_seq)
ORDER BY c.updated_at, c.id LIMIT :n
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
    changed = tuple(entry_of(row) for row in execute(conn, _CHANGED, **where))
    gone = execute(conn, _DELETED, **where).all()
    if len(changed) == MOST:
        cursor = min(cursor, _onward(since, changed[-1].updated_at_ms))
    if len(gone) == MOST:
        cursor = min(cursor, _onward(since, integer(gone[-1][1])))
    return News(
        now_ms=cursor,
        changed=changed,
        deleted=tuple(text(row[0]) for row in gone),
        approvals=pending,
    )


def _onward(since: int, last_ms: int) -> int:
    """The cursor that begins at the last one told, and always later than this answer did."""
    return max(last_ms, since + 1) + OVERLAP_MS
