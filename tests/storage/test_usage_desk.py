"""The usage desk: the month's standing with its forecast and price, and budgets."""

from __future__ import annotations

import sqlalchemy as sa

from billing.desk import Budget
from billing.periods import DAY_MS, Period
from core.refusals import Rejected
from storage.admission import ensure_counter
from storage.database import Database, execute
from storage.metering import RecordingMeter
from storage.plan_versions import versions_by_id
from storage.subscription_state import current
from storage.subscriptions import start_trial
from storage.usage_desk import SqlUsage
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.quota_kit import MONTH, NOV, Hands, Team, team
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]

FREE = 100_000


async def test_who_never_used_anything_has_the_free_plan(db: Database) -> None:
    """The first look makes the counter, with the plan's limits; the second changes nothing."""
    ours = await team(db)
    desk = SqlUsage(db, Hands())
    seen = await desk.current(ours.id)
    assert (seen.period, seen.used, seen.forecast) == (MONTH, 0, 0)
    assert (seen.included, seen.hard, seen.currency) == (FREE, FREE, "USD")
    assert await desk.current(ours.id) == seen
    assert await rows(db, "SELECT COUNT(*) FROM quota_counters") == [(1,)]


async def test_the_first_call_of_a_month_makes_its_counter(db: Database) -> None:
    """With the limits of the plan; so does the first one of the next month."""
    ours = await team(db, turns=2)
    assert await ours.admitted(ours.call(1)) == 1_000
    assert await ours.admitted(ours.call(2), at_ms=MONTH.end_ms) == 1_000
    assert await rows(db, "SELECT soft, hard, cap, reserved FROM quota_counters") == [
        (FREE, FREE, None, 2_000),
        (FREE, FREE, None, 2_000),
    ]
    short = await ours.refused(ours.call(1, 2, estimated_input=99_000))
    assert (short.plan, short.room.most) == ("free", FREE)


async def test_limits_are_found_for_a_month_that_was_counted_without(db: Database) -> None:
    """Billing was turned on in mid-month: what was used counts."""
    ours = await team(db, turns=2)
    await RecordingMeter(db, Hands()).reserve(ours.call(1))
    await ours.settle(ours.call(1), FREE - 1_500)
    assert await ours.admitted(ours.call(2)) == 500
    assert await rows(db, "SELECT soft, hard FROM quota_counters") == [(FREE, FREE)]


async def test_the_forecast_goes_on_at_the_pace_so_far(db: Database) -> None:
    """Counted from the subscription's start, and from a whole day at least."""
    ours = await team(db)
    clock = Hands()
    desk = SqlUsage(db, clock)
    await db.transaction(ensure_counter, ours.id, NOV)
    await ours.use(ours.call(), 1_000)
    left = MONTH.end_ms - NOV
    assert (await desk.current(ours.id)).forecast == 1_000 + 1_000 * left // DAY_MS
    clock.at = NOV + 2 * DAY_MS
    left = MONTH.end_ms - clock.at
    assert (await desk.current(ours.id)).forecast == 1_000 + 1_000 * left // (2 * DAY_MS)


async def test_a_trial_counts_the_free_plan_s_tokens(db: Database) -> None:
    """Nothing over them costs anything."""
    ours = await team(db)
    assert not isinstance(await db.transaction(start_trial, ours.id, "pro", 14, NOV), Rejected)
    seen = await SqlUsage(db, Hands()).current(ours.id)
    assert (seen.included, seen.hard, seen.overage_minor) == (FREE, FREE, 0)


async def test_overage_has_its_price(db: Database) -> None:
    """So far and by the forecast, at the plan's price; the forecast ends at the hard limit."""
    ours = await team(db, turns=2)
    await pay(ours, "pro-1", MONTH)
    await ours.use(ours.call(1), 1_100_000)
    await ours.use(ours.call(2, own_key=True), 50_000)
    seen = await SqlUsage(db, Hands()).current(ours.id)
    assert (seen.included, seen.hard) == (1_000_000, 1_500_000)
    assert (seen.used, seen.own_used, seen.percent) == (1_150_000, 50_000, 115)
    assert (seen.overage_minor, seen.overage_forecast_minor) == (80, 400)


async def test_budgets_are_set_and_listed(db: Database) -> None:
    """And history is empty where nothing was used."""
    ours = await team(db)
    desk = SqlUsage(db, Hands())
    wanted = Budget(scope="user", subject="", tokens=5)
    assert await desk.set_budget(ours.id, wanted, user_id="usr_1") == wanted
    assert list(await desk.budgets(ours.id)) == [wanted]
    assert await rows(db, "SELECT updated_at, updated_by FROM budgets") == [(NOV, "usr_1")]
    assert list(await desk.history(ours.id, from_ms=0, to_ms=NOV)) == []


async def pay(ours: Team, version: str, month: Period) -> None:
    """The team has had that plan since the month began."""

    def write(conn: sa.Connection) -> None:
        it = current(conn, ours.id, month.start_ms)
        assert version in versions_by_id(conn)
        for table, key in (("subscriptions", "id"), ("plan_segments", "subscription_id")):
            execute(
                conn, f"UPDATE {table} SET version_id = :v WHERE {key} = :id", v=version, id=it.id
            )
        ensure_counter(conn, ours.id, NOV)

    await ours.db.transaction(write)
