"""What billing knows, as the models of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billing.desk import (
    Budget,
    Changed,
    ExplainedCall,
    ExplainedConversation,
    LineExplanation,
    PlanStanding,
    QuotaStanding,
    Quote,
    UsageRow,
)
from billing.invoices import CreditNote, Invoice, Line, Party
from billing.money import Money
from billing.payments import Payment
from billing.periods import moment
from billing.plans import PlanVersion
from bots.web import billing_models as m
from core.metering import Usage


def plan(version: PlanVersion) -> m.PlanInfo:
    """A plan."""
    return m.PlanInfo(
        id=version.id,
        plan=version.plan,
        version=version.version,
        included_tokens=version.included_tokens,
        hard_percent=version.hard_percent,
        max_servers=version.max_servers,
        max_users=version.max_users,
        max_standing_orders=version.max_standing_orders,
        prices=[
            m.PlanPrice(
                currency=currency,
                base=amount(price.base, currency),
                overage_per_million=amount(price.overage, currency),
            )
            for currency, price in sorted(version.prices.items())
        ],
    )


def subscription(standing: PlanStanding, *, admin: bool = True) -> m.SubscriptionAnswer:
    """Where a team stands; what it owes is for its admins."""
    held = standing.subscription
    return m.SubscriptionAnswer(
        id=held.id,
        status=held.status,
        plan=plan(standing.plan),
        next_plan=None if standing.next_plan is None else plan(standing.next_plan),
        currency=held.currency,
        period_start=moment(held.period.start_ms),
        period_end=moment(held.period.end_ms),
        started_at=moment(held.started_at_ms),
        trial_end=_moment(held.trial_end_ms),
        cancel_at=_moment(held.cancel_at_ms),
        service=standing.service,
        balance=money(standing.balance) if admin else None,
        due=money(standing.due) if admin else None,
        overdue_since=_moment(standing.overdue_since_ms),
    )


def quote(made: Quote) -> m.QuoteAnswer:
    """A quote."""
    return m.QuoteAnswer(
        id=made.id,
        kind="upgrade" if made.kind == "upgrade" else "downgrade",
        current=plan(made.current),
        wanted=plan(made.wanted),
        lines=[_line(line, made.currency) for line in made.lines],
        subtotal=amount(made.subtotal, made.currency),
        tax=amount(made.tax, made.currency),
        total=amount(made.total, made.currency),
        from_balance=amount(made.from_balance, made.currency),
        effective_at=moment(made.effective_at_ms),
        expires_at=moment(made.expires_at_ms),
    )


def changed(change: Changed) -> m.ChangeAnswer:
    """What a change led to."""
    return m.ChangeAnswer(
        subscription=subscription(change.standing),
        invoice=None if change.invoice is None else invoice(change.invoice),
    )


def invoice(shown: Invoice) -> m.InvoiceInfo:
    """An invoice, without its lines."""
    currency = shown.currency
    return m.InvoiceInfo(
        id=shown.id,
        number=shown.number,
        kind=shown.kind,
        status=shown.status,
        currency=currency,
        period_start=moment(shown.period.start_ms),
        period_end=moment(shown.period.end_ms),
        subtotal=amount(shown.subtotal, currency),
        tax=amount(shown.tax, currency),
        total=amount(shown.total, currency),
        from_balance=amount(shown.from_balance, currency),
        paid=amount(shown.paid, currency),
        credited=amount(shown.credited, currency),
        due=amount(shown.due, currency),
        needs_review=shown.needs_review,
        issued_at=_moment(shown.issued_at_ms),
        due_at=_moment(shown.due_at_ms),
        closed_at=_moment(shown.closed_at_ms),
    )


def invoice_detail(
    shown: Invoice, notes: Sequence[CreditNote], payments: Sequence[Payment]
) -> m.InvoiceDetail:
    """An invoice with all that belongs to it."""
    return m.InvoiceDetail(
        **dict(invoice(shown)),
        seller=_party(shown.seller),
        buyer=_party(shown.buyer),
        tax_rate=shown.tax_rate,
        lines=[_invoice_line(shown, number) for number in range(1, len(shown.lines) + 1)],
        credit_notes=[_note(note) for note in notes],
        payments=[payment(one) for one in payments],
    )


def payment(made: Payment) -> m.PaymentAnswer:
    """An attempt to pay."""
    session = made.session
    return m.PaymentAnswer(
        id=made.id,
        invoice_id=made.invoice_id,
        method=made.provider,
        status=made.status,
        amount=money(made.amount),
        received=None if made.received is None else money(made.received),
        instructions=session.instructions if session else "",
        url=session.url if session else "",
        qr=session.qr if session else "",
        created_at=moment(made.created_at_ms),
        expires_at=_moment(made.expires_at_ms),
    )


def explanation(explained: LineExplanation) -> m.ExplanationAnswer:
    """What is behind a line."""
    return m.ExplanationAnswer(
        invoice_id=explained.invoice.id,
        line=_invoice_line(explained.invoice, explained.line_number),
        conversations=[_conversation(one) for one in explained.conversations],
        calls=[_call(one) for one in explained.calls],
        next_after=explained.next_after,
    )


def quota(standing: QuotaStanding) -> m.QuotaAnswer:
    """This month's tokens."""
    return m.QuotaAnswer(
        period_start=moment(standing.period.start_ms),
        period_end=moment(standing.period.end_ms),
        used_tokens=standing.used,
        reserved_tokens=standing.reserved,
        own_key_tokens=standing.own_used,
        included_tokens=standing.included,
        hard_limit_tokens=standing.hard,
        percent=standing.percent,
        forecast_tokens=standing.forecast,
        overage=amount(standing.overage_minor, standing.currency),
        overage_forecast=amount(standing.overage_forecast_minor, standing.currency),
    )


