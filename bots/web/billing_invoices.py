"""Invoices over HTTP, for admins: listed, shown, printed, paid, explained to the token."""

from __future__ import annotations

import re

from aiohttp import web

from billing.desk import Invoices, PaymentDesk
from bots.web import billing_answers as answers
from bots.web import billing_models as m
from bots.web.auth import Caller
from bots.web.billing_requests import (
    CHANGE_ERRORS,
    Counter,
    answered,
    asked,
    body_of,
    granted,
    number_of,
)
from bots.web.openapi import IDEMPOTENCY_KEY, Reads, operation

_PDF = "application/pdf"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class InvoiceRoutes:
    """The team's invoices."""

    def __init__(self, invoices: Invoices, payments: PaymentDesk, counter: Counter) -> None:
        """Wire the ports."""
        self._invoices = invoices
        self._payments = payments
        self._counter = counter

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        path = "/api/v1/billing/invoices"
        one = f"{path}/{{invoice_id}}"
        return [
            web.get(path, self.list_invoices, allow_head=False),
            web.get(one, self.show_invoice, allow_head=False),
            web.get(f"{one}/pdf", self.print_invoice, allow_head=False),
            web.post(f"{one}/pay", self.pay_invoice),
            web.get(f"{one}/lines/{{line}}/explanation", self.explain_line, allow_head=False),
            web.get("/api/v1/billing/payment-methods", self.list_methods, allow_head=False),
        ]

    @operation(answer=m.InvoiceList, errors=(403, 422), reads=Reads(query=m.InvoicesQuery))
    async def list_invoices(self, request: web.Request) -> web.Response:
        """The team's invoices, the newest first, for its admins."""
        caller = await self._counter.admin(request)
        query = asked(m.InvoicesQuery, request)
        page = granted(
            await self._invoices.invoices(
                caller.user.tenant_id,
                status=query.status,
                cursor=query.cursor,
                limit=query.limit,
            )
        )
        listed = [answers.invoice(invoice) for invoice in page.invoices]
        return answered(m.InvoiceList(invoices=listed, next_cursor=page.next_cursor))

    @operation(answer=m.InvoiceDetail, errors=(403, 404))
    async def show_invoice(self, request: web.Request) -> web.Response:
        """An invoice by its id or number, for admins."""
        tenant_id = (await self._counter.admin(request)).user.tenant_id
        shown = granted(await self._invoices.invoice(tenant_id, request.match_info["invoice_id"]))
        notes = await self._invoices.credit_notes(tenant_id, shown.id)
        payments = await self._payments.payments(tenant_id, shown.id)
        return answered(answers.invoice_detail(shown, notes, payments))

    @operation(gives=_PDF, errors=(403, 404, 409, 422), reads=Reads(query=m.PdfQuery))
    async def print_invoice(self, request: web.Request) -> web.Response:
        """An invoice as PDF, in English or Chinese, for admins."""
        tenant_id = (await self._counter.admin(request)).user.tenant_id
        name = request.match_info["invoice_id"]
        language = asked(m.PdfQuery, request).language
        printed = granted(await self._invoices.pdf(tenant_id, name, language))
        file_name = _UNSAFE.sub("_", name)[:64]
        return web.Response(
            body=printed,
            content_type=_PDF,
            headers={
                "Cache-Control": "no-store",
                "Content-Disposition": f'inline; filename="{file_name}.pdf"',
            },
        )

    @operation(
        body=m.PayBody,
        answer=m.PaymentAnswer,
        errors=CHANGE_ERRORS,
        reads=Reads(headers=(IDEMPOTENCY_KEY,)),
    )
    async def pay_invoice(self, request: web.Request) -> web.Response:
        """Begin to pay an invoice, as an admin; an unfinished attempt is shown again."""

        async def work(caller: Caller, body: bytes) -> m.PaymentAnswer:
            begun = await self._payments.pay(
                caller.user.tenant_id,
                request.match_info["invoice_id"],
                body_of(m.PayBody, body).method,
            )
            return answers.payment(granted(begun))

        return await self._counter.once(request, work)

    @operation(
        answer=m.ExplanationAnswer,
        errors=(403, 404, 409, 422),
        reads=Reads(query=m.ExplanationQuery, numbers=frozenset({"line"})),
    )
    async def explain_line(self, request: web.Request) -> web.Response:
        """The conversations and the model calls behind a line of an invoice, for admins."""
        tenant_id = (await self._counter.admin(request)).user.tenant_id
        query = asked(m.ExplanationQuery, request)
        explained = await self._invoices.explain(
            tenant_id,
            request.match_info["invoice_id"],
            number_of(request, "line"),
            after=query.after,
            limit=query.limit,
        )
        return answered(answers.explanation(granted(explained)))

    @operation(answer=m.PaymentMethods, errors=(403,))
    async def list_methods(self, request: web.Request) -> web.Response:
        """The ways to pay, for admins."""
        caller = await self._counter.admin(request)
        ways = await self._payments.methods(caller.user.tenant_id)
        listed = [m.PaymentMethod(name=name, description=said) for name, said in ways.items()]
        return answered(m.PaymentMethods(methods=listed))
