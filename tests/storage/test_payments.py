"""Paying an invoice: one row before the provider is called, one payment whatever is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from billing import payment_service
from billing.money import Money
from billing.payment_rules import AFTER_EXPIRY_MS, SESSION_MS, UNKNOWN_MS, Problem
from billing.payment_service import PaymentService
from billing.payment_store import Begun, Wanted
from billing.payments import Payment, PaymentRequest, PaymentSession, PaymentStatus, Providers
from core.refusals import Rejected
from storage.database import Database
from tests.fakes.payments import FakePayments
from tests.storage.payment_kit import MINUTE, START_MS, TOTAL, Till, till
from tests.storage.payment_places import db, migrated_file, migrated_url, place

S = PaymentStatus
__all__ = ["db", "migrated_file", "migrated_url", "place"]


async def refused(shop: Till, invoice: str, method: str | None = "card") -> str:
    """The code of the refusal to begin a payment."""
    answer = await shop.service.pay(shop.admin.tenant_id, invoice, method)
    assert isinstance(answer, Rejected)
    assert answer.sentence
    return answer.code


async def test_paying_shows_a_session_and_books_the_money(db: Database) -> None:
    """The session is kept; once notified, the invoice is paid and it is said once."""
    shop = await till(db)
    payment, held = await shop.held()
    assert payment.session is not None
    assert payment.session.url.endswith(held.id)
    assert (payment.status, payment.amount) == (S.CREATED, Money(TOTAL, "USD"))
    await shop.deliver(shop.card.pay(held))
    paid = await shop.payment(payment)
    assert (paid.status, paid.applied, paid.received) == (S.SUCCEEDED, "invoice", paid.amount)
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert await shop.events("payment.received") == [f"payment/{payment.id}"]
    assert paid.poll_at_ms is None


async def test_an_unfinished_session_is_shown_again(db: Database) -> None:
    """By id or number; the provider is not asked again."""
    shop = await till(db)
    first = await shop.pay()
    assert await shop.pay("inv_1") == first
    assert shop.card.calls == ["session"]


async def test_an_expired_or_declined_session_is_followed_by_a_new_one(db: Database) -> None:
    """Each attempt has its own key, in order."""
    shop = await till(db)
    first, held = await shop.held()
    await shop.deliver(shop.card.decline(held))
    second = await shop.pay()
    shop.clock.at += SESSION_MS
    third = await shop.pay()
    keys = [f"inv:inv_1:{n}:card" for n in (1, 2, 3)]
    assert [p.idempotency_key for p in (first, second, third)] == keys
    every = await shop.service.payments(shop.admin.tenant_id, "inv_1")
    assert [p.id for p in every] == [first.id, second.id, third.id]


async def test_another_way_to_pay_closes_the_older_session(db: Database) -> None:
    """At its provider, whose answer is kept; one that cannot be closed stays as it is."""
    shop = await till(db, invoices=2)
    card, held = await shop.held()
    await shop.pay(method="manual")
    assert held.closed
    assert (await shop.payment(card)).status is S.FAILED
    stuck, pending = await shop.held("IT0-2026-000002")
    shop.card.act(pending)
    await shop.pay("IT0-2026-000002", "manual")
    assert (await shop.payment(stuck)).status is S.CREATED


async def test_the_way_must_be_said_where_there_are_several(db: Database) -> None:
    """Names are given; one alone is the default; none at all is said."""
    shop = await till(db)
    assert await refused(shop, "inv_1", None) == "choose_method"
    assert await refused(shop, "inv_1", "gold") == "unknown_method"
    one = PaymentService(shop.store, Providers(by_name={"card": shop.card}), shop.clock)
    assert isinstance(await one.pay(shop.admin.tenant_id, "inv_1"), Payment)
    none = PaymentService(shop.store, Providers(), shop.clock)
    answer = await none.pay(shop.admin.tenant_id, "inv_1")
    assert isinstance(answer, Rejected)
    assert answer.code == "no_payment_method"
    assert list(await shop.service.methods(shop.admin.tenant_id)) == ["card", "manual"]


async def test_only_an_open_invoice_of_the_team_is_paid(db: Database) -> None:
    """What is paid, void, written off, unknown or another team's is refused, without a row."""
    shop = await till(db)
    for status, code in (
        ("paid", "already_paid"),
        ("void", "invoice_void"),
        ("uncollectible", "invoice_closed"),
    ):
        await shop.becomes(status)
        assert await refused(shop, "inv_1") == code
    await shop.becomes("open")
    assert await refused(shop, "inv_9") == "not_found"
    other = await shop.service.pay("ten_other", "inv_1", "card")
    assert isinstance(other, Rejected)
    assert other.code == "not_found"
    await shop.write("UPDATE invoices SET from_balance = total RETURNING id")
    assert await refused(shop, "inv_1") == "nothing_due"
    assert await shop.service.payments(shop.admin.tenant_id, "inv_1") == ()
    assert await shop.service.payments("ten_other", "inv_1") == ()


