"""What is sold and to whom: versions that never change, moves with notice, trials, accounts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa

from billing.changes import Direction
from billing.operator import Account, AccountChanges
from billing.periods import DAY_MS
from billing.plans import CURRENCIES, SEED, PlanVersion, Price
from billing.quota import Limits
from billing.subscriptions import Status, Subscription
from core.refusals import Rejected
from core.tenants import Role
from storage.database import Database
from storage.people import insert_user
from storage.plan_limits import crowded
from storage.postgres import PostgresDatabase
from storage.subscriptions import end_trial
from tests.storage.kit import accept, answer, message
from tests.storage.payment_places import db, migrated_file, migrated_url, pg, place
from tests.storage.plan_kit import DECEMBER, HOUR, NOVEMBER, SELLER, START, Shop, shop
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "pg", "place"]
DEARER = replace(
    SEED[1],
    id="pro-2",
    version=2,
    prices={currency: Price(base=99_99, overage=9_00) for currency in CURRENCIES},
)


async def end(team: Shop) -> bool:
    """The run looks for a trial that is over."""
    return await team.db.transaction(end_trial, team.tenant, team.clock.at, SELLER)


async def trial(team: Shop, plan: str = "pro", days: int = 14) -> Subscription:
    """A trial; it must be possible."""
    made = await team.plans.trial(team.tenant, plan, days)
    assert isinstance(made, Subscription), made
    return made


async def told(team: Shop) -> int:
    """How many notices are queued."""
    found = await rows(team.db, "SELECT COUNT(*) FROM turns WHERE text LIKE '/notice%'")
    return int(str(found[0][0]))


async def join(team: Shop, number: int) -> str | None:
    """Somebody joins, unless the team is full; why it is."""

    def work(conn: sa.Connection) -> str | None:
        full = crowded(conn, team.tenant, team.clock.at)
        if full is None:
            insert_user(conn, team.tenant, f"{number}@example.org", "n", Role.VIEWER)
        return full

    return await team.db.transaction(work)


async def test_seeding_again_changes_nothing(db: Database) -> None:
    """Each start seeds; what an operator's database holds stays, the order is by size."""
    team = await shop(db)
    await team.write("UPDATE plan_versions SET max_servers = 7 WHERE id = 'free-1'")
    await team.plans.seed()
    sold = await team.plans.plans()
    assert [it.id for it in sold] == ["free-1", "pro-1", "enterprise-1"]
    assert sold[0] == replace(SEED[0], max_servers=7)
    assert sold[1:] == SEED[1:]


async def test_a_version_is_published_once(db: Database) -> None:
    """The same one again changes nothing, another one of its id or number is refused."""
    team = await shop(db)
    team.day(1)
    first = await team.plans.publish(DEARER)
    assert first == replace(DEARER, available_from_ms=team.clock.at)
    team.day(2)
    assert await team.plans.publish(DEARER) == first
    for other in (replace(DEARER, max_users=1), replace(DEARER, id="pro-x")):
        answer = await team.plans.publish(other)
        assert isinstance(answer, Rejected)
        assert answer.code == "version_exists"
    lacking = replace(DEARER, id="pro-3", version=3, prices={"USD": Price(base=1, overage=1)})
    answer = await team.plans.publish(lacking)
    assert isinstance(answer, Rejected)
    assert answer.code == "bad_prices"


async def test_a_new_price_alters_no_running_subscription(db: Database) -> None:
    """New customers pay it; those who have the plan keep theirs, month after month."""
    team = await shop(db)
    await team.buy("pro")
    await team.plans.publish(DEARER)
    team.clock.at = NOVEMBER.end_ms + HOUR
    after = await team.renew()
    assert (after.version_id, (await team.segments(DECEMBER))[0].debited_minor) == ("pro-1", 4999)
    assert [it.id for it in await team.plans.plans()] == ["free-1", "pro-2", "enterprise-1"]
    assert await team.refused("pro") == "same_plan"


async def test_a_move_is_noted_with_notice_for_the_next_period(db: Database) -> None:
    """Once; the admins are told; the team cannot take it back, but can leave."""
    team = await shop(db)
    await team.buy("pro")
    await team.plans.publish(DEARER)
    said = (await accept(db, message(team.admin, 1))).leased
    assert said is not None
    await answer(db, said)
    assert await team.plans.move("pro-2", None) == 1
    assert await team.plans.move("pro-2", team.tenant) == 0
    it = await team.now()
    assert (it.version_id, it.next_version_id) == ("pro-1", "pro-2")
    (notice,) = await team.events("notice")
    assert "USD 99.99" in str(notice)
    assert await told(team) == 1
    assert not await team.events("billing.alarm")
    back = await team.plans.reactivate(team.tenant, user_id=team.admin.id)
    assert isinstance(back, Rejected)
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    await team.plans.reactivate(team.tenant, user_id=team.admin.id)
    assert (await team.now()).next_version_id == "pro-2"
    team.clock.at = NOVEMBER.end_ms + HOUR
    after = await team.renew()
    assert (after.version_id, (await team.segments(DECEMBER))[0].debited_minor) == ("pro-2", 9999)


