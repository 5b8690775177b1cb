"""Ending a subscription and taking that back; what the operator changes of plans and accounts."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from billing.changes import (
    CLOSING,
    NO_PRICE,
    NOTHING_TO_CANCEL,
    NOTHING_TO_TAKE_BACK,
)
from billing.desk import Changed
from billing.invoices import (
    SAFETY,
    Draft,
    Invoice,
    InvoiceKind,
    Line,
    Party,
    checked,
    most_in_a_month,
)
from billing.money import Money
from billing.operator import Account, AccountChanges
from billing.periods import Period, moment, month_of, whole_second
from billing.plans import CURRENCIES, PlanName, PlanVersion
from billing.rating import overage_lines
from billing.subscriptions import Happening, Status, Subscription, version_at
from core.refusals import Rejected
from core.words import Sentence, sentence
from storage import billing_accounts, plan_versions, quota, subscription_rows
from storage.announcements import announce
from storage.database import Database, execute, savepoint
from storage.invoices import issue
from storage.ledger import credit_of
from storage.outbox import publish as publish_event
from storage.plan_versions import free_version, versions_by_id
from storage.quotes import note_for_end, standing
from storage.rows import integer, text
from storage.subscription_state import current, segments
from storage.subscriptions import happened, void_upgrades

PAGE = 200
_WHOLE = 10_000


# -- the end, and back ----------------------------------------------------------------------


def cancel(
    conn: sa.Connection, tenant_id: str, at_once_by: Party | None, at_ms: int
) -> Changed | Rejected:
    """End the subscription with its period; with a seller, now.

    A trial ends with its time. Upgrades that nobody paid are void. A period that is over has
    been followed by the next one, though the run has not come by: that one is the last.
    """
    it = current(conn, tenant_id, at_ms, lock="{row}")
    versions = versions_by_id(conn)
    plan = versions[version_at(it, at_ms, free_version(versions, at_ms).id)]
    if plan.plan is PlanName.FREE:
        return NOTHING_TO_CANCEL
    over = it.period.end_ms <= at_ms
    invoice = None
    if at_once_by is not None:
        if over:
            return CLOSING
        invoice = _end_now(conn, it, at_once_by, at_ms)
    elif it.cancel_at_ms is None:
        void_upgrades(conn, tenant_id, at_ms)
        end = month_of(at_ms).end_ms if over else it.period.end_ms
        kept = it.next_version_id if over or _only_price(conn, it) else None
        noted = replace(it, cancel_at_ms=it.trial_end_ms or end, next_version_id=kept)
        subscription_rows.save(conn, noted)
    return Changed(standing=standing(conn, tenant_id, at_ms), invoice=invoice)


def _end_now(conn: sa.Connection, it: Subscription, seller: Party, at_ms: int) -> Invoice | None:
    """End it and invoice the overage so far. What is settled later is late usage of the month."""
    month = month_of(at_ms)
    # Before it ends: what was paid for the whole month includes its whole allowance.
    lines = _unbilled_overage(conn, it, month)
    happened(conn, it, Happening.CANCELLED, at_ms)
    if not any(line.amount for line in lines):
        return None
    draft = Draft(
        key=f"final/{it.id}/{month.start_ms}",
        tenant_id=it.tenant_id,
        subscription_id=it.id,
        kind=InvoiceKind.FINAL,
        currency=it.currency,
        period=Period(it.period.start_ms, whole_second(at_ms)),
        lines=lines,
        tax_rate=billing_accounts.account(conn, it.tenant_id, at_ms).tax_rate,
    )
    versions = versions_by_id(conn)
    plans = [versions[line.version_id] for line in lines]
    most = SAFETY * most_in_a_month(plans, it.currency)
    return issue(conn, checked(draft, most_minor=most), at_ms, seller)


def _unbilled_overage(conn: sa.Connection, it: Subscription, month: Period) -> tuple[Line, ...]:
    """The month's overage that no invoice has counted; from now on it is counted."""
    billable = quota.billable(conn, it.tenant_id, month, lock="{row}")
    row = execute(
        conn,
        "SELECT billed FROM quota_counters WHERE tenant_id = :tenant AND period_start = :month",
        tenant=it.tenant_id,
        month=month.start_ms,
    ).first()
    execute(
        conn,
        "UPDATE quota_counters SET billed = :billable WHERE tenant_id = :tenant"
        " AND period_start = :month AND billed < :billable",
        billable=billable,
        tenant=it.tenant_id,
        month=month.start_ms,
    )
    return overage_lines(
        segments(conn, it.tenant_id, month),
        month,
        integer(row[0]) if row is not None else 0,
        billable,
        versions_by_id(conn),
        currency=it.currency,
    )


