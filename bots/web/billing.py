"""``/api/v1/billing``: plans, the subscription, usage, invoices and payments of a team.

Everybody of the team sees the plan and the usage; invoices, payments and every change are for
its admins. What changes something takes an ``Idempotency-Key``.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from billing.desk import BillingDesk, Plans
from bots.web import billing_answers as answers
from bots.web import billing_models as m
from bots.web.auth import Authenticator, Caller, is_admin
from bots.web.billing_invoices import InvoiceRoutes
from bots.web.billing_requests import CHANGE_ERRORS, Counter, answered, body_of, granted
from bots.web.billing_usage import UsageRoutes
from bots.web.billing_webhooks import WebhookRoutes
from bots.web.idempotency import Keys
from bots.web.openapi import IDEMPOTENCY_KEY, Reads, operation
from bots.web.problems import Problem
from core.words import sentence

_KEYED = Reads(headers=(IDEMPOTENCY_KEY,))


class BillingRoutes:
    """All of billing's routes for teams, and the webhooks of its providers."""

    def __init__(self, desk: BillingDesk, auth: Authenticator, keys: Keys) -> None:
        """Wire the ports."""
        counter = Counter(auth, keys)
        self._plans = PlanRoutes(desk.plans, counter)
        self._invoices = InvoiceRoutes(desk.invoices, desk.payments, counter)
        self._usage = UsageRoutes(desk.usage, counter)
        self._webhooks = WebhookRoutes(desk.payments)

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            *self._plans.routes(),
            *self._invoices.routes(),
            *self._usage.routes(),
            *self._webhooks.routes(),
        ]


class PlanRoutes:
    """The plans and the team's subscription."""

    def __init__(self, plans: Plans, counter: Counter) -> None:
        """Wire the ports."""
        self._plans = plans
        self._counter = counter

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        path = "/api/v1/billing"
        return [
            web.get(f"{path}/plans", self.list_plans, allow_head=False),
            web.get(f"{path}/subscription", self.show_subscription, allow_head=False),
            web.post(f"{path}/subscription/upgrade", self.upgrade),
            web.post(f"{path}/subscription/downgrade", self.downgrade),
            web.post(f"{path}/subscription/cancel", self.cancel),
            web.post(f"{path}/subscription/reactivate", self.reactivate),
        ]

    @operation(answer=m.PlanList)
    async def list_plans(self, request: web.Request) -> web.Response:
        """The plans that are sold now, the smallest first."""
        await self._counter.member(request)
        sold = await self._plans.plans()
        return answered(m.PlanList(plans=[answers.plan(version) for version in sold]))

    @operation(answer=m.SubscriptionAnswer)
    async def show_subscription(self, request: web.Request) -> web.Response:
        """The team's subscription; for its admins also the balance and what is due."""
        caller = await self._counter.member(request)
        standing = await self._plans.standing(caller.user.tenant_id)
        return answered(answers.subscription(standing, admin=is_admin(caller)))

    @operation(body=m.ChangeBody, answer=m.ChangeAnswer, errors=CHANGE_ERRORS, reads=_KEYED)
    async def upgrade(self, request: web.Request) -> web.Response:
        """Ask for a quote for a larger plan, then carry the quote out, as an admin.

        Carrying it out makes an invoice; the plan changes at once when that is paid.
        """
        return await self._counter.once(request, self._upgrade)

    @operation(body=m.ChangeBody, answer=m.ChangeAnswer, errors=CHANGE_ERRORS, reads=_KEYED)
    async def downgrade(self, request: web.Request) -> web.Response:
        """Ask for a quote for a smaller plan, then carry the quote out, as an admin.

        It takes effect at the end of the period.
        """
        return await self._counter.once(request, self._downgrade)

    @operation(body=m.CancelBody, answer=m.ChangeAnswer, errors=CHANGE_ERRORS, reads=_KEYED)
    async def cancel(self, request: web.Request) -> web.Response:
        """End the plan with its period, or now with an invoice for overage so far, as an admin.

        Nothing is paid back.
        """

        async def work(caller: Caller, body: bytes) -> m.ChangeAnswer:
            changed = await self._plans.cancel(
                caller.user.tenant_id,
                user_id=caller.user.id,
                at_once=body_of(m.CancelBody, body).at_once,
            )
            return answers.changed(granted(changed))

        return await self._counter.once(request, work)

    @operation(body=m.ReactivateBody, answer=m.ChangeAnswer, errors=CHANGE_ERRORS, reads=_KEYED)
    async def reactivate(self, request: web.Request) -> web.Response:
        """Take back a cancellation or a downgrade that has not taken effect, as an admin."""

        async def work(caller: Caller, body: bytes) -> m.ChangeAnswer:
            body_of(m.ReactivateBody, body)
            changed = await self._plans.reactivate(caller.user.tenant_id, user_id=caller.user.id)
            return answers.changed(granted(changed))

        return await self._counter.once(request, work)

    async def _upgrade(self, caller: Caller, body: bytes) -> m.ChangeAnswer:
        return await self._change(caller, body, "upgrade")

    async def _downgrade(self, caller: Caller, body: bytes) -> m.ChangeAnswer:
        return await self._change(caller, body, "downgrade")

    async def _change(self, caller: Caller, body: bytes, kind: str) -> m.ChangeAnswer:
        """A quote of that kind, or what carrying one out led to. Raises ``Problem``."""
        wanted, user = body_of(m.ChangeBody, body), caller.user
        if wanted.quote_id is not None:
            confirmed = await self._plans.confirm(user.tenant_id, wanted.quote_id, user_id=user.id)
            return answers.changed(granted(confirmed))
        quote = granted(await self._plans.quote(user.tenant_id, str(wanted.plan), user_id=user.id))
        if quote.kind != kind:
            other = "downgrade" if kind == "upgrade" else "upgrade"
            raise Problem(
                HTTPStatus.CONFLICT,
                f"not_{kind}",
                sentence(
                    "From {plan} to {wanted} is {other}, not {kind}. Send it to "
                    "/api/v1/billing/subscription/{other}.",
                    plan=str(quote.current.plan),
                    wanted=str(quote.wanted.plan),
                    other=other,
                    kind=kind,
                ),
            )
        return m.ChangeAnswer(quote=answers.quote(quote))
