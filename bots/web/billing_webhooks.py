"""Where payment providers report. Kept first, answered at once, worked on later."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import web

from billing.desk import PaymentDesk
from bots.web.billing_requests import refused
from bots.web.openapi import Reads, operation
from bots.web.problems import Problem
from bots.web.requests import BODY_S, read_short

MAX_NOTIFICATION: Final = 1024 * 1024
"""Bytes. The largest that a provider sends are some ten thousand."""


class WebhookRoutes:
    """Notifications are verified by the provider's signature over the raw body, not by a token."""

    def __init__(self, payments: PaymentDesk) -> None:
        """Wire the port."""
        self._payments = payments

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [web.post("/api/v1/billing/webhooks/{provider}", self.notify)]

    @operation(
        errors=(400, 404, 408, 413, 503), public=True, reads=Reads(raw="application/octet-stream")
    )
    async def notify(self, request: web.Request) -> web.Response:
        """Take a payment provider's notification in; a second delivery changes nothing."""
        body = await _raw(request)
        refusal = await self._payments.notified(
            request.match_info["provider"], body, request.headers
        )
        if refusal is not None:
            raise refused(refusal)
        return web.Response()


async def _raw(request: web.Request) -> bytes:
    """The body as it was sent. Raises ``Problem`` 408 and 413."""
    try:
        async with asyncio.timeout(BODY_S):
            return await read_short(request, MAX_NOTIFICATION)
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The body did not arrive in time."
        ) from None
