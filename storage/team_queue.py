"""Counts of a team's turns, for its admins."""

from __future__ import annotations

import sqlalchemy as sa

from core.team_queue import TeamQueue
from storage.database import Database, execute
from storage.rows import integer, text

LATE_MS = 60_000
DAY_MS = 24 * 3600 * 1000

_OPEN = """
SELECT COUNT(*),
 CAST(COALESCE(SUM(CASE WHEN o.waits = 1 THEN 1 ELSE 0 END), 0) AS BIGINT),
 CAST(COALESCE(SUM(CASE WHEN o.waits = 0 AND o.status = 'running' THEN 1 ELSE 0 END), 0) AS BIGINT),
 CAST(COALESCE(SUM(CASE WHEN o.waits = 0 AND o.created_at < {now} - :late THEN 1 ELSE 0 END), 0)
  AS BIGINT),
 COALESCE({now} - MIN(CASE WHEN o.waits = 0 THEN o.created_at END), 0)
FROM (SELECT t.status, t.created_at,
 CASE WHEN c.parked_until > {now} OR EXISTS (SELECT 1 FROM approvals a
  WHERE a.turn_id = t.id AND a.status = 'pending') THEN 1 ELSE 0 END AS waits
 FROM turns t JOIN conversations c ON c.id = t.conversation_id
 WHERE t.tenant_id = :tenant AND t.status <> 'done') o
"""
_LOST = """
SELECT delivery_problem FROM turns WHERE tenant_id = :tenant AND status = 'done'
 AND delivery_problem IS NOT NULL AND finished_at > {now} - :day ORDER BY finished_at DESC
"""


class SqlTeamQueues:
    """Implements ``core.team_queue.TeamQueues``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def queue(self, tenant_id: str) -> TeamQueue:
        """See the port."""
        return await self._db.read(_queue, tenant_id)


def _queue(conn: sa.Connection, tenant_id: str) -> TeamQueue:
    every, waiting, running, overdue, oldest = (
        integer(value) for value in execute(conn, _OPEN, tenant=tenant_id, late=LATE_MS).one()
    )
    undelivered = execute(
        conn,
        "SELECT COUNT(*) FROM turns WHERE status = 'done' AND delivered_at IS NULL"
        " AND tenant_id = :tenant",
        tenant=tenant_id,
    ).one()
    lost = execute(conn, _LOST, tenant=tenant_id, day=DAY_MS).all()
    return TeamQueue(
        queued=every - waiting - running,
        running=running,
        waiting=waiting,
        overdue=overdue,
        undelivered=integer(undelivered[0]),
        oldest_ms=max(0, oldest),
        lost=len(lost),
        problem=text(lost[0][0]) if lost else "",
    )
