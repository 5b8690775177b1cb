"""What a provider's news do to a payment, and when it is asked again. Pure.

News arrive late, twice and in any order, so a payment's status only rises; what contradicts
it is looked up at the provider before it counts. Source: facts/billing.md, section 7.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from billing.payments import Payment, PaymentNews, PaymentStatus

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
SESSION_MS: Final = 23 * HOUR_MS
"""How long a session is asked for. Providers know an idempotency key for 24 hours: one that is
used again within the session still means the same payment."""
POLLS_MS: Final = (MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS)
"""After the payment was begun; then at its expiry and once after it."""
AFTER_EXPIRY_MS: Final = 10 * MINUTE_MS
PENDING_MS: Final = 30 * DAY_MS
"""Money that is under way when the session ends is asked for daily, this long."""
UNKNOWN_MS: Final = 7 * DAY_MS
"""A provider that cannot be asked is tried again this long after the session's end."""
TRIES: Final = 5
"""Of working on a notification, before it is put aside."""
_FIRST_PAUSE_MS: Final = MINUTE_MS // 2


class Problem(StrEnum):
    """What the operator should look at."""

    NONE = ""
    HARD_DECLINE = "hard decline"
    FOREIGN_ACCOUNT = "foreign account"
    """It was paid to an account that is not ours: nothing is booked."""
    NO_AMOUNT = "no amount"
    """The provider says that it was paid, not how much."""
    CONTRADICTION = "contradiction"
    """The provider, asked, takes back that it was paid."""
    UNKNOWN_OUTCOME = "unknown outcome"
    """The provider could not be asked for so long that we gave up."""
    UNKNOWN_PAYMENT = "unknown payment"
    """A notification about a payment that is not ours."""
    SECOND_PAYMENT = "second payment under one reference"
    FAILED_PROCESSING = "failed processing"
    """Working on the notification raised every time: the log says what."""


class Verdict(StrEnum):
    """What is to be done with news."""

    RISE = "rise"
    """The status becomes that of the news; money that came with it is booked."""
    MOVE = "move"
    """Between refunded and disputed: the provider was asked."""
    NOTE = "note"
    """Declined for good, known to be declined: noted."""
    IGNORE = "ignore"
    LOOK_UP = "look up"
    """It contradicts what we know: ask the provider."""
    FOREIGN = "foreign account"
    NO_AMOUNT = "no amount"
    TAKEN_BACK = "contradiction"


def weigh(
    payment: Payment, news: PaymentNews, account: str, *, seen: PaymentStatus | None
) -> Verdict:
    """What news mean for a payment as it stands.

    ``account`` is ours with the provider, empty where it is not told. ``seen`` is the status
    that the payment had when the provider was asked because of a contradiction; None for news
    that came unasked or from a poll. Where the payment moved on since, it is asked again.
    """
    if news.account and account and news.account != account:
        return Verdict.FOREIGN
    if news.status.rank > payment.status.rank:
        if news.status.paid and not payment.status.paid:
            return Verdict.RISE if _amount_told(news) else _unless(seen, Verdict.NO_AMOUNT)
        return Verdict.RISE
    if news.status is payment.status:
        worse = news.hard_decline and payment.problem != Problem.HARD_DECLINE
        return Verdict.NOTE if worse and not payment.status.paid else Verdict.IGNORE
    same_rank = news.status.rank == payment.status.rank
    if same_rank or (news.status is PaymentStatus.FAILED and payment.status.paid):
        if seen is not payment.status:
            return Verdict.LOOK_UP
        return Verdict.MOVE if same_rank else Verdict.TAKEN_BACK
    return Verdict.IGNORE


def _amount_told(news: PaymentNews) -> bool:
    return news.received is not None and news.received.minor > 0


def _unless(seen: PaymentStatus | None, verdict: Verdict) -> Verdict:
    """The provider is asked once before that counts."""
    return Verdict.LOOK_UP if seen is None else verdict


def next_poll(payment: Payment, at_ms: int) -> int | None:
    """When the provider is asked next; None when it need not be asked any more.

    Declined payments too: in many sessions the payer may try another card.
    """
    if payment.status.paid:
        return None
    points = [payment.created_at_ms + after for after in POLLS_MS]
    if payment.expires_at_ms is not None:
        points += [payment.expires_at_ms, payment.expires_at_ms + AFTER_EXPIRY_MS]
    later = [point for point in points if point > at_ms]
    if later:
        return min(later)
    pending = payment.status is PaymentStatus.PROCESSING and payment.expires_at_ms is not None
    return at_ms + DAY_MS if pending and at_ms < max(points) + PENDING_MS else None


def poll_after_fault(payment: Payment, at_ms: int) -> int | None:
    """When a provider that could not be asked is tried again; None when we give up.

    The pause grows with the payment's age: a minute at first, six hours at most.
    """
    end = payment.expires_at_ms or payment.created_at_ms + SESSION_MS
    if at_ms >= end + UNKNOWN_MS:
        return None
    age = max(0, at_ms - payment.created_at_ms)
    return at_ms + min(max(age // 2, MINUTE_MS), 6 * HOUR_MS)


def pause_ms(attempts: int) -> int:
    """Before a notification is tried again: 30 s, then four times as long each time."""
    pause: int = _FIRST_PAUSE_MS * 4 ** max(0, attempts - 1)
    return pause


def idempotency_key(invoice_id: str, attempt: int, method: str) -> str:
    """What a provider knows an attempt by, however often it is asked."""
    return f"inv:{invoice_id}:{attempt}:{method}"
