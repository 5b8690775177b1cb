"""What becomes of invoices: issued, paid, void or written off. Once issued nothing else changes.

Each function runs in the caller's transaction and books what it does. The tenant's live
subscription is locked first, then the invoice, so that two that pay or issue at once wait
for each other.
"""

from __future__ import annotations

import sqlalchemy as sa

from billing import ledger
from billing.invoices import (
    Draft,
    Invoice,
    InvoiceStatus,
    Party,
    balance_part,
    due_at,
)
from billing.ledger import BookingKind
from billing.money import Money
from billing.periods import moment
from storage.credit_notes import credit, notes_of
from storage.database import execute
from storage.invoice_endings import close, lock_tenant, locked, paid
from storage.invoice_rows import buyer_of, by_key, insert_draft, load, number, reloaded
from storage.ledger import book, credit_of, found
from storage.outbox import publish

__all__ = ["credit", "issue", "load", "receive", "reviewed", "void", "write_off"]

INVOICE, BALANCE, REVIEW = "invoice", "balance", "review"
"""What became of a payment."""
_APPLIED = {
    BookingKind.PAID: INVOICE,
    BookingKind.TO_BALANCE: BALANCE,
    BookingKind.IN_REVIEW: REVIEW,
}


def issue(conn: sa.Connection, draft: Draft, at_ms: int, seller: Party) -> Invoice:
    """Give a draft its number: from now on it is not changed. A key that is known: that invoice.

    The balance pays first. When nothing is left to pay the invoice is paid at once.
    """
    lock_tenant(conn, draft.tenant_id)
    buyer = buyer_of(conn, draft.tenant_id)
    invoice_id = insert_draft(conn, draft, seller, buyer, at_ms)
    if invoice_id is None:
        return by_key(conn, draft.key)
    due_at_ms = due_at(draft.kind, at_ms)
    credit = credit_of(conn, draft.tenant_id, draft.currency)
    year = moment(at_ms).year
    execute(
        conn,
        "UPDATE invoices SET status = 'open', number = :number, from_balance = :part,"
        " issued_at = :at, due_at = :due, dunning_at = :due WHERE id = :id AND status = 'draft'",
        id=invoice_id,
        number=f"IT0-{year}-{number(conn, f'IT0-{year}'):06}",
        part=balance_part(draft.total, credit, draft.currency),
        at=at_ms,
        due=due_at_ms,
    )
    invoice = by_key(conn, draft.key)
    book(conn, ledger.issued(invoice), at_ms)
    book(conn, ledger.balance_used(invoice), at_ms)
    event = {"invoice_id": invoice.id}
    publish(conn, f"issued/{invoice.id}", invoice.tenant_id, "invoice.issued", event, at_ms)
    return invoice if invoice.due else paid(conn, invoice, at_ms)


def receive(
    conn: sa.Connection,
    invoice_id: str,
    payment_id: str,
    provider: str,
    received: Money,
    at_ms: int,
) -> str:
    """Book a payment, once, and return what became of it.

    ``invoice``: it paid the invoice (what was too much is on the balance). ``balance``: the
    invoice wanted no money any more. ``review``: too little or in another currency; it waits on
    the balance, and nothing is activated until a person looked at it (``reviewed``).
    """
    before = found(conn, payment_id, tuple(_APPLIED))
    if before is not None:
        return _APPLIED[before]
    invoice = locked(conn, invoice_id)
    open_ = invoice.status is InvoiceStatus.OPEN
    if not open_ and invoice.status is not InvoiceStatus.UNCOLLECTIBLE:
        reason = f"paid_when_{invoice.status}"
        event = {"reason": reason, "payment_id": payment_id, "invoice_id": invoice.id}
        alarm = f"alarm/payment/{payment_id}/{reason}"
        publish(conn, alarm, invoice.tenant_id, "billing.alarm", event, at_ms)
        kept = ledger.kept(
            BookingKind.TO_BALANCE, invoice.tenant_id, payment_id, provider, received
        )
        book(conn, kept, at_ms)
        return BALANCE
    owed = owed_on(invoice)
    if received.currency != invoice.currency or received.minor < owed:
        execute(conn, "UPDATE invoices SET needs_review = 1 WHERE id = :id", id=invoice.id)
        kept = ledger.kept(BookingKind.IN_REVIEW, invoice.tenant_id, payment_id, provider, received)
        book(conn, kept, at_ms)
        return REVIEW
    booking = ledger.paid(
        invoice, payment_id, provider, received=received.minor, owed=owed, lost=not open_
    )
    book(conn, booking, at_ms)
    execute(
        conn, "UPDATE invoices SET paid = paid + :owed WHERE id = :id", id=invoice.id, owed=owed
    )
    paid(conn, invoice, at_ms)
    return INVOICE


def reviewed(conn: sa.Connection, invoice: Invoice, at_ms: int) -> Invoice:
    """A person looked at it: the balance pays what it can, and dunning goes on with the rest."""
    invoice = locked(conn, invoice.id)
    if invoice.status is not InvoiceStatus.OPEN or not invoice.needs_review:
        return invoice
    credit = credit_of(conn, invoice.tenant_id, invoice.currency)
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


def void(conn: sa.Connection, invoice: Invoice, at_ms: int) -> Invoice:
    """Nothing is to be paid any more; the balance has back what it gave. Only while it is open."""
    invoice = locked(conn, invoice.id)
    if invoice.status is not InvoiceStatus.OPEN:
        return invoice
    book(conn, ledger.voided(invoice, notes_of(conn, invoice)), at_ms)
    return close(conn, invoice, InvoiceStatus.VOID, at_ms)


def write_off(conn: sa.Connection, invoice: Invoice, at_ms: int) -> Invoice:
    """What is due will not come; money that comes after all still pays it. Only while open."""
    invoice = locked(conn, invoice.id)
    if invoice.status is not InvoiceStatus.OPEN:
        return invoice
    book(conn, ledger.written_off(invoice), at_ms)
    return close(conn, invoice, InvoiceStatus.UNCOLLECTIBLE, at_ms)


def owed_on(invoice: Invoice) -> int:
    """What is left to pay, also of an invoice that was written off."""
    return max(0, invoice.total - invoice.from_balance - invoice.paid - invoice.credited)
