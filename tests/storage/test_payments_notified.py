"""Webhooks: verified, kept once, worked on later; whatever comes, money is booked once."""

from __future__ import annotations

import base64
import json

import pytest

from billing.money import Money
from billing.payment_rules import TRIES, Problem, pause_ms
from billing.payment_service import PaymentService
from billing.payments import PaymentNews, PaymentRequest, PaymentStatus, Providers
from core.refusals import Rejected
from storage.database import Database
from storage.payment_events import KEPT_MS, purge
from storage.payments import SqlPayments
from tests.fakes.payments import FakePayments
from tests.storage.payment_kit import MINUTE, TOTAL, Till, till
from tests.storage.payment_places import db, migrated_file, migrated_url, pg, place
from tests.storage.racing import rows

S = PaymentStatus
__all__ = ["db", "migrated_file", "migrated_url", "pg", "place"]


async def inbox(shop: Till) -> list[tuple[object, ...]]:
    """Every notification: tries, whether it is done with, and its problem."""
    sql = "SELECT attempts, processed_at IS NOT NULL, problem FROM webhook_events ORDER BY event_id"
    return await rows(shop.db, sql)


async def test_only_signed_bodies_are_kept(db: Database) -> None:
    """A false one is a 400, an unknown provider is none of ours; nobody speaks for the operator."""
    shop = await till(db)
    _, held = await shop.held()
    sent = shop.card.pay(held)
    for provider, body, headers, code in (
        ("card", sent.body, {}, "bad_signature"),
        ("card", sent.body + b" ", sent.headers, "bad_signature"),
        ("manual", sent.body, sent.headers, "bad_signature"),
        ("gold", sent.body, sent.headers, "unknown_provider"),
    ):
        answer = await shop.service.notified(provider, body, headers)
        assert isinstance(answer, Rejected)
        assert answer.code == code
    assert await inbox(shop) == []
    await shop.work()
    assert await shop.invoice() == ("open", 0, 0)


async def test_a_notification_counts_once(db: Database) -> None:
    """Delivered three times, before and after it was worked on: one row, one booking."""
    shop = await till(db)
    _, held = await shop.held()
    sent = shop.card.pay(held)
    await shop.deliver(sent, sent)
    await shop.deliver(sent)
    assert await inbox(shop) == [(1, True, "")]
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert len(await shop.events("payment.received")) == 1


async def test_a_crash_before_it_is_worked_on_loses_nothing(db: Database) -> None:
    """It was answered because it was committed: the next process works on it."""
    shop = await till(db)
    payment, held = await shop.held()
    sent = shop.card.pay(held)
    assert await shop.service.notified("card", sent.body, sent.headers) is None
    assert (await shop.payment(payment)).status is S.CREATED
    ways = Providers(by_name={"card": shop.card})
    await PaymentService(SqlPayments(db), ways, shop.clock).work()
    assert (await shop.payment(payment)).status is S.SUCCEEDED


async def test_a_crash_while_it_is_worked_on_is_a_try(db: Database) -> None:
    """After its lease another worker takes it; one that ends every process is put aside."""
    shop = await till(db)
    payment, held = await shop.held()
    sent = shop.card.pay(held)
    assert await shop.service.notified("card", sent.body, sent.headers) is None
    for _ in range(TRIES):
        taken = await shop.store.waiting(shop.clock.now_ms(), 9)
        assert len(taken) == 1
        assert await shop.store.waiting(shop.clock.now_ms(), 9) == ()
        shop.clock.at += 2 * MINUTE
    event = (await shop.store.waiting(shop.clock.now_ms(), 9))[0]
    shop.clock.at += 2 * MINUTE
    assert event.attempts == TRIES + 1
    await shop.work()
    assert await inbox(shop) == [(TRIES + 2, True, "failed processing")]
    assert (await shop.payment(payment)).status is S.SUCCEEDED  # the poll found it


