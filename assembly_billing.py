"""Plans, quotas and invoices of an installation, made from its settings, and what runs for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web

from billing.commands import BillingCommands
from billing.desk import BillingDesk
from billing.events import InProcessBus
from billing.home import PlanSummary
from billing.invoices import Party
from billing.meter import BillingService
from billing.operator import OperatorDesk
from billing.payment_service import PaymentService
from billing.payments import Providers
from billing.providers.manual import ManualConfig, ManualProvider
from billing.relay import Relay
from bots.web.auth import Authenticator
from bots.web.billing import BillingRoutes
from bots.web.operator_billing import OperatorBillingRoutes
from bots.web.operator_proof import PURPOSE, ProofCheck
from core import telemetry
from core.clock import SystemClock
from core.commands import Topic
from core.errors import StorageFailure
from core.metering import Meter, Settlement
from core.service_levels import FullService, ServiceLevels
from core.turn import MOST_OWED
from settings import Settings
from storage import idempotency, payment_events
from storage.access import SqlGate
from storage.admission import SqlQuota, sweep
from storage.billing_audit import (
    AuditedInvoices,
    AuditedOffers,
    AuditedPayments,
    AuditedPlans,
    BillingAudit,
)
from storage.billing_run import BillingRun
from storage.consumers import consumers
from storage.idempotency import SqlKeys
from storage.invoices import SqlInvoices
from storage.metering import RecordingMeter, settle
from storage.operator_billing import SqlOperatorInvoices, SqlOperatorRuns
from storage.outbox import SqlOutbox
from storage.payments import SqlPayments
from storage.plan_limits import switch
from storage.plans import SqlPlans
from storage.reconcile import reconcile_nightly
from storage.usage_desk import SqlUsage
from stores import Storage

SWEEP_S: Final = 30.0
PAYMENTS_S: Final = 2.0
RUN_S: Final = 600.0
"""More often than the hour that billing promises: a run with nothing due is one SELECT."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What an installation with plans has on top."""

    desk: BillingDesk
    operator: OperatorDesk
    plans: SqlPlans
    payments: PaymentService
    run: BillingRun
    commands: BillingCommands
    summary: PlanSummary
    keys: SqlKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """How calls are metered, and the accounts where there are plans."""

    storage: Storage
    meter: Meter
    services: ServiceLevels
    relay: Relay
    accounts: Accounts | None
    owed: deque[Settlement] = field(default_factory=lambda: deque(maxlen=MOST_OWED))
    """``TurnRunner.owed``."""

    def topics(self) -> tuple[Topic, ...]:
        """The chat commands."""
        return () if self.accounts is None else (self.accounts.commands,)

    def routes(self, auth: Authenticator) -> list[web.RouteDef]:
        """What the HTTP edge mounts: nothing where there are no plans."""
        if self.accounts is None:
            return []
        proofs = ProofCheck(key=self.storage.keys.derive(PURPOSE))
        return [
            *BillingRoutes(self.accounts.desk, auth, self.accounts.keys).routes(),
            *OperatorBillingRoutes(self.accounts.operator, auth, proofs).routes(),
        ]

    async def loops(self) -> None:
        """Run everything until cancelled."""
        jobs = [
            self.relay.run(),
            _again("sweep", SWEEP_S, self._sweep),
            _again("owed", PAYMENTS_S, self._settle_owed),
        ]
        if self.accounts is not None:
            jobs += [
                _again("payments", PAYMENTS_S, self.accounts.payments.work),
                _again("billing", RUN_S, self._bill),
            ]
        await asyncio.gather(*jobs)

    async def housekeep(self) -> None:
        """Forget what nobody needs any more, and reconcile once a day."""
        db, outbox, at_ms = self.storage.db, self.relay.outbox, SystemClock().now_ms()
        if isinstance(outbox, SqlOutbox):
            await outbox.purge(at_ms)
        while await payment_events.purge(db, at_ms):
            pass
        while await db.transaction(idempotency.purge, at_ms, 200) == 200:  # noqa: PLR2004  # a batch
            pass
        await reconcile_nightly(db, SystemClock())

    async def _settle_owed(self) -> int:
        """Settle what a commit may have failed to bring; twice is once."""
        while self.owed:
            await self.storage.db.transaction(settle, self.owed[0])
            self.owed.popleft()
        return 0

    async def _sweep(self) -> int:
        await sweep(self.storage.db, SystemClock().now_ms())
        return 0  # the next look may wait, however many there were

    async def _bill(self) -> int:
        if self.accounts is not None:
            await self.accounts.run.run()
        return 0


