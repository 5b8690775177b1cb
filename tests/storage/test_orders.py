"""Standing orders in the database: who may, how many, what is on the record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from billing.invoices import Party
from core.refusals import Rejected
from core.standing_orders import (
    Asker,
    OrderChanges,
    OrderRun,
    OrderState,
    StandingOrder,
)
from core.tenants import Role
from storage.audit import SqlAudit
from storage.database import Database
from storage.orders import MOST_PROPOSED
from storage.plan_limits import switch
from storage.plans import SqlPlans
from tests.storage.events_kit import Hands
from tests.storage.orders_kit import KEY, MOSTLY_LITE, TURNS, Shop, opened_shop, shop_in, wanted
from tests.storage.places import Places
from tests.storage.racing import rows
from tests.storage.test_announcements import write


@pytest.fixture(params=MOSTLY_LITE)
async def shop(request: pytest.FixtureRequest, places: Places) -> AsyncGenerator[Shop]:
    """An installation."""
    async with shop_in(places, request.param) as made:
        yield made


def code(answer: object) -> str:
    """Of a refusal."""
    assert isinstance(answer, Rejected), answer
    return answer.code


async def actions(shop: Shop) -> list[tuple[str, dict[str, object]]]:
    """What the audit log has of orders; the chain must hold."""
    assert await SqlAudit(shop.db, KEY).verify() == {}
    found = await rows(
        shop.db, "SELECT action, detail FROM audit_log WHERE action LIKE 'order.%' ORDER BY seq"
    )
    return [(str(row[0]), json.loads(str(row[1]))) for row in found]


async def budgets(shop: Shop) -> list[tuple[object, ...]]:
    """Of standing orders."""
    return await rows(shop.db, "SELECT subject, tokens FROM budgets WHERE scope = 'order'")


async def test_an_orders_life(db: Database) -> None:
    """Proposed, confirmed, changed, paused, resumed, deleted: each is on the record once."""
    shop = await opened_shop(db)
    order = await shop.proposed(wanted(only_if="a disk is above 80 %"))
    assert (order.state, order.next_run_at_ms) == (OrderState.PROPOSED, None)
    assert await budgets(shop) == []
    desk, by = shop.desk, shop.by()
    for _ in range(2):
        active = await desk.move(by, order.id, OrderState.ACTIVE)
        assert isinstance(active, StandingOrder)
        assert active.next_run_at_ms in active.coming(active.updated_at_ms)
    assert await budgets(shop) == [(order.id, order.budget_tokens)]
    changes = OrderChanges(cron="0 9 * * *", budget_tokens=5, only_if="")
    changed = await desk.change(by, order.id, changes, revision=1)
    assert isinstance(changed, StandingOrder)
    assert (changed.schedule.cron, changed.condition, changed.revision) == ("0 9 * * *", "", 2)
    assert changed.next_run_at_ms in changed.coming(changed.updated_at_ms)
    assert code(await desk.change(by, order.id, changes, revision=1)) == "conflict"
    assert await budgets(shop) == [(order.id, 5)]
    for state in (OrderState.PAUSED, OrderState.ACTIVE, OrderState.DELETED):
        assert not isinstance(await desk.move(by, order.id, state), Rejected)
    assert code(await desk.move(by, order.id, OrderState.ACTIVE)) == "not_found"
    assert await budgets(shop) == []
    assert await desk.listed(order.tenant_id) == ()
    assert await rows(db, "SELECT prompt, condition, next_run_at FROM standing_orders") == [
        ("", "", None)
    ]
    recorded = await actions(shop)
    assert [action for action, _ in recorded] == [
        f"order.{did}"
        for did in ("proposed", "confirmed", "changed", "paused", "resumed", "deleted")
    ]
    assert all(detail["order"] == order.id for _, detail in recorded)
    assert "disks" not in str(recorded)


async def test_who_may(shop: Shop) -> None:
    """Operators propose; who asked and admins change; no order makes or changes one (W21)."""
    bob, eve = await shop.colleague(), await shop.colleague("eve")
    viewer = await shop.colleague("vi", Role.VIEWER)
    assert code(await shop.desk.propose(shop.by(viewer), wanted())) == "forbidden"
    order = await shop.proposed(by=bob)
    by_order = Asker(user=bob, order_id=order.id)
    assert code(await shop.desk.propose(by_order, wanted())) == "forbidden"
    for by in (shop.by(eve), shop.by(viewer), by_order):
        for state in (OrderState.ACTIVE, OrderState.PAUSED, OrderState.DELETED):
            assert code(await shop.desk.move(by, order.id, state)) == "forbidden"
        assert code(await shop.desk.change(by, order.id, OrderChanges(name="x"))) == "forbidden"
        assert code(await shop.desk.run_now(by, order.id, key_ms=1)) == "forbidden"
    assert (await shop.now(order)).revision == 0
    for by in (shop.by(bob), shop.by()):
        assert isinstance(await shop.desk.move(by, order.id, OrderState.ACTIVE), StandingOrder)
    await write(shop.db, "UPDATE standing_orders SET created_by = :id", id=viewer.id)
    assert code(await shop.desk.move(shop.by(viewer), order.id, OrderState.PAUSED)) == "forbidden"


async def test_it_reports_to_a_conversation_of_ones_own(shop: Shop) -> None:
    """Or to a new one; a colleague's is as if it were not there."""
    bob = await shop.colleague()
    theirs = Asker(user=bob, conversation_id=shop.conversation_id)
    assert code(await shop.desk.propose(theirs, wanted())) == "not_found"
    order = await shop.active(by=bob)
    assert order.conversation_id != shop.conversation_id
    await shop.due_since(order, 60_000)
    await shop.tick()
    assert await rows(
        shop.db, "SELECT user_id, conversation_id, platform, channel, sender FROM turns"
        " WHERE order_id <> ''"
    ) == [(bob.id, order.conversation_id, "api", bob.id, bob.id)]  # fmt: skip


