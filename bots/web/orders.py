"""Standing orders over HTTP: the team reads them, who asked for one or an admin changes it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel

from bots.web.auth import Authenticator
from bots.web.openapi import Reads, operation
from bots.web.orders_models import (
    NewOrderBody,
    OrderInfo,
    OrderList,
    OrderPatchBody,
    OrderRunInfo,
    OrderRunList,
    RunsQuery,
)
from bots.web.problems import Problem
from bots.web.requests import read_body
from core.clock import Clock
from core.refusals import Rejected
from core.schedule import BadSchedule
from core.schedule_words import describe
from core.standing_orders import (
    CHANGED,
    NOT_CONFIRMED,
    UNKNOWN_ORDER,
    Asker,
    OrderChanges,
    OrderDesk,
    OrderRun,
    OrderState,
    StandingOrder,
    checked,
)
from core.words import Words, sentence

_T = TypeVar("_T")
_STATUSES: Final = {
    "not_found": HTTPStatus.NOT_FOUND,
    "forbidden": HTTPStatus.FORBIDDEN,
    "bad_order": HTTPStatus.UNPROCESSABLE_ENTITY,
    "limit_reached": HTTPStatus.TOO_MANY_REQUESTS,
}
"""What the state of things does not allow now is a 409."""
_BODY_ERRORS: Final = (400, 403, 404, 408, 409, 413, 415, 422)
_PATH: Final = "/api/v1/standing-orders"


class OrderKeeper(OrderDesk, Protocol):
    """The orders, and changes of what they ask."""

    async def change(
        self, by: Asker, order_id: str, changes: OrderChanges, *, revision: int | None = None
    ) -> StandingOrder | Rejected:
        """Change one whose revision is still that."""


class OrderRoutes:
    """The team's standing orders."""

    def __init__(self, desk: OrderKeeper, auth: Authenticator, clock: Clock) -> None:
        """Wire the ports."""
        self._desk = desk
        self._auth = auth
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        one = f"{_PATH}/{{order_id}}"
        return [
            web.get(_PATH, self.list_orders, allow_head=False),
            web.post(_PATH, self.propose_order),
            web.get(one, self.show_order, allow_head=False),
            web.patch(one, self.change_order),
            web.delete(one, self.delete_order),
            web.post(f"{one}/confirm", self.confirm_order),
            web.post(f"{one}/run", self.run_order),
            web.get(f"{one}/runs", self.order_runs, allow_head=False),
        ]

    @operation(answer=OrderList)
    async def list_orders(self, request: web.Request) -> web.Response:
        """The team's standing orders, with the next times of each."""
        by = await self._asker(request)
        orders = await self._desk.listed(by.user.tenant_id)
        return _json(OrderList(orders=[self._info(order) for order in orders]))

    @operation(body=NewOrderBody, status=201, answer=OrderInfo, errors=_BODY_ERRORS)
    async def propose_order(self, request: web.Request) -> web.Response:
        """Propose one, as an operator; it reports to a conversation of its own unless told."""
        by = await self._asker(request)
        body = NewOrderBody.model_validate_json(await read_body(request))
        new = checked(
            name=body.name,
            prompt=body.prompt,
            cron=body.cron,
            timezone=body.timezone,
            misfire=body.misfire,
            only_if=body.only_if,
            budget_tokens=body.budget_tokens,
        )
        asker = Asker(user=by.user, conversation_id=body.conversation_id or "")
        order = _kept(await self._desk.propose(asker, _kept(new)))
        return _json(self._info(order), HTTPStatus.CREATED)

    @operation(answer=OrderInfo, errors=(404,))
    async def show_order(self, request: web.Request) -> web.Response:
        """One standing order."""
        by = await self._asker(request)
        return _json(self._info(await self._found(by, request)))

    @operation(body=OrderPatchBody, answer=OrderInfo, errors=_BODY_ERRORS)
    async def change_order(self, request: web.Request) -> web.Response:
        """Change one, as who asked for it or an admin; or pause or resume it."""
        by = await self._asker(request)
        body = OrderPatchBody.model_validate_json(await read_body(request))
        before = await self._found(by, request)
        changes = OrderChanges(
            name=body.name,
            prompt=body.prompt,
            cron=body.cron,
            timezone=body.timezone,
            misfire=body.misfire,
            only_if=body.only_if,
            budget_tokens=body.budget_tokens,
        )
        if body.state is not None:
            if changes != OrderChanges():
                detail = sentence("Send either a state or what to change, not both.")
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_order", detail)
            if before.state is OrderState.PROPOSED:
                raise _problem(NOT_CONFIRMED)
            if before.revision != body.revision:
                raise _problem(CHANGED)
            moved = await self._desk.move(by, before.id, OrderState(body.state))
            return _json(self._info(_kept(moved)))
        changed = await self._desk.change(by, before.id, changes, revision=body.revision)
        return _json(self._info(_kept(changed)))

    @operation(status=204, errors=(403, 404))
    async def delete_order(self, request: web.Request) -> web.Response:
        """Delete one, as who asked for it or an admin; its history is kept for a while."""
        by = await self._asker(request)
        moved = await self._desk.move(by, request.match_info["order_id"], OrderState.DELETED)
        _kept(moved)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    @operation(answer=OrderInfo, errors=(403, 404, 409, 422, 429))
    async def confirm_order(self, request: web.Request) -> web.Response:
        """Confirm a proposal, as who asked for it or an admin; again, it changes nothing."""
        by = await self._asker(request)
        moved = await self._desk.move(by, request.match_info["order_id"], OrderState.ACTIVE)
        return _json(self._info(_kept(moved)))

    @operation(status=202, answer=OrderRunInfo, errors=(403, 404, 409))
    async def run_order(self, request: web.Request) -> web.Response:
        """Run one now, beside its schedule, as who asked for it or an admin."""
        by = await self._asker(request)
        order_id, now_ms = request.match_info["order_id"], self._clock.now_ms()
        run = _kept(await self._desk.run_now(by, order_id, key_ms=now_ms))
        return _json(_run(run), HTTPStatus.ACCEPTED)

    @operation(answer=OrderRunList, errors=(404, 422), reads=Reads(query=RunsQuery))
    async def order_runs(self, request: web.Request) -> web.Response:
        """What became of its due times, the missed ones among them."""
        by = await self._asker(request)
        query = RunsQuery.model_validate(dict(request.query))
        order = await self._found(by, request)
        runs = await self._desk.runs(order.tenant_id, order.id, query.limit)
        return _json(OrderRunList(runs=[_run(run) for run in runs]))

    async def _asker(self, request: web.Request) -> Asker:
        return Asker(user=(await self._auth.caller(request)).user)

    async def _found(self, by: Asker, request: web.Request) -> StandingOrder:
        order_id = request.match_info["order_id"]
        order = await self._desk.find(by.user.tenant_id, order_id)
        return _kept(UNKNOWN_ORDER if order is None else order)

    def _info(self, order: StandingOrder) -> OrderInfo:
        try:
            coming = order.coming(self._clock.now_ms())
        except BadSchedule:
            coming = ()
        return OrderInfo(
            id=order.id,
            name=order.name,
            prompt=order.prompt,
            cron=order.schedule.cron,
            timezone=order.schedule.timezone,
            schedule=describe(order.schedule, Words("en")),
            misfire=order.misfire,
            only_if=order.condition,
            budget_tokens=order.budget_tokens,
            conversation_id=order.conversation_id,
            created_by=order.created_by,
            state=order.state,
            problem=order.problem,
            next_runs=[_at(at_ms) for at_ms in coming],
            failures=order.failures,
            revision=order.revision,
            created_at=_at(order.created_at_ms),
            updated_at=_at(order.updated_at_ms),
        )


def _run(run: OrderRun) -> OrderRunInfo:
    return OrderRunInfo(
        due_at=_at(run.due_at_ms),
        state=run.state,
        turn_id=run.turn_id,
        reason=run.reason,
        manual=run.manual,
    )


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _kept(found: _T | Rejected) -> _T:
    if isinstance(found, Rejected):
        raise _problem(found)
    return found


def _problem(rejected: Rejected) -> Problem:
    status = _STATUSES.get(rejected.code, HTTPStatus.CONFLICT)
    return Problem(status, rejected.code, rejected.sentence)


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(text=answer.model_dump_json(), status=status)
