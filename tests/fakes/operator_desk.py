"""The operator's billing in memory: over the invoices of one team."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from billing.desk import InvoicePage
from billing.invoices import CreditNote, Invoice, InvoiceStatus
from billing.money import Money
from billing.operator import Account, AccountChanges, Difference, OperatorDesk, RunReport
from billing.payment_service import MarkedPaid
from billing.payments import Payment, PaymentStatus
from billing.periods import DAY_MS, month_of
from billing.plans import SEED, PlanVersion
from billing.subscriptions import Status, Subscription
from core.refusals import Rejected
from tests.fakes.billing_desk import DeskInMemory, no


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A team that was left out."""

    tenant_id: str = "ten_1"
    reason: str = "UnsafeInvoice: 21 lines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did."""

    billed: int = 1
    renewed: int = 2
    skipped: int = 0
    trials_ended: int = 0
    voided: int = 0
    reminded: int = 0
    given_up: int = 0
    failed: int = 0
    problems: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A figure that is not what its records add up to."""

    tenant_id: str = "ten_1"
    period_start_ms: int = 0
    what: str = "usage.input_tokens"
    expected: int = 1200
    found: int = 1100


NOBODY = Account(
    tenant_id="ten_1", currency="USD", name="", address="", tax_number="", email="", tax_rate=0
)
QUIET = Report()


@dataclass
class OperatorInMemory:
    """Implements the four ports of ``billing.operator``."""

    team: DeskInMemory
    sold: dict[str, PlanVersion] = field(default_factory=lambda: {it.id: it for it in SEED})
    account: Account = NOBODY
    runs: list[int | None] = field(default_factory=list)
    report: Report = QUIET
    wrong: tuple[Wrong, ...] = ()

    def desk(self) -> OperatorDesk:
        """All of it."""
        return OperatorDesk(invoices=self, payments=self, plans=self, runs=self)

    async def find(self, id_or_number: str) -> Invoice | Rejected:
        """See the port."""
        return await self.team.invoice("ten_1", id_or_number)

    async def page(self, *, status: InvoiceStatus | None, limit: int) -> InvoicePage:
        """See the port."""
        page = await self.team.invoices("ten_1", status=status, limit=limit)
        assert not isinstance(page, Rejected)
        return page

    async def void(self, id_or_number: str, *, by: str) -> Invoice | Rejected:
        """See the port."""
        invoice = await self.find(id_or_number)
        if isinstance(invoice, Rejected):
            return invoice
        if invoice.status is not InvoiceStatus.OPEN:
            return no("not_open", f"That invoice is {invoice.status}: {by} cannot void it.")
        voided = replace(invoice, status=InvoiceStatus.VOID)
        self.team.bills[self.team.bills.index(invoice)] = voided
        return voided

    async def credit(
        self, id_or_number: str, total: int, *, reason: str, by: str
    ) -> CreditNote | Rejected:
        """See the port."""
        invoice = await self.find(id_or_number)
        if isinstance(invoice, Rejected):
            return invoice
        if total > invoice.total:
            return no("too_much", f"More than the invoice cannot be credited, {by}.")
        return CreditNote(
            id="crn_1",
            tenant_id="ten_1",
            invoice_id=invoice.id,
            number="IT0-2026-C00001",
            currency=invoice.currency,
            subtotal=total,
            tax=0,
            total=total,
            reason=reason,
            created_at_ms=0,
        )

    async def mark_paid(
        self, id_or_number: str, *, by: str, amount: Money | None = None, reference: str = ""
    ) -> MarkedPaid | Rejected:
        """See the port."""
        invoice = await self.find(id_or_number)
        if isinstance(invoice, Rejected):
            return invoice
        due = Money(invoice.due, invoice.currency)
        received = amount or due
        fits = received.currency == due.currency and received.minor >= due.minor
        if fits:
            self.team.pay_off(invoice)
        payment = Payment(
            id="pay_1",
            tenant_id="ten_1",
            invoice_id=invoice.id,
            provider="manual",
            provider_payment_id=f"{by}{reference}",
            attempt=1,
            idempotency_key="k",
            status=PaymentStatus.SUCCEEDED,
            amount=due,
            received=received,
            applied="invoice" if fits else "review",
            problem="" if fits else "short",
        )
        return MarkedPaid(payment=payment, number=str(invoice.number))

    async def publish(self, version: PlanVersion) -> PlanVersion | Rejected:
        """See the port."""
        known = self.sold.setdefault(version.id, version)
        if known != version:
            return no("version_exists", "That version is sold with other terms.")
        return version

    async def move(self, version_id: str, tenant_id: str | None) -> int | Rejected:
        """See the port."""
        if version_id not in self.sold:
            return no("not_found", "There is no such version.")
        return 1 if tenant_id else 7

    async def trial(self, tenant_id: str, plan: str, days: int) -> Subscription | Rejected:
        """See the port."""
        now = self.team.clock.at_ms
        return Subscription(
            id="sub_2",
            tenant_id=tenant_id,
            version_id=f"{plan}-1",
            currency="USD",
            status=Status.TRIALING,
            started_at_ms=now,
            period=month_of(now),
            trial_end_ms=now + days * DAY_MS,
        )

    async def set_account(self, tenant_id: str, changes: AccountChanges) -> Account | Rejected:
        """See the port."""
        before = self.account
        self.account = Account(
            tenant_id=tenant_id,
            currency=changes.currency or before.currency,
            name=changes.name or before.name,
            address=changes.address or before.address,
            tax_number=changes.tax_number or before.tax_number,
            email=changes.email or before.email,
            tax_rate=before.tax_rate if changes.tax_rate is None else changes.tax_rate,
        )
        return self.account

    async def run(self, at_ms: int | None) -> RunReport:
        """See the port."""
        self.runs.append(at_ms)
        return self.report

    async def reconcile(self) -> Sequence[Difference]:
        """See the port."""
        return self.wrong
