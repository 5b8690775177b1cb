"""Plans, subscriptions and their changes, for the edges and for the operator."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing.desk import Changed, PlanStanding, Quote
from billing.invoices import Party
from billing.operator import Account, AccountChanges
from billing.plans import PlanVersion
from billing.subscriptions import Subscription
from core.clock import Clock
from core.refusals import Rejected
from storage import billing_accounts, plan_versions
from storage.database import Database
from storage.plan_changes import cancel, change_account, move, move_all, publish, reactivate
from storage.quotes import carry_out, offer, standing
from storage.subscription_rows import live
from storage.subscription_state import current, plan_limits
from storage.subscriptions import start_trial


class SqlPlans:
    """Implements ``billing.desk.Plans`` and ``billing.operator.OperatorPlans``."""

    def __init__(self, db: Database, clock: Clock, currency: str, seller: Party) -> None:
        """Wire the database and the clock; the currency of new accounts, and who sells."""
        self._db = db
        self._clock = clock
        self._currency = currency
        self._seller = seller

    async def seed(self) -> None:
        """Put in the plans and the currency of a new installation; for each start."""
        await self._db.transaction(self._seed)

    def _seed(self, conn: sa.Connection) -> None:
        plan_versions.seed(conn)
        billing_accounts.set_default_currency(conn, self._currency, self._clock.now_ms())

    # -- billing.desk.Plans -----------------------------------------------------------------

    async def plans(self) -> Sequence[PlanVersion]:
        """See the port."""
        return await self._db.read(plan_versions.sold_now, self._clock.now_ms())

    async def standing(self, tenant_id: str) -> PlanStanding:
        """See the port."""
        at_ms = self._clock.now_ms()
        if await self._db.read(live, tenant_id) is None:
            await self._db.transaction(current, tenant_id, at_ms)
        return await self._db.read(standing, tenant_id, at_ms)

    async def quote(
        self, tenant_id: str, plan: str, *, user_id: str, conversation_id: str | None = None
    ) -> Quote | Rejected:
        """See the port."""
        at_ms = self._clock.now_ms()
        return await self._db.transaction(offer, tenant_id, plan, user_id, conversation_id, at_ms)

    async def confirm(self, tenant_id: str, quote_id: str, *, user_id: str) -> Changed | Rejected:
        """See the port; any admin may confirm what another one asked for."""
        del user_id
        at_ms = self._clock.now_ms()
        return await self._db.transaction(carry_out, tenant_id, quote_id, self._seller, at_ms)

    async def cancel(
        self, tenant_id: str, *, user_id: str, at_once: bool = False
    ) -> Changed | Rejected:
        """See the port; at once, what was used over the allowance is invoiced."""
        del user_id
        seller = self._seller if at_once else None
        return await self._db.transaction(cancel, tenant_id, seller, self._clock.now_ms())

    async def reactivate(self, tenant_id: str, *, user_id: str) -> Changed | Rejected:
        """See the port."""
        del user_id
        return await self._db.transaction(reactivate, tenant_id, self._clock.now_ms())

    # -- what a plan allows -------------------------------------------------------------------

    async def limits(self, tenant_id: str) -> PlanVersion:
        """The plan whose servers, users and standing orders the team may have now."""
        return await self._db.read(plan_limits, tenant_id, self._clock.now_ms())

    # -- billing.operator.OperatorPlans -------------------------------------------------------

    async def publish(self, version: PlanVersion) -> PlanVersion | Rejected:
        """See the port; it alters no subscription."""
        return await self._db.transaction(publish, version, self._clock.now_ms())

    async def move(self, version_id: str, tenant_id: str | None) -> int | Rejected:
        """See the port; admins are told of it. Team by team: a run that is cut is run again."""
        if tenant_id is not None:
            return await self._db.transaction(move, version_id, tenant_id, self._clock.now_ms())
        return await move_all(self._db, version_id, self._clock.now_ms())

    async def trial(self, tenant_id: str, plan: str, days: int = 14) -> Subscription | Rejected:
        """See the port."""
        at_ms = self._clock.now_ms()
        return await self._db.transaction(start_trial, tenant_id, plan, days, at_ms)

    async def set_account(self, tenant_id: str, changes: AccountChanges) -> Account | Rejected:
        """See the port."""
        at_ms = self._clock.now_ms()
        return await self._db.transaction(change_account, tenant_id, changes, at_ms)
