"""Subscriptions: made when needed, renewed, ended, paid; never a state that goes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from billing.desk import Changed
from billing.dunning import Service
from billing.invoices import InvoiceKind, InvoiceStatus
from billing.periods import DAY_MS, Period
from billing.quota import Limits
from billing.subscriptions import Happening, ImpossibleChange, Status
from core.refusals import Rejected
from storage.database import Database
from storage.postgres import PostgresDatabase
from storage.subscriptions import apply_paid, current, happened, plan_limits, renew, service_of
from tests.storage.payment_places import db, migrated_file, migrated_url, pg, place
from tests.storage.plan_kit import DECEMBER, HOUR, NOVEMBER, START, Shop, shop
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "pg", "place"]
PRO = 1_000_000
FREE = 100_000


async def plan_of(team: Shop) -> str:
    """Whose features the team has now."""
    return (await team.db.read(plan_limits, team.tenant, team.clock.at)).id


async def test_the_free_subscription_is_made_when_it_is_first_needed(db: Database) -> None:
    """With its account; on a whole second, to the end of the month; whole in a short month."""
    team = await shop(db)
    team.day(20)
    team.clock.at += 999
    it = await team.now()
    assert (it.version_id, it.status, it.currency) == ("free-1", Status.ACTIVE, "USD")
    assert it.period == Period(team.clock.at - 999, NOVEMBER.end_ms)
    assert await team.now() == it
    assert await team.limits() == Limits(soft=FREE, hard=FREE)
    assert await rows(db, "SELECT COUNT(*) FROM plan_segments") == [(1,)]


async def test_reading_what_holds_makes_nothing(db: Database) -> None:
    """Features and service of a team that has no subscription yet."""
    team = await shop(db)
    assert await plan_of(team) == "free-1"
    assert await db.read(service_of, team.tenant, START) is Service.FULL
    assert await rows(db, "SELECT COUNT(*) FROM subscriptions") == [(0,)]


@pytest.mark.postgres
async def test_many_that_need_it_at_once_make_one(pg: PostgresDatabase) -> None:
    """Each gets the same one."""
    team = await shop(pg)
    made = await asyncio.gather(
        *(pg.transaction(current, team.tenant, START, lock="{row}") for _ in range(8))
    )
    assert len({it.id for it in made}) == 1
    assert await rows(pg, "SELECT COUNT(*) FROM plan_segments") == [(1,)]


async def test_a_paid_upgrade_begins_when_it_is_paid(db: Database) -> None:
    """Its segment and limits from then on; the event is published once."""
    team = await shop(db)
    await team.use(1_000)
    invoice = await team.order("pro")
    assert await plan_of(team) == "free-1"
    team.clock.at += 5 * HOUR
    await team.pay(invoice)
    assert await plan_of(team) == "pro-1"
    old, new = await team.segments()
    assert (old.version_id, new.version_id) == ("free-1", "pro-1")
    assert (new.starts_at_ms, new.start_position, new.debited_minor) == (
        team.clock.at,
        1_000,
        4999,
    )
    hours = 30 * 24
    soft = FREE * 5 // hours + PRO * (hours - 5) // hours
    assert (await team.limits()).soft == soft
    stored = await rows(db, "SELECT soft, hard FROM quota_counters")
    assert stored == [(soft, (await team.limits()).hard)]
    assert len(await team.events("subscription.changed")) == 1


async def test_an_upgrade_that_came_too_late_is_credited(db: Database) -> None:
    """Its plan was ended meanwhile: the money is on the balance, and the operator is told."""
    team = await shop(db)
    await team.buy("pro")
    invoice = await team.order("enterprise")
    await team.write(
        'UPDATE quotes SET lines = REPLACE(lines, \'"segment": "\', \'"segment": "9\')'
    )
    before = await team.now()
    assert await team.pay(invoice) == "invoice"
    assert await team.now() == before
    assert await team.credit() == invoice.total
    assert (await team.invoice(invoice)).credited == invoice.total
    assert "upgrade_not_applied" in str((await team.events("billing.alarm"))[0])


async def test_a_payment_never_revives_what_has_ended(db: Database) -> None:
    """The upgrade of a subscription that was cancelled at once is void; its money is kept."""
    team = await shop(db)
    await team.buy("pro")
    invoice = await team.order("enterprise")
    await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=True)
    assert await team.pay(invoice, invoice.total) == "balance"
    assert await plan_of(team) == "free-1"
    ended = await rows(db, "SELECT status FROM subscriptions WHERE ended_at IS NOT NULL")
    assert ended == [("cancelled",)]


async def test_renewing_begins_the_next_month_exactly_at_its_start(db: Database) -> None:
    """However late; a second time changes nothing. What was debited is the new month's base."""
    team = await shop(db)
    await team.buy("pro")
    before = await team.now()
    team.clock.at = NOVEMBER.end_ms - 1
    assert await team.renew() == before
    team.clock.at = NOVEMBER.end_ms + 7 * HOUR
    assert await team.limits(DECEMBER) == Limits(soft=PRO, hard=PRO * 3 // 2)
    after = await team.renew()
    assert after.period == DECEMBER
    assert await db.transaction(renew, before, team.clock.at) == replace(after, period=DECEMBER)
    (segment,) = await team.segments(DECEMBER)
    assert (segment.starts_at_ms, segment.start_position, segment.debited_minor) == (
        DECEMBER.start_ms,
        0,
        4999,
    )


async def test_a_downgrade_holds_from_the_new_month_on_before_the_run(db: Database) -> None:
    """Limits and features are the smaller plan's on the second; the old month keeps its own."""
    team = await shop(db)
    await team.buy("enterprise")
    await team.confirm(await team.quote("pro"))
    team.clock.at = NOVEMBER.end_ms - 1
    assert await plan_of(team) == "enterprise-1"
    team.clock.at = NOVEMBER.end_ms
    assert await plan_of(team) == "pro-1"
    early = await team.limits(DECEMBER)
    assert early == Limits(soft=PRO, hard=PRO * 3 // 2)
    team.clock.at += 2 * HOUR
    after = await team.renew()
    assert (after.version_id, after.next_version_id) == ("pro-1", None)
    assert await team.limits(DECEMBER) == early
    assert (await team.limits()).soft == 10 * PRO


async def test_a_cancellation_ends_with_the_period(db: Database) -> None:
    """Served until then; a new free subscription follows on the second, in a late run too."""
    team = await shop(db)
    await team.buy("pro")
    old = await team.now()
    answer = await team.plans.cancel(team.tenant, user_id=team.admin.id)
    assert isinstance(answer, Changed)
    assert answer.standing.subscription.cancel_at_ms == NOVEMBER.end_ms
    assert await plan_of(team) == "pro-1"
    team.clock.at = NOVEMBER.end_ms + 3 * HOUR
    assert await plan_of(team) == "free-1"
    assert await team.limits(DECEMBER) == Limits(soft=FREE, hard=FREE)
    new = await team.renew()
    assert new.id != old.id
    assert (new.version_id, new.period) == ("free-1", DECEMBER)
    ended = await rows(db, "SELECT status, ended_at FROM subscriptions WHERE id = :id", id=old.id)
    assert ended == [("cancelled", NOVEMBER.end_ms)]


async def test_cancelling_twice_and_taking_it_back(db: Database) -> None:
    """A second time changes nothing; taken back it goes on; there is nothing more to take back."""
    team = await shop(db)
    await team.buy("pro")
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    before = await team.now()
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    assert await team.now() == before
    await team.plans.reactivate(team.tenant, user_id=team.admin.id)
    assert (await team.now()).cancel_at_ms is None
    again = await team.plans.reactivate(team.tenant, user_id=team.admin.id)
    assert isinstance(again, Rejected)
    assert again.code == "nothing_scheduled"


async def test_what_took_effect_cannot_be_taken_back(db: Database) -> None:
    """From the second on at which the period ended."""
    team = await shop(db)
    await team.buy("pro")
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    team.clock.at = NOVEMBER.end_ms
    answer = await team.plans.reactivate(team.tenant, user_id=team.admin.id)
    assert isinstance(answer, Rejected)


async def test_cancelling_before_the_run_ends_the_month_that_has_begun(db: Database) -> None:
    """It is invoiced like any other; a downgrade that holds since its start stays."""
    team = await shop(db)
    await team.buy("enterprise")
    await team.confirm(await team.quote("pro"))
    team.clock.at = NOVEMBER.end_ms + HOUR // 2
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    assert await plan_of(team) == "pro-1"
    after = await team.renew()
    assert (after.version_id, after.cancel_at_ms) == ("pro-1", DECEMBER.end_ms)
    assert (await team.segments(DECEMBER))[0].debited_minor == 4999


async def test_cancelling_at_once_invoices_the_overage_once(db: Database) -> None:
    """At the price of the plan under which it was used; later use is the free plan's.

    The month was paid in advance: tokens within its whole allowance are not billed again.
    """
    team = await shop(db)
    await team.buy("pro")
    team.day(15)
    await team.use(1_200_000)
    answer = await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=True)
    assert isinstance(answer, Changed)
    assert answer.invoice is not None
    assert answer.standing.plan.id == "free-1"
    allowance = PRO // 2 + FREE // 2
    (line,) = answer.invoice.lines
    assert (line.from_position, line.quantity) == (PRO, 200_000)
    assert line.amount == answer.invoice.total == 160
    assert await rows(db, "SELECT billed FROM quota_counters") == [(1_200_000,)]
    limits = await team.limits()
    assert (limits.soft, limits.hard) == (allowance, PRO * 3 // 4 + FREE // 2)


async def test_cancelling_at_once_bills_nothing_that_was_paid(db: Database) -> None:
    """Also when the team comes back in the same month."""
    team = await shop(db)
    await team.buy("pro")
    await team.use(900_000)
    team.day(3)
    answer = await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=True)
    assert isinstance(answer, Changed)
    assert answer.invoice is None
    assert await rows(db, "SELECT billed FROM quota_counters") == [(900_000,)]


async def test_free_cannot_be_cancelled(db: Database) -> None:
    """Neither now nor later."""
    team = await shop(db)
    for at_once in (False, True):
        answer = await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=at_once)
        assert isinstance(answer, Rejected)
        assert answer.code == "free_plan"


