"""Invoices to print and to show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from billing.invoices import CreditNote, Invoice, InvoiceKind, InvoiceStatus, Line, LineKind, Party
from billing.periods import month_of

ISSUED_MS = 1_796_083_500_000
"""1 December 2026, 00:05 UTC."""
MONTH = month_of(ISSUED_MS)


def line(kind: LineKind, version: str, quantity: int, unit: int, amount: int) -> Line:
    """A line of the month before (usage) or of the month."""
    arrears = kind in {LineKind.OVERAGE, LineKind.LATE_USAGE}
    return Line(
        kind=kind,
        version_id=version,
        period=month_of(MONTH.start_ms - 1) if arrears else MONTH,
        quantity=quantity,
        unit_minor=unit,
        amount=amount,
        from_position=1_000_000 if arrears else 0,
    )


LINES = (
    line(LineKind.BASE, "pro-1", 1, 35800, 35800),
    line(LineKind.OVERAGE, "pro-1", 123_456, 5700, 704),
    line(LineKind.LATE_USAGE, "pro-1", 2_000, 5700, 11),
    line(LineKind.PRORATION_CREDIT, "pro-1", 86_400 * 9 + 3_661, 35800, -10_400),
    line(LineKind.PRORATION_CHARGE, "enterprise-1", 86_400 * 9 + 3_661, 142_800, 41_500),
)


def invoice(lines: tuple[Line, ...] = LINES, **changes: Any) -> Invoice:
    """An issued one with 6 % of tax; open unless told otherwise."""
    subtotal = sum(one.amount for one in lines)
    taxes = tuple(one.amount * 6 // 100 for one in lines)
    made = Invoice(
        id="inv_1",
        tenant_id="tenant",
        subscription_id="sub_1",
        kind=InvoiceKind.CYCLE,
        key="cycle/sub_1/1",
        status=InvoiceStatus.OPEN,
        number="IT0-2026-000001",
        currency="CNY",
        period=MONTH,
        subtotal=subtotal,
        tax_rate=600,
        tax=sum(taxes),
        total=subtotal + sum(taxes),
        from_balance=1000,
        paid=0,
        credited=0,
        needs_review=False,
        seller=Party(name="IT0 Ltd", address="1 Main Street\nBerlin", tax_number="DE1"),
        buyer=Party(name="上海镕喆信息技术有限公司", address="浦东新区世纪大道100号"),
        lines=lines,
        line_taxes=taxes,
        quote_id=None,
        created_at_ms=ISSUED_MS,
        issued_at_ms=ISSUED_MS,
        due_at_ms=ISSUED_MS + 14 * 86_400_000,
        closed_at_ms=None,
    )
    return replace(made, **changes)


def credit_note(**changes: Any) -> CreditNote:
    """One of 1.06 for that invoice."""
    made = CreditNote(
        id="cn_1",
        tenant_id="tenant",
        invoice_id="inv_1",
        number="IT0-CN-2026-000001",
        currency="CNY",
        subtotal=100,
        tax=6,
        total=106,
        reason="Outage of 12 November",
        created_at_ms=ISSUED_MS,
    )
    return replace(made, **changes)
