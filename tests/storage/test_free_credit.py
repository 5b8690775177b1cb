"""Money that waits for a review: it pays its own invoice and no other, and there is a way out."""

from __future__ import annotations

from billing.dunning import Service
from billing.money import Money
from billing.payment_service import MarkedPaid
from billing.periods import DAY_MS
from core.refusals import Rejected
from storage.database import Database
from storage.free_credit import free_credit
from storage.invoices import SqlInvoices, issue
from storage.subscriptions import service_of
from tests.storage.invoice_kit import SELLER, Office
from tests.storage.payment_kit import START_MS, TOTAL, Till, till
from tests.storage.payment_places import db, migrated_file, migrated_url, place

__all__ = ["db", "migrated_file", "migrated_url", "place"]
NUMBER, SECOND = "IT0-2026-000001", "IT0-2026-000002"


async def mark(shop: Till, amount: int | None = None, number: str = NUMBER) -> MarkedPaid:
    """The operator saw money; it must be possible."""
    money = None if amount is None else Money(amount, "USD")
    answer = await shop.service.mark_paid(number, by="usr_op", amount=money)
    assert isinstance(answer, MarkedPaid), answer
    return answer


async def test_an_invoice_in_review_is_marked_paid_with_what_is_missing(db: Database) -> None:
    """Without an amount the operator means the rest; then it is paid and the service is full."""
    shop = await till(db)
    assert (await mark(shop, TOTAL - 1)).payment.applied == "review"
    answer = await mark(shop)
    assert (answer.payment.amount.minor, answer.payment.applied) == (1, "invoice")
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert await shop.balance() == 0
    later = START_MS + 30 * DAY_MS
    assert await db.read(service_of, shop.admin.tenant_id, later) is Service.FULL


async def test_what_was_written_off_is_marked_paid_with_what_is_missing(db: Database) -> None:
    """A part of it that came late is not asked for again."""
    shop = await till(db)
    await shop.becomes("uncollectible")
    assert (await mark(shop, 4_000)).payment.applied == "review"
    assert (await mark(shop)).payment.amount.minor == TOTAL - 4_000
    assert await shop.invoice() == ("paid", TOTAL, 0)


async def test_money_in_review_pays_no_other_invoice(db: Database) -> None:
    """Neither one that is issued meanwhile nor one that a short payment comes for."""
    shop = await till(db, invoices=2)
    await mark(shop, TOTAL - 1)
    tenant = shop.admin.tenant_id
    draft = Office(db, tenant).draft("next", 3_000)
    await shop.write("INSERT INTO invoice_counters VALUES ('IT0-2026', 2) RETURNING last")
    issued = await db.transaction(issue, draft, START_MS, SELLER)
    assert (issued.from_balance, issued.due) == (0, 3_000)
    assert (await mark(shop, TOTAL - 1, SECOND)).payment.applied == "review"
    assert (await mark(shop)).payment.amount.minor == 1
    assert await shop.balance() == TOTAL - 1
    assert await db.read(free_credit, tenant, "USD") == 0


async def test_a_credit_note_over_what_is_missing_pays_it(db: Database) -> None:
    """The cent that a bank kept is given up: the rest of the money is there."""
    shop = await till(db)
    await mark(shop, TOTAL - 1)
    desk = SqlInvoices(db, shop.clock)
    await desk.credit(shop.admin.tenant_id, NUMBER, 1, reason="bank fee", by="usr_op")
    assert await shop.invoice() == ("paid", TOTAL - 1, 0)
    assert await shop.balance() == 0


async def test_what_the_balance_covers_by_now_is_paid_by_the_mark(db: Database) -> None:
    """The operator is told that nothing more is needed."""
    shop = await till(db, invoices=2)
    await mark(shop, TOTAL - 1)
    await mark(shop, TOTAL + 5, SECOND)
    answer = await shop.service.mark_paid(NUMBER, by="usr_op")
    assert isinstance(answer, Rejected)
    assert answer.code == "already_paid"
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert await shop.balance() == 4


async def test_money_of_an_unpaid_upgrade_is_free_once_it_is_void(db: Database) -> None:
    """A confirmation makes the older upgrade void, so the quote counts with its money."""
    shop = await till(db)
    await shop.write("UPDATE invoices SET kind = 'upgrade' RETURNING id")
    await mark(shop, 1_000)
    tenant = shop.admin.tenant_id
    assert await db.read(free_credit, tenant, "USD") == 0
    held = await db.read(lambda conn: free_credit(conn, tenant, "USD", upgrades=False))
    assert held == 1_000
