"""What the edges see of billing: REST and the chat commands speak to these ports alone.

Whoever calls has checked the role: everybody of the team reads, only admins change.
Times are epoch milliseconds, UTC; amounts minor units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from billing.invoices import CreditNote, Invoice, InvoiceStatus, Line
from billing.money import Money
from billing.payments import Payment
from billing.periods import Period
from billing.plans import PlanVersion
from billing.subscriptions import Subscription
from core.metering import Usage
from core.refusals import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStanding:
    """A tenant's subscription with the plan it stands for."""

    subscription: Subscription
    plan: PlanVersion
    next_plan: PlanVersion | None
    """What it changes to at the end of the period."""
    service: str
    """full, no_overage, read_only, off: ``billing.dunning.Service``."""
    balance: Money
    """The customer's credit."""
    due: Money
    """Of all open invoices."""
    overdue_since_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStanding:
    """This month's tokens."""

    period: Period
    used: int
    reserved: int
    own_used: int
    """The part on the tenant's own account: it counts towards the limit, never towards overage."""
    included: int
    hard: int | None
    """None: no limit but the safety cap."""
    forecast: int
    """What the month comes to at the pace of its days so far; never below ``used``."""
    overage_minor: int
    """What the tokens over the allowance cost so far, before tax."""
    overage_forecast_minor: int
    currency: str

    @property
    def percent(self) -> int:
        """Of the included tokens, rounded down."""
        return self.used * 100 // self.included if self.included else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What was used on a day with a model."""

    day_ms: int
    model: str
    own_key: bool
    calls: int
    estimated_calls: int
    usage: Usage
    cost_pico: int
    unpriced_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A change of plan with its price, good for ten minutes: what it says is what is charged."""

    id: str
    tenant_id: str
    kind: str
    """upgrade or downgrade."""
    current: PlanVersion
    wanted: PlanVersion
    currency: str
    lines: tuple[Line, ...]
    subtotal: int
    tax: int
    total: int
    from_balance: int
    """The part that the balance will pay."""
    effective_at_ms: int
    """Upgrades: the moment proration counts from; downgrades: when it takes effect."""
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a confirmed quote, a cancellation or the like led to."""

    standing: PlanStanding
    invoice: Invoice | None
    """To be paid first, where the change waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCall:
    """One model call behind an invoice line."""

    call_id: str
    turn_id: str
    conversation_id: str
    user_id: str
    model: str
    at_ms: int
    usage: Usage
    estimated: bool
    billed_tokens: int
    """How many of its tokens the line stands for: the first and last call may be cut by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedConversation:
    """The calls of a line, added up by conversation."""

    conversation_id: str
    owner: str
    """The address of the person it belongs to: what was said in it stays theirs."""
    turns: int
    calls: int
    billed_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineExplanation:
    """What is behind an invoice line; the sums agree to the token."""

    invoice: Invoice
    line_number: int
    line: Line
    conversations: tuple[ExplainedConversation, ...]
    """Most tokens first, all of them."""
    calls: tuple[ExplainedCall, ...]
    """In the order in which they were settled; a page of them."""
    next_after: int | None
    """Pass it as ``after`` to go on; None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePage:
    """Newest first."""

    invoices: tuple[Invoice, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit of a team's own, per month (per turn: for each turn)."""

    scope: str
    """user, conversation, order or turn."""
    subject: str
    """An id, or empty for each one of that scope."""
    tokens: int


class Plans(Protocol):
    """Plans, the subscription and its changes."""

    async def plans(self) -> Sequence[PlanVersion]:
        """What is sold now, the smallest first."""

    async def standing(self, tenant_id: str) -> PlanStanding:
        """Where the tenant stands."""

    async def quote(
        self, tenant_id: str, plan: str, *, user_id: str, conversation_id: str | None = None
    ) -> Quote | Rejected:
        """A quote for a change to a plan by its name, up or down."""

    async def confirm(self, tenant_id: str, quote_id: str, *, user_id: str) -> Changed | Rejected:
        """Carry a quote out: an upgrade makes an invoice, a downgrade is noted for the end.

        A second time: the same answer.
        """

    async def cancel(
        self, tenant_id: str, *, user_id: str, at_once: bool = False
    ) -> Changed | Rejected:
        """End the subscription with its period, or now (no money back by itself)."""

    async def reactivate(self, tenant_id: str, *, user_id: str) -> Changed | Rejected:
        """Take back a cancellation or a downgrade that has not taken effect."""


class Invoices(Protocol):
    """Invoices, and what is behind them."""

    async def invoices(
        self,
        tenant_id: str,
        *,
        status: InvoiceStatus | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> InvoicePage | Rejected:
        """A page of them; drafts are not shown."""

    async def invoice(self, tenant_id: str, id_or_number: str) -> Invoice | Rejected:
        """One of them."""

    async def credit_notes(self, tenant_id: str, invoice_id: str) -> Sequence[CreditNote]:
        """Those of an invoice, oldest first."""

    async def explain(
        self, tenant_id: str, id_or_number: str, line: int, *, after: int = 0, limit: int = 50
    ) -> LineExplanation | Rejected:
        """What is behind a line, counted from 1."""

    async def pdf(self, tenant_id: str, id_or_number: str, language: str) -> bytes | Rejected:
        """The printed invoice."""


class UsageDesk(Protocol):
    """What was used."""

    async def current(self, tenant_id: str) -> QuotaStanding:
        """This month's."""

    async def history(self, tenant_id: str, *, from_ms: int, to_ms: int) -> Sequence[UsageRow]:
        """By day and model, oldest first; as far as the consumer has counted."""

    async def budgets(self, tenant_id: str) -> Sequence[Budget]:
        """The team's own limits."""

    async def set_budget(
        self, tenant_id: str, budget: Budget, *, user_id: str
    ) -> Budget | Rejected:
        """Set one; ``tokens`` 0 removes it."""


class PaymentDesk(Protocol):
    """Paying an invoice."""

    async def methods(self, tenant_id: str) -> Mapping[str, str]:
        """The names of the ways to pay, each with a sentence."""

    async def pay(
        self, tenant_id: str, id_or_number: str, method: str | None = None
    ) -> Payment | Rejected:
        """Begin to pay an invoice; an unfinished session of that way is shown again."""

    async def payments(self, tenant_id: str, invoice_id: str) -> Sequence[Payment]:
        """The attempts, oldest first."""

    async def notified(
        self, provider: str, body: bytes, headers: Mapping[str, str]
    ) -> Rejected | None:
        """Take a webhook in, durably; it is worked on later. Rejected: answer 400 or 404."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingDesk:
    """All of it."""

    plans: Plans
    invoices: Invoices
    usage: UsageDesk
    payments: PaymentDesk
