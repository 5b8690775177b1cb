"""What becomes of invoices: issued, paid, void or written off. Once issued nothing else changes.

Each function runs in the caller's transaction and books what it does. The tenant's live
subscription is locked first, then the invoice, so that two that pay or issue at once wait
for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import sqlalchemy as sa

from billing import ledger
from billing.desk import InvoicePage, LineExplanation
from billing.events import Kind
from billing.invoices import (
    CreditNote,
    Draft,
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Party,
    balance_part,
    due_at,
)
from billing.ledger import BookingKind
from billing.money import Money
from billing.operator import Account
from billing.periods import moment
from billing.providers.manual import NAME as MANUAL
from core.clock import Clock
from core.refusals import Rejected
from core.words import sentence
from storage.billing_accounts import account
from storage.credit_notes import credit, notes_of, of_invoice
from storage.database import Database, execute
from storage.explain import NOT_FOUND, explain
from storage.free_credit import free_credit
from storage.invoice_endings import close, lock_tenant, locked, paid, reviewed, undebit
from storage.invoice_rows import (
    by_key,
    insert_draft,
    load,
    number,
    page,
    plan_names,
)
from storage.ledger import book, found
from storage.outbox import publish
from storage.subscription_state import in_debt
from storage.subscriptions import recovered, refresh_limits

__all__ = ["SqlInvoices", "credit", "issue", "load", "receive", "reviewed", "void", "write_off"]

INVOICE, BALANCE, REVIEW = "invoice", "balance", "review"
"""What became of a payment."""
MOST_ON_A_PAGE = 100
_DIGITS = 19
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
    buyer = _buyer(account(conn, draft.tenant_id, at_ms))
    invoice_id = insert_draft(conn, draft, seller, buyer, at_ms)
    if invoice_id is None:
        return by_key(conn, draft.key)
    due_at_ms = due_at(draft.kind, at_ms)
    credit = free_credit(conn, draft.tenant_id, draft.currency)
    year = moment(at_ms).year
    execute(
        conn,
        "UPDATE invoices SET status = 'open', number = :number, from_balance = :part,"
        " issued_at = :at, due_at = :due, dunning_at = :due WHERE id = :id AND status = 'draft'",
        id=invoice_id,
        number=f"IT0-{year}-{number(conn, f'IT0-{year}'):06}",
        part=balance_part(
            draft.total, credit, draft.currency, lend=draft.kind is not InvoiceKind.UPGRADE
        ),
        at=at_ms,
        due=due_at_ms,
    )
    invoice = by_key(conn, draft.key)
    book(conn, ledger.issued(invoice), at_ms)
    book(conn, ledger.balance_used(invoice), at_ms)
    event = {"invoice_id": invoice.id}
    publish(conn, f"issued/{invoice.id}", invoice.tenant_id, Kind.INVOICE_ISSUED, event, at_ms)
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
        publish(conn, alarm, invoice.tenant_id, Kind.BILLING_ALARM, event, at_ms)
        kept = ledger.kept(
            BookingKind.TO_BALANCE, invoice.tenant_id, payment_id, provider, received
        )
        book(conn, kept, at_ms)
        return BALANCE
    owed = owed_on(invoice)
    if not _covers(conn, invoice, provider, received):
        return _to_review(conn, invoice, payment_id, provider, received, at_ms)
    booking = ledger.paid(
        invoice, payment_id, provider, received=received.minor, owed=owed, lost=not open_
    )
    book(conn, booking, at_ms)
    execute(
        conn, "UPDATE invoices SET paid = paid + :owed WHERE id = :id", id=invoice.id, owed=owed
    )
    paid(conn, invoice, at_ms)
    if not open_ and not in_debt(conn, invoice.tenant_id):
        refresh_limits(conn, invoice.tenant_id, at_ms)
    return INVOICE


def _to_review(
    conn: sa.Connection,
    invoice: Invoice,
    payment_id: str,
    provider: str,
    received: Money,
    at_ms: int,
) -> str:
    """Keep money that does not fit on the balance, and page the operator."""
    execute(conn, "UPDATE invoices SET needs_review = 1 WHERE id = :id", id=invoice.id)
    kept = ledger.kept(BookingKind.IN_REVIEW, invoice.tenant_id, payment_id, provider, received)
    book(conn, kept, at_ms)
    event = {"reason": "payment_in_review", "payment_id": payment_id, "invoice_id": invoice.id}
    alarm = f"alarm/payment/{payment_id}/review"
    publish(conn, alarm, invoice.tenant_id, Kind.BILLING_ALARM, event, at_ms)
    return REVIEW


def _covers(conn: sa.Connection, invoice: Invoice, provider: str, received: Money) -> bool:
    """Whether the money pays what is owed.

    What the operator marks is looked at by a person: where it is too little, what came before
    it and waits on the balance counts too.
    """
    if received.currency != invoice.currency:
        return False
    missing = owed_on(invoice) - received.minor
    if missing <= 0 or provider != MANUAL:
        return missing <= 0
    return missing <= free_credit(conn, invoice.tenant_id, invoice.currency, but=invoice.id)


def void(conn: sa.Connection, invoice: Invoice, at_ms: int) -> Invoice:
    """Nothing is to be paid any more; the balance has back what it gave. Only while it is open."""
    invoice = locked(conn, invoice.id)
    if invoice.status is not InvoiceStatus.OPEN:
        return invoice
    book(conn, ledger.voided(invoice, notes_of(conn, invoice)), at_ms)
    invoice = close(conn, invoice, InvoiceStatus.VOID, at_ms)
    undebit(conn, invoice)
    if invoice.kind is not InvoiceKind.UPGRADE:  # that one was owed by nobody
        recovered(conn, invoice.tenant_id, at_ms)
    return invoice


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


def _buyer(account: Account) -> Party:
    return Party(
        name=account.name,
        address=account.address,
        tax_number=account.tax_number,
        email=account.email,
    )


class SqlInvoices:
    """Implements ``billing.desk.Invoices``, and what the operator does with an invoice."""

    def __init__(self, db: Database, clock: Clock) -> None:
        """Wire the database and the clock."""
        self._db = db
        self._clock = clock

    async def invoices(
        self,
        tenant_id: str,
        *,
        status: InvoiceStatus | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> InvoicePage | Rejected:
        """See the port; a page has 100 at most."""
        before = None if cursor is None else _before(cursor)
        if isinstance(before, Rejected):
            return before
        most = max(1, min(limit, MOST_ON_A_PAGE))
        found = await self._db.read(page, tenant_id, status, before, most + 1)
        last = found[most - 1] if len(found) > most else None
        return InvoicePage(
            invoices=found[:most],
            next_cursor=None if last is None else f"{last.created_at_ms}.{last.id}",
        )

    async def invoice(self, tenant_id: str, id_or_number: str) -> Invoice | Rejected:
        """See the port."""
        invoice = await self._db.read(load, tenant_id, id_or_number)
        return NOT_FOUND if invoice is None or invoice.number is None else invoice

    async def credit_notes(self, tenant_id: str, invoice_id: str) -> Sequence[CreditNote]:
        """See the port."""
        return await self._db.read(of_invoice, tenant_id, invoice_id)

    async def explain(
        self, tenant_id: str, id_or_number: str, line: int, *, after: int = 0, limit: int = 50
    ) -> LineExplanation | Rejected:
        """See the port; a page has 100 calls at most."""
        most = max(1, min(limit, MOST_ON_A_PAGE))
        return await self._db.read(explain, tenant_id, id_or_number, line, after, most)

    async def pdf(self, tenant_id: str, id_or_number: str, language: str) -> bytes | Rejected:
        """See the port; drawn in a thread, for it takes a moment of CPU."""
        from billing.invoice_pdf import render  # noqa: PLC0415  # heavy, and few need it

        invoice = await self.invoice(tenant_id, id_or_number)
        if isinstance(invoice, Rejected):
            return invoice
        notes = await self.credit_notes(tenant_id, invoice.id)
        names = await self._db.read(plan_names, invoice)
        return await asyncio.to_thread(
            render, invoice, plan_names=names, notes=notes, language=language
        )

    async def credit(
        self, tenant_id: str, id_or_number: str, total: int, *, reason: str, by: str
    ) -> CreditNote | Rejected:
        """Credit an amount, tax included; minor units."""
        return await self._db.transaction(self._credit, tenant_id, id_or_number, total, reason, by)

    async def review(self, tenant_id: str, id_or_number: str) -> Invoice | Rejected:
        """The operator looked at it: the balance pays what it can."""
        return await self._db.transaction(self._review, tenant_id, id_or_number)

    def _credit(
        self, conn: sa.Connection, tenant_id: str, it: str, total: int, reason: str, by: str
    ) -> CreditNote | Rejected:
        invoice = load(conn, tenant_id, it)
        if invoice is None:
            return NOT_FOUND
        return credit(conn, invoice, total, reason, by, self._clock.now_ms())

    def _review(self, conn: sa.Connection, tenant_id: str, it: str) -> Invoice | Rejected:
        invoice = load(conn, tenant_id, it)
        return NOT_FOUND if invoice is None else reviewed(conn, invoice, self._clock.now_ms())


def _before(cursor: str) -> tuple[int, str] | Rejected:
    """Where the last page ended."""
    created, _, invoice_id = cursor.partition(".")
    if not (created.isascii() and created.isdigit() and len(created) < _DIGITS and invoice_id):
        bad = sentence("This page does not exist. Begin again without a cursor.")
        return Rejected(code="bad_cursor", sentence=bad)
    return int(created), invoice_id
