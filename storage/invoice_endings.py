"""How an invoice is closed, whatever closed it: under which locks, and what follows."""

from __future__ import annotations

import sqlalchemy as sa

from billing import ledger
from billing.invoices import INVOICE_NEXT, Invoice, InvoiceStatus, LineKind
from storage.database import execute
from storage.free_credit import free_credit
from storage.invoice_rows import load, reloaded
from storage.ledger import book
from storage.rows import text
from storage.subscriptions import apply_paid

_LOOKS = 3


class ImpossibleEnd(ValueError):
    """An invoice in this state cannot be closed like this."""


def lock_tenant(conn: sa.Connection, tenant_id: str) -> None:
    """Lock the live subscription: whoever moves a tenant's money holds it.

    One that ended while we waited for it is not live: then its successor is looked for.
    """
    for _ in range(_LOOKS):
        row = execute(
            conn,
            "SELECT id FROM subscriptions WHERE tenant_id = :tenant AND ended_at IS NULL{row}",
            tenant=tenant_id,
        ).first()
        if row is not None:
            return


def locked(conn: sa.Connection, invoice_id: str) -> Invoice:
    """The invoice, under the locks of its tenant's subscription and its own.

    Raises ``LookupError`` when there is none.
    """
    row = execute(conn, "SELECT tenant_id FROM invoices WHERE id = :id", id=invoice_id).one()
    tenant_id = text(row[0])
    lock_tenant(conn, tenant_id)
    invoice = load(conn, tenant_id, invoice_id, lock="{row}")
    if invoice is None:
        message = f"there is no invoice {invoice_id}"
        raise LookupError(message)
    return invoice


def close(conn: sa.Connection, invoice: Invoice, status: InvoiceStatus, at_ms: int) -> Invoice:
    """Close it; reminders end. Raises ``ImpossibleEnd``."""
    if status not in INVOICE_NEXT[invoice.status]:
        message = f"invoice {invoice.id} is {invoice.status} and cannot become {status}"
        raise ImpossibleEnd(message)
    execute(
        conn,
        "UPDATE invoices SET status = :status, closed_at = :at, dunning_at = NULL,"
        " needs_review = 0 WHERE id = :id",
        id=invoice.id,
        status=str(status),
        at=at_ms,
    )
    return reloaded(conn, invoice)


def undebit(conn: sa.Connection, invoice: Invoice) -> None:
    """The base fee of a month is taken back: no later proration credits it."""
    for line in invoice.lines:
        if line.kind is LineKind.BASE:
            execute(
                conn,
                "UPDATE plan_segments SET debited_minor = 0"
                " WHERE subscription_id = :subscription AND starts_at = :start",
                subscription=invoice.subscription_id,
                start=line.period.start_ms,
            )


def paid(conn: sa.Connection, invoice: Invoice, at_ms: int) -> Invoice:
    """Nothing is left to pay: what waited for it takes effect."""
    invoice = close(conn, invoice, InvoiceStatus.PAID, at_ms)
    apply_paid(conn, invoice, at_ms)
    return invoice


def reviewed(conn: sa.Connection, invoice: Invoice, at_ms: int) -> Invoice:
    """A person looked at it: the balance pays what it can, and dunning goes on with the rest."""
    invoice = locked(conn, invoice.id)
    if invoice.status is not InvoiceStatus.OPEN or not invoice.needs_review:
        return invoice
    credit = free_credit(conn, invoice.tenant_id, invoice.currency, but=invoice.id)
    part = max(0, min(credit, invoice.due))
    book(conn, ledger.reviewed(invoice, part), at_ms)
    execute(
        conn,
        "UPDATE invoices SET paid = paid + :part, needs_review = 0 WHERE id = :id",
        id=invoice.id,
        part=part,
    )
    invoice = reloaded(conn, invoice)
    return invoice if invoice.due else paid(conn, invoice, at_ms)
