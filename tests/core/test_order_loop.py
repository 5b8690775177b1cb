"""The loop that finds standing orders that are due."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

import core.order_loop as module
from core.errors import StorageFailure
from core.order_loop import OrderLoop
from core.order_runs import Firing
from core.schedule import Schedule
from core.standing_orders import OrderProblem, StandingOrder
from tests.core.orders_kit import NOW_MS, stored

GONE = "the database is away"


@dataclass
class Store:
    """Due orders in memory."""

    orders: list[StandingOrder]
    breaks: list[Exception] = field(default_factory=list)
    fired: list[str] = field(default_factory=list)
    paused: list[tuple[str, OrderProblem]] = field(default_factory=list)
    settled: int = 0
    realigned: int = 0
    broken_realigns: int = 0
    problem: OrderProblem | None = None

    async def due(self, most: int) -> tuple[int, tuple[StandingOrder, ...]]:
        """See the port."""
        return NOW_MS, tuple(self.orders[:most])

    async def fire(self, order: StandingOrder, firing: Firing) -> OrderProblem | None:
        """See the port."""
        if self.breaks:
            raise self.breaks.pop()
        assert firing.run_at_ms == NOW_MS
        self.fired.append(order.id)
        return self.problem

    async def pause(self, order: StandingOrder, problem: OrderProblem) -> None:
        """See the port."""
        self.paused.append((order.id, problem))

    async def settle(self, most: int) -> int:
        """See the port."""
        self.settled += int(most > 0)
        return 0

    async def realign(self) -> int:
        """See the port."""
        self.realigned += 1
        if self.realigned <= self.broken_realigns:
            message = "a bug"
            raise ValueError(message)
        return 0


async def test_what_is_due_is_fired_and_the_scheduler_woken() -> None:
    """Ends first; nobody is woken for nothing."""
    woken: list[str] = []
    store = Store([stored(), stored(order_id="ord_2")])
    loop = OrderLoop(store, lambda: woken.append("!"))
    assert await loop.tick() == 2
    assert (store.fired, store.settled, woken) == (["ord_1", "ord_2"], 1, ["!"])
    store.orders = []
    assert await loop.tick() == 0
    assert woken == ["!"]


async def test_a_problem_pauses_the_order() -> None:
    """One that the store found, or a schedule that cannot be read."""
    broken = replace(stored(), schedule=Schedule(cron="0 8 * * *", timezone="Mars/X"))
    store = Store([broken, stored(order_id="ord_2")], problem=OrderProblem.CREATOR_LEFT)
    await OrderLoop(store, lambda: None).tick()
    assert store.paused == [
        ("ord_1", OrderProblem.SCHEDULE),
        ("ord_2", OrderProblem.CREATOR_LEFT),
    ]


async def test_one_orders_bug_is_not_the_others() -> None:
    """It is logged, and the next one runs."""
    store = Store([stored(), stored(order_id="ord_2")], breaks=[RuntimeError("a bug")])
    await OrderLoop(store, lambda: None).tick()
    assert store.fired == ["ord_2"]


async def test_the_loop_outlives_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage failure, or a bug, ends a round and nothing more."""
    monkeypatch.setattr(module, "TICK_S", 0.0)
    monkeypatch.setattr(module, "REALIGN_TICKS", 3)
    woken = asyncio.Event()
    store = Store([stored()], breaks=[StorageFailure(GONE)])
    store.broken_realigns = 1
    loop = asyncio.create_task(OrderLoop(store, woken.set).run())
    async with asyncio.timeout(10):
        await woken.wait()
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert store.fired[0] == "ord_1"
