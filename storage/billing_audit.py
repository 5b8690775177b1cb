"""Who changed what costs money: a row of the team's audit chain for each change that was made.

It is written right after the change: what is booked, and when, stands in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from billing.desk import Changed, InvoicePage, Plans, PlanStanding, Quote
from billing.invoices import CreditNote, Invoice, InvoiceStatus
from billing.money import Money
from billing.operator import (
    Account,
    AccountChanges,
    OperatorInvoices,
    OperatorPayments,
    OperatorPlans,
)
from billing.payment_service import MarkedPaid
from billing.plans import PlanVersion
from billing.subscriptions import Subscription
from core.audit import AuditEntry
from core.refusals import Rejected
from storage.audit import append_audit
from storage.database import Database

OPERATOR = "operator"
"""Who acts with the installation's key."""


@dataclass(frozen=True, slots=True)
class BillingAudit:
    """Appends to the chains."""

    db: Database
    key: bytes

    async def note(self, tenant_id: str, actor: str, action: str, **detail: str | int) -> None:
        """One row."""
        entry = AuditEntry(actor=actor, action=f"billing.{action}", turn_id="", detail=detail)
        await self.db.transaction(_append, self.key, tenant_id, entry)


def _append(conn: sa.Connection, key: bytes, tenant_id: str, entry: AuditEntry) -> None:
    append_audit(conn, key, tenant_id, entry)


@dataclass(frozen=True, slots=True)
class AuditedPlans:
    """``billing.desk.Plans`` with a row for each change that was carried out."""

    plans_: Plans
    audit: BillingAudit

    async def plans(self) -> Sequence[PlanVersion]:
        """See the port."""
        return await self.plans_.plans()

    async def standing(self, tenant_id: str) -> PlanStanding:
        """See the port."""
        return await self.plans_.standing(tenant_id)

    async def quote(
        self, tenant_id: str, plan: str, *, user_id: str, conversation_id: str | None = None
    ) -> Quote | Rejected:
        """See the port."""
        return await self.plans_.quote(
            tenant_id, plan, user_id=user_id, conversation_id=conversation_id
        )

    async def confirm(self, tenant_id: str, quote_id: str, *, user_id: str) -> Changed | Rejected:
        """See the port."""
        done = await self.plans_.confirm(tenant_id, quote_id, user_id=user_id)
        return await self._noted(done, tenant_id, user_id, "quote_confirmed", quote=quote_id)

    async def cancel(
        self, tenant_id: str, *, user_id: str, at_once: bool = False
    ) -> Changed | Rejected:
        """See the port."""
        done = await self.plans_.cancel(tenant_id, user_id=user_id, at_once=at_once)
        return await self._noted(done, tenant_id, user_id, "cancelled", at_once=int(at_once))

    async def reactivate(self, tenant_id: str, *, user_id: str) -> Changed | Rejected:
        """See the port."""
        done = await self.plans_.reactivate(tenant_id, user_id=user_id)
        return await self._noted(done, tenant_id, user_id, "taken_back")

    async def _noted(
        self,
        done: Changed | Rejected,
        tenant_id: str,
        user_id: str,
        action: str,
        **detail: str | int,
    ) -> Changed | Rejected:
        if isinstance(done, Changed):
            invoice = "" if done.invoice is None else done.invoice.id
            await self.audit.note(tenant_id, user_id, action, invoice=invoice, **detail)
        return done


@dataclass(frozen=True, slots=True)
class AuditedInvoices:
    """``billing.operator.OperatorInvoices``, likewise."""

    invoices: OperatorInvoices
    audit: BillingAudit

    async def find(self, id_or_number: str) -> Invoice | Rejected:
        """See the port."""
        return await self.invoices.find(id_or_number)

    async def page(self, *, status: InvoiceStatus | None, limit: int) -> InvoicePage:
        """See the port."""
        return await self.invoices.page(status=status, limit=limit)

    async def void(self, id_or_number: str, *, by: str) -> Invoice | Rejected:
        """See the port."""
        done = await self.invoices.void(id_or_number, by=by)
        if isinstance(done, Invoice):
            await self.audit.note(done.tenant_id, by, "invoice_voided", invoice=done.id)
        return done

    async def credit(
        self, id_or_number: str, total: int, *, reason: str, by: str
    ) -> CreditNote | Rejected:
        """See the port."""
        done = await self.invoices.credit(id_or_number, total, reason=reason, by=by)
        if isinstance(done, CreditNote):
            await self.audit.note(
                done.tenant_id,
                by,
                "invoice_credited",
                invoice=done.invoice_id,
                note=done.number,
                total=done.total,
            )
        return done


@dataclass(frozen=True, slots=True)
class AuditedPayments:
    """``billing.operator.OperatorPayments``, likewise."""

    payments: OperatorPayments
    audit: BillingAudit

    async def mark_paid(
        self, id_or_number: str, *, by: str, amount: Money | None = None, reference: str = ""
    ) -> MarkedPaid | Rejected:
        """See the port."""
        done = await self.payments.mark_paid(
            id_or_number, by=by, amount=amount, reference=reference
        )
        if isinstance(done, MarkedPaid):
            paid = done.payment
            await self.audit.note(paid.tenant_id, by, "marked_paid", payment=paid.id)
        return done


@dataclass(frozen=True, slots=True)
class AuditedOffers:
    """``billing.operator.OperatorPlans``, likewise; what concerns every team is in no chain."""

    plans: OperatorPlans
    audit: BillingAudit

    async def publish(self, version: PlanVersion) -> PlanVersion | Rejected:
        """See the port."""
        return await self.plans.publish(version)

    async def move(self, version_id: str, tenant_id: str | None) -> int | Rejected:
        """See the port."""
        done = await self.plans.move(version_id, tenant_id)
        if isinstance(done, int) and done and tenant_id is not None:
            await self.audit.note(tenant_id, OPERATOR, "moved", version=version_id)
        return done

    async def trial(self, tenant_id: str, plan: str, days: int) -> Subscription | Rejected:
        """See the port."""
        done = await self.plans.trial(tenant_id, plan, days)
        if isinstance(done, Subscription):
            await self.audit.note(tenant_id, OPERATOR, "trial_begun", plan=plan, days=days)
        return done

    async def set_account(self, tenant_id: str, changes: AccountChanges) -> Account | Rejected:
        """See the port."""
        done = await self.plans.set_account(tenant_id, changes)
        if isinstance(done, Account):
            await self.audit.note(tenant_id, OPERATOR, "account_changed")
        return done
