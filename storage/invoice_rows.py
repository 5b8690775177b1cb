"""Rows of invoices: read and written. What may become of them is decided by the callers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from billing.invoices import Draft, Invoice, InvoiceKind, InvoiceStatus, Line, LineKind, Party
from billing.periods import Period
from core.ids import new_id
from storage.database import execute
from storage.rows import integer, optional_text, text

COLUMNS = (
    "id, tenant_id, subscription_id, kind, key, status, number, currency, period_start,"
    " period_end, subtotal, tax_rate, tax, total, from_balance, paid, credited, needs_review,"
    " snapshot, quote_id, created_at, issued_at, due_at, closed_at"
)
LINE_COLUMNS = (
    "invoice_id, kind, version_id, period_start, period_end, quantity, unit_minor, amount, tax,"
    " from_position"
)


def load(
    conn: sa.Connection, tenant_id: str, id_or_number: str, *, lock: str = ""
) -> Invoice | None:
    """A tenant's invoice by its id or number, with its lines; ``lock="{row}"`` locks its row."""
    row = execute(
        conn,
        f"SELECT {COLUMNS} FROM invoices WHERE (id = :it OR number = :it)"
        f" AND tenant_id = :tenant{lock}",
        it=id_or_number,
        tenant=tenant_id,
    ).first()
    return None if row is None else with_lines(conn, [row])[0]


def by_key(conn: sa.Connection, key: str) -> Invoice:
    """The invoice for a key, which must be there."""
    row = execute(conn, f"SELECT {COLUMNS} FROM invoices WHERE key = :key", key=key).one()
    return with_lines(conn, [row])[0]


def reloaded(conn: sa.Connection, invoice: Invoice) -> Invoice:
    """As it stands now."""
    row = execute(conn, f"SELECT {COLUMNS} FROM invoices WHERE id = :id", id=invoice.id).one()
    return with_lines(conn, [row])[0]


def page(
    conn: sa.Connection,
    tenant_id: str,
    status: InvoiceStatus | None,
    before: tuple[int, str] | None,
    limit: int,
) -> tuple[Invoice, ...]:
    """The newest issued ones, before a creation time and id."""
    created, invoice_id = before or (2**62, "")
    rows = execute(
        conn,
        f"SELECT {COLUMNS} FROM invoices WHERE tenant_id = :tenant AND status <> 'draft'"
        " AND (CAST(:status AS TEXT) = '' OR status = :status)"
        " AND (created_at < :created OR (created_at = :created AND id < :id))"
        " ORDER BY created_at DESC, id DESC LIMIT :limit",
        tenant=tenant_id,
        status=str(status or ""),
        created=created,
        id=invoice_id,
        limit=limit,
    ).all()
    return with_lines(conn, rows)


def with_lines(conn: sa.Connection, rows: Sequence[Sequence[object]]) -> tuple[Invoice, ...]:
    """Rows of ``COLUMNS`` with the lines of each; one query however many they are."""
    if not rows:
        return ()
    ids = {f"i{n}": text(row[0]) for n, row in enumerate(rows)}
    found = execute(
        conn,
        f"SELECT {LINE_COLUMNS} FROM invoice_lines"
        f" WHERE invoice_id IN ({', '.join(':' + name for name in ids)}) ORDER BY invoice_id, n",
        **ids,
    ).all()
    lines: dict[str, list[tuple[Line, int]]] = {}
    for row in found:
        lines.setdefault(text(row[0]), []).append((_line_of(row), integer(row[8])))
    return tuple(_invoice_of(row, lines.get(text(row[0]), ())) for row in rows)


