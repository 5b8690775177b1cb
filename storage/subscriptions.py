"""What becomes of a subscription: it is paid, renewed, tried, falls due, ends.

Each function runs in the caller's transaction. The subscription's row is locked first, then
invoices, then the counters of the quota. A plan changes by a new segment; nothing that was is
written over.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from billing.changes import CLOSING, LONGEST_TRIAL_DAYS, UNKNOWN_PLAN, UNPAID
from billing.invoices import Draft, Invoice, InvoiceKind, Party, balance_part
from billing.periods import DAY_MS, SECOND_MS, Period, month_of, whole_second
from billing.plans import PlanName, PlanVersion
from billing.proration import debited, upgrade_lines
from billing.subscriptions import Happening, Segment, Status, Subscription, after
from core.refusals import Rejected
from core.words import sentence
from storage import billing_accounts, quota, quote_rows, subscription_rows
from storage.database import execute
from storage.free_credit import free_credit
from storage.outbox import publish
from storage.plan_versions import free_version, sold_now, versions_by_id
from storage.rows import text
from storage.subscription_state import (
    begin,
    begin_free,
    current,
    limits_for,
    overdue_since,
    plan_limits,
    segments,
    service_of,
)

__all__ = [
    "apply_paid",
    "current",
    "end_trial",
    "happened",
    "limits_for",
    "plan_limits",
    "renew",
    "segments",
    "service_of",
    "start_trial",
    "void_upgrades",
]

# -- one transition -------------------------------------------------------------------------


def happened(
    conn: sa.Connection, subscription: Subscription, happening: Happening, at_ms: int
) -> Subscription:
    """Carry out one transition and return the subscription as it is then.

    One that ended is followed by a free one from the same second on. Raises
    ``ImpossibleChange``.
    """
    it = _locked(conn, subscription)
    status = after(it.status, happening)
    if status.ended:
        return _end(conn, it, status, at_ms)
    since = at_ms if happening is Happening.OVERDUE else None
    return subscription_rows.save(conn, replace(it, status=status, past_due_since_ms=since))


def _end(conn: sa.Connection, it: Subscription, status: Status, at_ms: int) -> Subscription:
    void_upgrades(conn, it.tenant_id, at_ms)
    at_ms = whole_second(at_ms)
    ended = subscription_rows.save(conn, replace(it, status=status, ended_at_ms=at_ms))
    begin_free(conn, it.tenant_id, at_ms, position=_position(conn, it.tenant_id, at_ms))
    free = current(conn, it.tenant_id, at_ms)
    _set_limits(conn, free, at_ms)
    _tell(conn, free, it, at_ms)
    return ended


# -- the end of a period --------------------------------------------------------------------


def renew(
    conn: sa.Connection, subscription: Subscription, at_ms: int, *, charged: bool = True
) -> Subscription:
    """At the end of its period begin the next one, and return the tenant's live subscription.

    The change that was noted, or the end, takes effect at exactly the end of the period,
    however late this runs. Upgrades that nobody paid were for the old period: they are void.
    ``charged``: the caller invoices the new month, so that an upgrade in it has a credit.
    """
    it = current(conn, subscription.tenant_id, at_ms, lock="{row}")
    end = it.period.end_ms
    if it.id != subscription.id or at_ms < end:
        return it
    void_upgrades(conn, it.tenant_id, at_ms)
    if it.cancel_at_ms is not None and it.cancel_at_ms <= end:
        happened(conn, it, Happening.CANCELLED, end)
        return current(conn, it.tenant_id, at_ms, lock="{row}")
    versions = versions_by_id(conn)
    version = versions[it.next_version_id or it.version_id]
    trial = it.status is Status.TRIALING
    segment = Segment(
        version_id=_tokens_of_trial(conn, it) if trial else version.id,
        starts_at_ms=end,
        start_position=0,
        debited_minor=0 if trial or not charged else version.prices[it.currency].base,
    )
    period = Period(end, month_of(end).end_ms)
    new = replace(it, version_id=version.id, period=period, next_version_id=None)
    return _switched(conn, it, new, segment, at_ms)


def _tokens_of_trial(conn: sa.Connection, it: Subscription) -> str:
    return subscription_rows.last_segment(conn, it).segment.version_id


# -- what was paid --------------------------------------------------------------------------


def apply_paid(conn: sa.Connection, invoice: Invoice, at_ms: int) -> None:
    """An invoice was paid: an upgrade takes effect now, and a team that owed is served again."""
    if invoice.kind is InvoiceKind.UPGRADE and invoice.quote_id is not None:
        _carry_out(conn, invoice, invoice.quote_id, at_ms)
    recovered(conn, invoice.tenant_id, at_ms)


def refresh_limits(conn: sa.Connection, tenant_id: str, at_ms: int) -> None:
    """The month's limits as they are now, after a debt was paid."""
    _set_limits(conn, current(conn, tenant_id, at_ms, lock="{row}"), at_ms)


