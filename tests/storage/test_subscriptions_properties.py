"""Any sequence of changes, usage and runs against a reference in exact fractions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count as count_from
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from billing.desk import Quote
from billing.invoices import Invoice, InvoiceStatus, LineKind
from billing.periods import Period, month_of
from billing.plans import SEED
from core.tenants import Role, User
from storage import quota
from storage.billing_run import BillingRun
from storage.database import Database
from storage.invoices import SqlInvoices
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.plan_kit import HOUR, SELLER, START, Shop, shop
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]
VERSIONS = {version.plan.value: version for version in SEED}
_TENANTS = count_from(1)
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([1, 61, 7_200, 86_400, 700_000, 1_500_000])),
        st.tuples(st.just("use"), st.sampled_from([1, 40_000, 99_999, 600_000, 20_000_000])),
        st.tuples(st.sampled_from(["pro", "enterprise", "free"]), st.integers(0, 1)),
        st.tuples(st.sampled_from(["cancel", "end", "back", "run"]), st.just(0)),
    ),
    max_size=14,
)


@dataclass(kw_only=True)
class Reference:
    """What a team has and owes by the rules, kept without the database."""

    at: int = START
    plan: str = "free"
    noted: str = ""
    """What it changes to at the end of the month."""
    history: list[tuple[int, str]] = field(default_factory=lambda: [(START, "free")])
    owed: Counter[int] = field(default_factory=Counter)
    """Exact prices by month, as fractions: base fees and changes within the month."""
    tokens: list[tuple[int, int, str]] = field(default_factory=list)
    """(month, first token, plan) of each use, in order."""
    used: Counter[int] = field(default_factory=Counter)
    ended_at_once: bool = False

    def advance(self, seconds: int) -> None:
        """Time passes; what was noted takes effect at the end of its month."""
        end = month_of(self.at).end_ms
        self.at += seconds * 1000
        while self.at >= end:
            if self.noted:
                self.plan, self.noted = self.noted, ""
                self.history.append((end, self.plan))
            self._owe(end, Fraction(VERSIONS[self.plan].prices["USD"].base))
            end = month_of(end).end_ms

    def buy(self, plan: str) -> None:
        """The rest of the month costs the new price; what was paid for it comes back."""
        month = month_of(self.at)
        rest = Fraction(month.end_ms - self.at, month.end_ms - month.start_ms)
        new, old = (VERSIONS[it].prices["USD"].base for it in (plan, self.plan))
        self._owe(month.start_ms, (new - old) * rest)
        self.become(plan)

    def become(self, plan: str) -> None:
        """Another plan is in effect."""
        self.plan, self.noted = plan, ""
        self.history.append((self.at, plan))

    def included(self, month: Period) -> Fraction:
        """The allowance, weighted by time; a free plan that opens the month, from its start."""
        exact = Fraction(0)
        for n, (begun, plan) in enumerate(self.history):
            until = self.history[n + 1][0] if n + 1 < len(self.history) else month.end_ms
            shared = min(until, month.end_ms) - max(begun, month.start_ms)
            if shared > 0:
                whole = month.end_ms - month.start_ms
                exact += Fraction(VERSIONS[plan].included_tokens * shared, whole)
        return exact

    def use(self, tokens: int) -> None:
        """Tokens are used under the plan of the moment."""
        month = month_of(self.at).start_ms
        self.tokens.append((month, self.used[month], self.plan))
        self.used[month] += tokens

    def plan_of(self, month: int, token: int) -> str:
        """Under which plan it was used."""
        return [plan for at, first, plan in self.tokens if at == month and first <= token][-1]

    def _owe(self, month: int, amount: Fraction) -> None:
        self.owed[month] += amount  # type: ignore[assignment]  # Counter sums fractions as well


@dataclass(kw_only=True)
class Story:
    """One team through a sequence, beside the reference."""

    team: Shop
    truth: Reference

    async def run(self, ops: list[tuple[str, int]]) -> None:
        """Each step on both; they agree after each. At the end the month is closed."""
        for op, number in ops:
            await self._step(op, number)
            await self._agrees()
        self._pass((month_of(self.truth.at).end_ms - self.truth.at) // 1000 + 7_200)
        await self._bill()
        await self._agrees()
        await self._owes_what_it_should()
        await self._overage_is_right()

    async def _step(self, op: str, number: int) -> None:
        team = self.team
        match op:
            case "pass":
                self._pass(number)
            case "use":
                await self._use(number)
            case "run":
                await self._bill()
            case "cancel":
                done = await team.plans.cancel(team.tenant, user_id="u")
                if hasattr(done, "standing"):
                    self.truth.noted = "free"
            case "end":
                done = await team.plans.cancel(team.tenant, user_id="u", at_once=True)
                if hasattr(done, "standing"):
                    self.truth.become("free")
                    self.truth.ended_at_once = True
                    await self._pay_all()
            case "back":
                done = await team.plans.reactivate(team.tenant, user_id="u")
                if hasattr(done, "standing"):
                    self.truth.noted = ""
            case plan:
                await self._change(plan, paid=bool(number))

    def _pass(self, seconds: int) -> None:
        self.truth.advance(seconds)
        self.team.clock.at = self.truth.at

    async def _use(self, tokens: int) -> None:
        """As much as the limit lets through."""
        month = month_of(self.truth.at)
        most = (await self.team.limits(month)).most
        assert most is not None
        tokens = min(tokens, most - self.truth.used[month.start_ms])
        if tokens > 0:
            await self.team.use(tokens, month)
            self.truth.use(tokens)

    async def _change(self, plan: str, *, paid: bool) -> None:
        quote = await self.team.plans.quote(self.team.tenant, plan, user_id="u")
        if not isinstance(quote, Quote):
            return
        changed = await self.team.confirm(quote)
        if quote.kind == "downgrade":
            self.truth.noted = plan
            return
        invoice = changed.invoice
        assert invoice is not None
        assert invoice.lines == quote.lines
        if invoice.status is InvoiceStatus.PAID or paid:
            if invoice.due:
                await self.team.pay(invoice)
            self.truth.buy(plan)

    async def _bill(self) -> None:
        report = await BillingRun(self.team.db, self.team.clock, SELLER).run()
        assert not report.failed, report.problems
        await self._pay_all()

    async def _pay_all(self) -> None:
        """Whatever is owed; upgrades are left to lapse."""
        for invoice in await self._invoices():
            if invoice.due and invoice.kind != "upgrade":
                await self.team.pay(invoice)

    async def _invoices(self) -> tuple[Invoice, ...]:
        page = await SqlInvoices(self.team.db, self.team.clock).invoices(self.team.tenant, limit=99)
        return page.invoices  # type: ignore[union-attr]  # the first page always is

    # -- what must agree --------------------------------------------------------------------

    async def _agrees(self) -> None:
        """Features, allowance and the stored counter of the month."""
        team, truth = self.team, self.truth
        month = month_of(truth.at)
        assert (await team.plans.limits(team.tenant)).plan == truth.plan
        limits = await team.limits(month)
        assert 0 <= truth.included(month) - limits.soft < len(truth.history) + 1
        counter = await team.db.read(quota.standing, team.tenant, truth.at)
        if counter is not None and counter.used:
            assert counter.limits == limits
        alive = "SELECT COUNT(*) FROM subscriptions WHERE tenant_id = :id AND ended_at IS NULL"
        assert await rows(team.db, alive, id=team.tenant) == [(1,)]

    async def _owes_what_it_should(self) -> None:
        """The lines of each month are within a cent a line of the exact sum."""
        net, lines = Counter[int](), Counter[int]()
        for invoice in await self._invoices():
            if invoice.status is InvoiceStatus.VOID or invoice.due:
                continue
            for line in invoice.lines:
                if line.kind not in {LineKind.OVERAGE, LineKind.LATE_USAGE}:
                    month = month_of(line.period.start_ms).start_ms
                    net[month] += line.amount
                    lines[month] += 1
        for month in {*net, *self.truth.owed}:
            assert abs(net[month] - self.truth.owed[month]) <= lines[month]

    async def _overage_is_right(self) -> None:
        """Each token over the allowance once, at the price of the plan it was used under."""
        billed: dict[int, list[tuple[int, int]]] = {}
        for invoice in await self._invoices():
            for line in invoice.lines:
                if line.kind not in {LineKind.OVERAGE, LineKind.LATE_USAGE}:
                    continue
                first, last = line.from_position, line.from_position + line.quantity - 1
                month = line.period.start_ms
                for token in (first, last):
                    plan = self.truth.plan_of(month, token)
                    assert line.version_id == VERSIONS[plan].id
                billed.setdefault(month, []).append((first, last + 1))
        for spans in billed.values():
            spans.sort()
            assert all(a[1] <= b[0] for a, b in pairwise(spans))
        if self.truth.ended_at_once:
            return  # what was billed then may be included by a plan that was bought later
        for month, used in self.truth.used.items():
            whole = month_of(month)
            if whole.end_ms <= self.truth.at - HOUR:
                self._all_billed(whole, used, billed.get(month, []))

    def _all_billed(self, month: Period, used: int, spans: list[tuple[int, int]]) -> None:
        """Nothing is forgiven; a token may be lost to rounding for each plan of the month."""
        allowance = int(self.truth.included(month))
        paid = 0
        bounds = [(first, plan) for at, first, plan in self.truth.tokens if at == month.start_ms]
        for n, (first, plan) in enumerate(bounds):
            until = bounds[n + 1][0] if n + 1 < len(bounds) else used
            if plan != "free":
                paid += max(0, until - max(first, allowance))
        assert abs(sum(end - start for start, end in spans) - paid) <= len(self.truth.history)


@pytest.fixture
async def team(db: Database) -> Shop:
    """One installation for all examples: each has a tenant of its own."""
    return await shop(db)


async def _goes_right(team: Shop, ops: list[tuple[str, int]]) -> None:
    note(str(ops))
    number = next(_TENANTS)
    tenant = f"ten_p{number}"
    await team.write("INSERT INTO tenants (id, name, created_at) VALUES (:id, 'P', 0)", id=tenant)
    admin = User(id=f"u{number}", tenant_id=tenant, email="p@e.org", name="p", role=Role.ADMIN)
    team.clock.at = START
    mine = replace(team, admin=admin)
    await mine.now()
    await Story(team=mine, truth=Reference()).run(ops)


BUSY: list[tuple[str, int]] = [
    ("use", 40_000),
    ("pass", 7_200),
    ("pro", 1),
    ("use", 20_000_000),
    ("free", 1),
    ("pass", 2_500_000),
    ("enterprise", 0),
    ("enterprise", 1),
    ("use", 600_000),
    ("pro", 1),
    ("pass", 172_800),
    ("run", 0),
    ("use", 600_000),
    ("pass", 700_000),
    ("enterprise", 1),
    ("cancel", 0),
    ("back", 0),
    ("cancel", 0),
    ("pass", 1_500_000),
    ("pass", 1_500_000),
]
"""Overage under two plans, bought on the last day; replaced downgrades, an upgrade nobody paid,
credit on a month paid in advance, an end that was taken back."""
ENDED: list[tuple[str, int]] = [
    ("pro", 1),
    ("pass", 1_500_000),
    ("use", 20_000_000),
    ("end", 0),
    ("use", 40_000),
    ("enterprise", 1),
    ("use", 600_000),
    ("pass", 1_500_000),
]
"""Ended at once over the allowance, and subscribed again in the same month."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@example(ops=BUSY)
@example(ops=ENDED)
@given(ops=OPS)
async def test_every_sequence_agrees_with_the_reference(
    team: Shop, ops: list[tuple[str, int]]
) -> None:
    """Plan, allowance, money and overage, after whatever a team did."""
    await _goes_right(team, ops)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=250)
@given(ops=OPS)
async def test_every_sequence_agrees_over_many_of_them(
    team: Shop, ops: list[tuple[str, int]]
) -> None:
    """The same, over more of them."""
    await _goes_right(team, ops)
