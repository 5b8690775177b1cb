"""A tenant's subscription, its states, and which change leads from one to another.

The one table of transitions is ``NEXT``: whatever is not in it does not happen. Cancelled and
expired are final; who subscribes again gets a new subscription.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing.periods import Period


class Status(StrEnum):
    """Where a subscription stands."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    """An invoice is overdue; what is still served: ``billing.dunning``."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """A trial that nobody paid for."""

    @property
    def ended(self) -> bool:
        """Whether nothing leads out of it."""
        return self in {Status.CANCELLED, Status.EXPIRED}


class Happening(StrEnum):
    """What moves a subscription from one state to another."""

    TRIAL_PAID = "trial_paid"
    TRIAL_ENDED = "trial_ended"
    """Unpaid."""
    OVERDUE = "overdue"
    """An invoice was not paid when it was due."""
    RECOVERED = "recovered"
    """No overdue invoice is left."""
    GIVEN_UP = "given_up"
    """Dunning came to its end."""
    CANCELLED = "cancelled"
    """At the end of the period, or at once by the operator."""


NEXT: Final[Mapping[tuple[Status, Happening], Status]] = {
    (Status.TRIALING, Happening.TRIAL_PAID): Status.ACTIVE,
    (Status.TRIALING, Happening.TRIAL_ENDED): Status.EXPIRED,
    (Status.TRIALING, Happening.CANCELLED): Status.CANCELLED,
    (Status.ACTIVE, Happening.OVERDUE): Status.PAST_DUE,
    (Status.ACTIVE, Happening.CANCELLED): Status.CANCELLED,
    (Status.PAST_DUE, Happening.RECOVERED): Status.ACTIVE,
    (Status.PAST_DUE, Happening.GIVEN_UP): Status.CANCELLED,
    (Status.PAST_DUE, Happening.CANCELLED): Status.CANCELLED,
}


class ImpossibleChange(ValueError):
    """The state has no such way out."""


def after(status: Status, happening: Happening) -> Status:
    """The state that follows. Raises ``ImpossibleChange``."""
    try:
        return NEXT[status, happening]
    except KeyError:
        message = f"a subscription that is {status} cannot become {happening}"
        raise ImpossibleChange(message) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Which plan version a tenant has, and until when. Times are epoch milliseconds."""

    id: str
    tenant_id: str
    version_id: str
    currency: str
    status: Status
    started_at_ms: int
    period: Period
    """The calendar month that was paid in advance; the first one begins at the start."""
    trial_end_ms: int | None = None
    cancel_at_ms: int | None = None
    """It ends then, and is served until then."""
    next_version_id: str | None = None
    """In effect from the next period on."""
    past_due_since_ms: int | None = None
    ended_at_ms: int | None = None
    revision: int = 0
    """Grows with each change; a quote is void when it has grown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of time in which one plan version was in effect.

    A trial's segment names the free version: the plan's features come from the subscription,
    the tokens from here.
    """

    version_id: str
    starts_at_ms: int
    start_position: int
    """Billable tokens of the month that were used before it began."""
    debited_minor: int = 0
    """What was charged for it, from its start to the end of the period; before tax."""


def version_at(subscription: Subscription, at_ms: int, free_id: str) -> str:
    """The plan version whose features a team has at a moment, whether or not the run came by.

    A change at the end of the period, a cancellation and the end of a trial hold from their
    second on; ``free_id`` is the version that follows an end.
    """
    ends = (subscription.cancel_at_ms, subscription.trial_end_ms, subscription.ended_at_ms)
    if any(end is not None and end <= at_ms for end in ends):
        return free_id
    if subscription.next_version_id is not None and subscription.period.end_ms <= at_ms:
        return subscription.next_version_id
    return subscription.version_id


def in_month(
    subscription: Subscription, segments: tuple[Segment, ...], month: Period, free_id: str
) -> tuple[Segment, ...]:
    """The segments of a calendar month, the first one cut to the month's start.

    ``segments``: those that begin in the month, in order, after the last one before it if there
    is one. A month that the run has not begun yet has what it will have then.
    """
    before = [segment for segment in segments if segment.starts_at_ms < month.start_ms][-1:]
    within = [segment for segment in segments if month.start_ms <= segment.starts_at_ms]
    if before and not (within and within[0].starts_at_ms == month.start_ms):
        version_id = before[0].version_id
        if subscription.period.end_ms <= month.start_ms and not subscription.status.ended:
            version_id = _tokens_at(subscription, before[0], month.start_ms, free_id)
        cut = Segment(version_id=version_id, starts_at_ms=month.start_ms, start_position=0)
        return (cut, *within)
    return tuple(within)


def _tokens_at(subscription: Subscription, last: Segment, at_ms: int, free_id: str) -> str:
    if subscription.status is Status.TRIALING:
        return last.version_id
    return version_at(subscription, at_ms, free_id)
