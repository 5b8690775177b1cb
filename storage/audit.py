"""The chained audit log in the database."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from core.audit import GENESIS, AuditEntry, AuditRow, canonical, chain_mac, first_fault
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


class SqlAudit:
    """Reads and verifies the log."""

    def __init__(self, db: Database, key: bytes) -> None:
        """``key`` is the one the rows were chained under."""
        self._db = db
        self._key = key

    async def verify(self) -> dict[str, str]:
        """The fault of each tenant whose chain does not hold; empty when all do."""
        return await self._db.read(_verify, self._key)

    async def heads(self) -> dict[str, tuple[int, str]]:
        """Each tenant's last row number and MAC, to be kept elsewhere."""
        return await self._db.read(_heads)

    async def compare(self, exported: dict[str, list[object]]) -> dict[str, str]:
        """Faults against heads that were exported earlier: rows that are gone or changed."""
        return await self._db.read(_compare, exported)


def _compare(conn: sa.Connection, exported: dict[str, list[object]]) -> dict[str, str]:
    faults: dict[str, str] = {}
    for tenant_id, (seq, mac) in exported.items():
        row = execute(
            conn,
            "SELECT mac FROM audit_log WHERE tenant_id = :tenant AND seq = :seq",
            tenant=tenant_id,
            seq=integer(seq),
        ).first()
        if integer(seq) and (row is None or row[0] != mac):
            faults[tenant_id] = (
                f"row {seq} of tenant {tenant_id} is not the one of the exported head: "
                "the log was cut off or written anew"
            )
    return faults


def _heads(conn: sa.Connection) -> dict[str, tuple[int, str]]:
    rows = execute(conn, "SELECT tenant_id, seq, mac FROM audit_heads ORDER BY tenant_id").all()
    return {text(row[0]): (integer(row[1]), text(row[2])) for row in rows}


def _verify(conn: sa.Connection, key: bytes) -> dict[str, str]:
    faults: dict[str, str] = {}
    heads = _heads(conn)
    known = execute(conn, "SELECT DISTINCT tenant_id FROM audit_log").all()
    for tenant_id in sorted({text(row[0]) for row in known} | set(heads)):
        seq, mac = heads.get(tenant_id, (0, GENESIS))
        last: list[AuditRow] = []
        fault = first_fault(key, _remember(_rows(conn, tenant_id), last))
        end = (last[0].seq, last[0].mac) if last else (0, GENESIS)
        if fault is None and end != (seq, mac):
            fault = f"the log of tenant {tenant_id} ends at row {end[0]}, its head says {seq}"
        if fault is not None:
            faults[tenant_id] = fault
    return faults


def _remember(rows: Iterator[AuditRow], last: list[AuditRow]) -> Iterator[AuditRow]:
    for row in rows:
        last[:] = [row]
        yield row


def _rows(conn: sa.Connection, tenant_id: str) -> Iterator[AuditRow]:
    result = execute(
        conn,
        "SELECT seq, at, actor, action, turn_id, detail, mac FROM audit_log"
        " WHERE tenant_id = :tenant ORDER BY seq",
        tenant=tenant_id,
    )
    for row in result:
        yield AuditRow(
            tenant_id=tenant_id,
            seq=integer(row[0]),
            at_ms=integer(row[1]),
            actor=text(row[2]),
            action=text(row[3]),
            turn_id=text(row[4]),
            detail=text(row[5]),
            mac=text(row[6]),
        )