async def test_an_unpaid_upgrade_is_void_when_its_month_ends(db: Database) -> None:
    """And when the team decides otherwise: cancels, or notes a downgrade."""
    team = await shop(db)
    await team.buy("pro")
    first = await team.order("enterprise")
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    assert (await team.invoice(first)).status is InvoiceStatus.VOID
    await team.plans.reactivate(team.tenant, user_id=team.admin.id)
    second = await team.order("enterprise")
    await team.confirm(await team.quote("free"))
    assert (await team.invoice(second)).status is InvoiceStatus.VOID
    third = await team.order("enterprise")
    team.clock.at = NOVEMBER.end_ms + HOUR
    await team.renew()
    assert (await team.invoice(third)).status is InvoiceStatus.VOID


async def test_an_upgrade_paid_before_the_run_holds_for_the_new_month(db: Database) -> None:
    """It is in effect in the last second of the month it was for, so the run bills the next."""
    team = await shop(db)
    team.clock.at = NOVEMBER.end_ms - 8 * HOUR
    invoice = await team.order("pro")
    team.clock.at = NOVEMBER.end_ms + HOUR // 2
    await team.pay(invoice)
    assert (await team.segments())[-1].starts_at_ms == NOVEMBER.end_ms - 1000
    assert (await team.limits(DECEMBER)).soft == PRO
    assert await rows(
        db, "SELECT soft FROM quota_counters WHERE period_start = :at", at=DECEMBER.start_ms
    ) == [(PRO,)]
    after = await team.renew()
    assert (after.version_id, after.period) == ("pro-1", DECEMBER)