def insert_draft(
    conn: sa.Connection, draft: Draft, seller: Party, buyer: Party, at_ms: int
) -> str | None:
    """Store a draft with its lines; None: there is an invoice for its key."""
    row = execute(
        conn,
        "INSERT INTO invoices (id, tenant_id, subscription_id, kind, key, status, currency,"
        " period_start, period_end, subtotal, tax_rate, tax, total, snapshot, quote_id, created_at)"
        " VALUES (:id, :tenant, :subscription, :kind, :key, 'draft', :currency, :start, :end,"
        " :subtotal, :rate, :tax, :total, :snapshot, :quote, :at)"
        " ON CONFLICT (key) DO NOTHING RETURNING id",
        id=new_id("inv"),
        tenant=draft.tenant_id,
        subscription=draft.subscription_id,
        kind=str(draft.kind),
        key=draft.key,
        currency=draft.currency,
        start=draft.period.start_ms,
        end=draft.period.end_ms,
        subtotal=draft.subtotal,
        rate=draft.tax_rate,
        tax=sum(draft.taxes),
        total=draft.total,
        snapshot=_snapshot(seller, buyer),
        quote=draft.quote_id,
        at=at_ms,
    ).first()
    if row is None:
        return None
    invoice_id = text(row[0])
    for n, (line, tax) in enumerate(zip(draft.lines, draft.taxes, strict=True), 1):
        _insert_line(conn, draft.tenant_id, invoice_id, n, line, tax)
    return invoice_id


def _insert_line(
    conn: sa.Connection, tenant_id: str, invoice_id: str, n: int, line: Line, tax: int
) -> None:
    execute(
        conn,
        "INSERT INTO invoice_lines (invoice_id, n, tenant_id, kind, version_id, period_start,"
        " period_end, quantity, unit_minor, amount, tax, from_position) VALUES (:invoice, :n,"
        " :tenant, :kind, :version, :start, :end, :quantity, :unit, :amount, :tax, :position)",
        invoice=invoice_id,
        n=n,
        tenant=tenant_id,
        kind=str(line.kind),
        version=line.version_id,
        start=line.period.start_ms,
        end=line.period.end_ms,
        quantity=line.quantity,
        unit=line.unit_minor,
        amount=line.amount,
        tax=tax,
        position=line.from_position,
    )


def plan_names(conn: sa.Connection, invoice: Invoice) -> dict[str, str]:
    """The plan's name of each version on the invoice."""
    names = {}
    for version_id in {line.version_id for line in invoice.lines}:
        row = execute(conn, "SELECT plan FROM plan_versions WHERE id = :id", id=version_id).one()
        names[version_id] = text(row[0])
    return names


def number(conn: sa.Connection, series: str) -> int:
    """The next number of a series: its row stays locked to the end, so none is left out."""
    row = execute(
        conn,
        "INSERT INTO invoice_counters (series, last) VALUES (:series, 1)"
        " ON CONFLICT (series) DO UPDATE SET last = invoice_counters.last + 1 RETURNING last",
        series=series,
    ).one()
    return integer(row[0])


def _snapshot(seller: Party, buyer: Party) -> str:
    return json.dumps({"seller": asdict(seller), "buyer": asdict(buyer)}, ensure_ascii=False)


def _line_of(row: Sequence[object]) -> Line:
    return Line(
        kind=LineKind(text(row[1])),
        version_id=text(row[2]),
        period=Period(integer(row[3]), integer(row[4])),
        quantity=integer(row[5]),
        unit_minor=integer(row[6]),
        amount=integer(row[7]),
        from_position=integer(row[9]),
    )


def _invoice_of(row: Sequence[object], lines: Sequence[tuple[Line, int]]) -> Invoice:
    parties = json.loads(text(row[18]))
    return Invoice(
        id=text(row[0]),
        tenant_id=text(row[1]),
        subscription_id=text(row[2]),
        kind=InvoiceKind(text(row[3])),
        key=text(row[4]),
        status=InvoiceStatus(text(row[5])),
        number=optional_text(row[6]),
        currency=text(row[7]),
        period=Period(integer(row[8]), integer(row[9])),
        subtotal=integer(row[10]),
        tax_rate=integer(row[11]),
        tax=integer(row[12]),
        total=integer(row[13]),
        from_balance=integer(row[14]),
        paid=integer(row[15]),
        credited=integer(row[16]),
        needs_review=bool(integer(row[17])),
        seller=Party(**parties["seller"]),
        buyer=Party(**parties["buyer"]),
        lines=tuple(line for line, _ in lines),
        line_taxes=tuple(tax for _, tax in lines),
        quote_id=optional_text(row[19]),
        created_at_ms=integer(row[20]),
        issued_at_ms=_optional(row[21]),
        due_at_ms=_optional(row[22]),
        closed_at_ms=_optional(row[23]),
    )


def _optional(value: object) -> int | None:
    return None if value is None else integer(value)
