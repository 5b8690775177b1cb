"""Credit notes: they take an issued invoice back, in a number series of their own."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing import ledger
from billing.invoices import CreditNote, Invoice, InvoiceKind, InvoiceStatus, credited_tax
from billing.money import Money
from billing.periods import moment
from core.ids import new_id
from core.refusals import Rejected
from core.words import sentence
from storage.database import execute
from storage.free_credit import free_credit
from storage.invoice_endings import locked, paid, reviewed, undebit
from storage.invoice_rows import number, reloaded
from storage.ledger import book
from storage.rows import integer, text

COLUMNS = "id, tenant_id, invoice_id, number, currency, subtotal, tax, total, reason, created_at"


def credit(
    conn: sa.Connection, invoice: Invoice, total: int, reason: str, by: str, at_ms: int
) -> CreditNote | Rejected:
    """Credit an amount, tax included, of an open or paid invoice.

    It lowers what is due; of a paid invoice it goes to the balance. An upgrade that nobody
    paid is not credited, since that would carry it out: it is made void instead.
    """
    invoice = locked(conn, invoice.id)
    notes = notes_of(conn, invoice)
    refusal = _refusal(invoice, invoice.total - sum(note.total for note in notes), total)
    if refusal is not None:
        return refusal
    tax = credited_tax(invoice, notes, total)
    note = _insert(conn, invoice, total, tax, reason, by, at_ms)
    book(conn, ledger.credited(invoice, note), at_ms)
    execute(
        conn,
        "UPDATE invoices SET credited = credited + :total WHERE id = :id",
        id=invoice.id,
        total=total,
    )
    if sum(one.total for one in notes) + total == invoice.total:
        undebit(conn, invoice)
    if invoice.status is InvoiceStatus.OPEN:
        lower = reloaded(conn, invoice)
        if not lower.due:
            paid(conn, lower, at_ms)
        elif lower.due <= free_credit(conn, lower.tenant_id, lower.currency, but=lower.id):
            reviewed(conn, lower, at_ms)
    return note


def notes_of(conn: sa.Connection, invoice: Invoice) -> tuple[CreditNote, ...]:
    """Those of an invoice, oldest first."""
    return of_invoice(conn, invoice.tenant_id, invoice.id)


def of_invoice(conn: sa.Connection, tenant_id: str, invoice_id: str) -> tuple[CreditNote, ...]:
    """Those of a tenant's invoice, oldest first."""
    rows = execute(
        conn,
        f"SELECT {COLUMNS} FROM credit_notes WHERE invoice_id = :invoice AND tenant_id = :tenant"
        " ORDER BY created_at, number",
        invoice=invoice_id,
        tenant=tenant_id,
    ).all()
    return tuple(_note_of(row) for row in rows)


def _refusal(invoice: Invoice, left: int, total: int) -> Rejected | None:
    name = invoice.number or invoice.id
    if invoice.status not in {InvoiceStatus.OPEN, InvoiceStatus.PAID}:
        said = sentence(
            "Invoice {number} is {status}: nothing of it can be credited.",
            number=name,
            status=str(invoice.status),
        )
        return Rejected(code="not_creditable", sentence=said)
    if invoice.status is InvoiceStatus.OPEN and invoice.kind is InvoiceKind.UPGRADE:
        said = sentence(
            "Invoice {number} is for an upgrade that is not paid. It becomes void by itself.",
            number=name,
        )
        return Rejected(code="not_creditable", sentence=said)
    if not 0 < total <= left:
        said = sentence(
            "At most {amount} of invoice {number} can be credited.",
            amount=str(Money(max(0, left), invoice.currency)),
            number=name,
        )
        return Rejected(code="too_much", sentence=said)
    return None


def _insert(
    conn: sa.Connection,
    invoice: Invoice,
    total: int,
    tax: int,
    reason: str,
    by: str,
    at_ms: int,
) -> CreditNote:
    series = f"IT0-CN-{moment(at_ms).year}"
    row = execute(
        conn,
        "INSERT INTO credit_notes (id, tenant_id, invoice_id, number, currency, subtotal, tax,"
        " total, reason, created_by, created_at) VALUES (:id, :tenant, :invoice, :number,"
        f" :currency, :subtotal, :tax, :total, :reason, :by, :at) RETURNING {COLUMNS}",
        id=new_id("cn"),
        tenant=invoice.tenant_id,
        invoice=invoice.id,
        number=f"{series}-{number(conn, series):06}",
        currency=invoice.currency,
        subtotal=total - tax,
        tax=tax,
        total=total,
        reason=reason,
        by=by,
        at=at_ms,
    ).one()
    return _note_of(row)


def _note_of(row: Sequence[object]) -> CreditNote:
    return CreditNote(
        id=text(row[0]),
        tenant_id=text(row[1]),
        invoice_id=text(row[2]),
        number=text(row[3]),
        currency=text(row[4]),
        subtotal=integer(row[5]),
        tax=integer(row[6]),
        total=integer(row[7]),
        reason=text(row[8]),
        created_at_ms=integer(row[9]),
    )