async def test_owing_and_paying_again(db: Database) -> None:
    """Past due with the first overdue invoice; active when none is left, bounds unmoved."""
    team = await shop(db)
    bought = await team.buy("pro")
    it = await team.now()
    owing = await db.transaction(happened, it, Happening.OVERDUE, team.clock.at)
    assert (owing.status, owing.past_due_since_ms) == (Status.PAST_DUE, team.clock.at)
    with pytest.raises(ImpossibleChange):
        await db.transaction(happened, it, Happening.TRIAL_PAID, team.clock.at)
    sql = (
        "INSERT INTO invoices (id, tenant_id, subscription_id, kind, key, status, currency,"
        " period_start, period_end, subtotal, total, snapshot, created_at, due_at)"
        " VALUES (:id, :tenant, 's', 'cycle', :id, 'open', 'USD', 0, 0, 1, 1, '{}', 0, :due)"
    )
    for number in (1, 2):
        await team.write(sql, id=f"inv_{number}", tenant=team.tenant, due=START - number * DAY_MS)
    done = await team.plans.standing(team.tenant)
    assert (done.service, done.overdue_since_ms) == ("no_overage", START - 2 * DAY_MS)
    found = replace(bought, kind=InvoiceKind.CYCLE)
    await team.write("UPDATE invoices SET status = 'paid' WHERE id = 'inv_1'")
    await db.transaction(apply_paid, found, team.clock.at)
    assert (await team.now()).status is Status.PAST_DUE
    await team.write("UPDATE invoices SET status = 'paid' WHERE id = 'inv_2'")
    await db.transaction(apply_paid, found, team.clock.at)
    again = await team.now()
    assert (again.status, again.past_due_since_ms, again.period) == (
        Status.ACTIVE,
        None,
        it.period,
    )


