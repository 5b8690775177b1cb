"""The end of a tenant's month: its usage is billed, the next month begins and is paid in advance.

Usage of earlier months that was settled after their invoice is billed with it, at the prices
of its own month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from billing.invoices import (
    SAFETY,
    Draft,
    InvoiceKind,
    Line,
    LineKind,
    Party,
    checked,
    most_in_a_month,
)
from billing.periods import Period, month_of
from billing.plans import PlanVersion
from billing.rating import overage_lines
from billing.subscriptions import Status, Subscription
from storage.billing_accounts import account
from storage.database import execute
from storage.invoices import issue
from storage.outbox import drained
from storage.plan_versions import versions_by_id
from storage.rows import integer
from storage.subscriptions import current, renew, segments

GRACE_MS: Final = 3_600_000
"""After the end of a period: calls that are under way may be settled within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What was done for one tenant."""

    billed: int
    """Invoices."""
    renewed: int
    """Months."""
    waits: bool
    """Usage of the month is still being counted: it is closed later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usage:
    """Tokens of a closed month that no invoice has counted."""

    month: Period
    billed: int
    billable: int


def close_months(conn: sa.Connection, tenant_id: str, at_ms: int, seller: Party) -> Closed:
    """Close every month of the tenant that ended an hour ago or earlier, one after the other.

    Raises ``UnsafeInvoice``; the caller's transaction is then undone.
    """
    billed = renewed = 0
    subscription = current(conn, tenant_id, at_ms, lock="{row}")
    while at_ms >= subscription.period.end_ms + GRACE_MS:
        if not drained(conn, subscription.period.end_ms, tenant_id):
            return Closed(billed=billed, renewed=renewed, waits=True)
        billed += _close(conn, subscription, at_ms, seller)
        renewed += 1
        subscription = current(conn, tenant_id, at_ms, lock="{row}")
    return Closed(billed=billed, renewed=renewed, waits=False)


def _close(conn: sa.Connection, old: Subscription, at_ms: int, seller: Party) -> bool:
    """Bill one month and begin the next; whether there is an invoice."""
    month = month_of(old.period.start_ms)
    versions = versions_by_id(conn)
    unbilled = _unbilled(conn, old.tenant_id, month)
    lines = _usage_lines(conn, old, month, unbilled, versions)
    new = renew(conn, old, at_ms)
    ended = new.id != old.id or new.status.ended
    draft = Draft(
        key=f"final/{old.id}/{month.start_ms}"
        if ended
        else f"cycle/{old.id}/{new.period.start_ms}",
        tenant_id=old.tenant_id,
        subscription_id=old.id,
        kind=InvoiceKind.FINAL if ended else InvoiceKind.CYCLE,
        currency=old.currency,
        period=month if ended else new.period,
        lines=lines if ended else (*_base(new, versions), *lines),
        tax_rate=account(conn, old.tenant_id, at_ms).tax_rate,
    )
    billed = any(line.amount for line in draft.lines)
    if billed:
        plans = [versions[line.version_id] for line in draft.lines]
        most = SAFETY * most_in_a_month(plans, old.currency)
        issue(conn, checked(draft, most_minor=most), at_ms, seller)
    for usage in unbilled:
        _mark_billed(conn, old.tenant_id, usage)
    return billed


def _base(new: Subscription, versions: Mapping[str, PlanVersion]) -> tuple[Line, ...]:
    """The new month in advance; nothing for free plans and trials."""
    base = versions[new.version_id].prices[new.currency].base
    if not base or new.status is Status.TRIALING:
        return ()
    line = Line(
        kind=LineKind.BASE,
        version_id=new.version_id,
        period=new.period,
        quantity=1,
        unit_minor=base,
        amount=base,
    )
    return (line,)


def _usage_lines(
    conn: sa.Connection,
    old: Subscription,
    closed: Period,
    unbilled: Sequence[_Usage],
    versions: Mapping[str, PlanVersion],
) -> tuple[Line, ...]:
    """The overage of the month, and what was settled of earlier months since their invoice."""
    lines: list[Line] = []
    for usage in unbilled:
        lines += overage_lines(
            segments(conn, old.tenant_id, usage.month),
            usage.month,
            usage.billed,
            usage.billable,
            versions,
            currency=old.currency,
            kind=LineKind.OVERAGE if usage.month == closed else LineKind.LATE_USAGE,
        )
    return tuple(lines)


def _unbilled(conn: sa.Connection, tenant_id: str, closed: Period) -> list[_Usage]:
    """Months up to the closed one in which more was used than invoices have counted."""
    rows = execute(
        conn,
        "SELECT period_start, period_end, billed, used - own_used FROM quota_counters"
        " WHERE tenant_id = :tenant AND period_start <= :closed AND billed < used - own_used"
        " ORDER BY period_start",
        tenant=tenant_id,
        closed=closed.start_ms,
    ).all()
    return [
        _Usage(
            month=Period(integer(row[0]), integer(row[1])),
            billed=integer(row[2]),
            billable=integer(row[3]),
        )
        for row in rows
    ]


def _mark_billed(conn: sa.Connection, tenant_id: str, usage: _Usage) -> None:
    """Up to what was read: a call that is settled meanwhile is late usage of the next invoice."""
    execute(
        conn,
        "UPDATE quota_counters SET billed = :billable"
        " WHERE tenant_id = :tenant AND period_start = :month",
        tenant=tenant_id,
        month=usage.month.start_ms,
        billable=usage.billable,
    )
