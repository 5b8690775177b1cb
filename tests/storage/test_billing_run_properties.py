"""Whatever is used, paid, late or repeated: each token once, each month once, books that balance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.invoices import Invoice, InvoiceKind, InvoiceStatus, Line, LineKind
from billing.money import Money
from billing.periods import DAY_MS, month_of
from storage.credit_notes import credit
from storage.database import Database
from storage.invoices import receive, reviewed
from tests.storage.billing_kit import HOUR_MS, NOVEMBER, Firm
from tests.storage.invoice_kit import Office, books_are_sound
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]

NAMES = count(1)
TOKENS = st.integers(1, 900_000)
STEP = st.one_of(
    st.tuples(st.just("use"), TOKENS),
    st.tuples(st.just("late"), TOKENS),
    st.tuples(st.just("own"), TOKENS),
    st.tuples(st.just("wait"), st.integers(1, 25)),
    st.tuples(st.just("month"), st.integers(0, 3_000_000)),
    st.tuples(st.just("run"), st.just(0)),
    st.tuples(st.just("pay"), st.integers(-500, 500)),
    st.tuples(st.just("credit"), st.integers(1, 6_000)),
    st.tuples(st.just("review"), st.just(0)),
)
STORIES = st.tuples(
    st.sampled_from(["free-1", "pro-1", "enterprise-1"]), st.lists(STEP, max_size=14)
)


class Story:
    """One team, and a clock that only goes forward."""

    def __init__(self, db: Database, plan: str) -> None:
        """Begin in November."""
        self.firm, self.plan = Firm(db), plan
        self.name = f"ten_{next(NAMES)}"
        self.at = NOVEMBER.start_ms + DAY_MS
        self.received: list[int] = []

    async def begin(self) -> None:
        """The first subscription."""
        await self.firm.team(self.name, self.plan)

    async def take(self, what: str, size: int) -> None:
        """One step; ``month``: so much is used, and its end comes."""
        month = month_of(self.at)
        before = month_of(month.start_ms - 1)
        match what:
            case "use":
                await self.firm.use(self.name, size, month)
            case "late" if before.start_ms >= NOVEMBER.start_ms:
                await self.firm.use(self.name, size // 20, before)
            case "own":
                await self.firm.use(self.name, 0, month, own=size)
            case "wait":
                self.at += size * DAY_MS
            case "month":
                await self.firm.use(self.name, size, month)
                self.at = month.end_ms + HOUR_MS
                await self.firm.run(self.at)
            case "run":
                await self.firm.run(self.at)
            case "pay" | "credit" | "review":
                await self.bill(what, size)

    async def bill(self, what: str, size: int) -> None:
        """Something happens to the oldest open invoice, or to the last one."""
        bills = await self.firm.invoices(self.name)
        bill = next((bill for bill in bills if bill.due), bills[-1] if bills else None)
        if bill is None:
            return
        if what == "credit":
            await self.firm.db.transaction(credit, bill, size, "r", "op", self.at)
        elif what == "review":
            await self.firm.db.transaction(reviewed, bill, self.at)
        else:
            amount = max(1, bill.due + size)
            self.received.append(amount)
            key = f"{self.name}/{len(self.received)}"
            money = Money(amount, "USD")
            for _ in range(2):
                await self.firm.db.transaction(receive, bill.id, key, "card", money, self.at)


def check_tokens(lines: Sequence[Line], used: int, included: int) -> None:
    """Of one month: no token twice, none left out between the first and the last one."""
    stretches = sorted((x.from_position, x.from_position + x.quantity) for x in lines)
    for (_, end), (start, _) in pairwise(stretches):
        assert end == start
    if stretches:
        assert stretches[0][0] >= included
        assert stretches[-1][1] <= used


def check_invoice(bill: Invoice) -> None:
    """It adds up, and is in a state that its figures allow."""
    assert sum(line.amount for line in bill.lines) == bill.subtotal
    assert bill.subtotal + sum(bill.line_taxes) == bill.total
    owed = bill.total - bill.from_balance - bill.paid
    match bill.status:
        case InvoiceStatus.PAID:
            assert owed - bill.credited <= 0 or bill.credited
        case InvoiceStatus.OPEN:
            assert bill.due > 0
        case InvoiceStatus.UNCOLLECTIBLE:
            assert owed - bill.credited > 0
        case _:
            pytest.fail(f"{bill.status}")


async def check(story: Story) -> None:
    """Everything that must hold of a team at any time."""
    db, name = story.firm.db, story.name
    bills = await story.firm.invoices(name)
    for bill in bills:
        check_invoice(bill)
    cycles = [bill.period for bill in bills if bill.kind is InvoiceKind.CYCLE]
    assert len(set(cycles)) == len(cycles)
    sql = (
        "SELECT period_start, used - own_used, soft, billed FROM quota_counters"
        " WHERE tenant_id = :tenant"
    )
    for start, used, soft, billed in await rows(db, sql, tenant=name):
        lines = [
            line
            for bill in bills
            for line in bill.lines
            if line.kind in {LineKind.OVERAGE, LineKind.LATE_USAGE}
            and line.period.start_ms == start
        ]
        assert isinstance(used, int)
        assert isinstance(soft, int)
        assert isinstance(billed, int)
        assert billed <= used
        check_tokens(lines, billed, soft)
        if story.plan == "pro-1" and start == NOVEMBER.start_ms:
            assert sum(line.quantity for line in lines) == max(0, billed - 1_000_000)
    assert await Office(db, name).account("clearing:card") == sum(story.received)
    await books_are_sound(db)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=STORIES)
async def test_any_story_leaves_sound_books(
    db: Database, told: tuple[str, list[tuple[str, int]]]
) -> None:
    """And a run that is repeated at the end changes nothing."""
    await play(db, told)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=STORIES)
async def test_many_stories_leave_sound_books(
    db: Database, told: tuple[str, list[tuple[str, int]]]
) -> None:
    """The same, longer."""
    await play(db, told)


async def play(db: Database, told: tuple[str, list[tuple[str, int]]]) -> None:
    """Tell one story, checking after the run and at the end."""
    plan, steps = told
    story = Story(db, plan)
    await story.begin()
    for what, size in steps:
        await story.take(what, size)
        if what in {"run", "month"}:
            await check(story)
    story.at += 2 * HOUR_MS
    await story.firm.run(story.at)
    await check(story)
    before = await story.firm.invoices(story.name)
    report = await story.firm.run(story.at)
    assert (report.billed, report.renewed, report.reminded, report.given_up) == (0, 0, 0, 0)
    assert await story.firm.invoices(story.name) == before
    numbers = await rows(db, "SELECT number FROM invoices ORDER BY number")
    for year in ("2026", "2027", "2028", "2029"):
        series = [str(row[0]) for row in numbers if f"-{year}-" in str(row[0])]
        assert series == [f"IT0-{year}-{n:06}" for n in range(1, len(series) + 1)]