async def test_what_arrives_before_the_session_is_kept_finds_its_payment(db: Database) -> None:
    """The answer to our call was lost, and the payer paid: our reference is in the news."""
    shop = await till(db)
    shop.card.answers_lost = 1
    await shop.service.pay(shop.admin.tenant_id, "inv_1", "card")
    held = next(iter(shop.card.held.values()))
    await shop.deliver(shop.card.pay(held))
    payment = (await shop.service.payments(shop.admin.tenant_id, "inv_1"))[0]
    assert (payment.provider_payment_id, payment.status) == (held.id, S.SUCCEEDED)
    assert await shop.invoice() == ("paid", TOTAL, 0)


async def test_without_our_reference_it_is_tried_again_until_the_session_is_known(
    db: Database,
) -> None:
    """The poll repeats the call under the same key and learns the provider's id."""
    shop = await till(db, repeats_reference=False)
    shop.card.answers_lost = 1
    await shop.service.pay(shop.admin.tenant_id, "inv_1", "card")
    await shop.deliver(shop.card.pay(next(iter(shop.card.held.values()))))
    assert await inbox(shop) == [(1, False, "unknown payment")]
    await shop.later(1)
    await shop.later(2)
    assert (await inbox(shop))[0][1:] == (True, "")
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert len(shop.card.held) == 1


def strange(shop: Till) -> tuple[FakePayments, PaymentRequest]:
    """The provider's words about a payment that was begun by somebody else."""
    request = PaymentRequest(
        payment_id="pay_theirs",
        invoice_id="inv_theirs",
        number="X-1",
        amount=Money(TOTAL, "USD"),
        idempotency_key="theirs",
        expires_at_ms=shop.clock.now_ms() + MINUTE,
    )
    return FakePayments(shop.clock), request


async def test_a_payment_that_is_not_ours_is_put_aside(db: Database) -> None:
    """After five tries, with an alarm; nothing is booked and nobody is charged."""
    shop = await till(db)
    other, request = strange(shop)
    await other.session(request)
    await shop.deliver(other.pay(other.held["fp_card_1"]))
    for attempt in range(1, TRIES):
        assert await inbox(shop) == [(attempt, False, "unknown payment")]
        await shop.later(pause_ms(attempt) / MINUTE)
    assert await inbox(shop) == [(TRIES, True, "unknown payment")]
    assert await shop.events("billing.alarm") == ["alarm/notification/card/evt_card_1"]
    assert shop.card.calls == []


async def test_our_reference_under_another_id_is_a_second_payment(db: Database) -> None:
    """It is nobody's guess which one counts: put aside for the operator."""
    shop = await till(db)
    payment, held = await shop.held()
    held.id = "fp_copy"
    await shop.deliver(shop.card.pay(held))
    assert await inbox(shop) == [(1, False, str(Problem.SECOND_PAYMENT))]
    assert (await shop.payment(payment)).status is S.CREATED


async def test_a_notification_without_a_payment_is_done_with(db: Database) -> None:
    """Its id is kept, so that a second one is known."""
    shop = await till(db)
    await shop.deliver(shop.card.other_event())
    assert await inbox(shop) == [(0, True, "")]


async def test_money_at_a_foreign_account_is_not_booked(db: Database) -> None:
    """Noted and alarmed once, however often it is said."""
    shop = await till(db)
    payment, held = await shop.held()
    await shop.deliver(shop.card.pay(held, account="acct_theirs"))
    await shop.later(1)
    strayed = await shop.payment(payment)
    assert (strayed.problem, strayed.applied, strayed.received) == ("foreign account", "", None)
    assert await shop.invoice() == ("open", 0, 0)
    assert await shop.events("billing.alarm") == [f"alarm/payment/{payment.id}/foreign account"]
    assert await shop.events("payment.received") == []


@pytest.mark.parametrize("received", [Money(TOTAL - 1, "USD"), Money(TOTAL, "EUR")])
async def test_short_or_other_money_activates_nothing(db: Database, received: Money) -> None:
    """The payment is kept and the invoice waits for somebody to look."""
    shop = await till(db)
    payment, held = await shop.held()
    await shop.deliver(shop.card.pay(held, received))
    kept = await shop.payment(payment)
    assert (kept.status, kept.received, kept.applied) == (S.SUCCEEDED, received, "review")
    status, _, review = await shop.invoice()
    assert (status, review) == ("open", 1)


