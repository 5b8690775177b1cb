"""Which subscription a tenant has, what it allows at a moment, and what is served.

Every tenant has one live subscription; the free one is made when it is first needed. What
changes a subscription is in ``storage.subscriptions``.
"""

from __future__ import annotations

import sqlalchemy as sa

from billing.dunning import Service, service_at
from billing.periods import Period, month_of, whole_second
from billing.plans import PlanVersion
from billing.quota import Limits
from billing.rating import allowance
from billing.subscriptions import Segment, Status, Subscription, in_month, version_at
from core.ids import new_id
from storage import billing_accounts, plan_versions, subscription_rows
from storage.database import execute
from storage.rows import integer
from storage.subscription_rows import live


def current(conn: sa.Connection, tenant_id: str, at_ms: int, *, lock: str = "") -> Subscription:
    """The tenant's live subscription; without one the free one, and the account, are made.

    With ``lock="{row}"`` its row is locked. Between the end of its period and the run it is as
    the run will find it: ask ``plan_limits`` and ``limits_for`` what holds at a moment.
    """
    found = live(conn, tenant_id, lock=lock)
    if found is None:
        begin_free(conn, tenant_id, at_ms)
        found = live(conn, tenant_id, lock=lock)
    if found is None:
        message = "a subscription that was just made is gone"
        raise LookupError(message)
    return found


def begin_free(conn: sa.Connection, tenant_id: str, at_ms: int, *, position: int = 0) -> None:
    """Subscribe the tenant to the free plan, unless it has a live subscription.

    ``position``: the billable tokens of the month that were used before.
    """
    currency = billing_accounts.account(conn, tenant_id, at_ms).currency
    plan_versions.seed(conn)
    free = plan_versions.free_version(plan_versions.versions_by_id(conn), at_ms)
    start = whole_second(at_ms)
    begin(conn, tenant_id, free, currency, Period(start, month_of(start).end_ms), position)


def begin(  # what a subscription begins with
    conn: sa.Connection,
    tenant_id: str,
    version: PlanVersion,
    currency: str,
    period: Period,
    position: int,
    *,
    trial_end_ms: int | None = None,
    tokens_of: PlanVersion | None = None,
) -> Subscription | None:
    """Store a new subscription with its first segment; None: there is a live one.

    ``tokens_of``: a trial has another plan's tokens.
    """
    made = Subscription(
        id=new_id("sub"),
        tenant_id=tenant_id,
        version_id=version.id,
        currency=currency,
        status=Status.ACTIVE if trial_end_ms is None else Status.TRIALING,
        started_at_ms=period.start_ms,
        period=period,
        trial_end_ms=trial_end_ms,
    )
    if not subscription_rows.insert(conn, made):
        return None
    first = Segment(
        version_id=(tokens_of or version).id,
        starts_at_ms=period.start_ms,
        start_position=position,
    )
    subscription_rows.add_segment(conn, made, first)
    return made


def segments(conn: sa.Connection, tenant_id: str, month: Period) -> tuple[Segment, ...]:
    """Which plans were in effect in a calendar month, over all the tenant's subscriptions.

    In order, the first one cut to the month's start; also of a month that the run has not begun.
    A month before the first subscription (usage was counted while billing was off, a clock went
    back) is one of the free plan.
    """
    subscription = live(conn, tenant_id)
    if subscription is None:
        return ()
    versions = plan_versions.versions_by_id(conn)
    free = plan_versions.free_version(versions, month.start_ms)
    rows = subscription_rows.segments_until(conn, tenant_id, month)
    found = in_month(subscription, rows, month, free.id)
    return found or (Segment(version_id=free.id, starts_at_ms=month.start_ms, start_position=0),)


def limits_for(conn: sa.Connection, tenant_id: str, period: Period, at_ms: int) -> Limits:
    """What a calendar month includes and where it ends, by the plans in effect in it.

    A month before the first subscription is one of the free plan.
    """
    current(conn, tenant_id, at_ms)
    versions = plan_versions.versions_by_id(conn)
    if in_debt(conn, tenant_id):  # what was not paid for includes nothing
        free = plan_versions.free_version(versions, at_ms)
        found = (Segment(version_id=free.id, starts_at_ms=period.start_ms, start_position=0),)
        return allowance(found, period, versions)
    return allowance(segments(conn, tenant_id, period), period, versions)


def in_debt(conn: sa.Connection, tenant_id: str) -> bool:
    """Whether something is still owed of an invoice that was written off.

    Until it is paid the team has the free plan alone, and no other one is sold to it.
    """
    row = execute(
        conn,
        "SELECT 1 FROM invoices WHERE tenant_id = :tenant AND status = 'uncollectible'"
        " AND total - from_balance - paid - credited > 0 LIMIT 1",
        tenant=tenant_id,
    ).first()
    return row is not None


def plan_limits(conn: sa.Connection, tenant_id: str, at_ms: int) -> PlanVersion:
    """The plan whose servers, users and standing orders a tenant may have at the moment.

    Writes nothing: a tenant without a subscription has the free plan.
    """
    subscription = live(conn, tenant_id)
    versions = plan_versions.versions_by_id(conn)
    free = plan_versions.free_version(versions, at_ms)
    if subscription is None:
        return free
    return versions[version_at(subscription, at_ms, free.id)]


def overdue_since(conn: sa.Connection, tenant_id: str, at_ms: int) -> int | None:
    """When the oldest invoice that is overdue was due; None: nothing is.

    An upgrade that nobody paid lapses and is owed by nobody. One in review waits for a person of
    ours, and nobody is served less for that.
    """
    row = execute(
        conn,
        "SELECT MIN(due_at) FROM invoices WHERE tenant_id = :tenant AND status = 'open'"
        " AND kind <> 'upgrade' AND needs_review = 0 AND due_at <= :at",
        tenant=tenant_id,
        at=at_ms,
    ).one()
    return None if row[0] is None else integer(row[0])


def service_of(conn: sa.Connection, tenant_id: str, at_ms: int) -> Service:
    """What is served at the moment. Writes nothing."""
    return service_at(overdue_since(conn, tenant_id, at_ms), at_ms)