def reactivate(conn: sa.Connection, tenant_id: str, at_ms: int) -> Changed | Rejected:
    """Take back what was noted for the end of the period: a cancellation or a downgrade.

    A new price that the operator announced stays noted.
    """
    it = current(conn, tenant_id, at_ms, lock="{row}")
    kept = it.next_version_id if _only_price(conn, it) else None
    if it.cancel_at_ms is None and it.next_version_id == kept:
        return NOTHING_TO_TAKE_BACK
    if min(it.period.end_ms, it.cancel_at_ms or it.period.end_ms) <= at_ms:
        return CLOSING
    subscription_rows.save(conn, replace(it, cancel_at_ms=None, next_version_id=kept))
    return Changed(standing=standing(conn, tenant_id, at_ms), invoice=None)


def _only_price(conn: sa.Connection, it: Subscription) -> bool:
    """Whether what is noted is another version of the same plan: the operator's, not the team's."""
    versions = versions_by_id(conn)
    return versions[it.next_version_id or it.version_id].plan is versions[it.version_id].plan


# -- the operator ---------------------------------------------------------------------------


def publish(conn: sa.Connection, version: PlanVersion, at_ms: int) -> PlanVersion | Rejected:
    """Sell a new version; the same one again changes nothing, another one of its id is refused.

    One that begins in the past begins now.
    """
    plan_versions.seed(conn)
    missing = [currency for currency in CURRENCIES if currency not in version.prices]
    if missing or set(version.prices) - set(CURRENCIES):
        said = sentence("A plan has a price in each of {all}.", all=", ".join(CURRENCIES))
        return Rejected(code="bad_prices", sentence=said)
    if version.hard_percent is None and version.cap_percent is None:
        said = sentence("A plan has a hard limit, or a safety cap that bounds what it can cost.")
        return Rejected(code="no_cap", sentence=said)
    wanted = replace(version, available_from_ms=max(version.available_from_ms, at_ms))
    if plan_versions.insert(conn, wanted):
        return wanted
    known = versions_by_id(conn).get(version.id)
    if known is not None and replace(known, available_from_ms=0) == replace(
        version, available_from_ms=0
    ):
        return known
    said = sentence("There is a version {id} already, and a version never changes.", id=version.id)
    return Rejected(code="version_exists", sentence=said)


async def move_all(db: Database, version_id: str, at_ms: int) -> int | Rejected:
    """Move every subscription to another version of the plan; returns how many were noted."""
    noted, after = 0, ""
    while True:
        page = await db.read(_others, version_id, after)
        if isinstance(page, Rejected):
            return page
        for tenant_id in page:
            done = await db.transaction(move, version_id, tenant_id, at_ms)
            noted += 0 if isinstance(done, Rejected) else done
        if len(page) < PAGE:
            return noted
        after = page[-1]


def _others(conn: sa.Connection, version_id: str, after: str) -> tuple[str, ...] | Rejected:
    version = versions_by_id(conn).get(version_id)
    if version is None:
        return NO_VERSION
    rows = execute(
        conn,
        "SELECT s.tenant_id FROM subscriptions s JOIN plan_versions v ON v.id = s.version_id"
        " WHERE s.ended_at IS NULL AND v.plan = :plan AND s.version_id <> :version"
        " AND s.tenant_id > :after ORDER BY s.tenant_id LIMIT :limit",
        plan=str(version.plan),
        version=version_id,
        after=after,
        limit=PAGE,
    ).all()
    return tuple(text(row[0]) for row in rows)


