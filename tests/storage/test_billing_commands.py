"""The chat commands over the real desk: a quote, its invoice, the money, the new plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from billing.commands import BillingCommands
from billing.desk import BillingDesk
from billing.invoices import Party
from billing.payment_service import MarkedPaid, PaymentService
from billing.payments import Providers
from billing.providers.manual import ManualConfig, ManualProvider
from core.commands import parse_command
from core.tenants import Role, User
from core.turns import Ending, Outcome
from storage.database import Database
from storage.invoices import SqlInvoices
from storage.payments import SqlPayments
from storage.people import SqlPeople
from storage.plans import SqlPlans
from storage.usage_desk import SqlUsage
from tests.billing.command_kit import NOW_MS, turn_of
from tests.fakes.billing_desk import MovedClock
from tests.storage.kit import install
from tests.storage.payment_places import db, migrated_file, migrated_url, place

__all__ = ["db", "migrated_file", "migrated_url", "place"]


@dataclass(slots=True)
class Counter:
    """An installation whose billing is reached by command."""

    clock: MovedClock
    admin: User
    payments: PaymentService
    commands: BillingCommands

    async def say(self, text: str) -> Ending:
        """Answer a command of the admin."""
        command = parse_command(text)
        assert command is not None
        turn = replace(
            turn_of(text, role=Role.ADMIN, channel="D1", language=""),
            tenant_id=self.admin.tenant_id,
            user=self.admin,
        )
        return await self.commands.handlers()[command.word](turn, command.rest)


async def counter(db: Database) -> Counter:
    """A team on the free plan, in the middle of November."""
    admin, clock = await install(db), MovedClock(NOW_MS)
    plans = SqlPlans(db, clock, "USD", Party(name="IT0 Ltd"))
    await plans.seed()
    store = SqlPayments(db)
    manual = ManualProvider(ManualConfig(instructions="Transfer it to DE00 1234."), store)
    payments = PaymentService(store, Providers({manual.name: manual}), clock)
    desk = BillingDesk(
        plans=plans, invoices=SqlInvoices(db, clock), usage=SqlUsage(db, clock), payments=payments
    )
    return Counter(clock, admin, payments, BillingCommands(desk, clock, SqlPeople(db)))


async def test_from_the_quote_to_the_plan(db: Database) -> None:
    """What the quote says is invoiced; the operator's mark changes the plan."""
    house = await counter(db)
    quote = await house.say("/upgrade pro")
    assert "**To be paid now: $24.1" in quote.reply
    assert quote.offer is not None
    confirmed = await house.say(quote.offer.command)
    assert confirmed.outcome is Outcome.ANSWERED
    assert "DE00 1234" in confirmed.reply
    assert (await house.say(quote.offer.command)).reply == confirmed.reply
    assert "Free plan" in (await house.say("/plan")).reply
    marked = await house.payments.mark_paid("IT0-2026-000001", by=house.admin.id)
    assert isinstance(marked, MarkedPaid)
    house.clock.at_ms += 1_000
    assert "on the Pro plan" in (await house.say("/plan")).reply
    listed = (await house.say("/invoices")).reply
    assert "`IT0-2026-000001` of 16 Nov 2026" in listed
    assert "paid" in listed
    shown = (await house.say("/invoices IT0-2026-000001")).reply
    assert "Pro plan for the rest of its period, 16 Nov 2026 to 01 Dec 2026" in shown


async def test_a_downgrade_is_taken_back(db: Database) -> None:
    """Nothing of it is charged, and the plan stays."""
    house = await counter(db)
    quote = await house.say("/upgrade enterprise")
    assert quote.offer is not None
    await house.say(quote.offer.command)
    await house.payments.mark_paid("IT0-2026-000001", by=house.admin.id)
    house.clock.at_ms += 1_000
    down = await house.say("/downgrade pro")
    assert down.offer is not None, down.reply
    assert "changes to the Pro plan" in (await house.say(down.offer.command)).reply
    back = await house.say("/cancel back")
    assert "changes" not in back.reply
    ended = await house.say("/cancel confirm")
    assert "it ends on 01 Dec 2026" in ended.reply


async def test_usage_and_budgets(db: Database) -> None:
    """A month without a call is empty; a limit is kept."""
    house = await counter(db)
    assert "`░░░░░░░░░░` 0 %: 0 of 100,000 tokens" in (await house.say("/usage")).reply
    assert (await house.say("/usage budget user 50k")).outcome is Outcome.ANSWERED
    assert "each user in a month: 50,000 tokens" in (await house.say("/usage")).reply
