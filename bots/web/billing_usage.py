"""Usage over HTTP: this month's tokens, the days before, and the team's own limits."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from http import HTTPStatus

from aiohttp import web

from billing.desk import Budget, UsageDesk
from billing.periods import DAY_MS, moment
from bots.web import billing_answers as answers
from bots.web import billing_models as m
from bots.web.billing_requests import Counter, answered, asked, body_of, granted
from bots.web.openapi import Reads, operation
from bots.web.problems import Problem
from bots.web.requests import read_body
from core.words import sentence


class UsageRoutes:
    """What the team used, for everybody of it; its budgets, changed by admins."""

    def __init__(self, usage: UsageDesk, counter: Counter) -> None:
        """Wire the ports."""
        self._usage = usage
        self._counter = counter

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        path = "/api/v1/billing/usage"
        return [
            web.get(f"{path}/current", self.show_usage, allow_head=False),
            web.get(f"{path}/history", self.list_usage, allow_head=False),
            web.get(f"{path}/budgets", self.list_budgets, allow_head=False),
            web.put(f"{path}/budgets", self.set_budget),
        ]

    @operation(answer=m.QuotaAnswer)
    async def show_usage(self, request: web.Request) -> web.Response:
        """This month's tokens, with a forecast to its end."""
        caller = await self._counter.member(request)
        return answered(answers.quota(await self._usage.current(caller.user.tenant_id)))

    @operation(answer=m.UsageHistory, errors=(422,), reads=Reads(query=m.HistoryQuery))
    async def list_usage(self, request: web.Request) -> web.Response:
        """What was used by day and model, the oldest first."""
        tenant_id = (await self._counter.member(request)).user.tenant_id
        query = asked(m.HistoryQuery, request)
        first, last = query.from_, query.to
        if first is None or last is None:
            month = (await self._usage.current(tenant_id)).period
            last = last or moment(month.end_ms - 1).date()
            first = first or min(last, moment(month.start_ms).date())
        from_ms, to_ms = _start(first), _start(last) + DAY_MS
        if not 0 < to_ms - from_ms <= m.MAX_DAYS * DAY_MS:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "bad_range",
                sentence(
                    "Ask for 1 to {most} days; the first may not come after the last.",
                    most=m.MAX_DAYS,
                ),
            )
        rows = await self._usage.history(tenant_id, from_ms=from_ms, to_ms=to_ms)
        return answered(m.UsageHistory(days=[answers.usage_day(row) for row in rows]))

    @operation(answer=m.BudgetList)
    async def list_budgets(self, request: web.Request) -> web.Response:
        """The team's own limits."""
        caller = await self._counter.member(request)
        limits = await self._usage.budgets(caller.user.tenant_id)
        return answered(m.BudgetList(budgets=[answers.budget(limit) for limit in limits]))

    @operation(
        body=m.BudgetBody,
        answer=m.BudgetInfo,
        errors=(400, 403, 404, 408, 409, 413, 415, 422),
    )
    async def set_budget(self, request: web.Request) -> web.Response:
        """Set a limit of the team's own, as its admin; 0 tokens remove it."""
        caller = await self._counter.admin(request)
        body = body_of(m.BudgetBody, await read_body(request))
        wanted = Budget(scope=body.scope, subject=body.subject, tokens=body.tokens)
        kept = await self._usage.set_budget(caller.user.tenant_id, wanted, user_id=caller.user.id)
        return answered(answers.budget(granted(kept)))


def _start(day: date) -> int:
    """The first millisecond of the day, UTC: whole seconds, so nothing is rounded."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000
