"""The chained audit log in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.audit import (
    GENESIS,
    AuditEntry,
    AuditRow,
    Chain,
    canonical,
    chain_mac,
    first_fault,
    same,
)
from core.audit_export import Head
from storage.database import Database, execute, now_ms
from storage.rows import integer, text


def append_audit(conn: sa.Connection, key: bytes, tenant_id: str, entry: AuditEntry) -> None:
    """Chain an entry behind the tenant's head, in the caller's transaction."""
    execute(
        conn,
        "INSERT INTO audit_heads (tenant_id, seq, mac) VALUES (:tenant, 0, :genesis)"
        " ON CONFLICT DO NOTHING",
        tenant=tenant_id,
        genesis=GENESIS,
    )
    head = execute(
        conn, "SELECT seq, mac FROM audit_heads WHERE tenant_id = :tenant{row}", tenant=tenant_id
    ).one()
    previous = text(head[1])
    row = AuditRow(
        tenant_id=tenant_id,
        seq=integer(head[0]) + 1,
        at_ms=now_ms(conn),
        actor=entry.actor,
        action=entry.action,
        turn_id=entry.turn_id,
        detail=canonical(entry.detail),
        mac="",
    )
    mac = chain_mac(key, previous, row)
    execute(
        conn,
        "INSERT INTO audit_log (tenant_id, seq, at, actor, action, turn_id, detail, mac)"
        " VALUES (:tenant, :seq, :at, :actor, :action, :turn, :detail, :mac)",
        tenant=tenant_id,
        seq=row.seq,
        at=row.at_ms,
        actor=row.actor,
        action=row.action,
        turn=row.turn_id,
        detail=row.detail,
        mac=mac,
    )
    execute(
        conn,
        "UPDATE audit_heads SET seq = :seq, mac = :mac WHERE tenant_id = :tenant",
        seq=row.seq,
        mac=mac,
        tenant=tenant_id,
    )


PAGE = 2_000
"""Rows that are read at a time: what is held in memory, and for how long others wait."""


class SqlAudit:
    """Verifies the log of the whole installation."""

    def __init__(self, db: Database, key: bytes) -> None:
        """``key`` is the one the rows were chained under."""
        self._db = db
        self._key = key

    async def verify(self) -> dict[str, str]:
        """The fault of each tenant whose chain does not hold; empty when all do."""
        faults: dict[str, str] = {}
        for tenant_id in await self._db.read(_tenants):
            chain = Chain(key=self._key, tenant_id=tenant_id)
            page = await self._db.read(_verify_page, chain)
            while page is None:
                page = await self._db.read(_verify_page, chain)
            if page.fault:
                faults[tenant_id] = page.fault
        return faults

    async def heads(self) -> dict[str, tuple[int, str]]:
        """Each tenant's last row number and MAC, to be kept elsewhere."""
        return {head.tenant_id: (head.seq, head.mac) for head in await self._db.read(_heads)}

    async def heads_now(self) -> tuple[Head, ...]:
        """The same, with the time."""
        return await self._db.read(_heads)

    async def compare(self, exported: Mapping[str, Sequence[object]]) -> dict[str, str]:
        """Faults against heads that were exported earlier: rows that are gone or changed."""
        return await self._db.read(_compare, exported)

    async def holds(self, seq: int, mac: str) -> bool:
        """Whether some tenant's row of this number has this MAC."""
        for tenant_id in await self._db.read(_tenants):
            if not await self._db.read(_compare, {tenant_id: (seq, mac)}):
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Ended:
    """A chain was read to its end; why it does not hold, or empty."""

    fault: str


def _compare(conn: sa.Connection, exported: Mapping[str, Sequence[object]]) -> dict[str, str]:
    faults: dict[str, str] = {}
    for tenant_id, (seq, mac) in exported.items():
        row = execute(
            conn,
            "SELECT mac FROM audit_log WHERE tenant_id = :tenant AND seq = :seq",
            tenant=tenant_id,
            seq=integer(seq),
        ).first()
        if integer(seq) and (row is None or not same(text(row[0]), text(mac))):
            faults[tenant_id] = (
                f"row {seq} of tenant {tenant_id} is not the one of the exported head: "
                "the log was cut off or written anew"
            )
    return faults


def _heads(conn: sa.Connection) -> tuple[Head, ...]:
    at = now_ms(conn)
    rows = execute(conn, "SELECT tenant_id, seq, mac FROM audit_heads ORDER BY tenant_id").all()
    return tuple(
        Head(tenant_id=text(row[0]), seq=integer(row[1]), mac=text(row[2]), at_ms=at)
        for row in rows
    )


_NEXT_TENANT = """
SELECT tenant_id FROM (
 SELECT MIN(tenant_id) AS tenant_id FROM audit_log WHERE tenant_id > :after
 UNION ALL SELECT MIN(tenant_id) FROM audit_heads WHERE tenant_id > :after
) AS nearest WHERE tenant_id IS NOT NULL ORDER BY tenant_id LIMIT 1
"""


def _tenants(conn: sa.Connection) -> list[str]:
    """Whoever has rows or a head: from index to index, not past every row."""
    found: list[str] = []
    row = execute(conn, _NEXT_TENANT, after="").first()
    while row is not None:
        found.append(text(row[0]))
        row = execute(conn, _NEXT_TENANT, after=found[-1]).first()
    return found


def _verify_page(conn: sa.Connection, chain: Chain) -> _Ended | None:
    """Check the next rows; None: there may be more.

    The head is read before the rows: a row that is written meanwhile is behind it, and seen by
    the next page, which then also sees the head that was written with it.
    """
    head = execute(
        conn, "SELECT seq, mac FROM audit_heads WHERE tenant_id = :tenant", tenant=chain.tenant_id
    ).first()
    before = chain.seq
    fault = first_fault(chain, _rows(conn, chain.tenant_id, before))
    if fault is not None:
        return _Ended(fault)
    if chain.seq > before:
        return None
    end = (0, GENESIS) if head is None else (integer(head[0]), text(head[1]))
    if end == (chain.seq, chain.mac):
        return _Ended("")
    return _Ended(
        f"the log of tenant {chain.tenant_id} ends at row {chain.seq}, its head says {end[0]}"
    )


def _rows(conn: sa.Connection, tenant_id: str, after: int) -> Iterator[AuditRow]:
    result = execute(
        conn,
        "SELECT seq, at, actor, action, turn_id, detail, mac FROM audit_log"
        " WHERE tenant_id = :tenant AND seq > :after ORDER BY seq LIMIT :most",
        tenant=tenant_id,
        after=after,
        most=PAGE,
    )
    for row in result:
        yield row_of(tenant_id, row)


def row_of(tenant_id: str, row: Sequence[object]) -> AuditRow:
    """The columns ``seq, at, actor, action, turn_id, detail, mac``."""
    return AuditRow(
        tenant_id=tenant_id,
        seq=integer(row[0]),
        at_ms=integer(row[1]),
        actor=text(row[2]),
        action=text(row[3]),
        turn_id=text(row[4]),
        detail=text(row[5]),
        mac=text(row[6]),
    )