async def make_billing(settings: Settings, storage: Storage) -> Billing:
    """Wire it. Plans are put in, so that the first message finds them."""
    db, clock = storage.db, SystemClock()
    chosen = settings.billing
    seller = Party(
        name=chosen.seller_name,
        address=chosen.seller_address,
        tax_number=chosen.seller_tax_number,
        email=chosen.seller_email,
    )
    plans = SqlPlans(db, clock, chosen.currency, seller)
    await plans.seed()
    await db.transaction(switch, on=chosen.enabled)
    heard = consumers(db, clock)
    if not chosen.enabled:  # counted and compared, and nobody is told of limits that do not hold
        heard = tuple(consumer for consumer in heard if consumer.name != "notices")
    relay = Relay(
        outbox=SqlOutbox(db), bus=InProcessBus(heard), clock=clock, exclusive=db.exclusive
    )
    if not chosen.enabled:
        return Billing(
            storage=storage,
            meter=RecordingMeter(db),
            services=FullService(),
            relay=relay,
            accounts=None,
        )
    quota = SqlQuota(db)
    return Billing(
        storage=storage,
        meter=BillingService(quota, clock),
        services=Services(quota),
        relay=relay,
        accounts=_accounts(settings, storage, plans, seller),
    )


def _accounts(settings: Settings, storage: Storage, plans: SqlPlans, seller: Party) -> Accounts:
    db, clock = storage.db, SystemClock()
    store = SqlPayments(db)
    manual = ManualProvider(ManualConfig(instructions=settings.billing.instructions), store)
    payments = PaymentService(store, Providers(by_name={manual.name: manual}), clock)
    run = BillingRun(db, clock, seller)
    audit = BillingAudit(db, storage.keys.derive("audit"))
    desk = BillingDesk(
        plans=AuditedPlans(plans, audit),
        invoices=SqlInvoices(db, clock),
        usage=SqlUsage(db, clock),
        payments=payments,
    )
    return Accounts(
        desk=desk,
        operator=OperatorDesk(
            invoices=AuditedInvoices(SqlOperatorInvoices(db, clock), audit),
            payments=AuditedPayments(payments, audit),
            plans=AuditedOffers(plans, audit),
            runs=SqlOperatorRuns(db, clock, run),
        ),
        plans=plans,
        payments=payments,
        run=run,
        commands=BillingCommands(desk, clock, storage.people),
        summary=PlanSummary(desk, SqlGate(db, storage.keys.derive("audit"))),
        keys=SqlKeys(db, clock),
    )


@dataclass(frozen=True, slots=True)
class Services:
    """Implements ``core.service_levels.ServiceLevels``."""

    quota: SqlQuota

    async def of(self, tenant_id: str) -> str:
        """What the team's invoices leave it."""
        return str(await self.quota.service(tenant_id, SystemClock().now_ms()))


async def _again(name: str, pause_s: float, work: Callable[[], Awaitable[int]]) -> None:
    """Do it until cancelled: at once while there was something to do, else after a pause."""
    while True:
        done = 0
        try:
            done = await work()
        except StorageFailure as failure:
            telemetry.LOOP_ERRORS.labels(name).inc()
            _log.warning("billing.storage", loop=name, code=failure.code)
        except Exception:  # noqa: BLE001  # a background loop must outlive every bug
            telemetry.LOOP_ERRORS.labels(name).inc()
            _log.exception("billing.crashed", loop=name)
        if not done:
            await asyncio.sleep(pause_s)
