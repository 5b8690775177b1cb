"""Quotes and their confirmation: what the quote says is what is charged."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from billing.changes import (
    EXPIRED,
    MONTH_ENDS,
    NO_QUOTE,
    OUTDATED,
    QUOTE_MS,
    UNKNOWN_PLAN,
    UNPAID,
    Direction,
)
from billing.changes import direction as direction_of
from billing.desk import Changed, PlanStanding, Quote
from billing.invoices import (
    SAFETY,
    Draft,
    Invoice,
    InvoiceKind,
    Party,
    balance_part,
    checked,
    most_in_a_month,
)
from billing.money import Money
from billing.periods import Period, whole_second
from billing.plans import PlanName, PlanVersion
from billing.proration import upgrade_lines
from billing.subscriptions import Status, Subscription, version_at
from core.ids import new_id
from core.refusals import Rejected
from storage import billing_accounts, quote_rows, subscription_rows
from storage.database import execute
from storage.free_credit import free_credit
from storage.invoices import issue, load
from storage.ledger import credit_of
from storage.plan_versions import free_version, sold_now, versions_by_id
from storage.quote_rows import StoredQuote
from storage.rows import integer
from storage.subscription_state import current, in_debt, overdue_since, segments, service_of
from storage.subscriptions import renew, void_upgrades


def standing(conn: sa.Connection, tenant_id: str, at_ms: int) -> PlanStanding:
    """Where the tenant stands at the moment."""
    it = current(conn, tenant_id, at_ms)
    versions = versions_by_id(conn)
    plan = versions[version_at(it, at_ms, free_version(versions, at_ms).id)]
    waits = it.next_version_id is not None and it.next_version_id != plan.id
    return PlanStanding(
        subscription=it,
        plan=plan,
        next_plan=versions[it.next_version_id] if waits and it.next_version_id else None,
        service=str(service_of(conn, tenant_id, at_ms)),
        balance=Money(credit_of(conn, tenant_id, it.currency), it.currency),
        due=Money(_due(conn, tenant_id, it.currency), it.currency),
        overdue_since_ms=overdue_since(conn, tenant_id, at_ms),
    )


def _due(conn: sa.Connection, tenant_id: str, currency: str) -> int:
    row = execute(
        conn,
        "SELECT CAST(COALESCE(SUM(total - from_balance - paid - credited), 0) AS BIGINT)"
        " FROM invoices WHERE tenant_id = :tenant AND status = 'open' AND currency = :currency",
        tenant=tenant_id,
        currency=currency,
    ).one()
    return integer(row[0])


# -- the offer ------------------------------------------------------------------------------


def offer(  # who asks for what, from where
    conn: sa.Connection,
    tenant_id: str,
    plan: str,
    user_id: str,
    conversation_id: str | None,
    at_ms: int,
) -> Quote | Rejected:
    """Make a quote for a change to the version of a plan that is sold now."""
    it = _renewed_if_free(conn, current(conn, tenant_id, at_ms, lock="{row}"), at_ms)
    wanted = next((it for it in sold_now(conn, at_ms) if it.plan == plan), None)
    if wanted is None:
        return UNKNOWN_PLAN
    versions = versions_by_id(conn)
    way = direction_of(it, versions[it.version_id], wanted, at_ms)
    if isinstance(way, Rejected):
        return way
    if way is Direction.UPGRADE and in_debt(conn, tenant_id):
        return UNPAID
    at = max(whole_second(at_ms), it.period.start_ms)
    last = subscription_rows.last_segment(conn, it)
    upgrade = way is Direction.UPGRADE
    made = StoredQuote(
        id=new_id("quote"),
        tenant_id=tenant_id,
        user_id=user_id,
        kind=str(way),
        subscription_id=it.id,
        revision=it.revision,
        segment=last.key,
        version_id=wanted.id,
        currency=it.currency,
        lines=upgrade_lines(it, last.segment, wanted, at) if upgrade else (),
        at_ms=at if upgrade else it.period.end_ms,
        expires_at_ms=at + QUOTE_MS,
        conversation_id=conversation_id,
    )
    said = _said(conn, made, it, versions[it.version_id], wanted)
    if upgrade and said.total <= 0 < wanted.prices[it.currency].base:
        return MONTH_ENDS  # else the next month would begin on a plan for which nobody paid
    quote_rows.insert(conn, made)
    return said


def _renewed_if_free(conn: sa.Connection, it: Subscription, at_ms: int) -> Subscription:
    """Begin the next month of a team whose old one has nothing to be invoiced.

    A month that was free throughout costs nothing, so an upgrade need not wait for the run.
    """
    while it.period.end_ms <= at_ms:
        versions = versions_by_id(conn)
        plans = [it.version_id, it.next_version_id or it.version_id]
        month = Period(it.period.start_ms, it.period.end_ms)
        plans += [segment.version_id for segment in segments(conn, it.tenant_id, month)]
        if it.status is not Status.ACTIVE or {versions[id_].plan for id_ in plans} != {
            PlanName.FREE
        }:
            return it
        it = renew(conn, it, at_ms)
    return it


def _said(
    conn: sa.Connection,
    quote: StoredQuote,
    it: Subscription,
    plan: PlanVersion,
    wanted: PlanVersion,
) -> Quote:
    draft = _draft(conn, quote, it.period, quote.at_ms)
    credit = free_credit(conn, it.tenant_id, it.currency, upgrades=False)
    credit += _back(conn, it.tenant_id, it.currency)
    part = balance_part(draft.total, credit, it.currency, lend=False)
    return Quote(
        id=quote.id,
        tenant_id=quote.tenant_id,
        kind=quote.kind,
        current=plan,
        wanted=wanted,
        currency=quote.currency,
        lines=quote.lines,
        subtotal=draft.subtotal,
        tax=sum(draft.taxes),
        total=draft.total,
        from_balance=part if quote.lines else 0,
        effective_at_ms=quote.at_ms,
        expires_at_ms=quote.expires_at_ms,
    )


def _back(conn: sa.Connection, tenant_id: str, currency: str) -> int:
    """What the balance gets back of upgrades that a confirmation makes void."""
    row = execute(
        conn,
        "SELECT CAST(COALESCE(SUM(from_balance + paid), 0) AS BIGINT) FROM invoices"
        " WHERE tenant_id = :tenant AND status = 'open' AND kind = 'upgrade'"
        " AND currency = :currency",
        tenant=tenant_id,
        currency=currency,
    ).one()
    return integer(row[0])


def _draft(conn: sa.Connection, quote: StoredQuote, period: Period, at_ms: int) -> Draft:
    return Draft(
        key=f"upgrade/{quote.id}",
        tenant_id=quote.tenant_id,
        subscription_id=quote.subscription_id,
        kind=InvoiceKind.UPGRADE,
        currency=quote.currency,
        period=Period(quote.at_ms, period.end_ms),
        lines=quote.lines,
        tax_rate=billing_accounts.account(conn, quote.tenant_id, at_ms).tax_rate,
        quote_id=quote.id,
    )


# -- the confirmation -----------------------------------------------------------------------


def carry_out(
    conn: sa.Connection, tenant_id: str, quote_id: str, seller: Party, at_ms: int
) -> Changed | Rejected:
    """Carry a quote out as it stands; a second time the same answer.

    Upgrades that were confirmed before and not paid are void then. Raises ``UnsafeInvoice``.
    """
    it = current(conn, tenant_id, at_ms, lock="{row}")
    quote = quote_rows.load(conn, tenant_id, quote_id)
    if quote is None:
        return NO_QUOTE
    if quote.used_at_ms is not None:
        before = None if quote.invoice_id is None else load(conn, tenant_id, quote.invoice_id)
        return Changed(standing=standing(conn, tenant_id, at_ms), invoice=before)
    if at_ms >= quote.expires_at_ms:
        return EXPIRED
    same = (quote.subscription_id, quote.revision) == (it.id, it.revision)
    if not same or at_ms >= it.period.end_ms:
        return OUTDATED
    if quote.kind == Direction.UPGRADE and in_debt(conn, tenant_id):
        return UNPAID
    void_upgrades(conn, tenant_id, at_ms)
    if quote.kind == Direction.DOWNGRADE:
        note_for_end(conn, it, quote.version_id)
        quote_rows.use(conn, quote, at_ms, None)
        return Changed(standing=standing(conn, tenant_id, at_ms), invoice=None)
    invoice = _invoice(conn, quote, it, seller, at_ms)
    return Changed(standing=standing(conn, tenant_id, at_ms), invoice=invoice)


def _invoice(
    conn: sa.Connection, quote: StoredQuote, it: Subscription, seller: Party, at_ms: int
) -> Invoice:
    """Issue what was quoted; when nothing is left to pay it takes effect within."""
    versions = versions_by_id(conn)
    plans = (versions[it.version_id], versions[quote.version_id])
    draft = checked(
        _draft(conn, quote, it.period, at_ms),
        most_minor=SAFETY * most_in_a_month(plans, it.currency),
    )
    invoice = issue(conn, draft, at_ms, seller)
    quote_rows.use(conn, quote, at_ms, invoice.id)
    return invoice


def note_for_end(conn: sa.Connection, it: Subscription, version_id: str) -> Subscription:
    """From the next period on it is another plan; a cancellation that was noted is replaced."""
    return subscription_rows.save(conn, replace(it, next_version_id=version_id, cancel_at_ms=None))
