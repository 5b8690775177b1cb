"""The monthly run: base in advance, overage in arrears, each month once, whatever happens."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from billing.invoices import InvoiceKind, InvoiceStatus, LineKind, Party
from billing.periods import DAY_MS
from billing.subscriptions import Status
from core.errors import StorageBusy
from storage import billing_run
from storage.billing_month import Closed, close_months
from storage.database import Database, execute
from storage.invoices import issue
from storage.outbox import publish
from storage.subscriptions import current
from tests.storage.billing_kit import (
    DECEMBER,
    FIRST_TICK,
    HOUR_MS,
    JANUARY,
    NOVEMBER,
    Firm,
    ms,
)
from tests.storage.invoice_kit import SELLER, Office, books_are_sound, numbers
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]


async def test_a_month_is_closed_with_base_and_overage(db: Database) -> None:
    """The new month in advance, the last tokens of the old one in arrears, an hour after its end."""
    firm = Firm(db)
    team = await firm.team("ten", used=1_200_000)
    await firm.use(team, 0, own=900_000)
    assert (await firm.run(FIRST_TICK - 1)).renewed == 0
    report = await firm.run(FIRST_TICK)
    assert (report.billed, report.renewed, report.failed) == (1, 1, 0)
    (bill,) = await firm.invoices(team)
    base, over = bill.lines
    assert (base.kind, base.amount, base.period) == (LineKind.BASE, 4_999, DECEMBER)
    assert (over.kind, over.period) == (LineKind.OVERAGE, NOVEMBER)
    assert (over.from_position, over.quantity, over.amount) == (1_000_000, 200_000, 160)
    assert (bill.kind, bill.period, bill.due) == (InvoiceKind.CYCLE, DECEMBER, 5_159)
    assert bill.due_at_ms == FIRST_TICK + 7 * DAY_MS
    live = await db.transaction(current, team, FIRST_TICK)
    assert (live.period, live.status) == (DECEMBER, Status.ACTIVE)
    await books_are_sound(db)


async def test_another_run_bills_nothing(db: Database) -> None:
    """Nothing is due any more: not at once, not at the end of the month but for an hour."""
    firm = Firm(db)
    team = await firm.team("ten", used=1_200_000)
    await firm.run(FIRST_TICK)
    for at_ms in (FIRST_TICK, FIRST_TICK + HOUR_MS, FIRST_TICK - HOUR_MS):
        assert (await firm.run(at_ms)).renewed == 0
    assert len(await firm.invoices(team)) == 1


async def test_a_free_team_without_a_bill_gets_the_next_month(db: Database) -> None:
    """No invoice, no number; also with tokens that a late settlement brought over the limit."""
    firm = Firm(db)
    team = await firm.team("ten", "free-1", used=150_000)
    report = await firm.run(FIRST_TICK)
    assert (report.billed, report.renewed) == (0, 1)
    assert await firm.invoices(team) == ()
    assert (await db.transaction(current, team, FIRST_TICK)).period == DECEMBER


async def test_missed_months_are_billed_one_by_one(db: Database) -> None:
    """After an outage each month has its invoice, in order, with numbers of the day of the run."""
    firm = Firm(db)
    team = await firm.team("ten", used=1_100_000)
    await firm.use(team, 1_050_000, DECEMBER)
    report = await firm.run(ms(2, 10, year=2027))
    assert (report.billed, report.renewed) == (3, 3)
    bills = await firm.invoices(team)
    assert [bill.number for bill in bills] == [f"IT0-2027-{n:06}" for n in (1, 2, 3)]
    amounts = [[line.amount for line in bill.lines] for bill in bills]
    assert amounts == [[4_999, 80], [4_999, 40], [4_999]]
    assert [bill.period for bill in bills[:2]] == [DECEMBER, JANUARY]
    await books_are_sound(db)


async def test_late_usage_is_billed_with_the_next_month(db: Database) -> None:
    """What was settled after the invoice stands on a line of its own, at its month's price."""
    firm = Firm(db)
    team = await firm.team("ten", used=1_200_000)
    await firm.run(FIRST_TICK)
    await firm.use(team, 30_000, NOVEMBER)
    await firm.use(team, 1_000_100, DECEMBER)
    await firm.run(JANUARY.start_ms + HOUR_MS)
    lines = (await firm.invoices(team))[1].lines
    assert [line.kind for line in lines] == [LineKind.BASE, LineKind.LATE_USAGE, LineKind.OVERAGE]
    late, over = lines[1:]
    assert (late.from_position, late.quantity, late.amount) == (1_200_000, 30_000, 24)
    assert (over.from_position, over.quantity, over.amount) == (1_000_000, 100, 0)
    await firm.run(JANUARY.end_ms + HOUR_MS)
    assert [line.kind for line in (await firm.invoices(team))[2].lines] == [LineKind.BASE]


