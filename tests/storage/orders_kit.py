"""What the tests of standing orders share: people, a conversation, an order, its due times."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from core.order_loop import STARTED_A_TICK, OrderLoop
from core.standing_orders import Asker, NewOrder, OrderState, StandingOrder, checked
from core.tenants import Role, User
from storage.database import Database
from storage.order_runs import SqlOrderRuns
from storage.orders import SqlOrders
from storage.people import SqlPeople
from tests.storage.kit import accept, answer, install, message
from tests.storage.places import Places, opened
from tests.storage.racing import rows
from tests.storage.test_announcements import write

KEY = b"k" * 32
MOSTLY_LITE = ["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.slow])]
"""A database of PostgreSQL takes a second to make: in the fast suite few tests have one."""
TURNS = "SELECT event_id, user_id, text, kind, conversation_id FROM turns WHERE order_id <> ''"
RUNS = "SELECT due_at, state, reason FROM order_runs ORDER BY due_at"


def wanted(  # what a test may want to differ
    *,
    prompt: str = "How full are the disks?",
    cron: str = "0 8 * * *",
    timezone: str = "Europe/Berlin",
    misfire: str = "",
    only_if: str = "",
) -> NewOrder:
    """An order as somebody asks for it."""
    new = checked(
        name="Disks",
        prompt=prompt,
        cron=cron,
        timezone=timezone,
        misfire=misfire,
        only_if=only_if,
    )
    assert isinstance(new, NewOrder), new
    return new


@dataclass(frozen=True, kw_only=True)
class Shop:
    """An installation whose admin had a conversation."""

    db: Database
    admin: User
    conversation_id: str

    @property
    def desk(self) -> SqlOrders:
        """Where orders are changed."""
        return SqlOrders(self.db, KEY)

    @property
    def runs(self) -> SqlOrderRuns:
        """Where orders that are due are found."""
        return SqlOrderRuns(self.db, KEY)

    def by(self, user: User | None = None, *, here: bool = True) -> Asker:
        """Somebody who asks."""
        place = self.conversation_id if here and user is None else ""
        return Asker(user=user or self.admin, conversation_id=place)

    async def tick(self, most: int = STARTED_A_TICK) -> int:
        """One round of the loop."""
        return await OrderLoop(self.runs, lambda: None, most).tick()

    async def colleague(self, name: str = "bob", role: Role = Role.OPERATOR) -> User:
        """Another person of the team."""
        user = await SqlPeople(self.db).add_user(
            self.admin.tenant_id, email=f"{name}@example.org", name=name, role=role
        )
        assert isinstance(user, User)
        return user

    async def proposed(self, new: NewOrder | None = None, by: User | None = None) -> StandingOrder:
        """A proposal."""
        made = await self.desk.propose(self.by(by), new or wanted())
        assert isinstance(made, StandingOrder), made
        return made

    async def active(self, new: NewOrder | None = None, by: User | None = None) -> StandingOrder:
        """A confirmed order."""
        order = await self.proposed(new, by)
        moved = await self.desk.move(self.by(by), order.id, OrderState.ACTIVE)
        assert isinstance(moved, StandingOrder), moved
        return moved

    async def due_since(self, order: StandingOrder, ago_ms: int) -> int:
        """Set the order's next due time into the past; when that was."""
        now = int(str((await rows(self.db, "SELECT {now}"))[0][0]))
        await write(
            self.db,
            "UPDATE standing_orders SET next_run_at = :at WHERE id = :id",
            at=now - ago_ms,
            id=order.id,
        )
        return now - ago_ms

    async def now(self, order: StandingOrder) -> StandingOrder:
        """As it is stored."""
        found = await self.desk.find(order.tenant_id, order.id)
        assert found is not None
        return found

    async def over(self, outcome: str = "answered", failure: str = "") -> None:
        """Every run's turn ended so."""
        await write(
            self.db,
            "UPDATE turns SET status = 'done', outcome = :outcome, failure = :failure,"
            " delivered_at = 1 WHERE order_id <> '' AND status <> 'done'",
            outcome=outcome,
            failure=failure,
        )


async def opened_shop(db: Database) -> Shop:
    """The installation."""
    admin = await install(db)
    turn = (await accept(db, message(admin, 1))).leased
    assert turn is not None
    await answer(db, turn)
    return Shop(db=db, admin=admin, conversation_id=turn.conversation_id)


@asynccontextmanager
async def shop_in(places: Places, kind: str) -> AsyncGenerator[Shop]:
    """The same in a new database of that kind."""
    async with opened(places.new(kind, "orders")) as db:
        yield await opened_shop(db)
