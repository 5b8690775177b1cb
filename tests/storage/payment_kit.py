"""What the payment tests share: an open invoice, a service over the fake provider, a clock."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from billing.payment_service import PaymentService
from billing.payments import Payment, Providers
from billing.providers.manual import ManualConfig, ManualProvider
from core.tenants import User
from storage.database import Database, execute
from storage.payments import SqlPayments
from storage.rows import integer
from tests.fakes.payments import FakePayments, Held, Sent
from tests.storage.kit import install
from tests.storage.racing import rows

START_MS = 1_795_000_000_000
"""In November 2026."""
TOTAL = 4_999
MINUTE = 60_000


class Hands:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        """At the start."""
        self.at = START_MS

    def now_ms(self) -> int:
        """Where the hands stand."""
        return self.at


@dataclass(frozen=True, kw_only=True)
class Till:
    """An installation that takes payments."""

    db: Database
    clock: Hands
    card: FakePayments
    store: SqlPayments
    service: PaymentService
    admin: User

    async def pay(self, invoice: str = "IT0-2026-000001", method: str = "card") -> Payment:
        """Begin to pay; it must be possible."""
        payment = await self.service.pay(self.admin.tenant_id, invoice, method)
        assert isinstance(payment, Payment), payment
        return payment

    async def held(self, invoice: str = "IT0-2026-000001") -> tuple[Payment, Held]:
        """Begin to pay; our payment and the provider's."""
        payment = await self.pay(invoice)
        return payment, self.card.held[payment.provider_payment_id or ""]

    async def deliver(self, *sent: Sent) -> None:
        """The provider's notifications arrive, signed now, and are worked on."""
        for one in sent:
            again = self.card.again(one)
            assert await self.service.notified("card", again.body, again.headers) is None
        await self.work()

    async def work(self) -> None:
        """Work on whatever is due now."""
        while await self.service.work():
            pass

    async def later(self, minutes: float) -> None:
        """Time passes, and what becomes due is worked on."""
        self.clock.at += round(minutes * MINUTE)
        await self.work()

    async def payment(self, payment: Payment) -> Payment:
        """As it stands now."""
        every = await self.service.payments(payment.tenant_id, payment.invoice_id)
        return next(one for one in every if one.id == payment.id)

    async def invoice(self, number: str = "IT0-2026-000001") -> tuple[object, ...]:
        """Status, paid amount and whether somebody must look at it."""
        sql = "SELECT status, paid, needs_review FROM invoices WHERE number = :number"
        return (await rows(self.db, sql, number=number))[0]

    async def becomes(self, status: str, number: str = "IT0-2026-000001") -> None:
        """Something else happens to the invoice."""
        sql = "UPDATE invoices SET status = :status WHERE number = :number RETURNING id"
        await self.write(sql, status=status, number=number)

    async def write(self, sql: str, **params: str | int) -> None:
        """Run a statement that returns rows, and commit it."""
        await self.db.transaction(lambda conn: execute(conn, sql, **params).all())

    async def events(self, kind: str) -> list[object]:
        """The ids of what was published."""
        sql = "SELECT id FROM outbox WHERE kind = :kind ORDER BY seq"
        return [row[0] for row in await rows(self.db, sql, kind=kind)]

    async def balance(self) -> int:
        """The customer's credit, in minor units."""
        sql = "SELECT CAST(COALESCE(-SUM(amount), 0) AS BIGINT) FROM ledger_entries WHERE"
        return integer((await rows(self.db, f"{sql} account = 'balance'"))[0][0])


async def till(db: Database, *, invoices: int = 1, repeats_reference: bool = True) -> Till:
    """A team with open invoices over USD 49.99, a card provider and payment by hand."""
    admin, clock, store = await install(db), Hands(), SqlPayments(db)
    card = FakePayments(clock, repeats_reference=repeats_reference)
    by_hand = ManualProvider(ManualConfig(instructions="Transfer to 123."), store)
    ways = Providers(by_name={"card": card, "manual": by_hand})
    for number in range(1, invoices + 1):
        await db.transaction(add_invoice, admin.tenant_id, number)
    service = PaymentService(store, ways, clock)
    return Till(db=db, clock=clock, card=card, store=store, service=service, admin=admin)


def add_invoice(conn: sa.Connection, tenant_id: str, number: int, total: int = TOTAL) -> None:
    """An open invoice, issued and not paid."""
    execute(
        conn,
        "INSERT INTO invoices (id, tenant_id, subscription_id, kind, key, status, number, currency,"
        " period_start, period_end, subtotal, total, snapshot, created_at, issued_at, due_at)"
        " VALUES (:id, :tenant, 'sub', 'cycle', :id, 'open', :number, 'USD', :at, :at, :total,"
        " :total, :snapshot, :at, :at, :at)",
        id=f"inv_{number}",
        tenant=tenant_id,
        number=f"IT0-2026-{number:06}",
        at=START_MS,
        total=total,
        snapshot='{"seller": {"name": "S"}, "buyer": {"name": "B"}}',
    )
