"""Several workers and several clicks at once: each payment is begun and booked once."""

from __future__ import annotations

import asyncio

import pytest

from billing.payment_service import PaymentService
from billing.payment_store import Begun, Wanted
from billing.payments import Providers
from storage.payments import SqlPayments, _apply, _begin
from storage.postgres import PostgresDatabase
from tests.fakes.payments import Held
from tests.storage.payment_kit import MINUTE, till
from tests.storage.payment_places import migrated_url, pg
from tests.storage.racing import blocked, in_flight, rows

__all__ = ["migrated_url", "pg"]


@pytest.mark.postgres
async def test_the_second_click_waits_for_the_first(pg: PostgresDatabase) -> None:
    """It sees the row that the first one commits, and uses it."""
    shop = await till(pg)
    wanted = Wanted(tenant_id=shop.admin.tenant_id, invoice="inv_1", provider="card")
    at = shop.clock.now_ms()
    async with in_flight(pg) as conn:
        first = await conn.run_sync(_begin, wanted, at)
        late = asyncio.create_task(shop.store.begin(wanted, at))
        await blocked(pg)
    second = await late
    assert isinstance(first, Begun)
    assert isinstance(second, Begun)
    assert second.payment.id == first.payment.id


@pytest.mark.postgres
async def test_the_second_news_wait_for_the_first(pg: PostgresDatabase) -> None:
    """The money is booked when they are weighed: they change nothing."""
    shop = await till(pg)
    payment, held = await shop.held()
    shop.card.pay(held)
    news, at = await shop.card.status(held.id), shop.clock.now_ms()
    async with in_flight(pg) as conn:
        await conn.run_sync(_apply, payment.id, news, "", at, None)
        late = asyncio.create_task(shop.store.apply(payment.id, news, "", at))
        await blocked(pg)
    assert str((await late).verdict) == "ignore"
    assert len(await shop.events("payment.received")) == 1


@pytest.mark.postgres
async def test_news_without_money_wait_as_well(pg: PostgresDatabase) -> None:
    """A decline that is weighed while the money is booked finds it booked."""
    shop = await till(pg)
    payment, held = await shop.held()
    shop.card.decline(held)
    declined, at = await shop.card.status(held.id), shop.clock.now_ms()
    shop.card.pay(held)
    paid = await shop.card.status(held.id)
    async with in_flight(pg) as conn:
        await conn.run_sync(_apply, payment.id, paid, "", at, None)
        late = asyncio.create_task(shop.store.apply(payment.id, declined, "", at))
        await blocked(pg)
    assert str((await late).verdict) == "look up"


@pytest.mark.postgres
async def test_many_workers_book_each_payment_once(pg: PostgresDatabase) -> None:
    """Four of them at once, over notifications and polls of the same payments."""
    shop = await till(pg, invoices=8)
    held: list[Held] = [(await shop.held(f"IT0-2026-{number:06}"))[1] for number in range(1, 9)]
    for one in held:
        sent = shop.card.pay(one)
        assert await shop.service.notified("card", sent.body, sent.headers) is None
    shop.clock.at += MINUTE
    ways = Providers(by_name={"card": shop.card})
    workers = [PaymentService(SqlPayments(pg), ways, shop.clock) for _ in range(4)]
    await asyncio.gather(*(worker.work() for worker in workers))
    await shop.work()
    assert len(await shop.events("payment.received")) == len(held)
    paid = "SELECT COUNT(*) FROM invoices WHERE status = 'paid' AND paid = total"
    assert await rows(pg, paid) == [(8,)]
    assert await shop.balance() == 0


@pytest.mark.postgres
async def test_news_of_two_workers_at_once_book_once(pg: PostgresDatabase) -> None:
    """The same success, weighed by several transactions in the same moment."""
    shop = await till(pg)
    payment, held = await shop.held()
    shop.card.pay(held)
    news = await shop.card.status(held.id)
    each = [shop.store.apply(payment.id, news, "", shop.clock.now_ms()) for _ in range(4)]
    verdicts = sorted(str(weighed.verdict) for weighed in await asyncio.gather(*each))
    assert verdicts == ["ignore"] * 3 + ["rise"]
    assert len(await shop.events("payment.received")) == 1
    assert await shop.balance() == 0


@pytest.mark.postgres
async def test_two_who_pay_at_once_get_one_payment(pg: PostgresDatabase) -> None:
    """A double click: the same row, the same key, one session at the provider."""
    shop = await till(pg)
    both = await asyncio.gather(shop.pay(), shop.pay())
    assert both[0].id == both[1].id
    assert len(shop.card.held) == 1