async def test_the_operator_hears_of_a_move_that_no_admin_can_be_told(db: Database) -> None:
    """Nobody of the team has a conversation with us."""
    team = await shop(db)
    await team.buy("pro")
    await team.plans.publish(DEARER)
    assert await team.plans.move("pro-2", team.tenant) == 1
    assert "price_change_not_told" in str((await team.events("billing.alarm"))[0])


async def test_a_team_takes_in_as_many_people_as_its_plan_allows(db: Database) -> None:
    """Who left does not count; after a downgrade all stay, and nobody more comes."""
    team = await shop(db)
    await team.buy("pro")
    for number in range(4):
        assert await join(team, number) is None
    await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=True)
    refusal = await join(team, 5)
    assert refusal is not None
    assert "3 people" in refusal
    assert await rows(db, "SELECT COUNT(*) FROM users") == [(5,)]
    await team.write("UPDATE users SET disabled_at = 1 WHERE email <> 'a@example.org'")
    assert await join(team, 6) is None


@pytest.mark.postgres
async def test_the_last_place_is_taken_once(pg: PostgresDatabase) -> None:
    """However many join at the same moment."""
    team = await shop(pg)
    await team.now()
    refusals = await asyncio.gather(*(join(team, number) for number in range(6)))
    assert sum(refusal is None for refusal in refusals) == 2


async def test_moves_that_cannot_be(db: Database) -> None:
    """To what does not exist, or to another plan; nobody is told anything."""
    team = await shop(db)
    for version_id, tenant_id, code in (
        ("gold-1", team.tenant, "unknown_version"),
        ("gold-1", None, "unknown_version"),
        ("pro-1", team.tenant, "other_plan"),
    ):
        answer = await team.plans.move(version_id, tenant_id)
        assert isinstance(answer, Rejected)
        assert answer.code == code
    assert await team.plans.move("free-1", None) == 0
    assert await told(team) == 0


async def test_a_trial_has_the_plans_features_and_the_free_tokens(db: Database) -> None:
    """Until its second; then, unpaid, the free plan follows without any grace."""
    team = await shop(db)
    await team.use(70)
    team.day(2)
    made = await trial(team)
    assert (made.status, made.trial_end_ms) == (Status.TRIALING, START + 16 * DAY_MS)
    assert (await team.plans.limits(team.tenant)).max_servers == 50
    assert await team.limits() == Limits(soft=100_000, hard=100_000)
    team.clock.at = START + 16 * DAY_MS - 1
    assert not await end(team)
    team.clock.at += 1
    assert (await team.plans.limits(team.tenant)).max_servers == 3
    team.clock.at += 40 * 60_000
    assert await end(team)
    assert not await end(team)
    after = await team.now()
    assert (after.version_id, after.started_at_ms) == ("free-1", made.trial_end_ms)
    old = await rows(db, "SELECT status FROM subscriptions WHERE id = :id", id=made.id)
    assert old == [("expired",)]
    assert await rows(db, "SELECT COUNT(*) FROM invoices") == [(0,)]
    assert await team.limits() == Limits(soft=100_000, hard=100_000)


async def test_a_trial_that_the_balance_pays_goes_on(db: Database) -> None:
    """From its end on, with an invoice for the rest of the month."""
    team = await shop(db)
    await team.give(5_000)
    await trial(team, days=15)
    team.clock.at = START + 15 * DAY_MS + 999
    assert await end(team)
    after = await team.now()
    assert (after.status, after.version_id, after.trial_end_ms) == (Status.ACTIVE, "pro-1", None)
    assert await team.credit() == 2_500
    last = (await team.segments())[-1]
    assert (last.starts_at_ms, last.debited_minor) == (START + 15 * DAY_MS, 2_500)


async def test_a_trial_over_the_end_of_a_month(db: Database) -> None:
    """Renewed without a charge; ended at its second even if the run was away for days."""
    team = await shop(db)
    team.day(25)
    made = await trial(team)
    team.clock.at = DECEMBER.start_ms + 12 * DAY_MS
    assert await end(team)
    new = await team.now()
    assert (new.started_at_ms, new.period.end_ms) == (made.trial_end_ms, DECEMBER.end_ms)
    assert await team.limits(DECEMBER) == Limits(soft=100_000, hard=100_000)
    assert [it.debited_minor for it in await team.segments(DECEMBER)] == [0, 0]


