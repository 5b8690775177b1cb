"""What a change within a paid month costs: to the second, each line rounded once.

The credit is for what was really debited, not for the list price. Both lines end where the
period ends. Source of the rules: Stripe's proration, and a reference calculator in the tests.
"""

from __future__ import annotations

from billing.invoices import Line, LineKind
from billing.money import share
from billing.periods import Period, month_of
from billing.plans import PlanVersion, UnknownCurrency
from billing.subscriptions import Segment, Subscription


def upgrade_lines(
    subscription: Subscription, segment: Segment, wanted: PlanVersion, at_ms: int
) -> tuple[Line, ...]:
    """The lines of a change at a whole second of the subscription's period.

    ``segment`` is the one in effect. What was charged for it covers its own stretch, from its
    start to the end of the period; the new price is that of a whole calendar month. Nothing is
    credited where nothing was debited, as on a free plan or in a trial. Raises ``ValueError``
    when the moment is outside the period or the plan has no price in the currency.
    """
    period = subscription.period
    if at_ms not in period:
        message = f"{at_ms} is not in the period {period}"
        raise ValueError(message)
    price = wanted.prices.get(subscription.currency)
    if price is None:
        raise UnknownCurrency(wanted, subscription.currency)
    rest = Period(max(at_ms, segment.starts_at_ms), period.end_ms)
    charge = Line(
        kind=LineKind.PRORATION_CHARGE,
        version_id=wanted.id,
        period=rest,
        quantity=rest.seconds,
        unit_minor=price.base,
        amount=share(price.base, rest.seconds, month_of(rest.start_ms).seconds),
    )
    if not segment.debited_minor:
        return (charge,)
    covered = Period(segment.starts_at_ms, period.end_ms)
    credit = Line(
        kind=LineKind.PRORATION_CREDIT,
        version_id=segment.version_id,
        period=rest,
        quantity=rest.seconds,
        unit_minor=segment.debited_minor,
        amount=-share(segment.debited_minor, rest.seconds, covered.seconds),
    )
    return (credit, charge)


def debited(lines: tuple[Line, ...]) -> int:
    """What an upgrade charged for its new plan, before tax: what a later one may credit."""
    return sum(line.amount for line in lines if line.kind is LineKind.PRORATION_CHARGE)
