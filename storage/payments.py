"""Payments: one row for each attempt, written before its provider is called.

The status of a payment, the money it brings and the events of it change in one transaction,
under the locks of the tenant's subscription, the invoice and the payment, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing.invoices import Invoice, InvoiceStatus
from billing.money import Money
from billing.payment_rules import (
    MINUTE_MS,
    SESSION_MS,
    Problem,
    Verdict,
    idempotency_key,
    next_poll,
    weigh,
)
from billing.payment_store import Begun, Mark, StoredEvent, Wanted, Weighed
from billing.payments import (
    Notification,
    Payment,
    PaymentNews,
    PaymentSession,
    PaymentStatus,
)
from core.ids import new_id
from core.refusals import Rejected
from core.words import sentence
from storage import invoice_endings, payment_events, payment_rows
from storage.database import Database, execute
from storage.free_credit import free_credit
from storage.invoices import load, owed_on, receive
from storage.outbox import publish
from storage.payment_rows import COLUMNS, locked, of_invoice, payment_of, plan, session_text
from storage.rows import text


class SqlPayments:
    """Implements ``billing.payment_store.PaymentStore`` and ``billing.providers.manual.Marks``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def begin(self, wanted: Wanted, at_ms: int) -> Begun | Rejected:
        """See the port."""
        return await self._db.transaction(_begin, wanted, at_ms)

    async def opened(self, payment_id: str, session: PaymentSession, at_ms: int) -> Payment:
        """See the port."""
        return await self._db.transaction(_opened, payment_id, session, at_ms)

    async def apply(
        self,
        payment_id: str,
        news: PaymentNews,
        account: str,
        at_ms: int,
        *,
        seen: PaymentStatus | None = None,
    ) -> Weighed:
        """See the port."""
        return await self._db.transaction(_apply, payment_id, news, account, at_ms, seen)

    async def find(self, provider: str, news: PaymentNews) -> Payment | None:
        """See the port."""
        return await self._db.read(payment_rows.find, provider, news)

    async def payments(self, tenant_id: str, invoice_id: str) -> Sequence[Payment]:
        """See the port."""
        return await self._db.read(payment_rows.of_invoice, tenant_id, invoice_id)

    async def due(self, at_ms: int, limit: int) -> Sequence[Begun]:
        """See the port."""
        return await self._db.transaction(payment_rows.due, at_ms, limit)

    async def plan(self, payment_id: str, poll_at_ms: int | None, at_ms: int) -> None:
        """See the port."""
        await self._db.transaction(payment_rows.plan, payment_id, poll_at_ms, at_ms)

    async def give_up(self, payment_id: str, at_ms: int) -> None:
        """See the port."""
        await self._db.transaction(_give_up, payment_id, at_ms)

    async def keep(
        self, provider: str, notification: Notification, body: bytes, at_ms: int
    ) -> None:
        """See the port."""
        await self._db.transaction(payment_events.keep, provider, notification, body, at_ms)

    async def mark(self, mark: Mark, at_ms: int) -> StoredEvent:
        """See the port."""
        return await self._db.transaction(payment_events.mark, mark, at_ms)

    async def marked(self, payment_id: str) -> Money | None:
        """See ``billing.providers.manual.Marks``."""
        return await self._db.read(payment_events.marked, payment_id)

    async def waiting(self, at_ms: int, limit: int) -> Sequence[StoredEvent]:
        """See the port."""
        return await self._db.transaction(payment_events.waiting, at_ms, limit)

    async def processed(self, event: StoredEvent, at_ms: int) -> None:
        """See the port."""
        await self._db.transaction(payment_events.processed, event, at_ms)

    async def failed(
        self, event: StoredEvent, problem: str, at_ms: int, *, retry_at_ms: int | None
    ) -> None:
        """See the port."""
        await self._db.transaction(
            payment_events.failed, event, problem, at_ms, retry_at_ms=retry_at_ms
        )


# -- beginning --------------------------------------------------------------------------------


def _begin(conn: sa.Connection, wanted: Wanted, at_ms: int) -> Begun | Rejected:
    """Under the invoice's lock: two who pay at once get the same payment."""
    tenant_id = wanted.tenant_id or _tenant_of(conn, wanted.invoice)
    if wanted.by_hand and tenant_id:
        _settle(conn, tenant_id, wanted.invoice, at_ms)
    invoice = load(conn, tenant_id, wanted.invoice, lock="{row}") if tenant_id else None
    due = _due_of(invoice, by_hand=wanted.by_hand)
    if wanted.by_hand and invoice is not None and isinstance(due, Money):
        due = _missing(conn, invoice, due)
    if isinstance(due, Rejected) or invoice is None:
        return due if isinstance(due, Rejected) else _NOT_FOUND
    # A declined one too: in many sessions the payer may try another card.
    going = [
        payment
        for payment in of_invoice(conn, invoice.tenant_id, invoice.id)
        if not payment.status.paid
        and (payment.expires_at_ms is None or at_ms < payment.expires_at_ms)
    ]
    same = [
        payment
        for payment in going
        if payment.status.unfinished
        and (payment.provider, payment.amount) == (wanted.provider, due)
    ]
    payment = same[-1] if same else _insert(conn, invoice, wanted, due, at_ms)
    older = tuple(one for one in going if one.id != payment.id)
    return Begun(payment=payment, number=invoice.number or "", older=older)


