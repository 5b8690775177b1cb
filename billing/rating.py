"""What a calendar month includes and what goes over it, also where the plan changed within it.

The allowance is weighted by time, each stretch rounded down to whole tokens. The overage is the
last tokens of the month, each at the price of the plan under which it was used: a larger plan
bought late forgives nothing, and used tokens carry over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from billing.invoices import MILLION, Line, LineKind
from billing.money import share
from billing.periods import SECOND_MS, Period
from billing.plans import PlanName, PlanVersion
from billing.quota import Limits
from billing.subscriptions import Segment

Stretch = tuple[PlanVersion, int]
"""A plan version and how many seconds of the month it was in effect."""


def allowance(
    segments: Sequence[Segment], month: Period, versions: Mapping[str, PlanVersion]
) -> Limits:
    """What is included in the month and what is refused beyond; the last segment runs to its end.

    The free plan is not prorated up front: where it opens the month it counts from the month's
    first second, so that a team which buys more never has less. Without a limit in the end the
    cap holds; a stretch without one before a smaller plan adds what it included. Raises
    ``ValueError`` without a segment.
    """
    stretches = tuple(_stretches(segments, month, versions))
    if not stretches:
        message = "a month without a plan has no limits"
        raise ValueError(message)
    whole = month.seconds
    soft = sum(version.included_tokens * seconds // whole for version, seconds in stretches)
    last = stretches[-1][0]
    if last.hard_percent is not None:
        hard = sum(_part(version, version.hard_percent, s, whole) for version, s in stretches)
        return Limits(soft=soft, hard=max(soft, hard))
    if last.cap_percent is None:
        return Limits(soft=soft, hard=None)
    cap = sum(
        _part(version, version.hard_percent or version.cap_percent, s, whole)
        for version, s in stretches
    )
    return Limits(soft=soft, hard=None, cap=max(soft, cap))


def overage_lines(
    segments: Sequence[Segment],
    month: Period,
    billed: int,
    billable: int,
    versions: Mapping[str, PlanVersion],
    *,
    currency: str,
    kind: LineKind = LineKind.OVERAGE,
) -> tuple[Line, ...]:
    """The tokens ``[max(allowance, billed), billable)`` of a month, a line for each plan.

    ``billed``: up to where earlier invoices counted; ``billable``: the total of the month on
    the installation's account. What costs nothing, as on the free plan, has no line.
    """
    first = max(allowance(segments, month, versions).soft, billed)
    lines = []
    for version, start, end in _priced(segments, first, billable, versions):
        price = version.prices[currency].overage
        if not price:
            continue
        lines.append(
            Line(
                kind=kind,
                version_id=version.id,
                period=month,
                quantity=end - start,
                unit_minor=price,
                amount=share(price, end - start, MILLION),
                from_position=start,
            )
        )
    return tuple(lines)


def _part(version: PlanVersion, percent: int | None, seconds: int, whole: int) -> int:
    return version.included_tokens * (percent or 100) * seconds // (100 * whole)


def _stretches(
    segments: Sequence[Segment], month: Period, versions: Mapping[str, PlanVersion]
) -> Iterator[Stretch]:
    """How long each plan was in effect; neighbours of one version are one stretch."""
    starts = [max(segment.starts_at_ms, month.start_ms) for segment in segments]
    if segments and versions[segments[0].version_id].plan is PlanName.FREE:
        starts[0] = month.start_ms
    bounds = [*starts, month.end_ms]
    open_: Stretch | None = None
    for segment, (start, end) in zip(segments, pairwise(bounds), strict=True):
        version, seconds = versions[segment.version_id], max(0, end - start) // SECOND_MS
        if open_ is not None and open_[0].id == version.id:
            seconds += open_[1]
        elif open_ is not None:
            yield open_
        open_ = version, seconds
    if open_ is not None:
        yield open_


def _priced(
    segments: Sequence[Segment], first: int, last: int, versions: Mapping[str, PlanVersion]
) -> Iterator[tuple[PlanVersion, int, int]]:
    """The tokens ``[first, last)`` by the plan under which they were used, neighbours joined."""
    positions = [0, *(segment.start_position for segment in segments[1:]), max(first, last)]
    open_: tuple[PlanVersion, int, int] | None = None
    for segment, (start, end) in zip(segments, pairwise(positions), strict=True):
        start, end = max(start, first), min(end, last)  # noqa: PLW2901  # cut to what is billed
        if start >= end:
            continue
        version = versions[segment.version_id]
        if open_ is not None and open_[0].id == version.id:
            start = open_[1]  # noqa: PLW2901  # the joined stretch
        elif open_ is not None:
            yield open_
        open_ = version, start, end
    if open_ is not None:
        yield open_
