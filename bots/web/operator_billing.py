"""``/api/v1/operator/billing``: what ``it0 billing`` does, for the operator of the installation.

Each request needs an admin's token and the operator's proof (``bots.web.operator_proof``):
a team's admin over the network marks nothing as paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from billing.invoices import Invoice
from billing.money import Money
from billing.operator import AccountChanges, OperatorDesk, minor_units
from billing.periods import moment
from billing.plans import CURRENCIES, PlanVersion, Price
from bots.web.auth import Authenticator, Caller, require_admin
from bots.web.openapi import Reads, operation
from bots.web.operator_billing_models import (
    AccountBody,
    AccountInfo,
    CreditBody,
    Credited,
    DifferenceRow,
    Differences,
    InvoiceRow,
    InvoiceRows,
    InvoicesQuery,
    LeftOut,
    Marked,
    MoveBody,
    Moved,
    PaidBody,
    PlanBody,
    Published,
    Ran,
    RunBody,
    Trial,
    TrialBody,
)
from bots.web.operator_proof import ProofCheck
from bots.web.problems import Problem
from bots.web.requests import read_body
from core.refusals import Rejected

T = TypeVar("T")
BASE: Final = "/api/v1/operator/billing"
LISTED: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS: Final[Mapping[str, HTTPStatus]] = {"not_found": HTTPStatus.NOT_FOUND}


class OperatorBillingRoutes:
    """The operator's requests."""

    def __init__(self, desk: OperatorDesk, auth: Authenticator, proofs: ProofCheck) -> None:
        """Wire the ports."""
        self._desk = desk
        self._auth = auth
        self._proofs = proofs

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.post(f"{BASE}/run", self.run),
            web.post(f"{BASE}/reconcile", self.reconcile),
            web.get(f"{BASE}/invoices", self.list_invoices, allow_head=False),
            web.post(f"{BASE}/invoices/{{invoice}}/paid", self.mark_paid),
            web.post(f"{BASE}/invoices/{{invoice}}/credit", self.credit),
            web.post(f"{BASE}/invoices/{{invoice}}/void", self.void),
            web.post(f"{BASE}/plans", self.publish),
            web.post(f"{BASE}/move", self.move),
            web.post(f"{BASE}/trials", self.trial),
            web.patch(f"{BASE}/account", self.account),
        ]

    async def _operator(self, request: web.Request) -> Caller:
        """Who asks. Raises ``Problem`` 401 and 403."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        self._proofs.require(request)
        return caller

    @operation(body=RunBody, answer=Ran, errors=(403, 422))
    async def run(self, request: web.Request) -> web.Response:
        """Bill everything that is due (operator)."""
        await self._operator(request)
        at = RunBody.model_validate_json(await read_body(request)).at
        report = await self._desk.runs.run(None if at is None else _ms(at))
        problems = [LeftOut(tenant=it.tenant_id, reason=it.reason) for it in report.problems]
        return _json(
            Ran(
                billed=report.billed,
                renewed=report.renewed,
                skipped=report.skipped,
                trials_ended=report.trials_ended,
                voided=report.voided,
                reminded=report.reminded,
                given_up=report.given_up,
                failed=report.failed,
                problems=problems,
            )
        )

    @operation(answer=Differences, errors=(403,))
    async def reconcile(self, request: web.Request) -> web.Response:
        """Compare aggregates and counters to their records (operator)."""
        await self._operator(request)
        rows = [
            DifferenceRow(
                tenant=one.tenant_id,
                month=f"{moment(one.period_start_ms):%Y-%m}",
                what=one.what,
                expected=one.expected,
                found=one.found,
            )
            for one in await self._desk.runs.reconcile()
        ]
        return _json(Differences(differences=rows))

    @operation(answer=InvoiceRows, errors=(403, 422), reads=Reads(query=InvoicesQuery))
    async def list_invoices(self, request: web.Request) -> web.Response:
        """The newest invoices of all teams, ``?status=`` only those (operator)."""
        await self._operator(request)
        query = InvoicesQuery.model_validate(dict(request.query))
        page = await self._desk.invoices.page(status=query.status, limit=LISTED)
        rows = [_row(invoice) for invoice in page.invoices]
        return _json(InvoiceRows(invoices=rows, more=page.next_cursor is not None))

    @operation(body=PaidBody, answer=Marked, errors=(403, 404, 409, 422))
    async def mark_paid(self, request: web.Request) -> web.Response:
        """Book money that came in for an invoice (operator)."""
        caller = await self._operator(request)
        body = PaidBody.model_validate_json(await read_body(request))
        name, amount = request.match_info["invoice"], None
        if body.amount is not None:
            invoice = _or_problem(await self._desk.invoices.find(name))
            amount = _amount(body.amount, body.currency or invoice.currency)
        done = _or_problem(
            await self._desk.payments.mark_paid(name, by=caller.user.id, amount=amount)
        )
        return _json(
            Marked(
                number=done.number,
                payment=done.payment.id,
                applied=done.payment.applied,
                problem=done.payment.problem,
            )
        )

    @operation(body=CreditBody, status=201, answer=Credited, errors=(403, 404, 409, 422))
    async def credit(self, request: web.Request) -> web.Response:
        """Take an invoice back in part or wholly (operator)."""
        caller = await self._operator(request)
        body = CreditBody.model_validate_json(await read_body(request))
        invoice = _or_problem(await self._desk.invoices.find(request.match_info["invoice"]))
        amount = _amount(body.amount, invoice.currency)
        note = _or_problem(
            await self._desk.invoices.credit(
                invoice.id, amount.minor, reason=body.reason, by=caller.user.id
            )
        )
        made = Credited(number=note.number, currency=note.currency, total=note.total)
        return _json(made, HTTPStatus.CREATED)

    @operation(answer=InvoiceRow, errors=(403, 404, 409))
    async def void(self, request: web.Request) -> web.Response:
        """Void an invoice that nobody paid (operator)."""
        caller = await self._operator(request)
        name = request.match_info["invoice"]
        return _json(_row(_or_problem(await self._desk.invoices.void(name, by=caller.user.id))))

    @operation(body=PlanBody, status=201, answer=Published, errors=(403, 409, 422))
    async def publish(self, request: web.Request) -> web.Response:
        """Sell a new version of a plan (operator)."""
        await self._operator(request)
        body = PlanBody.model_validate_json(await read_body(request))
        if set(body.prices) != set(CURRENCIES):
            wanted = " and ".join(CURRENCIES)
            raise _unprocessable("bad_prices", f"A plan has a price in {wanted}, and no other.")
        version = _or_problem(await self._desk.plans.publish(_version(body)))
        return _json(Published(version=version.id), HTTPStatus.CREATED)

    @operation(body=MoveBody, answer=Moved, errors=(403, 404, 409, 422))
    async def move(self, request: web.Request) -> web.Response:
        """Move subscriptions to a version of their plan with their next period (operator)."""
        await self._operator(request)
        body = MoveBody.model_validate_json(await read_body(request))
        moved = _or_problem(await self._desk.plans.move(body.version, body.tenant))
        return _json(Moved(subscriptions=moved))

    @operation(body=TrialBody, status=201, answer=Trial, errors=(403, 404, 409, 422))
    async def trial(self, request: web.Request) -> web.Response:
        """Let a team try a plan (operator)."""
        caller = await self._operator(request)
        body = TrialBody.model_validate_json(await read_body(request))
        tenant = body.tenant or caller.user.tenant_id
        begun = _or_problem(await self._desk.plans.trial(tenant, body.plan, body.days))
        answer = Trial(subscription=begun.id, tenant=tenant, until=_at(begun.trial_end_ms))
        return _json(answer, HTTPStatus.CREATED)

    @operation(body=AccountBody, answer=AccountInfo, errors=(403, 404, 409, 422))
    async def account(self, request: web.Request) -> web.Response:
        """Change who is invoiced, and how (operator)."""
        caller = await self._operator(request)
        body = AccountBody.model_validate_json(await read_body(request))
        changes = AccountChanges(**body.model_dump(exclude={"tenant"}))
        tenant = body.tenant or caller.user.tenant_id
        account = _or_problem(await self._desk.plans.set_account(tenant, changes))
        return _json(
            AccountInfo(
                tenant=account.tenant_id,
                currency=account.currency,
                name=account.name,
                address=account.address,
                tax_number=account.tax_number,
                email=account.email,
                tax_rate=account.tax_rate,
            )
        )


def _or_problem(answer: T | Rejected) -> T:
    """The answer. Raises ``Problem`` for a refusal."""
    if isinstance(answer, Rejected):
        status = _STATUS.get(answer.code, HTTPStatus.CONFLICT)
        raise Problem(status, answer.code, answer.sentence)
    return answer


def _unprocessable(code: str, sentence: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, code, sentence)


def _amount(written: str, currency: str) -> Money:
    if currency not in CURRENCIES:
        raise _unprocessable("bad_currency", f"A currency is one of {', '.join(CURRENCIES)}.")
    try:
        return Money(minor_units(written, currency), currency)
    except ValueError as error:
        raise _unprocessable("bad_amount", str(error)) from None


def _version(body: PlanBody) -> PlanVersion:
    prices = {
        currency: Price(base=price.base, overage=price.overage)
        for currency, price in body.prices.items()
    }
    start = body.available_from
    return PlanVersion(
        id=f"{body.plan}-{body.version}",
        plan=body.plan,
        version=body.version,
        included_tokens=body.included_tokens,
        hard_percent=body.hard_percent,
        cap_percent=body.cap_percent,
        max_servers=body.max_servers,
        max_users=body.max_users,
        max_standing_orders=body.max_standing_orders,
        prices=prices,
        available_from_ms=0 if start is None else _ms(start),
    )


def _row(invoice: Invoice) -> InvoiceRow:
    return InvoiceRow(
        id=invoice.id,
        number=invoice.number,
        tenant=invoice.tenant_id,
        buyer=invoice.buyer.name,
        status=invoice.status,
        currency=invoice.currency,
        total=invoice.total,
        due=invoice.due,
        needs_review=invoice.needs_review,
        issued_at=_at(invoice.issued_at_ms),
        due_at=_at(invoice.due_at_ms),
    )


def _at(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(text=answer.model_dump_json(), status=status)
