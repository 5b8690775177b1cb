"""Budgets: a team's own limits beside the quota of its plan."""

from __future__ import annotations

import pytest

from billing.desk import Budget
from billing.quota import LEASE_MS, Short
from core.refusals import Rejected
from storage import budgets
from storage.admission import sweep
from storage.database import Database
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.quota_kit import FAR, MONTH, NOV, Team, team
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]

COUNTERS = "SELECT scope, used, reserved FROM budget_counters ORDER BY scope"


async def allow(ours: Team, scope: str, tokens: int, subject: str = "") -> None:
    """Set a budget; it must be possible."""
    wanted = Budget(scope=scope, subject=subject, tokens=tokens)
    answer = await ours.db.transaction(budgets.set_budget, ours.id, wanted, "usr_1", NOV)
    assert answer == wanted


async def test_the_least_budget_decides(db: Database) -> None:
    """Of every scope that concerns the call, and of the plan's limit."""
    ours = await team(db, turns=2)
    await ours.limit(FAR, FAR)
    await allow(ours, "user", 10_000)
    await allow(ours, "conversation", 1_900)
    assert await ours.admitted(ours.call()) == 900
    short = await ours.refused(ours.call(number=2))
    assert (short.room.scope, short.room.most, short.room.taken) == ("conversation", 1_900, 1_900)
    assert await ours.admitted(ours.call(2)) == 900
    assert await ours.counter() == (0, 3_800, 0)
    await ours.limit(3_799, 3_799)
    assert (await ours.refused(ours.call(2, 2))).room.scope == "month"


async def test_a_budget_leaves_the_room_of_the_month_as_it_is(db: Database) -> None:
    """A call's own hold is not in its own way."""
    ours = await team(db, turns=2)
    await ours.limit(3_500, 3_500)
    await allow(ours, "user", FAR)
    assert await ours.admitted(ours.call(1)) == 1_000
    assert await ours.admitted(ours.call(2)) == 500
    assert await ours.counter() == (0, 3_500, 0)


async def test_an_exception_counts_instead_of_the_rule(db: Database) -> None:
    """A budget with a subject may be larger than the one for each."""
    ours = await team(db, turns=2)
    await ours.limit(FAR, FAR)
    await allow(ours, "conversation", 100)
    await allow(ours, "conversation", 5_000, ours.call(2).conversation_id)
    assert isinstance(await ours.reserve(ours.call(1)), Short)
    assert await ours.admitted(ours.call(2)) == 1_000


async def test_a_refusal_of_a_budget_leaves_the_other_counters(db: Database) -> None:
    """Nothing is held anywhere, and the admins are not told of an exceeded quota."""
    ours = await team(db)
    await ours.limit(FAR, FAR)
    await allow(ours, "user", FAR)
    await allow(ours, "turn", 10)
    await ours.refused(ours.call())
    assert await ours.counter() == (0, 0, 0)
    assert await rows(db, COUNTERS) == [("turn", 0, 0), ("user", 0, 0)]
    assert await rows(db, "SELECT COUNT(*) FROM outbox") == [(0,)]


async def test_a_counter_begins_with_what_was_used(db: Database) -> None:
    """Also with a call that was open when the budget was set."""
    ours = await team(db, turns=4)
    await ours.limit(FAR, FAR)
    await ours.use(ours.call(1, order_id="ord_1"), 300)
    await ours.admitted(ours.call(2, order_id="ord_1"))
    for scope in budgets.SCOPES:
        await allow(ours, scope, FAR)
    await ours.admitted(ours.call(1, 2, order_id="ord_1"))
    assert await rows(db, COUNTERS) == [
        ("conversation", 300, 2_000),
        ("order", 300, 2_000),
        ("turn", 300, 2_000),
        ("user", 300, 2_000),
    ]
    await ours.settle(ours.call(2), 40)
    await ours.settle(ours.call(1, 2), 1)
    assert await rows(db, COUNTERS) == [
        ("conversation", 301, 0),
        ("order", 341, 0),
        ("turn", 301, 0),
        ("user", 341, 0),
    ]


