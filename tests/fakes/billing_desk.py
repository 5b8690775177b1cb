"""Billing in memory: the desk's ports over one team's subscription, invoices and usage.

Prices are prorated to the second and a quote lasts ten minutes, as in the real one; an
invoice is paid with ``pay_off``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from billing.desk import (
    BillingDesk,
    Budget,
    Changed,
    ExplainedConversation,
    InvoicePage,
    LineExplanation,
    PlanStanding,
    QuotaStanding,
    Quote,
    UsageRow,
)
from billing.invoices import (
    CreditNote,
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    LineKind,
    Party,
)
from billing.money import Money, share
from billing.payments import Payment, PaymentSession, PaymentStatus
from billing.periods import DAY_MS, Period, month_of, whole_second
from billing.plans import SEED, PlanName, PlanVersion
from billing.subscriptions import Status, Subscription
from core.refusals import Rejected
from core.words import sentence

QUOTE_MS = 600_000


@dataclass
class MovedClock:
    """A clock that tests move."""

    at_ms: int

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.at_ms


def no(code: str, text: str) -> Rejected:
    """A refusal."""
    return Rejected(code=code, sentence=sentence(text))


@dataclass
class DeskInMemory:
    """Implements all four ports of ``billing.desk`` for one team."""

    clock: MovedClock
    plan: PlanName = PlanName.FREE
    currency: str = "USD"
    used: int = 0
    own_used: int = 0
    service: str = "full"
    balance_minor: int = 0
    ways: dict[str, str] = field(default_factory=lambda: {"manual": "By transfer."})
    bills: list[Invoice] = field(default_factory=list)
    limits: dict[tuple[str, str], int] = field(default_factory=dict)
    behind: tuple[ExplainedConversation, ...] = ()
    quotes: dict[str, Quote] = field(default_factory=dict)
    next_plan: PlanName | None = None
    cancelled: bool = False
    status: Status = Status.ACTIVE
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def desk(self) -> BillingDesk:
        """All of it."""
        return BillingDesk(plans=self, invoices=self, usage=self, payments=self)

    @property
    def month(self) -> Period:
        """The running one."""
        return month_of(self.clock.at_ms)

    @staticmethod
    def version(plan: str) -> PlanVersion:
        """The one that is sold."""
        return next(version for version in SEED if version.plan == plan)

    # -- plans ----------------------------------------------------------------------------

    async def plans(self) -> Sequence[PlanVersion]:
        """See the port."""
        return SEED

    async def standing(self, tenant_id: str) -> PlanStanding:
        """See the port."""
        subscription = Subscription(
            id="sub_1",
            tenant_id=tenant_id,
            version_id=self.version(self.plan).id,
            currency=self.currency,
            status=self.status,
            started_at_ms=0,
            period=self.month,
            cancel_at_ms=self.month.end_ms if self.cancelled else None,
            next_version_id=self.next_plan and self.version(self.next_plan).id,
        )
        overdue = [it.due_at_ms for it in self.bills if it.due and self.service != "full"]
        return PlanStanding(
            subscription=subscription,
            plan=self.version(self.plan),
            next_plan=self.version(self.next_plan) if self.next_plan else None,
            service=self.service,
            balance=Money(self.balance_minor, self.currency),
            due=Money(sum(it.due for it in self.bills), self.currency),
            overdue_since_ms=overdue[0] if overdue else None,
        )

    async def quote(
        self, tenant_id: str, plan: str, *, user_id: str, conversation_id: str | None = None
    ) -> Quote | Rejected:
        """See the port."""
        if plan not in {version.plan for version in SEED}:
            return no("unknown_plan", "There is no such plan.")
        now, wanted = whole_second(self.clock.at_ms), self.version(plan)
        current, bought = self.version(self.plan), self.status is Status.TRIALING
        up = wanted.plan.rank > self.plan.rank or (bought and wanted.plan is not PlanName.FREE)
        lines = self._lines(current, wanted, Period(now, self.month.end_ms)) if up else ()
        total = sum(line.amount for line in lines)
        made = Quote(
            id=f"quo_{next(self._numbers)}",
            tenant_id=tenant_id,
            kind="upgrade" if up else "downgrade",
            current=current,
            wanted=wanted,
            currency=self.currency,
            lines=lines,
            subtotal=total,
            tax=0,
            total=total,
            from_balance=min(total, self.balance_minor),
            effective_at_ms=now if up else self.month.end_ms,
            expires_at_ms=self.clock.at_ms + QUOTE_MS,
        )
        self.quotes[made.id] = made
        return made

    def _lines(self, old: PlanVersion, new: PlanVersion, rest: Period) -> tuple[Line, ...]:
        """A credit for the old plan, where it costs anything, and the charge for the new one."""
        sides = ((old, LineKind.PRORATION_CREDIT, -1), (new, LineKind.PRORATION_CHARGE, 1))
        return tuple(
            Line(
                kind=kind,
                version_id=version.id,
                period=rest,
                quantity=rest.seconds,
                unit_minor=version.prices[self.currency].base,
                amount=sign
                * share(version.prices[self.currency].base, rest.seconds, self.month.seconds),
            )
            for version, kind, sign in sides
            if version.prices[self.currency].base
        )

    async def confirm(self, tenant_id: str, quote_id: str, *, user_id: str) -> Changed | Rejected:
        """See the port."""
        quote = self.quotes.get(quote_id)
        if quote is None or self.clock.at_ms >= quote.expires_at_ms:
            return no("quote_expired", "The quote is not valid any more. Ask for a new one.")
        invoice = next((it for it in self.bills if it.quote_id == quote_id), None)
        if quote.kind == "downgrade":
            self.next_plan = quote.wanted.plan
        elif invoice is None:
            invoice = self.bill(quote.lines, kind=InvoiceKind.UPGRADE, quote_id=quote_id)
            if not invoice.due:
                self.plan = quote.wanted.plan
        return Changed(standing=await self.standing(tenant_id), invoice=invoice)

    async def cancel(
        self, tenant_id: str, *, user_id: str, at_once: bool = False
    ) -> Changed | Rejected:
        """See the port."""
        self.cancelled = not at_once
        if at_once:
            self.plan = PlanName.FREE
        return Changed(standing=await self.standing(tenant_id), invoice=None)

    async def reactivate(self, tenant_id: str, *, user_id: str) -> Changed | Rejected:
        """See the port."""
        if not self.cancelled and self.next_plan is None:
            return no("nothing_scheduled", "There is nothing to take back.")
        self.cancelled, self.next_plan = False, None
        return Changed(standing=await self.standing(tenant_id), invoice=None)

    # -- invoices -------------------------------------------------------------------------

    def bill(
        self,
        lines: Sequence[Line],
        *,
        kind: InvoiceKind = InvoiceKind.CYCLE,
        quote_id: str | None = None,
    ) -> Invoice:
        """Issue an invoice; the balance pays what it can."""
        number, total = len(self.bills) + 1, sum(line.amount for line in lines)
        credit = max(0, min(total, self.balance_minor))
        self.balance_minor -= credit
        paid = credit >= total
        invoice = Invoice(
            id=f"inv_{number}",
            tenant_id="ten_1",
            subscription_id="sub_1",
            kind=kind,
            key=f"{kind}/{number}",
            status=InvoiceStatus.PAID if paid else InvoiceStatus.OPEN,
            number=f"IT0-2026-{number:06}",
            currency=self.currency,
            period=self.month,
            subtotal=total,
            tax_rate=0,
            tax=0,
            total=total,
            from_balance=credit,
            paid=0,
            credited=0,
            needs_review=False,
            seller=Party(name="IT0"),
            buyer=Party(name="Buyer"),
            lines=tuple(lines),
            line_taxes=tuple(0 for _ in lines),
            quote_id=quote_id,
            created_at_ms=self.clock.at_ms,
            issued_at_ms=self.clock.at_ms,
            due_at_ms=self.clock.at_ms + 7 * DAY_MS,
            closed_at_ms=self.clock.at_ms if paid else None,
        )
        self.bills.append(invoice)
        return invoice

    def pay_off(self, invoice: Invoice) -> None:
        """The money came: what waited for it happens."""
        at = self.bills.index(invoice)
        self.bills[at] = replace(invoice, status=InvoiceStatus.PAID, paid=invoice.due)
        if invoice.quote_id is not None:
            self.plan = self.quotes[invoice.quote_id].wanted.plan

    async def invoices(
        self,
        tenant_id: str,
        *,
        status: InvoiceStatus | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> InvoicePage | Rejected:
        """See the port; the cursor is a position."""
        if cursor is not None and not cursor.isdecimal():
            return no("bad_cursor", "There is no such page.")
        at = int(cursor or 0)
        fitting = [it for it in reversed(self.bills) if status in {None, it.status}]
        more = len(fitting) > at + limit
        return InvoicePage(
            invoices=tuple(fitting[at : at + limit]), next_cursor=str(at + limit) if more else None
        )

    async def invoice(self, tenant_id: str, id_or_number: str) -> Invoice | Rejected:
        """See the port."""
        for it in self.bills:
            if id_or_number in {it.id, it.number}:
                return it
        return no("not_found", "There is no such invoice.")

    async def credit_notes(self, tenant_id: str, invoice_id: str) -> Sequence[CreditNote]:
        """See the port; there are none."""
        return ()

    async def explain(
        self, tenant_id: str, id_or_number: str, line: int, *, after: int = 0, limit: int = 50
    ) -> LineExplanation | Rejected:
        """See the port; the calls are left out."""
        invoice = await self.invoice(tenant_id, id_or_number)
        if isinstance(invoice, Rejected):
            return invoice
        if not 1 <= line <= len(invoice.lines):
            return no("not_found", "There is no such line.")
        return LineExplanation(
            invoice=invoice,
            line_number=line,
            line=invoice.lines[line - 1],
            conversations=self.behind,
            calls=(),
            next_after=None,
        )

    async def pdf(self, tenant_id: str, id_or_number: str, language: str) -> bytes | Rejected:
        """See the port; a file of no pages."""
        invoice = await self.invoice(tenant_id, id_or_number)
        return invoice if isinstance(invoice, Rejected) else b"%PDF-1.4\n"

    # -- usage ----------------------------------------------------------------------------

    async def current(self, tenant_id: str) -> QuotaStanding:
        """See the port."""
        plan, month = self.version(self.plan), self.month
        price = plan.prices[self.currency].overage
        gone = max(1, self.clock.at_ms - month.start_ms)
        forecast = self.used * (month.end_ms - month.start_ms) // gone
        over = [max(0, it - self.own_used - plan.included_tokens) for it in (self.used, forecast)]
        percent = plan.hard_percent
        return QuotaStanding(
            period=month,
            used=self.used,
            reserved=0,
            own_used=self.own_used,
            included=plan.included_tokens,
            hard=None if percent is None else plan.included_tokens * percent // 100,
            forecast=max(self.used, forecast),
            overage_minor=share(price, over[0], 1_000_000),
            overage_forecast_minor=share(price, over[1], 1_000_000),
            currency=self.currency,
        )

    async def history(self, tenant_id: str, *, from_ms: int, to_ms: int) -> Sequence[UsageRow]:
        """See the port; nothing by day."""
        return ()

    async def budgets(self, tenant_id: str) -> Sequence[Budget]:
        """See the port."""
        return [
            Budget(scope=scope, subject=subject, tokens=tokens)
            for (scope, subject), tokens in self.limits.items()
        ]

    async def set_budget(
        self, tenant_id: str, budget: Budget, *, user_id: str
    ) -> Budget | Rejected:
        """See the port."""
        self.limits.pop((budget.scope, budget.subject), None)
        if budget.tokens:
            self.limits[budget.scope, budget.subject] = budget.tokens
        return budget

    # -- payments -------------------------------------------------------------------------

    async def methods(self, tenant_id: str) -> Mapping[str, str]:
        """See the port."""
        return self.ways

    async def pay(
        self, tenant_id: str, id_or_number: str, method: str | None = None
    ) -> Payment | Rejected:
        """See the port."""
        invoice = await self.invoice(tenant_id, id_or_number)
        if isinstance(invoice, Rejected):
            return invoice
        if not invoice.due:
            return no("not_open", "That invoice is paid.")
        if method is None and len(self.ways) > 1:
            return no("choose_method", "Say how you want to pay.")
        name = method or next(iter(self.ways))
        if name not in self.ways:
            return no("unknown_method", "There is no such way to pay.")
        session = PaymentSession(
            provider_payment_id="p_1", instructions="Transfer it to DE00 1234.\nThank you."
        )
        return Payment(
            id="pay_1",
            tenant_id=tenant_id,
            invoice_id=invoice.id,
            provider=name,
            provider_payment_id="p_1",
            attempt=1,
            idempotency_key="k",
            status=PaymentStatus.CREATED,
            amount=Money(invoice.due, invoice.currency),
            session=session,
        )

    async def payments(self, tenant_id: str, invoice_id: str) -> Sequence[Payment]:
        """See the port; attempts are not kept."""
        return ()

    async def notified(
        self, provider: str, body: bytes, headers: Mapping[str, str]
    ) -> Rejected | None:
        """See the port; nobody sends any."""
        return no("unknown_provider", "There is no such provider.")
