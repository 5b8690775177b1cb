"""Billing was off for a while: nothing of that time is billed, and what was noted takes effect."""

from __future__ import annotations

import pytest

from billing.invoices import LineKind
from billing.periods import DAY_MS, month_of
from billing.subscriptions import Status
from storage.billing_run import BillingRun
from storage.database import Database
from storage.plan_limits import switch
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.plan_kit import DECEMBER, NOVEMBER, SELLER, Shop, shop
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]
BACK = NOVEMBER.end_ms + 71 * DAY_MS
"""In February."""


async def pause(team: Shop) -> None:
    """Billing is off until ``BACK``."""
    await team.db.transaction(lambda conn: switch(conn, on=False))
    team.clock.at = BACK
    await team.db.transaction(lambda conn: switch(conn, on=True, at_ms=BACK))


async def test_the_time_that_was_off_is_not_billed(db: Database) -> None:
    """Neither its months nor its usage; the month that was not paid for has no credit."""
    team = await shop(db)
    await team.buy("pro")
    await team.use(3_000_000, NOVEMBER)
    await team.use(3_000_000, DECEMBER)
    await pause(team)
    it = await team.now()
    assert (it.version_id, it.period) == ("pro-1", month_of(BACK))
    report = await BillingRun(db, team.clock, SELLER).run()
    assert (report.billed, report.renewed, report.failed) == (0, 0, 0)
    assert await rows(db, "SELECT COUNT(*) FROM invoices") == [(1,)]
    lines = (await team.quote("enterprise")).lines
    assert [line.kind for line in lines] == [LineKind.PRORATION_CHARGE]
    assert (await team.limits(month_of(BACK))).soft == 1_000_000
    team.clock.at = it.period.end_ms + 2 * 3_600_000
    assert (await BillingRun(db, team.clock, SELLER).run()).billed == 1
    assert await rows(db, "SELECT total FROM invoices ORDER BY number") == [(4999,), (4999,)]


async def test_a_downgrade_that_was_noted_took_effect(db: Database) -> None:
    """At the end of its month, with that plan's limits."""
    team = await shop(db)
    await team.buy("enterprise")
    await team.confirm(await team.quote("pro"))
    await pause(team)
    it = await team.now()
    assert (it.version_id, it.next_version_id) == ("pro-1", None)
    assert (await team.segments(DECEMBER))[0].version_id == "pro-1"


async def test_a_cancellation_that_was_noted_took_effect(db: Database) -> None:
    """The old subscription ended with its month and the free plan followed."""
    team = await shop(db)
    await team.buy("pro")
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    await pause(team)
    it = await team.now()
    assert (it.version_id, it.period, it.cancel_at_ms) == ("free-1", month_of(BACK), None)
    ended = "SELECT status, ended_at FROM subscriptions WHERE ended_at IS NOT NULL"
    assert await rows(db, ended) == [("cancelled", NOVEMBER.end_ms)]


@pytest.mark.parametrize(("days", "status"), [(14, "expired"), (50, "expired")])
async def test_a_trial_ended_meanwhile(db: Database, days: int, status: str) -> None:
    """On its second, in its first month or a later one; the free plan followed, unasked."""
    team = await shop(db)
    await team.plans.trial(team.tenant, "pro", days)
    await pause(team)
    it = await team.now()
    assert (it.version_id, it.status, it.period) == ("free-1", Status.ACTIVE, month_of(BACK))
    ended = "SELECT ended_at FROM subscriptions WHERE status = :status"
    assert await rows(db, ended, status=status) == [(NOVEMBER.start_ms + days * DAY_MS,)]


@pytest.mark.parametrize("before", [None, True])
async def test_a_start_that_switches_nothing_forgives_nothing(
    db: Database, before: bool | None
) -> None:
    """The first start, and one with billing on as before."""
    team = await shop(db)
    await team.buy("pro")
    await team.use(3_000_000)
    if before is not None:
        await db.transaction(lambda conn: switch(conn, on=before))
    await db.transaction(lambda conn: switch(conn, on=True, at_ms=BACK))
    assert (await team.now()).period == NOVEMBER
    assert await rows(db, "SELECT billed FROM quota_counters") == [(0,)]
