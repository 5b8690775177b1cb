"""What becomes of money that comes for an invoice, whatever state the invoice is in."""

from __future__ import annotations

import pytest

from billing.invoices import InvoiceKind, InvoiceStatus
from storage.database import Database
from storage.invoices import SqlInvoices, reviewed, void
from tests.storage.invoice_kit import AT, books_are_sound, office
from tests.storage.payment_kit import Hands
from tests.storage.payment_places import db, migrated_file, migrated_url, place

__all__ = ["db", "migrated_file", "migrated_url", "place"]


async def test_the_whole_amount_pays_it(db: Database) -> None:
    """Nothing is owed, the money is with the provider, reminders are off."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    assert await team.receive(bill, 5_000) == "invoice"
    now = await team.now(bill)
    assert (now.status, now.paid, now.closed_at_ms) == (InvoiceStatus.PAID, 5_000, AT + 1)
    assert await team.account("clearing:card") == 5_000
    assert await team.account("receivable") == 0
    await books_are_sound(db)


async def test_what_is_too_much_is_kept(db: Database) -> None:
    """On the balance; the invoice took what was due."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    assert await team.receive(bill, 5_001) == "invoice"
    assert (await team.now(bill)).paid == 5_000
    assert await team.credit() == 1
    await books_are_sound(db)


@pytest.mark.parametrize(("amount", "currency"), [(4_999, "USD"), (5_000, "CNY")])
async def test_short_and_foreign_money_waits_for_a_person(
    db: Database, amount: int, currency: str
) -> None:
    """Nothing is activated; the money is the customer's, in its own currency."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    assert await team.receive(bill, amount, currency=currency) == "review"
    now = await team.now(bill)
    assert (now.status, now.needs_review, now.paid) == (InvoiceStatus.OPEN, True, 0)
    assert await team.credit(currency) == amount
    await books_are_sound(db)


async def test_a_review_pays_with_what_waits(db: Database) -> None:
    """The balance pays its part; with the rest the invoice is paid."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    await team.receive(bill, 3_000)
    desk = SqlInvoices(db, Hands())
    await desk.review(team.tenant_id, bill.id)
    now = await team.now(bill)
    assert (now.needs_review, now.paid, now.due, await team.credit()) == (False, 3_000, 2_000, 0)
    assert await team.receive(bill, 1_500) == "review"
    assert await team.receive(bill, 500) == "review"
    done = await db.transaction(reviewed, bill, AT)
    assert (done.status, done.paid, await team.credit()) == (InvoiceStatus.PAID, 5_000, 0)
    await books_are_sound(db)


async def test_a_part_that_was_accepted_goes_back_when_it_is_void(db: Database) -> None:
    """The customer keeps what it paid."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    await team.receive(bill, 3_000)
    await db.transaction(reviewed, bill, AT)
    await db.transaction(void, bill, AT)
    assert await team.credit() == 3_000
    await books_are_sound(db)


async def test_a_whole_payment_ends_a_review(db: Database) -> None:
    """The second one pays; the first, short one stays on the balance."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    assert await team.receive(bill, 1_000) == "review"
    assert await team.receive(bill, 5_000) == "invoice"
    now = await team.now(bill)
    assert (now.status, now.needs_review) == (InvoiceStatus.PAID, False)
    assert await team.credit() == 1_000
    await books_are_sound(db)


async def test_of_two_payments_the_second_is_kept(db: Database) -> None:
    """It goes to the balance and the operator is told."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    assert await team.receive(bill, 5_000, payment="p1") == "invoice"
    assert await team.receive(bill, 5_000, payment="p2") == "balance"
    assert await team.credit() == 5_000
    assert await team.events("billing.alarm") == ["alarm/payment/p2/paid_when_paid"]
    await books_are_sound(db)


async def test_money_after_void_is_kept(db: Database) -> None:
    """The upgrade lapsed: it is not carried out, and the operator is told."""
    team = await office(db)
    bill = await team.issued("a", 5_000, kind=InvoiceKind.UPGRADE)
    await db.transaction(void, bill, AT)
    assert await team.receive(bill, 5_000, payment="p1") == "balance"
    assert (await team.now(bill)).status is InvoiceStatus.VOID
    assert await team.credit() == 5_000
    assert await team.events("billing.alarm") == ["alarm/payment/p1/paid_when_void"]
    await books_are_sound(db)


@pytest.mark.parametrize(("amount", "answer"), [(5_000, "invoice"), (4_000, "review")])
async def test_a_payment_is_booked_once(db: Database, amount: int, answer: str) -> None:
    """Told again it gives the same answer and changes nothing."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    for _ in range(3):
        assert await team.receive(bill, amount, payment="p1") == answer
    assert await team.account("clearing:card") == amount
    await books_are_sound(db)


async def test_a_payment_for_no_invoice_is_a_fault(db: Database) -> None:
    """Nothing is booked."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    await team.write("DELETE FROM invoices WHERE id = :id", id=bill.id)
    with pytest.raises(LookupError):
        await team.receive(bill, 5_000)
    assert await team.account("clearing:card") == 0