async def test_a_month_with_uncounted_usage_waits(db: Database) -> None:
    """The run says so and closes it later; other teams, and later usage, do not wait."""
    firm = Firm(db)
    team, other = await firm.team("ten"), await firm.team("other")

    def unsent(conn: sa.Connection, call: str, tenant_id: str, at_ms: int) -> None:
        execute(
            conn,
            "INSERT INTO model_calls (id, tenant_id, conversation_id, turn_id, user_id, engine,"
            " model, state, estimated_input, max_output, created_at)"
            " VALUES (:id, :tenant, 'c', 't', 'u', 'e', 'm', 'settled', 1, 1, :at)",
            id=call,
            tenant=tenant_id,
            at=at_ms,
        )
        publish(conn, f"usage/{call}", tenant_id, "usage.recorded", {"call_id": call}, at_ms)

    await db.transaction(unsent, "early", team, DECEMBER.start_ms - 1)
    await db.transaction(unsent, "later", other, DECEMBER.start_ms)
    report = await firm.run(FIRST_TICK)
    assert (report.skipped, report.billed) == (1, 1)
    assert await firm.invoices(team) == ()
    sent = "UPDATE outbox SET sent_at = 1 WHERE id = 'usage/early'"
    await Office(db, team).write(sent)
    report = await firm.run(FIRST_TICK + HOUR_MS)
    assert (report.skipped, report.billed) == (0, 1)


async def test_a_subscription_that_ends_has_a_final_invoice(db: Database) -> None:
    """Its overage and no new month; the free plan follows from the end on."""
    firm = Firm(db)
    team = await firm.team("ten", used=1_500_000)
    await Office(db, team).write("UPDATE subscriptions SET cancel_at = period_end")
    await firm.run(FIRST_TICK + 5 * DAY_MS)
    (bill,) = await firm.invoices(team)
    assert (bill.kind, bill.period, bill.total) == (InvoiceKind.FINAL, NOVEMBER, 400)
    live = await db.transaction(current, team, FIRST_TICK)
    assert (live.version_id, live.period) == ("free-1", DECEMBER)


async def test_a_downgrade_takes_effect_with_the_month(db: Database) -> None:
    """The old plan's overage, the new plan's base."""
    firm = Firm(db)
    team = await firm.team("ten", "enterprise-1", used=11_000_000)
    await Office(db, team).write("UPDATE subscriptions SET next_version_id = 'pro-1'")
    await firm.run(FIRST_TICK)
    (bill,) = await firm.invoices(team)
    lines = [(line.version_id, line.amount) for line in bill.lines]
    assert lines == [("pro-1", 4_999), ("enterprise-1", 500)]


async def test_an_impossible_bill_is_not_issued(db: Database) -> None:
    """The operator is alarmed once, nothing of that team changes, and the others are billed."""
    firm = Firm(db)
    team, other = await firm.team("bad", used=50_000_000), await firm.team("good")
    for _ in range(2):
        report = await firm.run(FIRST_TICK)
        assert report.failed == 1
        assert report.problems[0].tenant_id == team
        assert "UnsafeInvoice" in report.problems[0].reason
    assert await firm.invoices(team) == ()
    assert len(await firm.invoices(other)) == 1
    assert (await db.transaction(current, team, FIRST_TICK)).period == NOVEMBER
    assert len(await Office(db, team).events("billing.alarm")) == 1
    assert await numbers(db) == ["IT0-2026-000001"]


