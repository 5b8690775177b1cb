"""Processes and people that get in each other's way over the same standing orders."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from core.refusals import Rejected
from core.standing_orders import OrderChanges, OrderState, StandingOrder
from storage.audit import SqlAudit
from storage.database import Database
from tests.storage.orders_kit import KEY, Shop, opened_shop, wanted
from tests.storage.racing import rows
from tests.storage.test_announcements import write

ALLOWED = {"still_running", "not_found", "conflict", "not_confirmed"}
OVERDUE = (
    "UPDATE standing_orders SET next_run_at = {now} - :ago"
    " WHERE id = :id AND next_run_at IS NOT NULL"
)
ENDINGS = [("answered", ""), ("failed", "overloaded"), ("failed", "bad_key")]


async def meddle(shop: Shop, orders: list[StandingOrder], chance: Random) -> None:
    """Forty moves of a loop or a person."""
    desk, by = shop.desk, shop.by()
    for _ in range(40):
        order = chance.choice(orders)
        answer: object
        match chance.randrange(8):
            case 0:
                answer = await desk.run_now(by, order.id, key_ms=chance.randrange(1, 10**6))
            case 1:
                answer = await desk.move(by, order.id, OrderState.PAUSED)
            case 2:
                answer = await desk.move(by, order.id, OrderState.ACTIVE)
            case 3:
                minute = f"{chance.randrange(60)} * * * *"
                answer = await desk.change(by, order.id, OrderChanges(cron=minute))
            case 4:
                await shop.over(*chance.choice(ENDINGS))
                continue
            case 5:
                await write(shop.db, OVERDUE, id=order.id, ago=chance.randrange(1, 100_000))
                continue
            case _:
                await shop.tick()
                continue
        if isinstance(answer, Rejected):
            assert answer.code in ALLOWED, answer


@pytest.mark.slow
async def test_whatever_the_order_of_events(db: Database) -> None:
    """No deadlock, no fault; each run has its one turn, and the audit chain holds."""
    shop = await opened_shop(db)
    orders = [await shop.active(wanted(cron="*/5 * * * *")) for _ in range(3)]
    await asyncio.gather(*(meddle(shop, orders, Random(seed)) for seed in range(5)))
    await shop.over()
    await shop.tick()
    await shop.over()
    await shop.runs.settle(200)
    started = await rows(
        db, "SELECT r.turn_id, COUNT(t.id) FROM order_runs r LEFT JOIN turns t"
        " ON t.id = r.turn_id AND t.order_id = r.order_id"
        " AND t.event_id = 'order/' || r.order_id || '/' || CAST(r.due_at AS TEXT)"
        " WHERE r.state IN ('started', 'ended') GROUP BY r.order_id, r.due_at, r.turn_id"
    )  # fmt: skip
    assert len(started) > 5
    assert {count for _, count in started} == {1}
    assert await rows(db, "SELECT COUNT(*) FROM turns WHERE order_id <> ''") == [(len(started),)]
    assert await rows(db, "SELECT COUNT(*) FROM order_runs WHERE state = 'started'") == [(0,)]
    astray = "SELECT id FROM standing_orders WHERE (state = 'active') <> (next_run_at IS NOT NULL)"
    assert await rows(db, astray) == []
    assert await SqlAudit(db, KEY).verify() == {}
