"""What costs money is in the audit log: who did it, and what it led to."""

from __future__ import annotations

import json

from billing.desk import Changed, Quote
from billing.invoices import Party
from billing.operator import AccountChanges
from billing.payment_service import MarkedPaid, PaymentService
from billing.payments import Providers
from core.refusals import Rejected
from storage.audit import SqlAudit
from storage.billing_audit import (
    AuditedInvoices,
    AuditedOffers,
    AuditedPayments,
    AuditedPlans,
    BillingAudit,
)
from storage.database import Database
from storage.operator_billing import SqlOperatorInvoices
from storage.payments import SqlPayments
from storage.plans import SqlPlans
from tests.storage.kit import install
from tests.storage.payment_kit import Hands
from tests.storage.racing import rows

KEY = b"k" * 32


async def test_changes_that_cost_money_leave_rows(db: Database) -> None:
    """Each change is one row with its actor; what was refused leaves none; the chain holds."""
    admin, clock = await install(db), Hands()
    audit, plain = BillingAudit(db, KEY), SqlPlans(db, clock, "USD", Party(name="IT0"))
    await plain.seed()
    plans, tenant = AuditedPlans(plain, audit), admin.tenant_id
    assert isinstance(await plans.cancel(tenant, user_id=admin.id), Rejected)
    quote = await plans.quote(tenant, "pro", user_id=admin.id)
    assert isinstance(quote, Quote)
    changed = await plans.confirm(tenant, quote.id, user_id=admin.id)
    assert isinstance(changed, Changed)
    assert changed.invoice is not None
    number = str(changed.invoice.number)
    service = PaymentService(SqlPayments(db), Providers(), clock)
    paid = await AuditedPayments(service, audit).mark_paid(number, by="operator")
    assert isinstance(paid, MarkedPaid)
    invoices = AuditedInvoices(SqlOperatorInvoices(db, clock), audit)
    await invoices.credit(number, 100, reason="Outage", by="operator")
    assert isinstance(await invoices.void(number, by="operator"), Rejected)
    await plans.cancel(tenant, user_id=admin.id)
    await plans.reactivate(tenant, user_id=admin.id)
    await AuditedOffers(plain, audit).set_account(tenant, AccountChanges(name="Ada Ltd"))
    found = await rows(db, "SELECT actor, action, detail FROM audit_log ORDER BY seq")
    assert [(row[0], row[1]) for row in found] == [
        (admin.id, "billing.quote_confirmed"),
        ("operator", "billing.marked_paid"),
        ("operator", "billing.invoice_credited"),
        (admin.id, "billing.cancelled"),
        (admin.id, "billing.taken_back"),
        ("operator", "billing.account_changed"),
    ]
    assert json.loads(str(found[0][2])) == {"invoice": changed.invoice.id, "quote": quote.id}
    assert await SqlAudit(db, KEY).verify() == {}
