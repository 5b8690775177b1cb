"""How many tokens a tenant may use in a month, and what is said when they are gone.

Pure rules: what a model call is granted, which notices are due, what a refusal says. The
counters themselves are ``storage.quota``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from billing.periods import Period, moment
from core.metering import CallRequest, QuotaRefusal, RefusalCode, Usage
from core.words import Sentence, sentence

MIN_OUTPUT: Final = 256
"""Tokens: an answer that would be cut shorter than this is not begun."""
LEASE_MS: Final = 120_000
"""How long a call may hold its estimate without a sign of life from its worker."""
RENEW_MS: Final = 80_000
"""A beat extends leases with less than this left: each about every 40 s."""
THRESHOLDS: Final = (80, 100)
"""Per cent of what is included at which the admins are told."""
EXPECTED_OUTPUT: Final = 1_000
"""Tokens of a usual answer: what a forecast assumes, whatever the call may take at most."""
FORECAST_TOKENS: Final = 30_000
FORECAST_PERCENT: Final = 4
"""A turn that is likely to take this much says so before it begins."""
MOST_PER_CALL: Final = 1_000_000_000
"""Tokens. More than any model can read or write: a provider's nonsense, never billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Tokens of one calendar month, already weighted where the plan changed in it."""

    soft: int
    """What is included."""
    hard: int | None
    """What is refused beyond; None where only ``cap`` holds."""
    cap: int | None = None
    """The operator's safety cap where there is no hard limit: reaching it raises an alarm."""

    @property
    def most(self) -> int | None:
        """What is refused beyond, whichever it is."""
        return self.hard if self.hard is not None else self.cap

    def most_with(self, *, overage: bool) -> int | None:
        """The same; without overage nothing beyond what is included."""
        if overage:
            return self.most
        return self.soft if self.most is None else min(self.soft, self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A tenant's counter of one calendar month, in tokens."""

    tenant_id: str
    period: Period
    used: int
    """Settled calls, on whichever account."""
    reserved: int
    """Held for calls that are open."""
    own_used: int
    """The part of ``used`` on the tenant's own account with the provider: never billed."""
    limits: Limits
    told: int = 0
    """The highest of ``THRESHOLDS`` that was told."""

    @property
    def taken(self) -> int:
        """Used or held."""
        return self.used + self.reserved

    @property
    def billable(self) -> int:
        """What was used on the installation's account."""
        return self.used - self.own_used


MONTH: Final = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What one limit still allows."""

    scope: str
    """``MONTH``, or the scope of a budget."""
    most: int
    taken: int
    """Used or held."""

    @property
    def left(self) -> int:
        """Tokens; negative where a limit was lowered, or a late settlement passed it."""
        return self.most - self.taken


def output_within(estimated_input: int, max_output: int, rooms: Sequence[Room]) -> int | Room:
    """The output a call is granted: as asked, or what is left (once, at least ``MIN_OUTPUT``).

    Else the room that is too small for it.
    """
    if not rooms:
        return max_output
    tightest = min(rooms, key=lambda room: room.left)
    left = tightest.left - estimated_input
    if left >= max_output:
        return max_output
    return left if left >= MIN_OUTPUT else tightest


def threshold(standing: Standing) -> int | None:
    """The per cent that is due to be told, if one is; only the highest that was reached."""
    due = (
        percent
        for percent in THRESHOLDS
        if percent > standing.told and standing.used * 100 >= standing.limits.soft * percent
    )
    return max(due, default=None) if standing.limits.soft else None


def reached_cap(standing: Standing, added: int) -> bool:
    """Whether these tokens, just added, took the month to the operator's safety cap."""
    if standing.limits.hard is not None or standing.limits.cap is None:
        return False
    return standing.used - added < standing.limits.cap <= standing.used


def possible(usage: Usage) -> bool:
    """Whether somebody can have used that in one call."""
    buckets = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
    )
    return min(buckets) >= 0 and usage.total <= MOST_PER_CALL


def pace(used: int, since_ms: int, period: Period, at_ms: int) -> int:
    """What the month comes to when it goes on as it did since ``since_ms``; at least a day."""
    since = max(since_ms, period.start_ms)
    elapsed = max(at_ms - since, 86_400_000)
    return used + used * max(period.end_ms - at_ms, 0) // elapsed


