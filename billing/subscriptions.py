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
    """A stretch of time in which one plan version was in effect."""

    version_id: str
    starts_at_ms: int
    start_position: int
    """Billable tokens of the month that were used before it began."""
    debited_minor: int = 0
    """What was charged for it, from its start to the end of the period; before tax."""