def usage_day(row: UsageRow) -> m.UsageDay:
    """A day with a model."""
    return m.UsageDay(
        day=moment(row.day_ms).date(),
        model=row.model,
        own_key=row.own_key,
        calls=row.calls,
        estimated_calls=row.estimated_calls,
        unpriced_calls=row.unpriced_calls,
        usage=_buckets(row.usage),
        cost_pico_usd=row.cost_pico,
    )


def budget(limit: Budget) -> m.BudgetInfo:
    """A limit of the team's own."""
    return m.BudgetInfo(scope=limit.scope, subject=limit.subject, tokens=limit.tokens)


def amount(minor: int, currency: str) -> m.Amount:
    """Minor units with their currency."""
    return m.Amount(amount=minor, currency=currency)


def money(value: Money) -> m.Amount:
    """The same, of money."""
    return amount(value.minor, value.currency)


def _invoice_line(shown: Invoice, number: int) -> m.InvoiceLine:
    line = _line(shown.lines[number - 1], shown.currency)
    tax = amount(shown.line_taxes[number - 1], shown.currency)
    return m.InvoiceLine(**dict(line), number=number, tax=tax)


def _line(line: Line, currency: str) -> m.LineInfo:
    return m.LineInfo(
        kind=line.kind,
        plan=line.version_id,
        period_start=moment(line.period.start_ms),
        period_end=moment(line.period.end_ms),
        quantity=line.quantity,
        unit=amount(line.unit_minor, currency),
        amount=amount(line.amount, currency),
    )


def _note(note: CreditNote) -> m.CreditNoteInfo:
    return m.CreditNoteInfo(
        id=note.id,
        number=note.number,
        total=amount(note.total, note.currency),
        tax=amount(note.tax, note.currency),
        reason=note.reason,
        created_at=moment(note.created_at_ms),
    )


def _party(party: Party) -> m.PartyInfo:
    return m.PartyInfo(
        name=party.name,
        address=party.address,
        tax_number=party.tax_number,
        email=party.email,
    )


def _conversation(one: ExplainedConversation) -> m.ExplainedConversationInfo:
    return m.ExplainedConversationInfo(
        conversation_id=one.conversation_id,
        owner=one.owner,
        turns=one.turns,
        calls=one.calls,
        billed_tokens=one.billed_tokens,
    )


def _call(call: ExplainedCall) -> m.ExplainedCallInfo:
    return m.ExplainedCallInfo(
        call_id=call.call_id,
        turn_id=call.turn_id,
        conversation_id=call.conversation_id,
        user_id=call.user_id,
        model=call.model,
        at=moment(call.at_ms),
        usage=_buckets(call.usage),
        estimated=call.estimated,
        billed_tokens=call.billed_tokens,
    )


def _buckets(usage: Usage) -> m.TokenBuckets:
    return m.TokenBuckets(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_5m_tokens=usage.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
    )


def _moment(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else moment(at_ms)
