"""What the operator's commands see of billing: ``it0 billing``, over every team.

Whoever calls has proven that they hold the installation's key; no team's admin does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol

from billing.desk import InvoicePage
from billing.invoices import CreditNote, Invoice, InvoiceStatus
from billing.money import EXPONENTS, Money
from billing.payment_service import MarkedPaid
from billing.plans import PlanVersion
from billing.subscriptions import Subscription
from core.refusals import Rejected

MOST_MINOR: Final = 10**15
"""More than any invoice; it keeps sums far from the end of a BIGINT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who is invoiced, and how."""

    tenant_id: str
    currency: str
    name: str
    address: str
    tax_number: str
    email: str
    tax_rate: int
    """Hundredths of a per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanges:
    """What to change of an account; None leaves it as it is."""

    currency: str | None = None
    name: str | None = None
    address: str | None = None
    tax_number: str | None = None
    email: str | None = None
    tax_rate: int | None = None


class Problem(Protocol):
    """A team that was left out."""

    @property
    def tenant_id(self) -> str:
        """Which."""

    @property
    def reason(self) -> str:
        """Why."""


class RunReport(Protocol):
    """What a run of "bill everything due" did."""

    @property
    def billed(self) -> int:
        """Invoices issued."""

    @property
    def renewed(self) -> int:
        """Periods that ended and were followed by the next one."""

    @property
    def skipped(self) -> int:
        """Teams whose month cannot be closed yet: usage of it is still being counted."""

    @property
    def trials_ended(self) -> int:
        """Trials that nobody paid for."""

    @property
    def voided(self) -> int:
        """Upgrades that nobody paid in time."""

    @property
    def reminded(self) -> int:
        """Reminders of invoices that are due."""

    @property
    def given_up(self) -> int:
        """Subscriptions that ended unpaid."""

    @property
    def failed(self) -> int:
        """Teams that could not be billed; the next run tries them again."""

    @property
    def problems(self) -> Sequence[Problem]:
        """The first of those that failed."""


class Difference(Protocol):
    """A figure that is not what its records add up to."""

    @property
    def tenant_id(self) -> str:
        """Whose."""

    @property
    def period_start_ms(self) -> int:
        """The calendar month."""

    @property
    def what(self) -> str:
        """Such as ``usage.input_tokens``."""

    @property
    def expected(self) -> int:
        """By the records."""

    @property
    def found(self) -> int:
        """As it is stored."""


class OperatorInvoices(Protocol):
    """The invoices of all teams."""

    async def find(self, id_or_number: str) -> Invoice | Rejected:
        """One of them."""

    async def page(self, *, status: InvoiceStatus | None, limit: int) -> InvoicePage:
        """The newest, of every team; drafts are not shown."""

    async def void(self, id_or_number: str, *, by: str) -> Invoice | Rejected:
        """Nothing is owed on it any more; it keeps its number."""

    async def credit(
        self, id_or_number: str, total: int, *, reason: str, by: str
    ) -> CreditNote | Rejected:
        """Take a part of it back, tax included; minor units."""


class OperatorPayments(Protocol):
    """Money that the operator saw come in."""

    async def mark_paid(
        self, id_or_number: str, *, by: str, amount: Money | None = None, reference: str = ""
    ) -> MarkedPaid | Rejected:
        """Book it; all that is due where no amount is told."""


class OperatorPlans(Protocol):
    """What is sold, and to whom."""

    async def publish(self, version: PlanVersion) -> PlanVersion | Rejected:
        """Sell a new version; the same one again changes nothing."""

    async def move(self, version_id: str, tenant_id: str | None) -> int | Rejected:
        """Let a team, or everybody on another version of the plan, have it from the next period.

        Answers how many subscriptions were noted.
        """

    async def trial(self, tenant_id: str, plan: str, days: int) -> Subscription | Rejected:
        """Let a team try a plan."""

    async def set_account(self, tenant_id: str, changes: AccountChanges) -> Account | Rejected:
        """Change who is invoiced, and how."""


class OperatorRuns(Protocol):
    """What is otherwise done by the clock."""

    async def run(self, at_ms: int | None) -> RunReport:
        """Bill everything that is due at the moment; None is now."""

    async def reconcile(self) -> Sequence[Difference]:
        """Compare aggregates and counters to their records; empty when all agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDesk:
    """All of it."""

    invoices: OperatorInvoices
    payments: OperatorPayments
    plans: OperatorPlans
    runs: OperatorRuns


def minor_units(written: str, currency: str) -> int:
    """An amount as people write it (``49.99``) in minor units. Raises ``ValueError``."""
    try:
        exact = Decimal(written) * 10 ** EXPONENTS[currency]
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite() or exact != exact.to_integral_value() or not 0 < exact <= MOST_MINOR:
        message = f"{written} is no amount of {currency}."
        raise ValueError(message)
    return int(exact)
