"""Rows of a person's own conversations, as every list of them shows them."""

from __future__ import annotations

from collections.abc import Sequence

from core.reading import Activity, Entry
from storage.rows import integer, text

UNTITLED = "New conversation"
"""Until its first question."""

# A turn waits for a human while its call is asked about, leased or parked.
COLUMNS = """
c.id, c.title, c.platform, c.updated_at, c.last_seq,
CASE WHEN c.done_seq >= c.last_seq THEN 'idle'
 WHEN c.parked_until > {now} OR EXISTS (SELECT 1 FROM turns w
  JOIN approvals a ON a.turn_id = w.id AND a.status = 'pending'
  WHERE w.conversation_id = c.id AND w.seq > c.done_seq AND w.status <> 'done') THEN 'waiting'
 WHEN EXISTS (SELECT 1 FROM turns r WHERE r.conversation_id = c.id AND r.status = 'running')
  THEN 'running' ELSE 'queued' END
"""
"""Of ``conversations c``."""
OWN = "c.tenant_id = :tenant AND c.user_id = :user AND c.deleted_at IS NULL"
READABLE = "t.tenant_id = :tenant AND (t.kind = 'message' OR t.user_id = :user)"
"""Of ``turns t`` in one's own conversation: others' commands were answered for their eyes only."""


def entry_of(row: Sequence[object], excerpt: str = "") -> Entry:
    """A row that begins with ``COLUMNS``."""
    return Entry(
        id=text(row[0]),
        title=text(row[1]) or UNTITLED,
        platform=text(row[2]),
        updated_at_ms=integer(row[3]),
        turns=integer(row[4]),
        activity=Activity(text(row[5])),
        excerpt=excerpt,
    )
