"""What news do to a payment, and when its provider is asked: pure rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import Money
from billing.payment_rules import (
    AFTER_EXPIRY_MS,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PENDING_MS,
    SESSION_MS,
    TRIES,
    UNKNOWN_MS,
    Problem,
    Verdict,
    idempotency_key,
    next_poll,
    pause_ms,
    poll_after_fault,
    weigh,
)
from billing.payments import Payment, PaymentNews, PaymentStatus

S = PaymentStatus
DUE = Money(4_999, "USD")
PAYMENT = Payment(
    id="pay_1",
    tenant_id="t",
    invoice_id="inv_1",
    provider="card",
    provider_payment_id="p",
    attempt=1,
    idempotency_key="inv:inv_1:1:card",
    status=S.CREATED,
    amount=DUE,
    created_at_ms=0,
    expires_at_ms=SESSION_MS,
)


def stands(status: PaymentStatus, **changes: object) -> Payment:
    """The payment in that status."""
    return replace(PAYMENT, status=status, **changes)  # type: ignore[arg-type]  # a test's words


def news(status: PaymentStatus, **changes: object) -> PaymentNews:
    """News with all the money, if any came."""
    told = PaymentNews(
        provider_payment_id="p", status=status, received=DUE if status.paid else None
    )
    return replace(told, **changes)  # type: ignore[arg-type]  # a test's words


@pytest.mark.parametrize(
    ("before", "told", "verdict"),
    [
        (S.CREATED, S.PROCESSING, Verdict.RISE),
        (S.CREATED, S.SUCCEEDED, Verdict.RISE),
        (S.CREATED, S.REFUNDED, Verdict.RISE),
        (S.FAILED, S.SUCCEEDED, Verdict.RISE),
        (S.SUCCEEDED, S.DISPUTED, Verdict.RISE),
        (S.PROCESSING, S.PROCESSING, Verdict.IGNORE),
        (S.SUCCEEDED, S.SUCCEEDED, Verdict.IGNORE),
        (S.SUCCEEDED, S.PROCESSING, Verdict.IGNORE),
        (S.REFUNDED, S.SUCCEEDED, Verdict.IGNORE),
        (S.FAILED, S.CREATED, Verdict.IGNORE),
        (S.SUCCEEDED, S.FAILED, Verdict.LOOK_UP),
        (S.REFUNDED, S.FAILED, Verdict.LOOK_UP),
        (S.REFUNDED, S.DISPUTED, Verdict.LOOK_UP),
        (S.DISPUTED, S.REFUNDED, Verdict.LOOK_UP),
    ],
)
def test_a_status_rises_and_contradictions_are_looked_up(
    before: PaymentStatus, told: PaymentStatus, verdict: Verdict
) -> None:
    """Late and repeated news are ignored; what cannot be both is asked for."""
    assert weigh(stands(before), news(told), "", seen=None) is verdict


def test_the_providers_word_settles_a_contradiction() -> None:
    """Asked, it may move a refund to a dispute; a payment that it takes back raises an alarm."""
    moved = weigh(stands(S.REFUNDED), news(S.DISPUTED), "", seen=S.REFUNDED)
    assert moved is Verdict.MOVE
    taken = weigh(stands(S.SUCCEEDED), news(S.FAILED), "", seen=S.SUCCEEDED)
    assert taken is Verdict.TAKEN_BACK


def test_an_answer_that_is_older_than_the_payment_is_asked_for_again() -> None:
    """The payment moved on while the provider answered: the answer settles nothing."""
    stale = weigh(stands(S.DISPUTED), news(S.REFUNDED), "", seen=S.SUCCEEDED)
    assert stale is Verdict.LOOK_UP


def test_money_at_another_account_is_not_ours() -> None:
    """Whatever the status; an account that is not told on either side is not compared."""
    assert weigh(PAYMENT, news(S.SUCCEEDED, account="x"), "us", seen=None) is Verdict.FOREIGN
    assert weigh(PAYMENT, news(S.SUCCEEDED, account="us"), "us", seen=None) is Verdict.RISE
    assert weigh(PAYMENT, news(S.SUCCEEDED), "us", seen=None) is Verdict.RISE
    assert weigh(PAYMENT, news(S.SUCCEEDED, account="x"), "", seen=None) is Verdict.RISE


@pytest.mark.parametrize("received", [None, Money(0, "USD"), Money(-5, "USD")])
def test_paid_without_an_amount_is_looked_up_once(received: Money | None) -> None:
    """Nothing is booked on a word without a number; asked in vain, it is a problem."""
    told = news(S.SUCCEEDED, received=received)
    assert weigh(PAYMENT, told, "", seen=None) is Verdict.LOOK_UP
    assert weigh(PAYMENT, told, "", seen=S.CREATED) is Verdict.NO_AMOUNT


def test_a_hard_decline_is_noted_once() -> None:
    """Also after a soft one; a payment that was paid is past that."""
    hard = news(S.FAILED, hard_decline=True)
    assert weigh(stands(S.FAILED), hard, "", seen=None) is Verdict.NOTE
    noted = stands(S.FAILED, problem=str(Problem.HARD_DECLINE))
    assert weigh(noted, hard, "", seen=None) is Verdict.IGNORE


@given(
    st.sampled_from(S),
    st.lists(st.tuples(st.sampled_from(S), st.booleans()), max_size=8),
)
def test_no_news_lower_a_status(start: PaymentStatus, told: list[tuple[S, bool]]) -> None:
    """Whatever comes, unasked or asked, the rank never falls."""
    payment = stands(start)
    for status, asked in told:
        seen = payment.status if asked else None
        if weigh(payment, news(status), "", seen=seen) in {Verdict.RISE, Verdict.MOVE}:
            assert status.rank >= payment.status.rank
            payment = stands(status)


def test_an_open_payment_is_asked_for_at_its_hours() -> None:
    """After 1, 5 and 30 minutes, at its expiry, once after it; then no more."""
    at, asked = 0, []
    while (following := next_poll(PAYMENT, at)) is not None:
        asked.append(at := following)
    minutes = [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS]
    assert asked == [*minutes, SESSION_MS, SESSION_MS + AFTER_EXPIRY_MS]


def test_missed_hours_are_not_made_up_for() -> None:
    """After an outage there is one next time."""
    assert next_poll(PAYMENT, 2 * HOUR_MS) == SESSION_MS


def test_money_under_way_is_asked_for_daily() -> None:
    """For thirty days after the session ended; a session without an end has no such days."""
    end = SESSION_MS + AFTER_EXPIRY_MS
    pending = stands(S.PROCESSING)
    assert next_poll(pending, end) == end + DAY_MS
    assert next_poll(pending, end + PENDING_MS) is None
    assert next_poll(stands(S.PROCESSING, expires_at_ms=None), HOUR_MS) is None


@pytest.mark.parametrize("status", [S.SUCCEEDED, S.REFUNDED, S.DISPUTED])
def test_what_is_paid_is_not_asked_for(status: PaymentStatus) -> None:
    """The money has come: what follows is notified."""
    assert next_poll(stands(status), 0) is None


def test_a_declined_payment_is_still_asked_for() -> None:
    """The payer may try another card in the same session, and the notification be lost."""
    assert next_poll(stands(S.FAILED), MINUTE_MS) == 5 * MINUTE_MS


def test_a_provider_that_is_down_is_asked_less_and_less() -> None:
    """From a minute to six hours; a week after the session's end we give up."""
    assert poll_after_fault(PAYMENT, 0) == MINUTE_MS
    assert poll_after_fault(PAYMENT, HOUR_MS) == HOUR_MS + HOUR_MS // 2
    assert poll_after_fault(PAYMENT, 5 * DAY_MS) == 5 * DAY_MS + 6 * HOUR_MS
    assert poll_after_fault(PAYMENT, SESSION_MS + UNKNOWN_MS) is None


def test_a_notification_is_tried_for_most_of_an_hour() -> None:
    """Five tries: 30 s, 2, 8 and 32 minutes between them."""
    pauses = [pause_ms(attempt) // 1000 for attempt in range(1, TRIES)]
    assert pauses == [30, 120, 480, 1920]


def test_an_attempt_has_one_key() -> None:
    """Made of the invoice, the attempt and the way to pay."""
    assert idempotency_key("inv_1", 2, "card") == "inv:inv_1:2:card"