async def test_a_subscription_that_is_given_up_is_followed_by_the_free_one(db: Database) -> None:
    """In the same second; what was used of the month stays used."""
    team = await shop(db)
    await team.buy("pro")
    await team.use(50)
    it = await team.now()
    team.day(10)
    await db.transaction(happened, it, Happening.OVERDUE, team.clock.at)
    ended = await db.transaction(happened, it, Happening.GIVEN_UP, team.clock.at)
    assert (ended.status, ended.ended_at_ms) == (Status.CANCELLED, team.clock.at)
    new = await team.now()
    assert (new.version_id, new.started_at_ms) == ("free-1", team.clock.at)
    assert (await team.segments())[-1].start_position == 50
    with pytest.raises(ImpossibleChange):
        await db.transaction(happened, ended, Happening.RECOVERED, team.clock.at)


@pytest.mark.postgres
@pytest.mark.parametrize("end_first", [False, True])
async def test_a_payment_and_an_end_at_the_same_moment(
    pg: PostgresDatabase, end_first: bool
) -> None:
    """Whichever is first: one live subscription, and the money bought a plan or is kept."""
    team = await shop(pg)
    await team.buy("pro")
    invoice = await team.order("enterprise")
    results: dict[str, object] = {}

    async def pay() -> None:
        results["pay"] = await team.pay(invoice, invoice.due)

    async def end() -> None:
        results["end"] = await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=True)

    await asyncio.gather(*((end(), pay()) if end_first else (pay(), end())))
    assert isinstance(results["end"], Changed)
    assert (await team.now()).version_id == "free-1"
    alive = "SELECT COUNT(*) FROM subscriptions WHERE ended_at IS NULL"
    assert await rows(pg, alive) == [(1,)]
    expected = {("invoice", 0), ("balance", invoice.due)}
    assert (results["pay"], await team.credit()) in expected