def forecast(call: CallRequest, soft: int) -> str:
    """What the turn is likely to take, as a sentence; empty for one that is not expensive.

    Known before the first call of the first attempt alone: what is asked, and a usual answer.
    """
    if not call.id.endswith(".1.1"):
        return ""
    tokens = call.estimated_input + min(call.max_output, EXPECTED_OUTPUT)
    if tokens < FORECAST_TOKENS and (not soft or tokens * 100 < soft * FORECAST_PERCENT):
        return ""
    thousands = max((tokens + 500) // 1000, 1)
    if not soft:
        return sentence("This turn is likely to take about {tokens}k tokens.", tokens=thousands)
    return sentence(
        "This turn is likely to take about {tokens}k tokens, {percent} % of your month.",
        tokens=thousands,
        percent=(tokens * 100 + soft // 2) // soft or "< 1",
    )


# -- refusals --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """A call that does not fit, and why. Nothing of it is stored."""

    room: Room
    standing: Standing
    plan: str
    """Its name; empty where it is not known."""


def refusal(call: CallRequest, short: Short, *, overage: bool) -> QuotaRefusal:
    """What is said of a call that does not fit."""
    if short.room.scope != MONTH:
        return _over_budget(short)
    end = short.standing.period.end_ms
    values: dict[str, object] = {
        "taken": short.room.taken,
        "most": short.room.most,
        "needed": call.estimated_input + MIN_OUTPUT,
        "plan": short.plan.capitalize(),
        "end": _day(end),
    }
    return QuotaRefusal(
        sentence=_month_sentence(short.standing.limits, values, overage=overage), retry_at_ms=end
    )


def _month_sentence(limits: Limits, values: dict[str, object], *, overage: bool) -> Sentence:
    if not overage and limits.most_with(overage=False) != limits.most:
        return sentence(
            "An invoice of your team is overdue, so it gets only the {most:,} tokens a month that "
            "its {plan} plan includes; {taken:,} are used. An admin can pay: `/invoices` lists "
            "what is due. Otherwise the count begins anew on {end} (UTC).",
            **values,
        )
    if limits.hard is None:
        return sentence(
            "Your team has used {taken:,} tokens this month and reached the operator's safety "
            "limit of {most:,} on its {plan} plan. The operator can raise it. The count begins "
            "anew on {end} (UTC). `/upgrade` shows the plans; only admins can change them.",
            **values,
        )
    return sentence(
        "Your team has used {taken:,} of the {most:,} tokens a month that its {plan} plan allows, "
        "and this needs about {needed:,} more. The count begins anew on {end} (UTC). An admin of "
        "your team can get more at once with `/upgrade`; only admins can.",
        **values,
    )


_WHOSE: Final = {
    "user": sentence("you"),
    "conversation": sentence("this conversation"),
    "order": sentence("this standing order"),
}


def _over_budget(short: Short) -> QuotaRefusal:
    room, end = short.room, short.standing.period.end_ms
    if room.scope == "turn":
        told = sentence(
            "One message may take {most:,} tokens in your team; this one has {taken:,} used or "
            "set aside and needs more. Ask for less at once, or ask an admin to raise that budget.",
            most=room.most,
            taken=room.taken,
        )
        return QuotaRefusal(sentence=told, code=RefusalCode.BUDGET)
    told = sentence(
        "The budget of {most:,} tokens a month for {whose} does not allow it: {taken:,} are used "
        "or set aside. It begins anew on {end} (UTC). An admin of your team can raise it.",
        most=room.most,
        whose=_WHOSE[room.scope],
        taken=room.taken,
        end=_day(end),
    )
    return QuotaRefusal(sentence=told, retry_at_ms=end, code=RefusalCode.BUDGET)


def suspended(*, offline: bool = True) -> QuotaRefusal:
    """What is said while an invoice has been overdue for long; at last without ``offline``."""
    return QuotaRefusal(
        sentence=sentence(
            "An invoice of your team has been overdue for a while, so I ask no model until it is "
            "paid. An admin can pay it: `/invoices` lists what is due."
        ),
        code=RefusalCode.SERVICE,
        offline=offline,
    )


def _day(at_ms: int) -> str:
    return moment(at_ms).date().isoformat()
