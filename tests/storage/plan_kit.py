"""What the tests of plans share: a team, a clock that is moved, usage and payments by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from billing.desk import Changed, Quote
from billing.invoices import Invoice, Party
from billing.money import Money
from billing.periods import DAY_MS, Period, month_of
from billing.quota import Limits
from billing.subscriptions import Segment, Subscription
from core.refusals import Rejected
from core.tenants import User
from storage import quota
from storage.admission import ensure_counter
from storage.database import Database, execute
from storage.invoices import load, receive
from storage.ledger import credit_of
from storage.plans import SqlPlans
from storage.subscriptions import current, limits_for, renew, segments
from tests.storage.kit import install
from tests.storage.racing import rows

NOVEMBER = month_of(1_795_000_000_000)
"""2026: 30 days."""
DECEMBER = month_of(NOVEMBER.end_ms)
START = NOVEMBER.start_ms
HOUR = 3_600_000
SELLER = Party(name="IT0 Ltd")


class Hands:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        """At the start of the month."""
        self.at = START

    def now_ms(self) -> int:
        """Where the hands stand."""
        return self.at


@dataclass(frozen=True, kw_only=True)
class Shop:
    """An installation that sells plans to one team."""

    db: Database
    clock: Hands
    plans: SqlPlans
    admin: User
    payments: list[str] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        """The team."""
        return self.admin.tenant_id

    def day(self, day: float) -> None:
        """Set the clock to a day of November, counted from 0."""
        self.clock.at = START + int(day * DAY_MS)

    async def quote(self, plan: str) -> Quote:
        """A quote; it must be possible."""
        quote = await self.plans.quote(self.tenant, plan, user_id=self.admin.id)
        assert isinstance(quote, Quote), quote
        return quote

    async def refused(self, plan: str) -> str:
        """The code with which a quote is refused."""
        answer = await self.plans.quote(self.tenant, plan, user_id=self.admin.id)
        assert isinstance(answer, Rejected)
        assert answer.sentence
        return answer.code

    async def confirm(self, quote: Quote) -> Changed:
        """Confirm it; it must be possible."""
        changed = await self.plans.confirm(self.tenant, quote.id, user_id=self.admin.id)
        assert isinstance(changed, Changed), changed
        return changed

    async def order(self, plan: str) -> Invoice:
        """Quote and confirm an upgrade; the invoice."""
        changed = await self.confirm(await self.quote(plan))
        assert changed.invoice is not None
        return changed.invoice

    async def pay(self, invoice: Invoice, amount: int | None = None) -> str:
        """Money for an invoice comes in."""
        self.payments.append(f"pay_{len(self.payments)}")
        money = Money(invoice.due if amount is None else amount, invoice.currency)
        return await self.db.transaction(
            receive, invoice.id, self.payments[-1], "card", money, self.clock.at
        )

    async def buy(self, plan: str) -> Invoice:
        """Upgrade, paid at once."""
        invoice = await self.order(plan)
        assert await self.pay(invoice) == "invoice"
        return await self.invoice(invoice)

    async def give(self, amount: int) -> None:
        """Put money on the balance: a payment for an invoice that is void."""
        invoice = await self.order("enterprise")
        await self.plans.confirm(
            self.tenant, (await self.quote("enterprise")).id, user_id=self.admin.id
        )
        assert await self.pay(invoice, amount) == "balance"

    async def invoice(self, invoice: Invoice) -> Invoice:
        """As it stands now."""
        found = await self.db.read(load, self.tenant, invoice.id)
        assert found is not None
        return found

    async def now(self) -> Subscription:
        """The live subscription."""
        return await self.db.transaction(current, self.tenant, self.clock.at)

    async def renew(self) -> Subscription:
        """The run comes by."""
        return await self.db.transaction(renew, await self.now(), self.clock.at)

    async def use(self, tokens: int, month: Period = NOVEMBER) -> None:
        """Tokens are used on the installation's account."""
        await self.db.transaction(ensure_counter, self.tenant, self.clock.at)
        await self.db.transaction(
            quota.count,
            self.tenant,
            month,
            used=tokens,
            held=0,
            own_key=False,
            at_ms=self.clock.at,
        )

    async def limits(self, month: Period = NOVEMBER) -> Limits:
        """Of a month."""
        return await self.db.transaction(limits_for, self.tenant, month, self.clock.at)

    async def segments(self, month: Period = NOVEMBER) -> Sequence[Segment]:
        """Of a month."""
        return await self.db.read(segments, self.tenant, month)

    async def credit(self) -> int:
        """What the team has with us."""
        return await self.db.read(credit_of, self.tenant, "USD")

    async def events(self, kind: str) -> list[object]:
        """The payloads of what was published."""
        sql = "SELECT payload FROM outbox WHERE kind = :kind ORDER BY seq"
        return [row[0] for row in await rows(self.db, sql, kind=kind)]

    async def write(self, sql: str, **params: str | int) -> None:
        """Run one statement and commit it."""

        def run(conn: sa.Connection) -> None:
            execute(conn, sql, **params)

        await self.db.transaction(run)


async def shop(db: Database, *, currency: str = "USD") -> Shop:
    """A seeded installation with one team, at the first second of November."""
    admin, clock = await install(db), Hands()
    plans = SqlPlans(db, clock, currency, SELLER)
    await plans.seed()
    return Shop(db=db, clock=clock, plans=plans, admin=admin)
