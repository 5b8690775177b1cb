"""What follows when an invoice is not paid: reminders, less service, and in the end none.

The days count from the day on which the invoice was due. What is served follows from the
oldest overdue invoice and the time alone, whether or not the hourly run came by.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing.periods import DAY_MS

REMINDER_DAYS: Final = (2, 7, 14, 21)
"""After the due date; on the last one the invoice is written off and the subscription ends."""
LAST_STEP: Final = len(REMINDER_DAYS)

READ_ONLY_DAY: Final = 7
OFF_DAY: Final = 14


class Service(StrEnum):
    """What a team gets."""

    FULL = "full"
    NO_OVERAGE = "no_overage"
    """Everything, but the hard limit is what the plan includes."""
    READ_ONLY = "read_only"
    """The runbook and what is written already; no model call."""
    OFF = "off"


def service_at(overdue_since_ms: int | None, at_ms: int) -> Service:
    """What is served while the oldest open invoice has been overdue since then; None: nothing is.

    Days 0 to 7 without overage, 7 to 14 read-only, then off.
    """
    if overdue_since_ms is None or at_ms < overdue_since_ms:
        return Service.FULL
    days = (at_ms - overdue_since_ms) // DAY_MS
    if days < READ_ONLY_DAY:
        return Service.NO_OVERAGE
    return Service.READ_ONLY if days < OFF_DAY else Service.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where an invoice stands in the schedule."""

    number: int
    """0 from the due date on, then one for each of ``REMINDER_DAYS``."""
    next_at_ms: int | None
    """When the next one is due; None after the last."""

    @property
    def last(self) -> bool:
        """Whether the invoice is given up."""
        return self.number == LAST_STEP


def step_at(due_at_ms: int, done: int, at_ms: int) -> Step:
    """The step that is due for an invoice whose step ``done`` was the last one taken.

    After an outage the reminders that were missed are not sent all at once: the latest one
    stands for them. The last step never comes without a reminder at least a day before it.
    """
    reached = sum(due_at_ms + days * DAY_MS <= at_ms for days in REMINDER_DAYS)
    if reached < LAST_STEP:
        due_next = due_at_ms + REMINDER_DAYS[reached] * DAY_MS
        if reached == LAST_STEP - 1:
            due_next = max(due_next, at_ms + DAY_MS)
        return Step(number=reached, next_at_ms=due_next)
    if done < LAST_STEP - 1:
        return Step(number=LAST_STEP - 1, next_at_ms=at_ms + DAY_MS)
    return Step(number=LAST_STEP, next_at_ms=None)