def move(conn: sa.Connection, version_id: str, tenant_id: str, at_ms: int) -> int | Rejected:
    """Note another version of its plan for a team's next period, and tell its admins.

    0: it is noted already, another change is, or it does not stay on the plan. The admins are
    told first: a conversation is locked before a subscription.
    """
    versions = versions_by_id(conn)
    version = versions.get(version_id)
    if version is None:
        return NO_VERSION
    it = current(conn, tenant_id, at_ms)
    if versions[it.version_id].plan is not version.plan:
        said = sentence("That team is on another plan.")
        return Rejected(code="other_plan", sentence=said)
    if it.currency not in version.prices:
        return NO_PRICE
    stays = it.status is not Status.TRIALING and it.cancel_at_ms is None
    if not stays or it.version_id == version_id or it.next_version_id is not None:
        return 0
    try:
        with savepoint(conn):
            _announce_and_note(conn, it, version, at_ms)
    except _Changed:
        return 0
    return 1


def _announce_and_note(
    conn: sa.Connection, it: Subscription, version: PlanVersion, at_ms: int
) -> None:
    key = f"plan/{it.id}/{version.id}"
    told = announce(
        conn,
        tenant_id=it.tenant_id,
        user_id=None,
        conversation_id=None,
        key=key,
        message=_notice(it, version),
        at_ms=at_ms,
    )
    if current(conn, it.tenant_id, at_ms, lock="{row}") != it:
        raise _Changed
    note_for_end(conn, it, version.id)
    if not told:  # no admin has a chat with us: the operator has to write to them
        event = {"reason": "price_change_not_told", "subscription_id": it.id}
        publish_event(conn, f"alarm/{key}", it.tenant_id, "billing.alarm", event, at_ms)


class _Changed(Exception):  # not a fault: it only takes back what was announced
    """The subscription is another one than was looked at."""


NO_VERSION = Rejected(
    code="unknown_version", sentence=sentence("There is no such version of a plan.")
)


def _notice(it: Subscription, version: PlanVersion) -> Sentence:
    """What admins are told: figures and a day that read the same in every language."""
    return sentence(
        "From {day} (UTC) your {plan} plan costs {price} a month, includes {tokens:,} tokens, and "
        "a million tokens over that cost {overage}. Nothing changes before. `/downgrade` and "
        "`/cancel` show what else you can do.",
        day=moment(it.period.end_ms).date().isoformat(),
        plan=version.plan.title(),
        price=str(Money(version.prices[it.currency].base, it.currency)),
        tokens=version.included_tokens,
        overage=str(Money(version.prices[it.currency].overage, it.currency)),
    )


def change_account(
    conn: sa.Connection, tenant_id: str, changes: AccountChanges, at_ms: int
) -> Account | Rejected:
    """Change who is invoiced, and how. What was issued stays as it is.

    The currency of a subscription that costs something is fixed: its prices and what was
    debited are in it.
    """
    it = current(conn, tenant_id, at_ms, lock="{row}")
    before = billing_accounts.account(conn, tenant_id, at_ms, lock="{row}")
    if changes.tax_rate is not None and not 0 <= changes.tax_rate <= _WHOLE:
        said = sentence("A tax rate is from 0 to 100 %.")
        return Rejected(code="bad_tax_rate", sentence=said)
    wanted = changes.currency or before.currency
    if wanted not in CURRENCIES:
        said = sentence("The currencies are {all}.", all=", ".join(CURRENCIES))
        return Rejected(code="bad_currency", sentence=said)
    if wanted != it.currency:
        if versions_by_id(conn)[it.version_id].plan is not PlanName.FREE:
            said = sentence("The currency can change only while the team is on the Free plan.")
            return Rejected(code="currency_fixed", sentence=said)
        if _owes_in(conn, it, at_ms):
            said = sentence(
                "The currency can change once nothing of the old one is left: no balance, and no "
                "paid plan in this month and the one before."
            )
            return Rejected(code="currency_in_use", sentence=said)
        void_upgrades(conn, tenant_id, at_ms)
        subscription_rows.save(conn, replace(it, currency=wanted))
    elif changes.tax_rate not in {None, before.tax_rate}:
        subscription_rows.save(conn, it)  # a quote from before would say another total
    return billing_accounts.change(conn, before, changes, at_ms)


def _owes_in(conn: sa.Connection, it: Subscription, at_ms: int) -> bool:
    """Whether something may still have to be booked in the subscription's currency."""
    if credit_of(conn, it.tenant_id, it.currency):
        return True
    before = month_of(month_of(at_ms).start_ms - 1)
    versions = versions_by_id(conn)
    found = (*segments(conn, it.tenant_id, before), *segments(conn, it.tenant_id, month_of(at_ms)))
    return any(versions[one.version_id].plan is not PlanName.FREE for one in found)