@pytest.mark.parametrize("lost", ["question", "answer"])
async def test_a_fault_of_the_provider_is_no_second_payment(db: Database, lost: str) -> None:
    """Whichever way it was lost, the same key is used again, and one payment comes of it."""
    shop = await till(db)
    shop.card.unreachable, shop.card.answers_lost = (1, 0) if lost == "question" else (0, 1)
    assert await refused(shop, "inv_1") == "provider_unreachable"
    payment = await shop.pay()
    assert list(shop.card.held) == [payment.provider_payment_id]
    assert (payment.attempt, shop.card.calls) == (1, ["session", "session"])


class Silent(FakePayments):
    """A provider that takes the connection and never answers."""

    async def session(self, request: PaymentRequest) -> PaymentSession:
        """Nothing, for ever."""
        await asyncio.Event().wait()
        return await FakePayments.session(self, request)


async def test_a_provider_that_never_answers_is_not_waited_for(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome is unknown, as with a lost answer: the payer may try again."""
    monkeypatch.setattr(payment_service, "PROVIDER_S", 0.01)
    shop = await till(db)
    ways = Providers(by_name={"card": Silent(shop.clock)})
    silent = PaymentService(shop.store, ways, shop.clock)
    answer = await silent.pay(shop.admin.tenant_id, "inv_1")
    assert isinstance(answer, Rejected)
    assert (answer.code, "in time" in answer.sentence) == ("provider_unreachable", True)
    assert (await shop.pay()).attempt == 1


async def test_a_crash_before_the_provider_is_called_is_made_good(db: Database) -> None:
    """The row is there: the next poll begins the payment under its key, once."""
    shop = await till(db)
    wanted = Wanted(tenant_id=shop.admin.tenant_id, invoice="inv_1", provider="card")
    begun = await shop.store.begin(wanted, shop.clock.now_ms())
    assert isinstance(begun, Begun)
    assert begun.payment.session is None
    await shop.later(1)
    payment = await shop.pay()
    assert (payment.id, payment.session is None) == (begun.payment.id, False)
    assert len(shop.card.held) == 1


async def test_a_session_that_was_never_heard_of_again_raises_an_alarm(db: Database) -> None:
    """The key is not used after the session's time; a week later the operator is told."""
    shop = await till(db)
    shop.card.answers_lost = 10**6
    await refused(shop, "inv_1")
    payment = (await shop.service.payments(shop.admin.tenant_id, "inv_1"))[0]
    shop.clock.at += SESSION_MS
    before = shop.card.calls.count("session")
    await shop.work()
    assert shop.card.calls.count("session") == before
    await shop.later(UNKNOWN_MS / MINUTE)
    payment = await shop.payment(payment)
    assert (payment.problem, payment.poll_at_ms) == (str(Problem.UNKNOWN_OUTCOME), None)
    assert await shop.events("billing.alarm") == [f"alarm/payment/{payment.id}/unknown outcome"]


async def test_a_charge_that_succeeds_at_once_is_booked_at_once(db: Database) -> None:
    """A session may be paid in the moment it is begun: its amount is asked for."""
    shop = await till(db)
    shop.card.scripts.append(FakePayments.pay)
    payment = await shop.pay()
    assert (payment.status, payment.applied) == (S.SUCCEEDED, "invoice")
    assert await shop.invoice() == ("paid", TOTAL, 0)


async def test_a_charge_that_is_declined_or_needs_the_payer_says_so(db: Database) -> None:
    """Declined: another attempt follows. Pending: the same session is shown again."""
    shop = await till(db, invoices=2)
    shop.card.scripts.append(FakePayments.decline)
    declined = await shop.pay()
    assert declined.status is S.FAILED
    shop.card.scripts.append(FakePayments.act)
    pending = await shop.pay()
    assert (pending.attempt, pending.status) == (2, S.PROCESSING)
    assert (await shop.pay()).id == pending.id


async def test_a_payment_without_a_notification_is_found_by_asking(db: Database) -> None:
    """At 1, 5 and 30 minutes, at the expiry and once after it; not after the money came."""
    shop = await till(db)
    payment, held = await shop.held()
    for minutes in (1, 4, 25):
        await shop.later(minutes)
    assert shop.card.calls.count("status") == 3
    shop.card.pay(held)
    shop.clock.at = START_MS + SESSION_MS
    await shop.work()
    await shop.later(AFTER_EXPIRY_MS / MINUTE)
    assert shop.card.calls.count("status") == 4
    paid = await shop.payment(payment)
    assert (paid.status, paid.polls) == (S.SUCCEEDED, 4)
    assert await shop.invoice() == ("paid", TOTAL, 0)


async def test_a_provider_that_is_down_is_asked_later(db: Database) -> None:
    """The payment waits; other payments are asked for all the same."""
    shop = await till(db, invoices=2)
    first, held = await shop.held()
    second, other = await shop.held("IT0-2026-000002")
    shop.card.pay(held)
    shop.card.pay(other)
    shop.card.unreachable = 1
    await shop.later(1)
    states = {(await shop.payment(one)).status for one in (first, second)}
    assert states == {S.CREATED, S.SUCCEEDED}
    await shop.later(1)
    assert (await shop.payment(first)).status is S.SUCCEEDED
    assert (await shop.payment(second)).status is S.SUCCEEDED


async def test_a_late_plan_to_ask_leaves_what_is_paid_alone(db: Database) -> None:
    """The money came while another worker was asking: no more polls, and no alarm."""
    shop = await till(db)
    payment, held = await shop.held()
    await shop.deliver(shop.card.pay(held))
    await shop.store.plan(payment.id, shop.clock.now_ms(), shop.clock.now_ms())
    await shop.store.give_up(payment.id, shop.clock.now_ms())
    paid = await shop.payment(payment)
    assert (paid.poll_at_ms, paid.problem) == (None, "")
    assert await shop.events("billing.alarm") == []


async def test_a_way_that_is_not_configured_any_more_is_waited_for(db: Database) -> None:
    """Its open payments stay open, and are settled when it is back."""
    shop = await till(db)
    payment, held = await shop.held()
    shop.card.pay(held)
    without = PaymentService(shop.store, Providers(), shop.clock)
    shop.clock.at += MINUTE
    await without.work()
    assert (await shop.payment(payment)).status is S.CREATED
    await shop.later(1)
    assert (await shop.payment(payment)).status is S.SUCCEEDED


async def test_a_changed_amount_is_a_new_attempt(db: Database) -> None:
    """The older session asks for too much: it is closed, and its key is not used for less."""
    shop = await till(db)
    first, held = await shop.held()
    await shop.write("UPDATE invoices SET credited = 999 RETURNING id")
    second = await shop.pay()
    assert (second.attempt, second.amount) == (2, Money(TOTAL - 999, "USD"))
    assert held.closed
    assert (await shop.payment(first)).status is S.FAILED


async def test_one_provider_does_not_see_the_others_payments(db: Database) -> None:
    """The same id at another provider is another payment."""
    shop = await till(db)
    payment = await shop.pay()
    told = await FakePayments.status(shop.card, payment.provider_payment_id or "")
    assert await shop.store.find("manual", told) is None
    assert await shop.store.find("card", replace(told, payment_id="")) == payment
