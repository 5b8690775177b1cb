"""What the tests of the billing run share: teams with plans and usage, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from billing.invoices import Invoice
from billing.periods import Period, month_of
from storage.billing_accounts import account
from storage.billing_run import BillingRun, RunReport
from storage.database import Database, execute
from storage.invoice_rows import COLUMNS, with_lines
from storage.plan_versions import seed, versions_by_id
from storage.quota import set_limits
from storage.subscription_state import begin, limits_for
from storage.subscriptions import current
from tests.storage.invoice_kit import SELLER
from tests.storage.payment_kit import Hands

HOUR_MS = 3_600_000


def ms(month: int, day: int = 1, hour: int = 0, year: int = 2026) -> int:
    """A time of that day, UTC."""
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1000


NOVEMBER = month_of(ms(11))
DECEMBER = month_of(ms(12))
JANUARY = month_of(ms(1, year=2027))
FIRST_TICK = ms(12, 1, 1)
"""An hour after the end of November: the first run that closes it."""


def subscribe(conn: sa.Connection, tenant_id: str, version_id: str, at_ms: int) -> None:
    """The tenant's first subscription."""
    account(conn, tenant_id, at_ms)
    seed(conn)
    period = Period(at_ms, month_of(at_ms).end_ms)
    assert begin(conn, tenant_id, versions_by_id(conn)[version_id], "USD", period, 0)


def use(conn: sa.Connection, tenant_id: str, tokens: int, month: Period, own: int = 0) -> None:
    """Settled tokens of a month, some of them on the tenant's own account."""
    current(conn, tenant_id, month.start_ms)
    set_limits(conn, tenant_id, month, limits_for(conn, tenant_id, month, month.start_ms))
    execute(
        conn,
        "UPDATE quota_counters SET used = used + :tokens, own_used = own_used + :own"
        " WHERE tenant_id = :tenant AND period_start = :start",
        tokens=tokens + own,
        own=own,
        tenant=tenant_id,
        start=month.start_ms,
    )


def invoices_of(conn: sa.Connection, tenant_id: str) -> tuple[Invoice, ...]:
    """A team's invoices, in the order of their numbers."""
    sql = f"SELECT {COLUMNS} FROM invoices WHERE tenant_id = :tenant ORDER BY number"
    return with_lines(conn, execute(conn, sql, tenant=tenant_id).all())


@dataclass(frozen=True, slots=True)
class Firm:
    """An installation that bills teams."""

    db: Database

    async def team(
        self, name: str, plan: str = "pro-1", at_ms: int = NOVEMBER.start_ms, used: int = 0
    ) -> str:
        """A team on a plan that used so many tokens in the month of its start."""
        await self.db.transaction(subscribe, name, plan, at_ms)
        if used:
            await self.use(name, used, month_of(at_ms))
        return name

    async def use(self, name: str, tokens: int, month: Period = NOVEMBER, own: int = 0) -> None:
        """Tokens are settled."""
        await self.db.transaction(use, name, tokens, month, own)

    async def run(self, at_ms: int) -> RunReport:
        """Bill everything that is due then."""
        return await BillingRun(self.db, Hands(), SELLER).run(at_ms)

    async def invoices(self, name: str) -> tuple[Invoice, ...]:
        """What the team was billed."""
        return await self.db.read(invoices_of, name)