def recovered(conn: sa.Connection, tenant_id: str, at_ms: int) -> None:
    """A team that owed is served again, once nothing is overdue any more."""
    it = current(conn, tenant_id, at_ms, lock="{row}")
    if it.status is Status.PAST_DUE and overdue_since(conn, tenant_id, at_ms) is None:
        happened(conn, it, Happening.RECOVERED, at_ms)


def _carry_out(conn: sa.Connection, invoice: Invoice, quote_id: str, at_ms: int) -> None:
    """Change the plan as quoted, unless the plan that it was quoted for is gone.

    What was paid before the run renewed the subscription counts for the old period, up to its
    last second; the run then asks for the new plan's month.
    """
    it = current(conn, invoice.tenant_id, at_ms, lock="{row}")
    quote = quote_rows.load(conn, invoice.tenant_id, quote_id)
    if quote is None or quote.subscription_id != it.id:
        return _keep(conn, invoice, at_ms)
    last = subscription_rows.last_segment(conn, it)
    if quote.segment != last.key:
        return _keep(conn, invoice, at_ms)
    at = min(whole_second(at_ms), it.period.end_ms - SECOND_MS)
    segment = Segment(
        version_id=quote.version_id,
        starts_at_ms=max(at, last.segment.starts_at_ms),
        start_position=quota.billable(conn, it.tenant_id, month_of(at), lock="{row}"),
        debited_minor=debited(quote.lines),
    )
    _switched(conn, it, _bought(it, quote.version_id), segment, at_ms)
    return None


def _bought(it: Subscription, version_id: str) -> Subscription:
    """With another plan, now: whatever was noted for the end of the period is replaced."""
    trial = it.status is Status.TRIALING
    return replace(
        it,
        version_id=version_id,
        status=after(it.status, Happening.TRIAL_PAID) if trial else it.status,
        trial_end_ms=None,
        cancel_at_ms=None,
        next_version_id=None,
    )


def _keep(conn: sa.Connection, invoice: Invoice, at_ms: int) -> None:
    """The money is the customer's; a state never goes back for it, and the operator looks."""
    # Invoices are closed with apply_paid, so this module comes first.
    from storage.credit_notes import credit  # noqa: PLC0415  # it imports this module

    reason = sentence("The plan was another one when it was paid.")
    left = invoice.total - invoice.credited
    if left > 0:
        credit(conn, invoice, left, reason, "it0", at_ms)
    event = {"reason": "upgrade_not_applied", "invoice_id": invoice.id}
    publish(conn, f"alarm/upgrade/{invoice.id}", invoice.tenant_id, "billing.alarm", event, at_ms)


def void_upgrades(conn: sa.Connection, tenant_id: str, at_ms: int) -> None:
    """Upgrades that nobody paid are void: a later decision replaces them."""
    from storage.invoices import load, void  # noqa: PLC0415  # they are closed with apply_paid

    rows = execute(
        conn,
        "SELECT id FROM invoices WHERE tenant_id = :tenant AND status = 'open'"
        " AND kind = 'upgrade' ORDER BY id",
        tenant=tenant_id,
    ).all()
    for row in rows:
        invoice = load(conn, tenant_id, text(row[0]))
        if invoice is not None:
            void(conn, invoice, at_ms)


# -- trials ---------------------------------------------------------------------------------


def start_trial(
    conn: sa.Connection, tenant_id: str, plan: str, days: int, at_ms: int
) -> Subscription | Rejected:
    """Let a team on the free plan have a larger one's features with the free plan's tokens.

    Once in a team's life; it ends on the second.
    """
    it = current(conn, tenant_id, at_ms, lock="{row}")
    version = next((it for it in sold_now(conn, at_ms) if it.plan == plan), None)
    refusal = _no_trial(conn, it, version, days, at_ms)
    if refusal is not None or version is None:
        return refusal or UNKNOWN_PLAN
    void_upgrades(conn, tenant_id, at_ms)
    start = whole_second(at_ms)
    free = free_version(versions_by_id(conn), at_ms)
    subscription_rows.save(conn, replace(it, status=Status.CANCELLED, ended_at_ms=start))
    trial = begin(
        conn,
        tenant_id,
        version,
        it.currency,
        Period(start, month_of(start).end_ms),
        _position(conn, tenant_id, start),
        trial_end_ms=start + days * DAY_MS,
        tokens_of=free,
    )
    if trial is None:
        message = "another subscription began while this one was locked"
        raise LookupError(message)
    _set_limits(conn, trial, at_ms)
    _tell(conn, trial, it, at_ms)
    return trial


