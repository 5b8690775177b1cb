"""Billing's part of the tenant walk: what another team has, and every method asked for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from billing.desk import Budget, Changed, Quote
from billing.invoices import Invoice, Party
from billing.operator import AccountChanges
from billing.payment_service import MarkedPaid, PaymentService
from billing.payment_store import Wanted
from billing.payments import Payment, Providers
from billing.providers.manual import ManualConfig, ManualProvider
from core.clock import SystemClock
from core.idempotency import Claimed, Keyed
from core.messages import Actor
from core.metering import CallRequest
from core.tenants import User
from core.words import sentence
from storage.access import SqlGate
from storage.admission import SqlQuota
from storage.announcements import SqlNotices, announce
from storage.billing_audit import AuditedPlans, BillingAudit
from storage.database import Database
from storage.idempotency import SqlKeys
from storage.invoices import SqlInvoices
from storage.payments import SqlPayments
from storage.plans import SqlPlans
from storage.usage_desk import SqlUsage

KEY = b"k" * 32
CLOCK = SystemClock()
KEYED = "theirs"

_OPERATOR = "the operator's own, behind the proof that only the installation's key makes"
_EVENTS = "the relay carries events of every tenant; each names its own"
_PAYMENTS = "the worker's own, on ids that it found by itself or got from the provider"
OF_THE_INSTALLATION = {
    **{f"AuditedInvoices.{name}": _OPERATOR for name in ("credit", "find", "page", "void")},
    **{f"AuditedOffers.{name}": _OPERATOR for name in ("move", "publish", "set_account", "trial")},
    "AuditedPayments.mark_paid": _OPERATOR,
    **{f"SqlOperatorInvoices.{name}": _OPERATOR for name in ("credit", "find", "page", "void")},
    **{f"SqlOperatorRuns.{name}": _OPERATOR for name in ("reconcile", "run")},
    "BillingRun.run": "bills every tenant, each in a transaction of its own",
    "SqlPlans.seed": "the plans that are sold",
    "SqlPlans.publish": _OPERATOR,
    "SqlPlans.move": _OPERATOR,
    "SqlPlans.plans": "the plans that are sold",
    "AuditedPlans.plans": "as above",
    **{
        f"SqlOutbox.{name}": _EVENTS
        for name in ("claim", "failed", "purge", "put_aside", "release", "retry", "sent")
    },
    "SqlConsumer.consume": _EVENTS,
    **{
        f"SqlPayments.{name}": _PAYMENTS
        for name in (
            *("apply", "due", "failed", "find", "give_up", "keep", "mark", "marked", "opened"),
            *("plan", "processed", "waiting"),
        )
    },
}


@dataclass(frozen=True, slots=True)
class Bill:
    """What the victim has: an upgrade that is paid, and a larger one that is not."""

    quote_id: str
    invoice_id: str
    number: str
    notice: str
    secrets: tuple[str, ...]
    """Ids that nobody of another team is told."""


async def furnish(db: Database, victim: User, canary: str) -> Bill:
    """A paid upgrade with the canary on its invoice, a quote, a budget, a notice, a kept answer."""
    plans = SqlPlans(db, CLOCK, "USD", Party(name="IT0"))
    await plans.seed()
    await plans.set_account(victim.tenant_id, AccountChanges(name=canary))
    service = payments_of(db)
    paid = await _ordered(plans, victim, "pro")
    marked = await service.mark_paid(paid.id, by="op")
    assert isinstance(marked, MarkedPaid)
    unpaid = await _ordered(plans, victim, "enterprise")
    begun = await service.pay(victim.tenant_id, unpaid.id)
    assert isinstance(begun, Payment)
    quote = await plans.quote(victim.tenant_id, "enterprise", user_id=victim.id)
    assert isinstance(quote, Quote)
    budget = Budget(scope="user", subject=victim.id, tokens=77)
    await SqlUsage(db, CLOCK).set_budget(victim.tenant_id, budget, user_id=victim.id)
    await SqlKeys(db, CLOCK).claim(_keyed(victim))
    told = sentence("It is about {what}.", what=canary)
    await db.transaction(
        lambda conn: announce(
            conn,
            tenant_id=victim.tenant_id,
            user_id=victim.id,
            conversation_id=None,
            key="theirs",
            message=told,
            at_ms=1,
        )
    )
    secrets = (paid.id, str(paid.number), marked.payment.id, begun.id, unpaid.subscription_id)
    return Bill(quote.id, unpaid.id, str(unpaid.number), "theirs", secrets)


async def _ordered(plans: SqlPlans, victim: User, plan: str) -> Invoice:
    """An upgrade, confirmed; its invoice."""
    quote = await plans.quote(victim.tenant_id, plan, user_id=victim.id)
    assert isinstance(quote, Quote)
    changed = await plans.confirm(victim.tenant_id, quote.id, user_id=victim.id)
    assert isinstance(changed, Changed)
    assert changed.invoice is not None
    return changed.invoice


def payments_of(db: Database) -> PaymentService:
    """With the one way to pay that there always is."""
    store = SqlPayments(db)
    manual = ManualProvider(ManualConfig(instructions="Transfer it."), store)
    return PaymentService(store, Providers(by_name={"manual": manual}), CLOCK)


def _keyed(user: User) -> Keyed:
    return Keyed(tenant_id=user.tenant_id, user_id=user.id, key=KEYED, request_hash="h")


def calls(
    db: Database, mine: User, victim: User, bill: Bill, call: CallRequest
) -> dict[str, Callable[[], Awaitable[object]]]:
    """Each method with the victim's ids and the intruder's tenant."""
    tenant = mine.tenant_id
    return {
        **_of_plans(db, mine, bill),
        **_of_invoices(db, mine, bill),
        **_of_usage(db, mine, victim, call),
        "SqlKeys.claim": lambda: SqlKeys(db, CLOCK).claim(_keyed(mine)),
        "SqlKeys.keep": lambda: SqlKeys(db, CLOCK).keep(
            Claimed(request=_keyed(mine), at_ms=1), 200, "forged"
        ),
        "SqlKeys.release": lambda: SqlKeys(db, CLOCK).release(
            Claimed(request=_keyed(mine), at_ms=1)
        ),
        "SqlNotices.notice": lambda: SqlNotices(db).notice(tenant, bill.notice),
        "SqlGate.known": lambda: SqlGate(db, KEY).known(
            Actor(platform="it0", workspace="", external_id=mine.id), "elsewhere"
        ),
        "BillingAudit.note": lambda: BillingAudit(db, KEY).note(tenant, mine.id, "forged"),
    }


def _of_plans(db: Database, mine: User, bill: Bill) -> dict[str, Callable[[], Awaitable[object]]]:
    tenant = mine.tenant_id
    plain = SqlPlans(db, CLOCK, "USD", Party(name="IT0"))
    audited = AuditedPlans(plain, BillingAudit(db, KEY))
    made: dict[str, Callable[[], Awaitable[object]]] = {
        "SqlPlans.limits": lambda: plain.limits(tenant),
        "SqlPlans.set_account": lambda: plain.set_account(tenant, AccountChanges(name="n")),
        "SqlPlans.trial": lambda: plain.trial(tenant, "pro"),
    }
    for name, plans in (("SqlPlans", plain), ("AuditedPlans", audited)):
        made |= _changes(name, plans, mine, bill)
    return made


def _changes(
    name: str, plans: SqlPlans | AuditedPlans, mine: User, bill: Bill
) -> dict[str, Callable[[], Awaitable[object]]]:
    tenant = mine.tenant_id
    return {
        f"{name}.standing": lambda: plans.standing(tenant),
        f"{name}.quote": lambda: plans.quote(tenant, "pro", user_id=mine.id),
        f"{name}.confirm": lambda: plans.confirm(tenant, bill.quote_id, user_id=mine.id),
        f"{name}.cancel": lambda: plans.cancel(tenant, user_id=mine.id),
        f"{name}.reactivate": lambda: plans.reactivate(tenant, user_id=mine.id),
    }


def _of_invoices(
    db: Database, mine: User, bill: Bill
) -> dict[str, Callable[[], Awaitable[object]]]:
    tenant, desk, store = mine.tenant_id, SqlInvoices(db, CLOCK), SqlPayments(db)
    wanted = Wanted(tenant_id=tenant, invoice=bill.number, provider="manual")
    return {
        "SqlInvoices.invoices": lambda: desk.invoices(tenant),
        "SqlInvoices.invoice": lambda: desk.invoice(tenant, bill.number),
        "SqlInvoices.credit_notes": lambda: desk.credit_notes(tenant, bill.invoice_id),
        "SqlInvoices.explain": lambda: desk.explain(tenant, bill.invoice_id, 1),
        "SqlInvoices.pdf": lambda: desk.pdf(tenant, bill.number, "en"),
        "SqlInvoices.credit": lambda: desk.credit(tenant, bill.number, 1, reason="x", by=mine.id),
        "SqlInvoices.review": lambda: desk.review(tenant, bill.number),
        "SqlPayments.begin": lambda: store.begin(wanted, 1),
        "SqlPayments.payments": lambda: store.payments(tenant, bill.invoice_id),
    }


def _of_usage(
    db: Database, mine: User, victim: User, call: CallRequest
) -> dict[str, Callable[[], Awaitable[object]]]:
    tenant, desk = mine.tenant_id, SqlUsage(db, CLOCK)
    budget = Budget(scope="user", subject=victim.id, tokens=5)
    return {
        "SqlUsage.budgets": lambda: desk.budgets(tenant),
        "SqlUsage.set_budget": lambda: desk.set_budget(tenant, budget, user_id=mine.id),
        "SqlUsage.current": lambda: desk.current(tenant),
        "SqlUsage.history": lambda: desk.history(tenant, from_ms=0, to_ms=2**50),
        "SqlQuota.reserve": lambda: SqlQuota(db).reserve(call, CLOCK.now_ms(), overage=True),
        "SqlQuota.service": lambda: SqlQuota(db).service(tenant, CLOCK.now_ms()),
    }
