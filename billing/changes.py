"""Which changes of plan there are, and why one is refused: expected, so a value."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from billing.periods import moment
from billing.plans import PlanName, PlanVersion
from billing.subscriptions import Status, Subscription
from core.refusals import Rejected
from core.words import sentence

QUOTE_MS: Final = 600_000
"""A quote is good for ten minutes."""
LONGEST_TRIAL_DAYS: Final = 365


class Direction(StrEnum):
    """Where a change goes."""

    UPGRADE = "upgrade"
    """At once, when it is paid."""
    DOWNGRADE = "downgrade"
    """At the end of the period, without a credit."""


UNKNOWN_PLAN: Final = Rejected(
    code="unknown_plan", sentence=sentence("There is no such plan. `/plan` lists them.")
)
UNPAID: Final = Rejected(
    code="unpaid_invoice",
    sentence=sentence("An invoice is overdue. Pay it first: `/invoices` lists them."),
)
CLOSING: Final = Rejected(
    code="month_closing",
    sentence=sentence("Last month is being invoiced. Try again in about an hour."),
)
MONTH_ENDS: Final = Rejected(
    code="month_closing",
    sentence=sentence("This month ends in a few minutes. Try again when the next one has begun."),
)
SAME_PLAN: Final = Rejected(
    code="same_plan", sentence=sentence("Your team is on that plan already.")
)
NO_PRICE: Final = Rejected(
    code="no_price",
    sentence=sentence("That plan has no price in your currency. Ask whoever runs this service."),
)
NO_QUOTE: Final = Rejected(
    code="unknown_quote",
    sentence=sentence("There is no such quote. Ask for one with `/upgrade` or `/downgrade`."),
)
EXPIRED: Final = Rejected(
    code="quote_expired",
    sentence=sentence("That quote has expired: it was good for 10 minutes. Ask for a new one."),
)
OUTDATED: Final = Rejected(
    code="quote_outdated",
    sentence=sentence("Your subscription has changed since that quote. Ask for a new one."),
)
NOTHING_TO_CANCEL: Final = Rejected(
    code="free_plan",
    sentence=sentence("Your team is on the Free plan: there is nothing to cancel."),
)
NOTHING_TO_TAKE_BACK: Final = Rejected(
    code="nothing_scheduled",
    sentence=sentence("No cancellation and no downgrade is waiting, so nothing can be taken back."),
)


def direction(
    subscription: Subscription,
    current: PlanVersion,
    wanted: PlanVersion,
    at_ms: int,
) -> Direction | Rejected:
    """Which way the change goes, or why there is none.

    In a trial every paid plan is an upgrade, also the one that is tried: it begins to be paid.
    """
    if subscription.currency not in wanted.prices:
        return NO_PRICE
    if subscription.status is Status.PAST_DUE:
        return UNPAID
    if subscription.period.end_ms <= at_ms:
        return CLOSING
    if subscription.status is Status.TRIALING:
        return _in_trial(subscription, wanted, at_ms)
    if wanted.plan is current.plan:
        return SAME_PLAN
    return Direction.UPGRADE if wanted.plan.rank > current.plan.rank else Direction.DOWNGRADE


def _in_trial(subscription: Subscription, wanted: PlanVersion, at_ms: int) -> Direction | Rejected:
    if wanted.plan is not PlanName.FREE:
        return Direction.UPGRADE
    ends = moment(subscription.trial_end_ms or at_ms).strftime("%Y-%m-%d %H:%M")
    said = sentence(
        "Your trial ends by itself on {ends} (UTC); after that your team is on the Free plan.",
        ends=ends,
    )
    return Rejected(code="trial_ends_by_itself", sentence=said)
