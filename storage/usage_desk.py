"""What was used, for whoever asks: the month's counter with its forecast, history, budgets."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing.desk import Budget, QuotaStanding, UsageRow
from billing.periods import month_of
from billing.quota import Standing, pace
from billing.rating import overage_lines
from core.clock import Clock
from core.refusals import Rejected
from storage import budgets, quota
from storage.admission import ensure_counter
from storage.database import Database
from storage.plan_versions import versions_by_id
from storage.subscription_rows import live
from storage.subscriptions import segments
from storage.usage import day_usage


class SqlUsage:
    """Implements ``billing.desk.UsageDesk``."""

    def __init__(self, db: Database, clock: Clock) -> None:
        """Wire the database and the time."""
        self._db = db
        self._clock = clock

    async def current(self, tenant_id: str) -> QuotaStanding:
        """See the port. Who asks before the month's first call makes its counter."""
        at_ms = self._clock.now_ms()
        found = await self._db.read(_current, tenant_id, at_ms)
        if found is None:
            await self._db.transaction(ensure_counter, tenant_id, at_ms)
            found = await self._db.transaction(_current, tenant_id, at_ms)
        if found is None:
            message = "a counter that was just made is gone"
            raise LookupError(message)
        return found

    async def history(self, tenant_id: str, *, from_ms: int, to_ms: int) -> Sequence[UsageRow]:
        """See the port."""
        return await self._db.read(day_usage, tenant_id, from_ms, to_ms)

    async def budgets(self, tenant_id: str) -> Sequence[Budget]:
        """See the port."""
        return await self._db.read(budgets.budgets_of, tenant_id)

    async def set_budget(
        self, tenant_id: str, budget: Budget, *, user_id: str
    ) -> Budget | Rejected:
        """See the port."""
        at_ms = self._clock.now_ms()
        return await self._db.transaction(budgets.set_budget, tenant_id, budget, user_id, at_ms)


def _current(conn: sa.Connection, tenant_id: str, at_ms: int) -> QuotaStanding | None:
    """None before the month has a counter with its limits, and its tenant a subscription."""
    standing = quota.standing(conn, tenant_id, at_ms)
    subscription = live(conn, tenant_id)
    if standing is None or standing.limits.most is None or subscription is None:
        return None
    month = month_of(at_ms)
    plans = segments(conn, tenant_id, month)
    since = plans[0].starts_at_ms if plans else month.start_ms
    versions = versions_by_id(conn)

    def overage(billable: int) -> int:
        lines = overage_lines(plans, month, 0, billable, versions, currency=subscription.currency)
        return sum(line.amount for line in lines)

    return QuotaStanding(
        period=month,
        used=standing.used,
        reserved=standing.reserved,
        own_used=standing.own_used,
        included=standing.limits.soft,
        hard=standing.limits.hard,
        forecast=pace(standing.used, since, month, at_ms),
        overage_minor=overage(standing.billable),
        overage_forecast_minor=overage(_billable_forecast(standing, since, at_ms)),
        currency=subscription.currency,
    )


def _billable_forecast(standing: Standing, since_ms: int, at_ms: int) -> int:
    """At the same pace; what would be refused is not billed."""
    billable = pace(standing.billable, since_ms, standing.period, at_ms)
    most = standing.limits.most
    return billable if most is None else max(standing.billable, min(billable, most))
