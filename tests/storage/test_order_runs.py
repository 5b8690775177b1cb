"""Due times become turns, once each, on both databases."""

from __future__ import annotations

import pytest

from core.standing_orders import OrderState
from storage.database import Database
from tests.storage.orders_kit import RUNS, TURNS, Shop, opened_shop, wanted
from tests.storage.racing import rows

MINUTE = 60_000
DAY = 86_400_000


@pytest.fixture
async def shop(db: Database) -> Shop:
    """An installation."""
    return await opened_shop(db)


async def test_a_due_time_becomes_one_turn(shop: Shop) -> None:
    """As whoever asked, in their conversation, as a message; the next time is a later one."""
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