def _no_trial(
    conn: sa.Connection, it: Subscription, version: PlanVersion | None, days: int, at_ms: int
) -> Rejected | None:
    if version is None or it.currency not in version.prices:
        return UNKNOWN_PLAN
    if version.plan is PlanName.FREE or not 0 < days <= LONGEST_TRIAL_DAYS:
        return Rejected(
            code="no_trial",
            sentence=sentence(
                "A trial is of a paid plan, for 1 to {most} days.", most=LONGEST_TRIAL_DAYS
            ),
        )
    if versions_by_id(conn)[it.version_id].plan is not PlanName.FREE:
        said = sentence("Only a team on the Free plan can try another one.")
        return Rejected(code="no_trial", sentence=said)
    if it.status is not Status.ACTIVE or it.period.end_ms <= at_ms:
        return CLOSING if it.status is Status.ACTIVE else UNPAID
    before = execute(
        conn,
        "SELECT 1 FROM subscriptions WHERE tenant_id = :tenant AND trial_end IS NOT NULL LIMIT 1",
        tenant=it.tenant_id,
    ).first()
    if before is None:
        return None
    return Rejected(code="trial_used", sentence=sentence("Your team has had its trial."))


def end_trial(conn: sa.Connection, tenant_id: str, at_ms: int, seller: Party) -> bool:
    """End a trial whose time is over; False: there is none.

    It goes on as a paid plan when the balance pays the rest of the month, which is its first
    invoice; else it has expired, without a grace, and the free plan follows. Who wants to pay
    otherwise upgrades before it ends.
    """
    it = current(conn, tenant_id, at_ms, lock="{row}")
    while it.trial_end_ms is not None and it.period.end_ms <= it.trial_end_ms <= at_ms:
        it = renew(conn, it, at_ms)
    if it.status is not Status.TRIALING or it.trial_end_ms is None or it.trial_end_ms > at_ms:
        return False
    if it.cancel_at_ms is not None:
        happened(conn, it, Happening.CANCELLED, it.trial_end_ms)
    elif not _pay_trial(conn, it, it.trial_end_ms, at_ms, seller):
        happened(conn, it, Happening.TRIAL_ENDED, it.trial_end_ms)
    return True


def _pay_trial(
    conn: sa.Connection, it: Subscription, trial_end_ms: int, at_ms: int, seller: Party
) -> bool:
    """Invoice the rest of the month if the balance pays all of it."""
    from storage.invoices import issue  # noqa: PLC0415  # invoices are closed with apply_paid

    version = versions_by_id(conn)[it.version_id]
    last = subscription_rows.last_segment(conn, it).segment
    lines = upgrade_lines(it, last, version, trial_end_ms)
    draft = Draft(
        key=f"trial/{it.id}",
        tenant_id=it.tenant_id,
        subscription_id=it.id,
        kind=InvoiceKind.CYCLE,
        currency=it.currency,
        period=Period(trial_end_ms, it.period.end_ms),
        lines=lines,
        tax_rate=billing_accounts.account(conn, it.tenant_id, at_ms).tax_rate,
    )
    credit = free_credit(conn, it.tenant_id, it.currency)
    if credit < draft.total or balance_part(draft.total, credit, it.currency) != draft.total:
        return False
    issue(conn, draft, at_ms, seller)
    segment = Segment(
        version_id=version.id,
        starts_at_ms=trial_end_ms,
        start_position=quota.billable(conn, it.tenant_id, month_of(trial_end_ms), lock="{row}"),
        debited_minor=debited(lines),
    )
    _switched(conn, it, _bought(it, version.id), segment, at_ms)
    return True


# -- parts ----------------------------------------------------------------------------------


def _locked(conn: sa.Connection, subscription: Subscription) -> Subscription:
    """As it is now, under its lock; one that has ended as it is told."""
    it = subscription_rows.live(conn, subscription.tenant_id, lock="{row}")
    return it if it is not None and it.id == subscription.id else subscription


def _switched(
    conn: sa.Connection, old: Subscription, new: Subscription, segment: Segment, at_ms: int
) -> Subscription:
    """Write the change with its segment and the limits of the month; tell of another plan."""
    new = subscription_rows.save(conn, new)
    subscription_rows.add_segment(conn, new, segment)
    _set_limits(conn, new, segment.starts_at_ms)
    if month_of(at_ms) != month_of(segment.starts_at_ms):
        _set_limits(conn, new, at_ms)
    _tell(conn, new, old, at_ms)
    return new


def _position(conn: sa.Connection, tenant_id: str, at_ms: int) -> int:
    """The billable tokens of the month before a segment that begins then; none at its start."""
    month = month_of(at_ms)
    if at_ms == month.start_ms:
        return 0
    return quota.billable(conn, tenant_id, month, lock="{row}")


def _set_limits(conn: sa.Connection, it: Subscription, at_ms: int) -> None:
    month = month_of(at_ms)
    quota.set_limits(conn, it.tenant_id, month, limits_for(conn, it.tenant_id, month, at_ms))


def _tell(conn: sa.Connection, new: Subscription, old: Subscription, at_ms: int) -> None:
    """Publish that another plan is in effect, if one is."""
    versions = versions_by_id(conn)
    plan, before = versions[new.version_id].plan, versions[old.version_id].plan
    if plan is before:
        return
    event = {"subscription_id": new.id, "plan": str(plan), "from": str(before)}
    key = f"subscription/{new.id}/{new.revision}"
    publish(conn, key, new.tenant_id, "subscription.changed", event, at_ms)
