"""What the tests of invoices share: a team with a subscription, drafts, and what was booked."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from billing.invoices import Draft, Invoice, InvoiceKind, Line, LineKind, Party
from billing.money import Money
from billing.periods import month_of
from storage.database import Database, execute
from storage.invoices import issue, load, receive
from storage.ledger import balance
from storage.subscriptions import current
from tests.storage.kit import install
from tests.storage.racing import rows

AT = 1_795_000_000_000
"""In November 2026."""
MONTH = month_of(AT)
SELLER = Party(name="IT0 Ltd", address="1 Street", tax_number="T1")


def line(amount: int, kind: LineKind = LineKind.BASE) -> Line:
    """A line over that amount."""
    return Line(
        kind=kind,
        version_id="pro-1",
        period=MONTH,
        quantity=1,
        unit_minor=amount,
        amount=amount,
    )


@dataclass(slots=True)
class Office:
    """A team whose invoices are written by hand."""

    db: Database
    tenant_id: str
    payments: int = field(default=0)

    def draft(
        self,
        key: str,
        *amounts: int,
        kind: InvoiceKind = InvoiceKind.CYCLE,
        tax_rate: int = 0,
    ) -> Draft:
        """A draft with lines over those amounts."""
        return Draft(
            key=key,
            tenant_id=self.tenant_id,
            subscription_id="sub_1",
            kind=kind,
            currency="USD",
            period=MONTH,
            lines=tuple(line(amount) for amount in amounts),
            tax_rate=tax_rate,
        )

    async def issued(
        self, key: str, *amounts: int, kind: InvoiceKind = InvoiceKind.CYCLE, tax_rate: int = 0
    ) -> Invoice:
        """An invoice over those amounts."""
        draft = self.draft(key, *amounts, kind=kind, tax_rate=tax_rate)
        return await self.db.transaction(issue, draft, AT, SELLER)

    async def receive(
        self, invoice: Invoice, amount: int, *, currency: str = "USD", payment: str = ""
    ) -> str:
        """A payment arrives; each has an id of its own unless one is given."""
        self.payments += 1
        number = payment or f"pay_{self.payments}"
        money = Money(amount, currency)
        return await self.db.transaction(receive, invoice.id, number, "card", money, AT + 1)

    async def now(self, invoice: Invoice) -> Invoice:
        """As it stands now."""
        found = await self.db.read(load, self.tenant_id, invoice.id)
        assert found is not None
        return found

    async def account(self, account: str, currency: str = "USD") -> int:
        """What an account holds: debits less credits."""
        return await self.db.read(balance, self.tenant_id, account, currency)

    async def credit(self, currency: str = "USD") -> int:
        """What the customer has with us."""
        return -await self.account("balance", currency)

    async def events(self, kind: str) -> list[object]:
        """The ids of what was published."""
        sql = "SELECT id FROM outbox WHERE kind = :kind ORDER BY seq"
        return [row[0] for row in await rows(self.db, sql, kind=kind)]

    async def write(self, sql: str, **params: str | int) -> None:
        """Run one statement and commit it."""

        def run(conn: sa.Connection) -> None:
            execute(conn, sql, **params)

        await self.db.transaction(run)


async def office(db: Database) -> Office:
    """A team with a live subscription."""
    admin = await install(db)
    await db.transaction(current, admin.tenant_id, AT)
    return Office(db, admin.tenant_id)


async def books_are_sound(db: Database) -> None:
    """Each booking sums to zero in each currency, and receivables are what is open."""
    odd = (
        "SELECT transaction_id, currency, SUM(amount) FROM ledger_entries"
        " GROUP BY transaction_id, currency HAVING SUM(amount) <> 0"
    )
    assert await rows(db, odd) == []
    lost = (
        "SELECT transaction_id FROM ledger_entries e WHERE NOT EXISTS"
        " (SELECT 1 FROM ledger_transactions t WHERE t.id = e.transaction_id"
        " AND t.tenant_id = e.tenant_id)"
    )
    assert await rows(db, lost) == []
    owed = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM ledger_entries WHERE account = 'receivable'"
    due = (
        "SELECT CAST(COALESCE(SUM(total - from_balance - paid - credited), 0) AS BIGINT) FROM invoices"
        " WHERE status = 'open'"
    )
    assert await rows(db, owed) == await rows(db, due)


async def numbers(db: Database) -> list[str]:
    """Every number that was given, in order."""
    sql = "SELECT number FROM invoices WHERE number IS NOT NULL ORDER BY number"
    return [str(row[0]) for row in await rows(db, sql)]
