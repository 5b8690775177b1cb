"""The operator finds, voids and credits any team's invoice."""

from __future__ import annotations

from billing.invoices import CreditNote, Invoice, InvoiceStatus
from core.refusals import Rejected
from storage.billing_run import BillingRun
from storage.database import Database
from storage.operator_billing import SqlOperatorInvoices, SqlOperatorRuns
from tests.fakes.billing_desk import MovedClock
from tests.storage.invoice_kit import AT, SELLER, books_are_sound, office
from tests.storage.payment_places import db, migrated_file, migrated_url, place

__all__ = ["db", "migrated_file", "migrated_url", "place"]


def desk(db: Database) -> SqlOperatorInvoices:
    """At the moment when the invoices of these tests are issued."""
    return SqlOperatorInvoices(db, MovedClock(AT))


async def test_invoices_are_found_by_number_and_listed_without_a_team(db: Database) -> None:
    """The newest first, of one status if asked; drafts and unknown numbers are not there."""
    team = await office(db)
    first, second = await team.issued("a", 1_000), await team.issued("b", 2_000)
    operator = desk(db)
    assert await operator.find(str(first.number)) == first
    assert await operator.find(second.id) == second
    assert isinstance(await operator.find("IT0-2026-000009"), Rejected)
    page = await operator.page(status=None, limit=1)
    assert (page.invoices, page.next_cursor) == ((second,), second.id)
    paid = await operator.page(status=InvoiceStatus.PAID, limit=5)
    assert (paid.invoices, paid.next_cursor) == ((), None)


async def test_only_what_nobody_paid_is_void(db: Database) -> None:
    """A paid invoice and one that is paid in part are credited instead."""
    team = await office(db)
    operator = desk(db)
    opened, paid = await team.issued("a", 1_000), await team.issued("b", 2_000)
    await team.receive(paid, 2_000)
    voided = await operator.void(str(opened.number), by="usr_1")
    assert isinstance(voided, Invoice)
    assert voided.status is InvoiceStatus.VOID
    refused = await operator.void(paid.id, by="usr_1")
    assert isinstance(refused, Rejected)
    assert (await team.now(paid)).status is InvoiceStatus.PAID
    await books_are_sound(db)


async def test_a_credit_by_number(db: Database) -> None:
    """It lowers what is due; more than the invoice is refused."""
    team = await office(db)
    operator, invoice = desk(db), await team.issued("a", 1_000)
    note = await operator.credit(str(invoice.number), 400, reason="outage", by="usr_1")
    assert isinstance(note, CreditNote)
    assert (await team.now(invoice)).due == 600
    refused = await operator.credit(invoice.id, 601, reason="more", by="usr_1")
    assert isinstance(refused, Rejected)
    assert isinstance(await operator.credit("nothing", 1, reason="x", by="usr_1"), Rejected)
    await books_are_sound(db)


async def test_a_run_and_a_reconciliation_of_nothing(db: Database) -> None:
    """Nothing is due and everything agrees."""
    await office(db)
    clock = MovedClock(AT)
    runs = SqlOperatorRuns(db, clock, BillingRun(db, clock, SELLER))
    report = await runs.run(None)
    assert (report.billed, report.failed) == (0, 0)
    assert list(await runs.reconcile()) == []