async def test_what_is_paid_too_much_goes_to_the_balance(db: Database) -> None:
    """The invoice is paid and the rest is the customer's credit."""
    shop = await till(db)
    _, held = await shop.held()
    await shop.deliver(shop.card.pay(held, Money(TOTAL + 501, "USD")))
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert await shop.balance() == 501


async def test_of_two_payments_the_second_goes_to_the_balance(db: Database) -> None:
    """The first session was closed while its money was under way: both are paid."""
    shop = await till(db)
    first, one = await shop.held()
    await shop.deliver(shop.card.decline(one))
    second, two = await shop.held()
    assert one.closed
    await shop.deliver(shop.card.pay(two), shop.card.pay(one, even_closed=True))
    applied = [(await shop.payment(payment)).applied for payment in (second, first)]
    assert applied == ["invoice", "balance"]
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert await shop.balance() == TOTAL
    assert len(await shop.events("payment.received")) == 2


async def test_a_payment_of_a_void_invoice_goes_to_the_balance(db: Database) -> None:
    """The money is recorded; the invoice stays void."""
    shop = await till(db)
    payment, held = await shop.held()
    await shop.becomes("void")
    await shop.deliver(shop.card.pay(held))
    assert (await shop.payment(payment)).applied == "balance"
    assert (await shop.invoice())[0] == "void"
    assert await shop.balance() == TOTAL


async def test_a_failure_after_the_money_is_looked_up(db: Database) -> None:
    """An old one changes nothing; one that the provider stands by raises an alarm, no more."""
    shop = await till(db)
    payment, held = await shop.held()
    declined = shop.card.decline(held)
    await shop.deliver(shop.card.pay(held))
    await shop.deliver(declined)
    assert shop.card.calls[-1] == "status"
    assert (await shop.payment(payment)).problem == ""
    await shop.deliver(shop.card.decline(held))
    taken = await shop.payment(payment)
    assert (taken.status, taken.problem) == (S.SUCCEEDED, str(Problem.CONTRADICTION))
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert len(await shop.events("billing.alarm")) == 1


async def test_a_contradiction_waits_for_a_provider_that_is_down(db: Database) -> None:
    """It is not decided without asking: the notification is tried again."""
    shop = await till(db)
    _, held = await shop.held()
    declined = shop.card.decline(held)
    await shop.deliver(shop.card.pay(held))
    shop.card.unreachable = 1
    await shop.deliver(declined)
    assert (1, False, "unknown outcome") in await inbox(shop)
    await shop.later(1)
    assert all(done for _, done, _ in await inbox(shop))