async def test_an_order_budget_concerns_orders_alone(db: Database) -> None:
    """A turn that somebody wrote is not a standing order's."""
    ours = await team(db)
    await ours.limit(FAR, FAR)
    await allow(ours, "order", 1)
    await ours.admitted(ours.call())
    assert await rows(db, COUNTERS) == []


async def test_a_budget_is_the_month_s_and_a_turn_s_is_its_own(db: Database) -> None:
    """A new month begins at nothing, a turn that runs on keeps what it used."""
    ours = await team(db)
    later = MONTH.end_ms
    await ours.limit(FAR, FAR)
    await allow(ours, "user", 2_500)
    await allow(ours, "turn", 4_500)
    await ours.use(ours.call(), 2_000)
    await ours.refused(ours.call(number=2))
    await ours.limit(FAR, FAR, month=type(MONTH)(later, later + 1000))
    await ours.admitted(ours.call(number=3), at_ms=later)
    assert await rows(db, COUNTERS + ", period_start") == [
        ("turn", 2_000, 2_000),
        ("user", 2_000, 0),
        ("user", 0, 2_000),
    ]


async def test_an_expired_hold_is_given_back_to_its_budgets(db: Database) -> None:
    """And a late settlement counts on them."""
    ours = await team(db)
    await ours.limit(FAR, FAR)
    await allow(ours, "user", 2_000)
    await ours.admitted(ours.call())
    await sweep(db, NOV + LEASE_MS + 1)
    assert await rows(db, COUNTERS) == [("user", 0, 0)]
    await ours.settle(ours.call(), 77)
    assert await rows(db, COUNTERS) == [("user", 77, 0)]


async def test_a_budget_that_was_taken_away_is_remembered(db: Database) -> None:
    """Set again, it counts what was used meanwhile."""
    ours = await team(db, turns=2)
    await ours.limit(FAR, FAR)
    await allow(ours, "user", 5_000)
    await ours.use(ours.call(1), 100)
    await allow(ours, "user", 0)
    assert await db.read(budgets.budgets_of, ours.id) == ()
    await ours.use(ours.call(2), 11)
    assert await rows(db, COUNTERS) == [("user", 111, 0)]


@pytest.mark.parametrize(
    ("budget", "refusal"),
    [
        (Budget(scope="team", subject="", tokens=1), budgets.BAD_SCOPE),
        (Budget(scope="user", subject="", tokens=-1), budgets.BAD_TOKENS),
        (Budget(scope="user", subject="", tokens=2**63), budgets.BAD_TOKENS),
        (Budget(scope="user", subject="usr_x", tokens=1), budgets.NO_SUBJECT),
        (Budget(scope="conversation", subject="ten_2_c1", tokens=1), budgets.NO_SUBJECT),
        (Budget(scope="turn", subject="ten_1_t1", tokens=1), budgets.NO_SUBJECT),
    ],
)
async def test_what_could_never_count_is_refused(
    db: Database, budget: Budget, refusal: Rejected
) -> None:
    """Unknown scopes and subjects, other teams' too, and impossible numbers."""
    ours = await team(db)
    await team(db, "ten_2")
    answer = await db.transaction(budgets.set_budget, ours.id, budget, "usr_1", NOV)
    assert answer == refusal
    assert await db.read(budgets.budgets_of, ours.id) == ()


async def test_a_team_has_so_many_budgets(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """And can still change one that it has."""
    monkeypatch.setattr(budgets, "MOST_BUDGETS", 2)
    ours = await team(db)
    await allow(ours, "order", 1, "ord_1")
    await allow(ours, "user", 1)
    more = Budget(scope="turn", subject="", tokens=1)
    assert await db.transaction(budgets.set_budget, ours.id, more, "u", NOV) == budgets.TOO_MANY
    await allow(ours, "order", 2, "ord_1")
