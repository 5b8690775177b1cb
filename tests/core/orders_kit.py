"""A desk of standing orders in memory, for the tests of what speaks to one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from core.refusals import Rejected
from core.standing_orders import (
    STILL_RUNNING,
    UNKNOWN_ORDER,
    Asker,
    NewOrder,
    OrderRun,
    OrderState,
    RunState,
    StandingOrder,
    checked,
    may_change,
    may_propose,
)

NOW_MS = 1_795_000_000_000
"""18 November 2026, 11:06:40 UTC; a Wednesday."""


class Still:
    """A clock that stands."""

    def now_ms(self) -> int:
        """Always the same."""
        return NOW_MS


def new_order(  # what a test may want to differ
    *,
    prompt: str = "How full are the disks?",
    cron: str = "0 8 * * MON-FRI",
    timezone: str = "Europe/Berlin",
    misfire: str = "",
    only_if: str = "",
) -> NewOrder:
    """An order as somebody asks for it."""
    made = checked(
        name="Disks",
        prompt=prompt,
        cron=cron,
        timezone=timezone,
        misfire=misfire,
        only_if=only_if,
    )
    assert isinstance(made, NewOrder), made
    return made


def stored(new: NewOrder | None = None, *, order_id: str = "ord_1", by: str = "u") -> StandingOrder:
    """An active order."""
    new = new or new_order()
    return StandingOrder(
        id=order_id,
        tenant_id="t",
        name=new.name,
        created_by=by,
        conversation_id="c",
        prompt=new.prompt,
        schedule=new.schedule,
        misfire=new.misfire,
        condition=new.condition,
        budget_tokens=new.budget_tokens,
        next_run_at_ms=NOW_MS,
        state=OrderState.ACTIVE,
        problem="",
        failures=0,
        revision=0,
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )


@dataclass
class MemoryDesk:
    """Implements ``OrderDesk`` for one team."""

    orders: dict[str, StandingOrder] = field(default_factory=dict)
    ran: list[OrderRun] = field(default_factory=list)

    async def listed(self, tenant_id: str) -> tuple[StandingOrder, ...]:
        """See the port."""
        kept = (order for order in self.orders.values() if order.state is not OrderState.DELETED)
        return tuple(order for order in kept if order.tenant_id == tenant_id)

    async def find(self, tenant_id: str, order_id: str) -> StandingOrder | None:
        """See the port."""
        found = [order for order in await self.listed(tenant_id) if order.id == order_id]
        return found[0] if found else None

    async def runs(self, tenant_id: str, order_id: str, most: int) -> tuple[OrderRun, ...]:
        """See the port."""
        if await self.find(tenant_id, order_id) is None:
            return ()
        return tuple(run for run in reversed(self.ran) if run.order_id == order_id)[:most]

    async def propose(self, by: Asker, new: NewOrder, *, key: str = "") -> StandingOrder | Rejected:
        """See the port."""
        refused = may_propose(by)
        if refused is not None:
            return refused
        order_id = f"ord_{key or len(self.orders)}".replace("/", "-")
        made = stored(new, order_id=order_id, by=by.user.id)
        made = replace(
            made,
            tenant_id=by.user.tenant_id,
            conversation_id=by.conversation_id,
            state=OrderState.PROPOSED,
            next_run_at_ms=None,
        )
        return self.orders.setdefault(order_id, made)

    async def move(self, by: Asker, order_id: str, state: OrderState) -> StandingOrder | Rejected:
        """See the port."""
        order = await self.find(by.user.tenant_id, order_id)
        if order is None:
            return UNKNOWN_ORDER
        refused = may_change(by, order)
        if refused is not None:
            return refused
        self.orders[order_id] = replace(order, state=state, problem="")
        return self.orders[order_id]

    async def run_now(self, by: Asker, order_id: str, *, key_ms: int) -> OrderRun | Rejected:
        """See the port."""
        order = await self.find(by.user.tenant_id, order_id)
        if order is None:
            return UNKNOWN_ORDER
        if any(run.state is RunState.STARTED for run in self.ran):
            return STILL_RUNNING
        self.ran.append(run_of(order_id, key_ms, RunState.STARTED, manual=True))
        return self.ran[-1]


def run_of(
    order_id: str, due_ms: int, state: RunState, reason: str = "", *, manual: bool = False
) -> OrderRun:
    """What became of a due time."""
    return OrderRun(
        order_id=order_id,
        due_at_ms=due_ms,
        state=state,
        turn_id="turn_1" if state in {RunState.STARTED, RunState.ENDED} else None,
        reason=reason,
        manual=manual,
        created_at_ms=NOW_MS,
    )
