"""Invoices and credit notes for the tests of the pure rules."""

from __future__ import annotations

from billing.invoices import CreditNote, Invoice, InvoiceKind, InvoiceStatus, Party
from billing.periods import month_of

MONTH = month_of(1_795_000_000_000)


def invoice(
    *,
    subtotal: int,
    tax: int = 0,
    status: InvoiceStatus = InvoiceStatus.OPEN,
    from_balance: int = 0,
    paid: int = 0,
    credited: int = 0,
    currency: str = "USD",
) -> Invoice:
    """An invoice without lines."""
    return Invoice(
        id="inv",
        tenant_id="ten",
        subscription_id="sub",
        kind=InvoiceKind.CYCLE,
        key="key",
        status=status,
        number="IT0-2026-000001",
        currency=currency,
        period=MONTH,
        subtotal=subtotal,
        tax_rate=0,
        tax=tax,
        total=subtotal + tax,
        from_balance=from_balance,
        paid=paid,
        credited=credited,
        needs_review=False,
        seller=Party(name="S"),
        buyer=Party(name="B"),
        lines=(),
        line_taxes=(),
        quote_id=None,
        created_at_ms=MONTH.start_ms,
        issued_at_ms=MONTH.start_ms,
        due_at_ms=MONTH.start_ms,
        closed_at_ms=None,
    )


def note(whole: Invoice, total: int, tax: int, number: int = 1) -> CreditNote:
    """A credit note over that total."""
    return CreditNote(
        id=f"cn_{number}",
        tenant_id=whole.tenant_id,
        invoice_id=whole.id,
        number=f"IT0-CN-2026-{number:06}",
        currency=whole.currency,
        subtotal=total - tax,
        tax=tax,
        total=total,
        reason="r",
        created_at_ms=MONTH.start_ms,
    )