async def test_a_broken_team_does_not_stop_the_run(db: Database) -> None:
    """Whatever is wrong with its rows, it is left out and reported."""
    firm = Firm(db)
    team, other = await firm.team("bad"), await firm.team("good")
    await Office(db, team).write(
        "UPDATE subscriptions SET version_id = 'x' WHERE tenant_id = 'bad'"
    )
    report = await firm.run(FIRST_TICK)
    assert (report.failed, report.billed) == (1, 1)
    assert len(await firm.invoices(other)) == 1


async def test_what_passes_by_itself_alarms_nobody(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that another one held for too long: reported, and billed by the next run."""
    firm = Firm(db)
    team, other = await firm.team("busy"), await firm.team("good")
    close = close_months

    def busy(conn: sa.Connection, tenant_id: str, at_ms: int, seller: Party) -> Closed:
        if tenant_id == team:
            message = "locked"
            raise StorageBusy(message)
        return close(conn, tenant_id, at_ms, seller)

    with monkeypatch.context() as patch:
        patch.setattr(billing_run, "close_months", busy)
        report = await firm.run(FIRST_TICK)
    assert (report.failed, report.billed) == (1, 1)
    assert await Office(db, team).events("billing.alarm") == []
    assert (await firm.run(FIRST_TICK)).billed == 1
    assert len(await firm.invoices(other)) == 1


async def test_an_upgrade_that_nobody_paid_lapses(db: Database) -> None:
    """After 23 hours it is void, keeps its number, and the plan stays."""
    firm = Firm(db)
    team = await firm.team("ten", "free-1")
    draft = Office(db, team).draft("u", 4_000, kind=InvoiceKind.UPGRADE)
    at_ms = NOVEMBER.start_ms + DAY_MS
    await db.transaction(issue, draft, at_ms, SELLER)
    assert (await firm.run(at_ms + 23 * HOUR_MS - 1)).voided == 0
    assert (await firm.run(at_ms + 23 * HOUR_MS)).voided == 1
    (bill,) = await firm.invoices(team)
    assert (bill.status, bill.number) == (InvoiceStatus.VOID, "IT0-2026-000001")
    live = await db.transaction(current, team, at_ms)
    assert (live.version_id, live.status) == ("free-1", Status.ACTIVE)
    await books_are_sound(db)


async def test_a_trial_ends_on_its_second(db: Database) -> None:
    """Unpaid it has expired, and the free plan follows."""
    firm = Firm(db)
    team = await firm.team("ten")
    end = NOVEMBER.start_ms + 14 * DAY_MS
    await Office(db, team).write(
        "UPDATE subscriptions SET status = 'trialing', trial_end = :end", end=end
    )
    assert (await firm.run(end - 1)).trials_ended == 0
    assert (await firm.run(end + 5 * HOUR_MS)).trials_ended == 1
    live = await db.transaction(current, team, end)
    assert (live.version_id, live.started_at_ms) == ("free-1", end)
    expired = "SELECT status, ended_at FROM subscriptions WHERE trial_end IS NOT NULL"
    assert await rows(db, expired) == [("expired", end)]
    assert await firm.invoices(team) == ()


async def test_tenants_are_read_page_by_page(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """More teams than a page holds: each is billed once, also while two runs go on at once."""
    monkeypatch.setattr(billing_run, "BATCH", 5)
    firm = Firm(db)
    teams = [await firm.team(f"ten_{n:02}") for n in range(12)]
    reports = await asyncio.gather(firm.run(FIRST_TICK), firm.run(FIRST_TICK))
    assert sum(report.billed for report in reports) == len(teams)
    assert sum(report.failed for report in reports) == 0
    assert await numbers(db) == [f"IT0-2026-{n:06}" for n in range(1, 13)]
    for team in teams:
        assert len(await firm.invoices(team)) == 1
    await books_are_sound(db)