async def test_the_same_wish_is_stored_once(shop: Shop) -> None:
    """A command that is run again after a crash finds its proposal."""
    first = await shop.desk.propose(shop.by(), wanted(), key="turn_1")
    again = await shop.desk.propose(shop.by(), wanted(), key="turn_1")
    other = await shop.desk.propose(shop.by(), wanted(), key="turn_2")
    assert first == again
    assert isinstance(other, StandingOrder)
    assert len(await shop.desk.listed(shop.admin.tenant_id)) == 2


async def test_run_now(shop: Shop) -> None:
    """Once a wish, beside the schedule, also while it is paused; never two at once."""
    order = await shop.proposed()
    assert code(await shop.desk.run_now(shop.by(), order.id, key_ms=7)) == "not_confirmed"
    order = await shop.active()
    await shop.desk.move(shop.by(), order.id, OrderState.PAUSED)
    run = await shop.desk.run_now(shop.by(), order.id, key_ms=7)
    assert isinstance(run, OrderRun)
    assert (run.state, run.manual, run.due_at_ms) == ("started", True, 7)
    assert run.turn_id
    assert await shop.desk.run_now(shop.by(), order.id, key_ms=7) == run
    assert code(await shop.desk.run_now(shop.by(), order.id, key_ms=8)) == "still_running"
    assert code(await shop.desk.run_now(shop.by(), "ord_0", key_ms=8)) == "not_found"
    assert len(await rows(shop.db, TURNS)) == 1
    assert (await shop.now(order)).next_run_at_ms is None


async def sells(shop: Shop) -> None:
    """From now on plans limit: the free one allows two standing orders."""
    await SqlPlans(shop.db, Hands(), "USD", Party(name="IT0")).seed()
    await shop.db.transaction(switch, on=True)


async def test_the_plan_limits_active_and_paused_orders(db: Database) -> None:
    """Also when several are confirmed at once; deleting one makes room (without plans: no limit)."""
    shop = await opened_shop(db)
    extra = await shop.active()
    await sells(shop)
    proposals = [await shop.proposed() for _ in range(3)]
    moved = await asyncio.gather(
        *(shop.desk.move(shop.by(), order.id, OrderState.ACTIVE) for order in proposals)
    )
    full = [answer for answer in moved if isinstance(answer, Rejected)]
    assert [answer.code for answer in full] == ["limit_reached"] * 2
    assert full[0].sentence.startswith("The Free plan allows 2 standing orders")
    assert "`/upgrade`" in full[0].sentence
    left = [order for order in proposals if (await shop.now(order)).next_run_at_ms is None]
    await shop.desk.move(shop.by(), extra.id, OrderState.PAUSED)
    assert code(await shop.desk.move(shop.by(), left[0].id, OrderState.ACTIVE)) == "limit_reached"
    assert not isinstance(await shop.desk.move(shop.by(), extra.id, OrderState.ACTIVE), Rejected)
    await shop.desk.move(shop.by(), extra.id, OrderState.DELETED)
    assert not isinstance(await shop.desk.move(shop.by(), left[0].id, OrderState.ACTIVE), Rejected)


async def test_proposals_do_not_pile_up(shop: Shop) -> None:
    """A model that proposes without end is stopped."""
    for _ in range(MOST_PROPOSED):
        await shop.proposed()
    assert code(await shop.desk.propose(shop.by(), wanted())) == "too_many_orders"


async def test_another_teams_order_is_not_there(shop: Shop) -> None:
    """Neither to be read nor to be changed."""
    order = await shop.active()
    await write(shop.db, "UPDATE standing_orders SET tenant_id = 'ten_other'")
    await write(shop.db, "UPDATE order_runs SET tenant_id = 'ten_other'")
    tenant = shop.admin.tenant_id
    assert await shop.desk.listed(tenant) == ()
    assert await shop.desk.find(tenant, order.id) is None
    assert await shop.desk.runs(tenant, order.id, 9) == ()
    for state in OrderState:
        assert code(await shop.desk.move(shop.by(), order.id, state)) == "not_found"
    assert code(await shop.desk.change(shop.by(), order.id, OrderChanges())) == "not_found"
    assert code(await shop.desk.run_now(shop.by(), order.id, key_ms=1)) == "not_found"