async def test_a_contradiction_of_a_way_that_is_gone_is_put_aside(db: Database) -> None:
    """Nobody can be asked: the money stays booked, and the operator is told."""
    shop = await till(db)
    payment, held = await shop.held()
    declined = shop.card.decline(held)
    await shop.deliver(shop.card.pay(held))
    assert await shop.service.notified("card", declined.body, declined.headers) is None
    gone = PaymentService(shop.store, Providers(), shop.clock)
    for attempt in range(1, TRIES + 1):
        await gone.work()
        shop.clock.at += pause_ms(attempt)
    assert (TRIES, True, str(Problem.CONTRADICTION)) in await inbox(shop)
    assert (await shop.payment(payment)).status is S.SUCCEEDED
    assert await shop.events("billing.alarm") == ["alarm/notification/card/evt_card_1"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
async def test_money_that_went_back_is_recorded_and_takes_nothing_back(
    db: Database, order: tuple[int, ...]
) -> None:
    """In any order: booked once, refunded at last, the operator told, the invoice left as it is."""
    shop = await till(db)
    payment, held = await shop.held()
    sent = (shop.card.pay(held), shop.card.dispute(held), shop.card.refund(held))
    for number in order:
        await shop.deliver(sent[number])
    kept = await shop.payment(payment)
    assert (kept.status, kept.applied) == (S.REFUNDED, "invoice")
    assert await shop.invoice() == ("paid", TOTAL, 0)
    assert len(await shop.events("payment.received")) == 1
    assert f"alarm/payment/{payment.id}/refunded" in await shop.events("billing.alarm")


async def test_paid_without_an_amount_is_not_booked(db: Database) -> None:
    """The provider, asked, does not say either: alarmed, and asked again until it does."""
    shop = await till(db)
    payment, held = await shop.held()
    shop.card.pay(held)
    held.received = None
    await shop.later(1)
    assert (await shop.payment(payment)).problem == str(Problem.NO_AMOUNT)
    assert await shop.events("payment.received") == []
    held.received = Money(TOTAL, "USD")
    await shop.later(4)
    assert (await shop.payment(payment)).problem == ""
    assert await shop.invoice() == ("paid", TOTAL, 0)


async def test_a_hard_decline_is_remembered_until_it_is_paid(db: Database) -> None:
    """Dunning need not try the same means again."""
    shop = await till(db)
    payment, held = await shop.held()
    await shop.deliver(shop.card.decline(held))
    assert (await shop.payment(payment)).problem == ""
    await shop.deliver(shop.card.decline(held, hard=True))
    assert (await shop.payment(payment)).problem == str(Problem.HARD_DECLINE)
    await shop.deliver(shop.card.pay(held))
    assert (await shop.payment(payment)).problem == ""


class Broken(FakePayments):
    """A provider whose answers our translation cannot read."""

    async def status(self, provider_payment_id: str) -> PaymentNews:
        """Nonsense."""
        raise LookupError(provider_payment_id)


async def test_a_bug_in_one_provider_does_not_stop_the_others(db: Database) -> None:
    """What raises is tried again and put aside; the rest of the work is done."""
    shop = await till(db, invoices=2)
    payment, held = await shop.held()
    declined = shop.card.decline(held)
    await shop.deliver(shop.card.pay(held))
    other, waiting = await shop.held("IT0-2026-000002")
    broken = Broken(shop.clock)
    service = PaymentService(shop.store, Providers(by_name={"card": broken}), shop.clock)
    paid = shop.card.pay(waiting)
    for sent in (declined, paid):
        assert await service.notified("card", sent.body, sent.headers) is None
    await service.work()
    assert (1, False, "failed processing") in await inbox(shop)
    assert (await shop.payment(other)).status is S.SUCCEEDED
    assert (await shop.payment(payment)).status is S.SUCCEEDED


async def test_what_notifications_said_is_forgotten_after_90_days(db: Database) -> None:
    """Their ids stay, so a late copy is known; what waits and what the operator said is kept."""
    shop = await till(db, invoices=2)
    _, held = await shop.held()
    sent = shop.card.pay(held)
    await shop.deliver(sent)
    await shop.service.mark_paid("IT0-2026-000002", by="usr_1", reference="slip 7")
    waiting = shop.card.dispute(held)
    assert await shop.service.notified("card", waiting.body, waiting.headers) is None
    assert await purge(db, shop.clock.at + KEPT_MS) == 0
    shop.clock.at += KEPT_MS + 1
    assert await purge(db, shop.clock.at) == 1
    kept = await rows(db, "SELECT provider FROM webhook_events WHERE payload IS NOT NULL")
    assert sorted(kept) == [("card",), ("manual",)]
    await shop.deliver(sent)
    assert len(await shop.events("payment.received")) == 2


async def test_the_raw_body_is_kept_as_evidence(db: Database) -> None:
    """With what was read from it when its signature was fresh."""
    shop = await till(db)
    _, held = await shop.held()
    sent = shop.card.pay(held)
    await shop.deliver(sent)
    payload = (await rows(db, "SELECT payload FROM webhook_events"))[0][0]
    assert isinstance(payload, bytes)
    assert base64.b64decode(json.loads(payload)["body"]) == sent.body
