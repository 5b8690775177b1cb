"""The operator's billing as a client of the API: every request carries the operator's proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypedDict, cast
from urllib.parse import quote

from bots.operator import OperatorClient

HEADER: Final = "IT0-Operator-Proof"
RUN_S: Final = 3600.0
"""A run bills every team; ten thousand take minutes."""


class LeftOutRow(TypedDict):
    """A team that could not be billed."""

    tenant: str
    reason: str


class RanRow(TypedDict):
    """What a run did."""

    billed: int
    renewed: int
    skipped: int
    trials_ended: int
    voided: int
    reminded: int
    given_up: int
    failed: int
    problems: list[LeftOutRow]


class InvoiceRow(TypedDict):
    """An invoice of a team; amounts in minor units, times in ISO 8601."""

    id: str
    number: str | None
    tenant: str
    buyer: str
    status: str
    currency: str
    total: int
    due: int
    needs_review: bool
    issued_at: str | None
    due_at: str | None


class MarkedRow(TypedDict):
    """What became of the money."""

    number: str
    applied: str
    problem: str


class CreditedRow(TypedDict):
    """A credit note."""

    number: str
    currency: str
    total: int


class AccountRow(TypedDict):
    """Who is invoiced, and how."""

    tenant: str
    currency: str
    name: str
    address: str
    tax_number: str
    email: str
    tax_rate: int


class TrialRow(TypedDict):
    """A subscription on trial."""

    tenant: str
    until: str | None


class DifferenceRow(TypedDict):
    """A figure that is not what its records add up to."""

    tenant: str
    month: str
    what: str
    expected: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingOperator:
    """Speaks to one server as its operator. Raises ``RequestRefused``."""

    client: OperatorClient
    proof: Callable[[str, str], str]
    """The proof for a method and a path."""

    async def run(self, at: str | None) -> RanRow:
        """Bill everything that is due, at a moment in ISO 8601 or now."""
        body = {} if at is None else {"at": at}
        return cast("RanRow", await self._call("POST", "run", body, patience_s=RUN_S))

    async def reconcile(self) -> list[DifferenceRow]:
        """Compare the aggregates to their records."""
        answer = await self._call("POST", "reconcile", patience_s=RUN_S)
        return cast("list[DifferenceRow]", answer["differences"])

    async def invoices(self, status: str | None) -> tuple[list[InvoiceRow], bool]:
        """The newest of all teams, and whether there are more."""
        query = "" if status is None else f"?status={quote(status, safe='')}"
        answer = await self._call("GET", "invoices", query=query)
        return cast("list[InvoiceRow]", answer["invoices"]), bool(answer["more"])

    async def mark_paid(
        self, invoice: str, *, amount: str | None, currency: str | None
    ) -> MarkedRow:
        """Book money that came in."""
        body = {"amount": amount, "currency": currency}
        path = f"invoices/{quote(invoice, safe='')}/paid"
        return cast("MarkedRow", await self._call("POST", path, body))

    async def credit(self, invoice: str, *, amount: str, reason: str) -> CreditedRow:
        """Take a part of an invoice back."""
        path = f"invoices/{quote(invoice, safe='')}/credit"
        body = {"amount": amount, "reason": reason}
        return cast("CreditedRow", await self._call("POST", path, body))

    async def void(self, invoice: str) -> InvoiceRow:
        """Void an invoice that nobody paid."""
        path = f"invoices/{quote(invoice, safe='')}/void"
        return cast("InvoiceRow", await self._call("POST", path))

    async def publish(self, version: Mapping[str, object]) -> str:
        """Sell a new version of a plan; its id."""
        return str((await self._call("POST", "plans", version))["version"])

    async def move(self, version: str, tenant: str | None) -> int:
        """Move subscriptions with their next period; how many."""
        answer = await self._call("POST", "move", {"version": version, "tenant": tenant})
        return cast("int", answer["subscriptions"])

    async def trial(self, plan: str, *, days: int, tenant: str | None) -> TrialRow:
        """Let a team try a plan."""
        body = {"plan": plan, "days": days, "tenant": tenant}
        return cast("TrialRow", await self._call("POST", "trials", body))

    async def account(self, changes: Mapping[str, object]) -> AccountRow:
        """Change who is invoiced."""
        return cast("AccountRow", await self._call("PATCH", "account", changes))

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: str = "",
        patience_s: float = 60.0,
    ) -> dict[str, object]:
        whole = f"operator/billing/{path}"
        headers = {HEADER: self.proof(method, f"/api/v1/{whole}")}
        return await self.client.call(
            method, whole + query, body, headers=headers, patience_s=patience_s
        )