def _settle(conn: sa.Connection, tenant_id: str, wanted: str, at_ms: int) -> None:
    """An invoice in review that the balance covers by now needs no other money."""
    invoice = load(conn, tenant_id, wanted)
    if invoice is None or not invoice.needs_review:
        return
    invoice = invoice_endings.locked(conn, invoice.id)
    credit = free_credit(conn, tenant_id, invoice.currency, but=invoice.id)
    if invoice.due and invoice.due <= credit:
        invoice_endings.reviewed(conn, invoice, at_ms)


def _missing(conn: sa.Connection, invoice: Invoice, due: Money) -> Money:
    """Of an invoice in review what did not come yet: the rest waits on the balance."""
    if not invoice.needs_review:
        return due
    waits = free_credit(conn, invoice.tenant_id, invoice.currency, but=invoice.id)
    left = due.minor - max(0, waits)
    return Money(left, due.currency) if left > 0 else due


_NOT_FOUND = Rejected(code="not_found", sentence=sentence("There is no such invoice."))


def _due_of(invoice: Invoice | None, *, by_hand: bool) -> Money | Rejected:
    """What is to be paid. By hand also what was written off: the money came after all."""
    if invoice is None or invoice.number is None:
        return _NOT_FOUND
    number = invoice.number
    match invoice.status:
        case InvoiceStatus.PAID:
            paid = sentence("Invoice {number} is paid already.", number=number)
            return Rejected(code="already_paid", sentence=paid)
        case InvoiceStatus.VOID:
            void = sentence("Invoice {number} is void: nothing is to be paid.", number=number)
            return Rejected(code="invoice_void", sentence=void)
        case InvoiceStatus.UNCOLLECTIBLE if not by_hand:
            closed = sentence("Invoice {number} is closed.", number=number)
            return Rejected(code="invoice_closed", sentence=closed)
    due = owed_on(invoice)
    if due == 0:
        nothing = sentence("Nothing is left to pay on invoice {number}.", number=number)
        return Rejected(code="nothing_due", sentence=nothing)
    return Money(due, invoice.currency)


def _tenant_of(conn: sa.Connection, invoice: str) -> str | None:
    """Whose invoice it is: numbers and ids are the installation's own."""
    row = execute(
        conn, "SELECT tenant_id FROM invoices WHERE id = :it OR number = :it", it=invoice
    ).first()
    return None if row is None else text(row[0])


def _insert(
    conn: sa.Connection, invoice: Invoice, wanted: Wanted, due: Money, at_ms: int
) -> Payment:
    """A payment by hand waits for nobody's answer: the mark follows at once."""
    attempt = len(of_invoice(conn, invoice.tenant_id, invoice.id)) + 1
    row = execute(
        conn,
        "INSERT INTO payments (id, tenant_id, invoice_id, provider, attempt, idempotency_key,"
        " status, currency, amount, created_at, updated_at, expires_at, poll_at)"
        " VALUES (:id, :tenant, :invoice, :provider, :attempt, :key, 'created', :currency,"
        f" :amount, :at, :at, :expires, :poll) RETURNING {COLUMNS}",
        id=new_id("pay"),
        tenant=invoice.tenant_id,
        invoice=invoice.id,
        provider=wanted.provider,
        attempt=attempt,
        key=idempotency_key(invoice.id, attempt, wanted.provider),
        currency=due.currency,
        amount=due.minor,
        at=at_ms,
        expires=None if wanted.by_hand else at_ms + SESSION_MS,
        poll=None if wanted.by_hand else at_ms + MINUTE_MS,
    ).one()
    return payment_of(row)


def _opened(conn: sa.Connection, payment_id: str, session: PaymentSession, at_ms: int) -> Payment:
    payment = locked(conn, payment_id)
    row = execute(
        conn,
        "UPDATE payments SET provider_payment_id = COALESCE(provider_payment_id, :theirs),"
        " session = :session, expires_at = CAST(:expires AS BIGINT), updated_at = :at"
        f" WHERE id = :id RETURNING {COLUMNS}",
        id=payment_id,
        theirs=session.provider_payment_id,
        session=session_text(session),
        expires=session.expires_at_ms,
        at=at_ms,
    ).one()
    payment = payment_of(row)
    plan(conn, payment_id, next_poll(payment, at_ms), at_ms)
    return payment