async def test_trials_that_cannot_be(db: Database) -> None:
    """A second one, one of the free plan or of none, of no days, or beside a paid plan."""
    team = await shop(db)
    for plan, days in (("gold", 14), ("free", 14), ("pro", 0), ("pro", 366)):
        assert isinstance(await team.plans.trial(team.tenant, plan, days), Rejected)
    await trial(team)
    await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=True)
    assert (await team.now()).version_id == "free-1"
    again = await team.plans.trial(team.tenant, "pro", 14)
    assert isinstance(again, Rejected)
    assert again.code == "trial_used"
    await team.buy("pro")
    beside = await team.plans.trial(team.tenant, "enterprise", 14)
    assert isinstance(beside, Rejected)
    assert beside.code == "no_trial"


async def test_a_cancelled_trial_ends_with_its_time(db: Database) -> None:
    """Nothing is invoiced, whatever the balance holds."""
    team = await shop(db)
    await team.give(50_000)
    await trial(team)
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    team.day(14)
    assert await end(team)
    assert (await team.now()).version_id == "free-1"
    assert await team.credit() == 50_000


async def test_accounts_begin_with_the_installations_currency(db: Database) -> None:
    """It follows the setting for new teams only; a free team can change its own."""
    team = await shop(db, currency="CNY")
    it = await team.now()
    assert it.currency == "CNY"
    changed = await team.plans.set_account(
        team.tenant, AccountChanges(currency="USD", email="b@example.org")
    )
    assert isinstance(changed, Account)
    assert (changed.currency, changed.email, changed.name) == ("USD", "b@example.org", "Team Ü")
    assert (await team.now()).currency == "USD"
    await team.buy("pro")
    fixed = await team.plans.set_account(team.tenant, AccountChanges(currency="CNY"))
    assert isinstance(fixed, Rejected)
    assert fixed.code == "currency_fixed"
    for bad in (AccountChanges(currency="XYZ"), AccountChanges(tax_rate=10_001)):
        assert isinstance(await team.plans.set_account(team.tenant, bad), Rejected)


async def test_a_currency_with_something_left_in_it_stays(db: Database) -> None:
    """Late usage of a paid month is billed in its currency, and a balance is paid back in it."""
    team = await shop(db)
    await team.buy("pro")
    team.day(3)
    await team.plans.cancel(team.tenant, user_id=team.admin.id, at_once=True)
    early = await team.plans.set_account(team.tenant, AccountChanges(currency="CNY"))
    assert isinstance(early, Rejected)
    assert early.code == "currency_in_use"
    team.day(63)
    assert isinstance(
        await team.plans.set_account(team.tenant, AccountChanges(currency="CNY")), Account
    )


async def test_a_quote_is_void_when_the_tax_rate_changes(db: Database) -> None:
    """What it said is not what would be charged."""
    team = await shop(db)
    quote = await team.quote("pro")
    await team.plans.set_account(team.tenant, AccountChanges(tax_rate=1_900))
    answer = await team.plans.confirm(team.tenant, quote.id, user_id=team.admin.id)
    assert isinstance(answer, Rejected)
    assert answer.code == "quote_outdated"


async def test_a_plan_without_any_limit_is_not_sold(db: Database) -> None:
    """Its overage could grow beyond what an invoice may come to."""
    team = await shop(db)
    version = replace(SEED[2], id="enterprise-9", version=9, cap_percent=None)
    answer = await team.plans.publish(version)
    assert isinstance(answer, Rejected)
    assert answer.code == "no_cap"


@pytest.mark.postgres
async def test_one_of_many_confirmations_issues_the_invoice(pg: PostgresDatabase) -> None:
    """At the same moment, from several connections: the same invoice for each."""
    team = await shop(pg)
    quote = await team.quote("pro")
    assert quote.kind == Direction.UPGRADE
    changed = await asyncio.gather(*(team.confirm(quote) for _ in range(6)))
    assert len({it.invoice.id for it in changed if it.invoice is not None}) == 1
    assert await rows(pg, "SELECT COUNT(*) FROM invoices") == [(1,)]


@pytest.mark.postgres
async def test_of_two_upgrades_at_once_one_stays_open(pg: PostgresDatabase) -> None:
    """The later confirmation makes the earlier one's invoice void."""
    team = await shop(pg)
    quotes = [await team.quote(plan) for plan in ("pro", "enterprise")]
    await asyncio.gather(*(team.confirm(quote) for quote in quotes))
    found = await rows(pg, "SELECT status, COUNT(*) FROM invoices GROUP BY status ORDER BY status")
    assert found == [("open", 1), ("void", 1)]


async def test_what_is_published_is_kept_as_it_is(db: Database) -> None:
    """Every field comes back from the database."""
    team = await shop(db)
    odd = replace(DEARER, hard_percent=None, cap_percent=300, available_from_ms=START + DAY_MS)
    assert await team.plans.publish(odd) == odd
    team.day(2)
    found = {it.id: it for it in await team.plans.plans()}["pro-2"]
    assert isinstance(found, PlanVersion)
    assert found == odd
