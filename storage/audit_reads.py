"""A team reads its own audit log: filtered pages, the newest first, and exports."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import sqlalchemy as sa

from core.audit import ANY_OF, GENESIS, AuditFilter, AuditRow
from core.audit_export import Export, Head, head_file
from storage.audit import row_of
from storage.database import Database, execute, now_ms
from storage.rows import integer, text

MOST = 500
"""Rows of a page, and rows that an export reads at a time."""
_NEWEST = 2**62


class SqlAuditLog:
    """Reads for people; ``storage.audit`` writes and verifies."""

    def __init__(self, db: Database, key: bytes) -> None:
        """``key`` seals what leaves."""
        self._db = db
        self._key = key

    async def page(
        self, tenant_id: str, asked: AuditFilter, *, before: int | None, limit: int
    ) -> tuple[AuditRow, ...]:
        """The newest rows with a number below ``before``; at most ``limit`` and 500."""
        found = await self._db.read(
            _page, tenant_id, asked, _NEWEST if before is None else before, min(limit, MOST)
        )
        return tuple(row for row, _ in found)

    async def head(self, tenant_id: str) -> str:
        """The team's head as a sealed document."""
        return head_file(self._key, [await self._db.read(_head, tenant_id)])

    async def export(self, tenant_id: str, asked: AuditFilter) -> AsyncGenerator[str]:
        """The lines of an export, the oldest row first; no more than a page is held."""
        head = await self._db.read(_head, tenant_id)
        made, after = Export(key=self._key, asked=asked, head=head), 0
        while rows := await self._db.read(_after, tenant_id, asked, after, head.seq):
            after = rows[-1][0].seq
            # One piece a page: a line each would cost more to send than to read.
            lines = [made.line(row, previous) for row, previous in rows if asked.fits(row)]
            if lines:
                yield "".join(lines)
        yield made.end()


def _head(conn: sa.Connection, tenant_id: str) -> Head:
    row = execute(
        conn, "SELECT seq, mac FROM audit_heads WHERE tenant_id = :tenant", tenant=tenant_id
    ).first()
    seq, mac = (0, GENESIS) if row is None else (integer(row[0]), text(row[1]))
    return Head(tenant_id=tenant_id, seq=seq, mac=mac, at_ms=now_ms(conn))


_Found = list[tuple[AuditRow, str]]
_SELECT = """
SELECT a.seq, a.at, a.actor, a.action, a.turn_id, a.detail, a.mac, COALESCE((SELECT p.mac
 FROM audit_log p WHERE p.tenant_id = a.tenant_id AND p.seq = a.seq - 1), :genesis)
FROM audit_log a WHERE a.tenant_id = :tenant
"""


def _page(
    conn: sa.Connection, tenant_id: str, asked: AuditFilter, before: int, limit: int
) -> _Found:
    """What the conditions cannot say exactly is sorted out here, so there may be more to read."""
    found: _Found = []
    while len(found) < limit:
        rows = _read(
            conn, tenant_id, asked, "a.seq < :bound ORDER BY a.seq DESC LIMIT :most", before, limit
        )
        found += [pair for pair in rows if asked.fits(pair[0])]
        if len(rows) < limit:
            break
        before = rows[-1][0].seq
    return found[:limit]


def _after(
    conn: sa.Connection, tenant_id: str, asked: AuditFilter, after: int, last: int
) -> _Found:
    rows = _read(conn, tenant_id, asked, "a.seq > :bound ORDER BY a.seq LIMIT :most", after, MOST)
    return [pair for pair in rows if pair[0].seq <= last]


def _read(  # one statement, told apart by its end
    conn: sa.Connection, tenant_id: str, asked: AuditFilter, end: str, bound: int, most: int
) -> _Found:
    conditions, values = _conditions(asked)
    rows = execute(
        conn,
        f"{_SELECT} {conditions} AND {end}",
        tenant=tenant_id,
        genesis=GENESIS,
        bound=bound,
        most=most,
        **values,
    )
    return [(row_of(tenant_id, row[:7]), text(row[7])) for row in rows]


def _conditions(asked: AuditFilter) -> tuple[str, dict[str, str | int]]:
    """Only what is asked stands in the statement, so that it finds its index."""
    parts: list[str] = []
    values: dict[str, str | int] = {}
    action = "a.action = :action"
    if asked.action.endswith(ANY_OF):
        action = "SUBSTR(a.action, 1, LENGTH(:action)) = :action"
    wanted: tuple[tuple[str, str, str | int | None], ...] = (
        ("since", "a.at >= :since", asked.since_ms),
        ("until", "a.at < :until", asked.until_ms),
        ("action", action, asked.action.removesuffix("*") or None),
        ("actor", "a.actor = :actor", asked.actor or None),
        ("turn", "a.turn_id = :turn", asked.turn_id or None),
        ("server", "a.detail LIKE :server ESCAPE '!'", _within(asked.server)),
        ("level", "a.detail LIKE :level ESCAPE '!'", _within(asked.level)),
    )
    for name, condition, value in wanted:
        if value is not None:
            parts.append(f"AND {condition}")
            values[name] = value
    return " ".join(parts), values


def _within(word: str) -> str | None:
    if not word:
        return None
    plain = "".join(f"!{char}" if char in "!%_" else char for char in word)
    return f"%{plain}%"