# -- news ---------------------------------------------------------------------------------------


def _apply(
    conn: sa.Connection,
    payment_id: str,
    news: PaymentNews,
    account: str,
    at_ms: int,
    seen: PaymentStatus | None,
) -> Weighed:
    if news.status.paid:
        _lock_for_money(conn, payment_id)
    payment = locked(conn, payment_id)
    verdict = weigh(payment, news, account, seen=seen)
    match verdict:
        case Verdict.RISE | Verdict.MOVE:
            _rise(conn, payment, news, at_ms)
        case Verdict.NOTE:
            _note(conn, payment, Problem.HARD_DECLINE, at_ms)
        case Verdict.FOREIGN:
            _alarm(conn, payment, Problem.FOREIGN_ACCOUNT, at_ms)
        case Verdict.NO_AMOUNT:
            _alarm(conn, payment, Problem.NO_AMOUNT, at_ms)
        case Verdict.TAKEN_BACK:
            _alarm(conn, payment, Problem.CONTRADICTION, at_ms)
        case Verdict.IGNORE | Verdict.LOOK_UP:
            return Weighed(verdict=verdict, payment=payment)
    return Weighed(verdict=verdict, payment=locked(conn, payment_id))


def _lock_for_money(conn: sa.Connection, payment_id: str) -> None:
    """Whoever books money locks the subscription, then the invoice; the payment comes last."""
    sql = "SELECT invoice_id FROM payments WHERE id = :id"
    invoice_endings.locked(conn, text(execute(conn, sql, id=payment_id).one()[0]))


def _rise(conn: sa.Connection, payment: Payment, news: PaymentNews, at_ms: int) -> None:
    """Raise the status. Money that comes is booked with it, also when it went back since.

    A refund or dispute takes nothing back by itself: the invoice stays paid and the operator
    is told, who credits the invoice or moves the plan.
    """
    comes = news.status.paid and not payment.status.paid
    received = news.received if comes else payment.received
    applied, problem = payment.applied, payment.problem
    if comes and received is not None:
        applied, problem = _booked(conn, payment, received, at_ms), str(Problem.NONE)
    elif news.hard_decline:
        problem = Problem.HARD_DECLINE
    execute(
        conn,
        "UPDATE payments SET status = :status, received = :received,"
        " received_currency = :currency, applied = :applied, problem = :problem,"
        " provider_payment_id = COALESCE(provider_payment_id, :theirs), updated_at = :at,"
        " poll_at = CASE WHEN :done = 1 THEN NULL ELSE poll_at END WHERE id = :id",
        id=payment.id,
        status=str(news.status),
        received=received.minor if received else 0,
        currency=received.currency if received else "",
        applied=applied,
        problem=problem,
        theirs=news.provider_payment_id,
        at=at_ms,
        done=int(news.status.paid),
    )
    if news.status in {PaymentStatus.REFUNDED, PaymentStatus.DISPUTED}:
        _tell_operator(conn, payment, str(news.status), at_ms)


def _booked(conn: sa.Connection, payment: Payment, received: Money, at_ms: int) -> str:
    """Book the money and say so, once: the status rises past here once."""
    applied = receive(conn, payment.invoice_id, payment.id, payment.provider, received, at_ms)
    publish(
        conn,
        f"payment/{payment.id}",
        payment.tenant_id,
        "payment.received",
        {"payment_id": payment.id, "invoice_id": payment.invoice_id, "applied": applied},
        at_ms,
    )
    return applied


def _alarm(conn: sa.Connection, payment: Payment, problem: Problem, at_ms: int) -> None:
    _note(conn, payment, problem, at_ms)
    _tell_operator(conn, payment, str(problem), at_ms)


def _note(conn: sa.Connection, payment: Payment, problem: Problem, at_ms: int) -> None:
    execute(
        conn,
        "UPDATE payments SET problem = :problem, updated_at = :at WHERE id = :id",
        id=payment.id,
        problem=str(problem),
        at=at_ms,
    )


def _tell_operator(conn: sa.Connection, payment: Payment, reason: str, at_ms: int) -> None:
    publish(
        conn,
        f"alarm/payment/{payment.id}/{reason}",
        payment.tenant_id,
        "billing.alarm",
        {"reason": reason, "payment_id": payment.id, "invoice_id": payment.invoice_id},
        at_ms,
    )


def _give_up(conn: sa.Connection, payment_id: str, at_ms: int) -> None:
    plan(conn, payment_id, None, at_ms)
    payment = locked(conn, payment_id)
    if not payment.status.paid:
        _alarm(conn, payment, Problem.UNKNOWN_OUTCOME, at_ms)
