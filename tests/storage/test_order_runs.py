"""Due times become turns, once each, on both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

import storage.order_runs as module
from core.order_runs import firing, is_conditional, plain
from core.standing_orders import OrderChanges, OrderState, StandingOrder
from storage.database import Database
from storage.leases import SqlLeases
from tests.storage.kit import WORKER
from tests.storage.orders_kit import (
    MOSTLY_LITE,
    RUNS,
    TURNS,
    Shop,
    opened_shop,
    shop_in,
    wanted,
)
from tests.storage.places import Places
from tests.storage.racing import rows
from tests.storage.test_announcements import write

MINUTE = 60_000
DAY = 86_400_000


@pytest.fixture(params=MOSTLY_LITE)
async def shop(request: pytest.FixtureRequest, places: Places) -> AsyncGenerator[Shop]:
    """An installation."""
    async with shop_in(places, request.param) as made:
        yield made


async def test_a_due_time_becomes_one_turn(db: Database) -> None:
    """As whoever asked, in their conversation, as a message; the next time is a later one."""
    shop = await opened_shop(db)
    order = await shop.active()
    due = await shop.due_since(order, MINUTE)
    assert await shop.tick() == 1
    assert await shop.tick() == 0
    assert await rows(shop.db, TURNS) == [
        (
            f"order/{order.id}/{due}",
            shop.admin.id,
            "How full are the disks?",
            "message",
            shop.conversation_id,
        )
    ]
    assert await rows(shop.db, RUNS) == [(due, "started", "")]
    after = await shop.now(order)
    assert after.next_run_at_ms is not None
    assert after.next_run_at_ms > due + MINUTE
    await write(db, "UPDATE users SET role = 'viewer'")
    (turn,) = await SqlLeases(db).claim(WORKER, 9, 9)
    assert (turn.order_id, turn.kind, turn.user.role) == (order.id, "message", "viewer")
    assert (turn.address.platform, turn.sender) == ("api", shop.admin.id)


async def test_processes_that_race_make_one_turn(db: Database) -> None:
    """Five processes find the same order due at the same moment; so is its end."""
    shop = await opened_shop(db)
    order = await shop.active()
    due = await shop.due_since(order, MINUTE)
    await asyncio.gather(*(shop.tick() for _ in range(5)))
    assert [row[0] for row in await rows(shop.db, TURNS)] == [f"order/{order.id}/{due}"]
    assert await rows(shop.db, RUNS) == [(due, "started", "")]
    await shop.over("failed", "bad_key")
    await asyncio.gather(*(shop.tick() for _ in range(5)))
    after = await shop.now(order)
    assert (after.state, after.problem, after.failures) == ("paused", "account", 1)
    told = await rows(db, "SELECT COUNT(*) FROM turns WHERE kind = 'command'")
    assert told == [(1,)]


async def test_a_proposal_does_nothing(shop: Shop) -> None:
    """Nor does a paused or a deleted order."""
    order = await shop.proposed()
    await shop.due_since(order, MINUTE)
    for state in (OrderState.PAUSED, OrderState.DELETED):
        moved = await shop.active(wanted(prompt=state))
        await shop.desk.move(shop.by(), moved.id, state)
        await shop.due_since(moved, MINUTE)
    assert await shop.tick() == 0
    assert await rows(shop.db, TURNS) == []


@pytest.mark.parametrize("misfire", ["skip", "once"])
async def test_a_late_run_goes_by_the_orders_policy(shop: Shop, misfire: str) -> None:
    """W21: missed runs are recorded; one of them is made up for, or none."""
    twelve_hours_ago = (int(time.time()) // 3600 + 12) % 24
    daily = wanted(cron=f"0 {twelve_hours_ago} * * *", timezone="UTC", misfire=misfire)
    order = await shop.active(daily)
    due = await shop.due_since(order, DAY)
    await shop.tick()
    recorded = await rows(shop.db, RUNS)
    assert recorded[0] == (due, "missed", "late")
    last = ("started", "") if misfire == "once" else ("missed", "late")
    assert [row[1:] for row in recorded[1:]] == [last]
    assert len(await rows(shop.db, TURNS)) == int(misfire == "once")
    after = await shop.now(order)
    assert after.next_run_at_ms is not None
    assert after.next_run_at_ms > due + DAY


async def test_a_long_downtime_is_one_run_and_a_bounded_history(shop: Shop) -> None:
    """A month of five minutes: at most one turn, at most 22 rows, the rest as a number."""
    order = await shop.active(wanted(cron="*/5 * * * *", misfire="once"))
    due = await shop.due_since(order, 10 * DAY)
    await shop.tick()
    assert len(await rows(shop.db, TURNS)) == 1
    recorded = await rows(shop.db, RUNS)
    assert len(recorded) <= 22
    state, reason = recorded[0][1:]
    assert recorded[0][0] == due
    assert (state, str(reason).startswith("late:2")) == ("missed", True)


async def test_many_due_orders_are_spread(shop: Shop) -> None:
    """After a downtime each round starts a few, the longest overdue first."""
    orders = [await shop.active() for _ in range(5)]
    for number, order in enumerate(orders):
        await shop.due_since(order, (number + 1) * MINUTE)
    assert await shop.tick(3) == 3
    overdue = {f"order/{order.id}" for order in orders[2:]}
    begun = {str(row[0]).rpartition("/")[0] for row in await rows(shop.db, TURNS)}
    assert begun == overdue
    assert await shop.tick(3) == 2
    assert len(await rows(shop.db, TURNS)) == len(orders)


async def test_who_decided_on_old_news_changes_nothing(shop: Shop) -> None:
    """An order that was fired, or changed, since it was read is left alone."""
    order = await shop.active()
    await shop.due_since(order, MINUTE)
    now, (read,) = await shop.runs.due(9)
    assert read.next_run_at_ms is not None
    decided = firing(read, read.next_run_at_ms, now)
    assert await shop.runs.fire(read, decided) is None
    assert await shop.runs.fire(read, decided) is None
    await shop.due_since(order, MINUTE)
    await shop.desk.change(shop.by(), order.id, OrderChanges(prompt="Memory?"))
    assert await shop.runs.fire(await shop.now(order), decided) is None
    assert len(await rows(shop.db, TURNS)) == 1


async def test_a_clock_that_is_set_back_runs_nothing_twice(shop: Shop) -> None:
    """The due time has its row; the order only moves on."""
    order = await shop.active()
    due = await shop.due_since(order, MINUTE)
    await shop.tick()
    await shop.over()
    await shop.tick()
    await write(
        shop.db, "UPDATE standing_orders SET next_run_at = :at WHERE id = :id", at=due, id=order.id
    )
    assert await shop.tick() == 1
    assert len(await rows(shop.db, TURNS)) == 1
    assert await rows(shop.db, RUNS) == [(due, "ended", "answered")]
    assert await shop.tick() == 0


async def test_a_clock_that_was_ahead_is_found_out(shop: Shop) -> None:
    """What was set a year ahead comes at its next time again."""
    order = await shop.active()
    await shop.due_since(order, -400 * DAY)
    assert await shop.runs.realign() == 1
    assert await shop.runs.realign() == 0
    assert (await shop.now(order)).next_run_at_ms == order.next_run_at_ms


async def test_a_run_that_is_not_over_is_not_overtaken(shop: Shop) -> None:
    """The next due time is recorded as skipped, and the one after its end runs."""
    order = await shop.active()
    await shop.due_since(order, 3 * MINUTE)
    await shop.tick()
    await shop.due_since(order, 2 * MINUTE)
    await shop.tick()
    assert [row[1:] for row in await rows(shop.db, RUNS)] == [
        ("started", ""),
        ("skipped", "still_running"),
    ]
    await shop.over()
    await shop.due_since(order, MINUTE)
    await shop.tick()
    assert [row[1] for row in await rows(shop.db, RUNS)] == ["ended", "skipped", "started"]


async def test_the_first_error_of_account_or_quota_pauses(shop: Shop) -> None:
    """W7: nobody pays for what must fail; who asked is told where it reports to."""
    for outcome, failure, problem in (
        ("refused", "budget_exceeded", "quota"),
        ("failed", "bad_key", "account"),
    ):
        order = await shop.active()
        await shop.due_since(order, MINUTE)
        await shop.tick()
        await shop.over(outcome, failure)
        await shop.tick()
        after = await shop.now(order)
        assert (after.state, after.problem, after.next_run_at_ms) == ("paused", problem, None)
        assert (await shop.desk.runs(order.tenant_id, order.id, 9))[0].reason == failure
    told = await rows(
        shop.db, "SELECT conversation_id, text FROM turns WHERE kind = 'command' ORDER BY seq"
    )
    assert [row[0] for row in told] == [shop.conversation_id] * 2
    assert str(told[0][1]).startswith("/notice order/ord_")


async def test_five_failures_in_a_row_pause(shop: Shop) -> None:
    """One answer between them begins anew; resuming does too."""
    order = await shop.active()
    for outcome in ["failed"] * 4 + ["answered"] + ["failed"] * 5:
        await shop.due_since(order, MINUTE)
        await shop.tick()
        assert (await shop.now(order)).state is OrderState.ACTIVE
        await shop.over(outcome, "overloaded" if outcome == "failed" else "")
    await shop.tick()
    after = await shop.now(order)
    assert (after.state, after.problem, after.failures) == ("paused", "failures", 5)
    resumed = await shop.desk.move(shop.by(), order.id, OrderState.ACTIVE)
    assert isinstance(resumed, StandingOrder)
    assert (resumed.problem, resumed.failures) == ("", 0)


async def test_who_left_runs_nothing(shop: Shop) -> None:
    """The order is paused, and the admins are told."""
    bob = await shop.colleague()
    order = await shop.active(by=bob)
    await shop.due_since(order, MINUTE)
    await write(shop.db, "UPDATE users SET disabled_at = 1 WHERE id = :id", id=bob.id)
    await shop.tick()
    after = await shop.now(order)
    assert (after.state, after.problem) == ("paused", "creator_left")
    assert await rows(shop.db, TURNS) == []
    told = await rows(shop.db, "SELECT user_id FROM turns WHERE kind = 'command'")
    assert told == [(shop.admin.id,)]


async def test_a_place_that_is_gone_pauses(shop: Shop) -> None:
    """Nothing is run for nobody; a later admin sees why it stands still."""
    order = await shop.active()
    await shop.due_since(order, MINUTE)
    await write(shop.db, "UPDATE conversations SET deleted_at = 1")
    await shop.tick()
    assert (await shop.now(order)).problem == "place_left"
    assert await rows(shop.db, TURNS) == []


async def test_an_unreadable_schedule_stops_only_its_order(shop: Shop) -> None:
    """A zone that this machine does not have any more pauses it; the next one runs."""
    broken, fine = await shop.active(), await shop.active()
    await shop.due_since(broken, 2 * MINUTE)
    await shop.due_since(fine, MINUTE)
    await write(
        shop.db, "UPDATE standing_orders SET timezone = 'Mars/X' WHERE id = :id", id=broken.id
    )
    await shop.tick()
    row = await rows(
        shop.db, "SELECT state, problem FROM standing_orders WHERE id = :id", id=broken.id
    )
    assert row == [("paused", "schedule")]
    assert len(await rows(shop.db, TURNS)) == 1


async def test_old_history_is_forgotten(shop: Shop) -> None:
    """Runs after 90 days, proposals after 7, deleted orders; what is active stays."""
    order, proposal = await shop.active(), await shop.proposed()
    await shop.due_since(order, 200 * DAY)
    await shop.tick()
    await shop.over()
    await shop.tick()
    await write(shop.db, "UPDATE order_runs SET created_at = 1")
    await write(shop.db, "UPDATE standing_orders SET created_at = 1, updated_at = 1")
    await shop.runs.forget()
    assert await rows(shop.db, RUNS) == []
    assert await shop.desk.find(order.tenant_id, order.id) is not None
    assert await shop.desk.find(order.tenant_id, proposal.id) is None


async def test_what_dies_in_the_middle_left_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due time, run and turn are one transaction: after a crash the run happens, once."""
    order = await shop.active()
    due = await shop.due_since(order, MINUTE)

    def crash(*_: object, **__: object) -> None:
        message = "killed"
        raise RuntimeError(message)

    with monkeypatch.context() as patched:
        patched.setattr(module, "note", crash)
        await shop.tick()
    assert await rows(shop.db, TURNS) == []
    assert await rows(shop.db, RUNS) == []
    assert (await shop.now(order)).next_run_at_ms == due
    await shop.tick()
    assert [row[0] for row in await rows(shop.db, TURNS)] == [f"order/{order.id}/{due}"]


async def test_an_order_that_was_deleted_meanwhile_is_settled(shop: Shop) -> None:
    """Its last run ends as every other; nobody is told of it."""
    order = await shop.active()
    await shop.due_since(order, MINUTE)
    await shop.tick()
    await shop.desk.move(shop.by(), order.id, OrderState.DELETED)
    await shop.over("failed", "bad_key")
    await shop.tick()
    assert [row[1:] for row in await rows(shop.db, RUNS)] == [("ended", "bad_key")]
    assert await rows(shop.db, "SELECT id FROM turns WHERE kind = 'command'") == []


async def test_the_condition_is_in_the_turn(shop: Shop) -> None:
    """What only is told if it holds is asked so, and marked so."""
    order = await shop.active(wanted(only_if="a disk is above 80 %"))
    await shop.due_since(order, MINUTE)
    await shop.tick()
    ((_, _, asked, _, _),) = await rows(shop.db, TURNS)
    assert is_conditional(str(asked))
    assert plain(str(asked)) == order.prompt
