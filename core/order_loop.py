"""The loop that finds standing orders that are due. Any number of processes may run it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from core import telemetry
from core.errors import StorageFailure
from core.order_runs import Firing, firing
from core.schedule import BadSchedule
from core.standing_orders import OrderProblem, StandingOrder

TICK_S: Final = 5.0
STARTED_A_TICK: Final = 100
"""After a long downtime the runs of many orders are spread: 1,200 a minute. As many must be
able to begin at eight, or the last of them would be late (``core.order_runs.GRACE_MS``)."""
SETTLED_A_TICK: Final = 200
REALIGN_TICKS: Final = 120
"""How often next times are found anew (10 minutes): clocks are set, zones change their rules."""

_log = structlog.get_logger()


class DueOrders(Protocol):
    """The orders that are due, whoever else looks for them."""

    async def due(self, most: int) -> tuple[int, tuple[StandingOrder, ...]]:
        """The database's time and the active orders that are due, the oldest first."""

    async def fire(self, order: StandingOrder, firing: Firing) -> OrderProblem | None:
        """Carry out what was decided, unless somebody did; or why the order must pause."""

    async def pause(self, order: StandingOrder, problem: OrderProblem) -> None:
        """Pause it and tell whoever asked for it, or the admins."""

    async def settle(self, most: int) -> int:
        """Note the ends of runs, and pause what failed too often; how many there were."""

    async def realign(self) -> int:
        """Find the next times anew; how many had another one."""


@dataclass(slots=True)
class OrderLoop:
    """Makes turns of what is due."""

    store: DueOrders
    wake: Callable[[], None]
    """Tells this process's scheduler that there is a turn."""
    most: int = STARTED_A_TICK

    async def run(self) -> None:
        """Until it is cancelled."""
        ticks = 0
        while True:
            try:
                if ticks % REALIGN_TICKS == 0:
                    await self.store.realign()
                await self.tick()
            except StorageFailure:
                _log.warning("orders.storage_failed")
            except Exception:  # noqa: BLE001  # a background loop must outlive every bug
                telemetry.LOOP_ERRORS.labels("orders").inc()
                _log.exception("orders.failed")
            ticks += 1
            await asyncio.sleep(TICK_S)

    async def tick(self) -> int:
        """Settle what ended, start what is due; how many orders were due."""
        await self.store.settle(SETTLED_A_TICK)
        now_ms, orders = await self.store.due(self.most)
        for order in orders:
            await self._one(order, now_ms)
        if orders:
            self.wake()
        return len(orders)

    async def _one(self, order: StandingOrder, now_ms: int) -> None:
        """One order; what is wrong with it must not hold up the others."""
        try:
            decided = await asyncio.to_thread(_decided, order, now_ms)
            problem = await self.store.fire(order, decided)
        except BadSchedule:
            problem = OrderProblem.SCHEDULE
        except StorageFailure:
            raise
        except Exception:  # noqa: BLE001  # one order's bug is not the others'
            telemetry.LOOP_ERRORS.labels("orders").inc()
            _log.exception("order.failed", order=order.id)
            return
        if problem is not None:
            _log.warning("order.paused", order=order.id, problem=str(problem))
            await self.store.pause(order, problem)


def _decided(order: StandingOrder, now_ms: int) -> Firing:
    if order.next_run_at_ms is None:
        message = "an order that is due has no due time"
        raise ValueError(message)
    return firing(order, order.next_run_at_ms, now_ms)
