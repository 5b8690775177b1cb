"""``it0 billing mark-paid``: the operator's word is money, once."""

from __future__ import annotations

import asyncio
import json

import pytest

from billing.money import Money
from billing.payment_service import MarkedPaid, PaymentService
from billing.payment_store import Begun, Mark, Wanted
from billing.payments import PaymentStatus, Providers
from core.refusals import Rejected
from storage.database import Database
from storage.payments import SqlPayments
from storage.postgres import PostgresDatabase
from tests.storage.payment_kit import MINUTE, TOTAL, Till, till
from tests.storage.payment_places import db, migrated_file, migrated_url, pg, place
from tests.storage.racing import rows

S = PaymentStatus
__all__ = ["db", "migrated_file", "migrated_url", "pg", "place"]
NUMBER = "IT0-2026-000001"


async def marked(shop: Till, amount: Money | None = None) -> MarkedPaid:
    """Mark the invoice paid; it must be possible."""
    answer = await shop.service.mark_paid(NUMBER, by="usr_op", reference="slip 7", amount=amount)
    assert isinstance(answer, MarkedPaid), answer
    return answer


async def code(shop: Till, invoice: str = NUMBER, amount: Money | None = None) -> str:
    """The code of the refusal to mark it."""
    answer = await shop.service.mark_paid(invoice, by="usr_op", amount=amount)
    assert isinstance(answer, Rejected)
    assert answer.sentence
    return answer.code


async def test_a_mark_pays_the_invoice(db: Database) -> None:
    """At once, with the payment that the customer began; who said so is kept."""
    shop = await till(db)
    begun = await shop.pay(method="manual")
    assert begun.session is not None
    assert NUMBER in begun.session.instructions
    answer = await marked(shop)
    assert (answer.payment.id, answer.number) == (begun.id, NUMBER)
    assert (answer.payment.status, answer.payment.applied) == (S.SUCCEEDED, "invoice")
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert await shop.events("payment.received") == [f"payment/{begun.id}"]
    payload = (await rows(db, "SELECT payload FROM webhook_events"))[0][0]
    assert isinstance(payload, bytes)
    assert "body" in json.loads(payload)


async def test_without_a_begun_payment_one_is_made(db: Database) -> None:
    """Also where payment by hand is not offered to customers."""
    shop = await till(db)
    service = PaymentService(shop.store, Providers(), shop.clock)
    answer = await service.mark_paid("inv_1", by="usr_op")
    assert isinstance(answer, MarkedPaid)
    assert (answer.payment.provider, answer.payment.applied) == ("manual", "invoice")
    assert answer.payment.provider_payment_id == answer.payment.id


async def test_a_second_mark_says_so_and_changes_nothing(db: Database) -> None:
    """Void, unknown and senseless ones are refused with a sentence as well."""
    shop = await till(db, invoices=2)
    await marked(shop)
    assert await code(shop) == "already_paid"
    assert await code(shop, "nothing") == "not_found"
    assert await code(shop, "IT0-2026-000002", Money(0, "USD")) == "bad_amount"
    await shop.becomes("void", "IT0-2026-000002")
    assert await code(shop, "IT0-2026-000002") == "invoice_void"
    assert len(await shop.events("payment.received")) == 1
    assert await rows(db, "SELECT COUNT(*) FROM payments") == [(1,)]


async def test_the_operator_may_name_what_came(db: Database) -> None:
    """Less than is due waits for a look and activates nothing; the rest can be marked later."""
    shop = await till(db)
    short = await marked(shop, amount=Money(TOTAL - 1, "USD"))
    assert short.payment.applied == "review"
    assert (await shop.invoice())[0] == "open"
    again = await marked(shop, amount=Money(TOTAL, "USD"))
    assert (again.payment.attempt, again.payment.applied) == (2, "invoice")
    assert (await shop.invoice())[0] == "paid"


async def test_a_crash_after_the_mark_is_made_good(db: Database) -> None:
    """It was committed: the loop works on it, and the provider by hand knows it."""
    shop = await till(db)
    wanted = Wanted(tenant_id=None, invoice=NUMBER, provider="manual", by_hand=True)
    begun = await shop.store.begin(wanted, shop.clock.now_ms())
    assert isinstance(begun, Begun)
    money = Money(TOTAL, "USD")
    mark = Mark(payment_id=begun.payment.id, received=money, by="usr_op", reference="")
    await shop.store.mark(mark, shop.clock.now_ms())
    assert await shop.store.marked(begun.payment.id) == money
    assert await shop.store.marked("pay_other") is None
    await shop.work()
    assert (await shop.invoice())[0] == "open"
    await PaymentService(SqlPayments(db), Providers(), shop.clock).work()
    await shop.later(2)
    assert await shop.invoice() == ("paid", TOTAL, 0)


async def test_the_first_word_on_a_payment_counts(db: Database) -> None:
    """A second one for the same payment cannot change the amount."""
    shop = await till(db)
    payment = await shop.pay(method="manual")
    first, second = (
        Mark(payment_id=payment.id, received=Money(minor, "USD"), by="usr_op", reference="")
        for minor in (TOTAL, 1)
    )
    at = shop.clock.now_ms()
    assert (await shop.store.mark(first, at)).news.received == first.received
    assert (await shop.store.mark(second, at)).news.received == first.received


async def test_a_mark_closes_the_sessions_elsewhere(db: Database) -> None:
    """Nobody shall pay by card what was transferred."""
    shop = await till(db)
    card, held = await shop.held()
    await marked(shop)
    assert held.closed
    assert (await shop.payment(card)).status is S.FAILED


async def test_what_was_written_off_can_still_be_marked(db: Database) -> None:
    """The customer is refused, the operator saw the money."""
    shop = await till(db)
    await shop.becomes("uncollectible")
    assert (await marked(shop)).payment.status is S.SUCCEEDED


async def test_payments_by_hand_are_not_asked_for_without_end(db: Database) -> None:
    """A transfer takes days: three looks, then the mark is waited for."""
    shop = await till(db)
    payment = await shop.pay(method="manual")
    for minutes in (1, 4, 25):
        await shop.later(minutes)
    waiting = await shop.payment(payment)
    assert (waiting.poll_at_ms, waiting.expires_at_ms, waiting.polls) == (None, None, 3)
    shop.clock.at += 40 * 24 * 60 * MINUTE
    assert (await shop.pay(method="manual")).id == payment.id


@pytest.mark.postgres
async def test_two_operators_at_once_book_once(pg: PostgresDatabase) -> None:
    """One is told that it is paid, or sees the same payment."""
    shop = await till(pg)
    marks = (shop.service.mark_paid(NUMBER, by=f"usr_{n}") for n in range(4))
    answers = await asyncio.gather(*marks)
    assert any(isinstance(answer, MarkedPaid) for answer in answers)
    assert len(await shop.events("payment.received")) == 1
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert await shop.balance() == 0
