"""Numbers without gaps and invoices without a twin, whoever runs beside and whatever is killed."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.invoices import issue, void
from storage.postgres import PostgresDatabase
from tests.storage.billing_kit import FIRST_TICK, Firm, subscribe
from tests.storage.invoice_kit import AT, SELLER, Office, books_are_sound, numbers
from tests.storage.payment_places import migrated_url, pg
from tests.storage.racing import blocked, in_flight, rows

__all__ = ["migrated_url", "pg"]
pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[2]


class Undone(Exception):
    """Rolls a transaction back."""


async def team_of(db: Database, name: str) -> Office:
    """A team that can be billed."""
    await db.transaction(subscribe, name, "free-1", AT)
    return Office(db, name)


async def test_numbers_have_no_gaps_when_some_are_undone(pg: PostgresDatabase) -> None:
    """Eight that issue at once, a third of them rolled back after the number was taken."""
    dice = random.Random(7)  # a plan of a test
    teams = [await team_of(pg, f"ten_{n}") for n in range(8)]

    def write(conn: sa.Connection, team: Office, key: str, fail: bool) -> None:
        issue(conn, team.draft(key, 1_000), AT, SELLER)
        if fail:
            raise Undone

    async def work(team: Office) -> int:
        kept = 0
        for n in range(12):
            fail = dice.random() < 1 / 3
            try:
                await pg.transaction(write, team, f"{team.tenant_id}/{n}", fail)
                kept += 1
            except Undone:
                continue
        return kept

    made = sum(await asyncio.gather(*(work(team) for team in teams)))
    assert await numbers(pg) == [f"IT0-2026-{n:06}" for n in range(1, made + 1)]
    assert 0 < made < 96
    await books_are_sound(pg)


async def test_of_two_that_issue_the_same_one_waits(pg: PostgresDatabase) -> None:
    """The second one gets the first one's invoice, whose number alone is taken."""
    team = await team_of(pg, "ten")
    async with in_flight(pg) as conn:
        first = await conn.run_sync(issue, team.draft("k", 5_000), AT, SELLER)
        second = asyncio.create_task(team.issued("k", 5_000))
        await blocked(pg)
    assert await second == first
    assert await numbers(pg) == ["IT0-2026-000001"]
    assert await team.account("receivable") == 5_000


async def test_a_payment_waits_for_what_closes_the_invoice(pg: PostgresDatabase) -> None:
    """It finds the invoice void: the money goes to the balance."""
    team = await team_of(pg, "ten")
    bill = await team.issued("k", 5_000)
    async with in_flight(pg) as conn:
        await conn.run_sync(void, bill, AT)
        late = asyncio.create_task(team.receive(bill, 5_000))
        await blocked(pg)
    assert await late == "balance"
    assert await team.credit() == 5_000
    await books_are_sound(pg)


async def test_of_two_payments_at_once_one_pays(pg: PostgresDatabase) -> None:
    """Each is booked; one pays, the other is the customer's."""
    team = await team_of(pg, "ten")
    bill = await team.issued("k", 5_000)
    paid = await asyncio.gather(*(team.receive(bill, 5_000) for _ in range(4)))
    assert sorted(paid) == ["balance", "balance", "balance", "invoice"]
    assert await team.credit() == 15_000
    await books_are_sound(pg)


async def test_a_balance_is_used_once(pg: PostgresDatabase) -> None:
    """Two invoices that are issued at once share it."""
    team = await team_of(pg, "ten")
    await team.issued("credit", -5_000)
    bills = await asyncio.gather(*(team.issued(f"k{n}", 4_000) for n in range(3)))
    assert sum(bill.from_balance for bill in bills) == 5_000
    assert await team.credit() == 0
    await books_are_sound(pg)


_RUN = """
import asyncio, sys
from storage.billing_run import BillingRun
from storage.postgres import PostgresDatabase
from core.clock import SystemClock
from billing.invoices import Party
async def main():
    db = PostgresDatabase(sys.argv[1], size=2)
    print("up", flush=True)
    print(await BillingRun(db, SystemClock(), Party(name="S")).run(int(sys.argv[2])))
    await db.close()
asyncio.run(main())
"""


async def until(db: Database, invoices: int) -> None:
    """Wait for others to issue so many."""
    for _ in range(6_000):
        if len(await numbers(db)) >= invoices:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the runs did not come on")


@pytest.mark.slow
async def test_runs_that_are_killed_bill_each_team_once(
    pg: PostgresDatabase, migrated_url: str
) -> None:
    """Two processes bill at once, one after the other is killed, until one comes to the end."""
    firm, teams = Firm(pg), 90
    for n in range(teams):
        await firm.team(f"ten_{n:03}", used=1_100_000)

    async def process() -> asyncio.subprocess.Process:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _RUN, migrated_url, str(FIRST_TICK)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert started.stdout is not None
        assert await started.stdout.readline() == b"up\n"
        return started

    killed = 0
    while len(await numbers(pg)) < teams * 2 // 3:
        pair = [await process(), await process()]
        before = len(await numbers(pg))
        await until(pg, min(before + 20, teams))
        for one in pair:
            if one.returncode is None:
                one.kill()
                killed += 1
            await one.wait()
    assert killed > 1
    await firm.run(FIRST_TICK)
    assert await numbers(pg) == [f"IT0-2026-{n:06}" for n in range(1, teams + 1)]
    billed = "SELECT COUNT(DISTINCT tenant_id) FROM invoices"
    assert await rows(pg, billed) == [(teams,)]
    await books_are_sound(pg)
