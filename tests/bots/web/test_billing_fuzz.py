"""Billing's part of the API keeps what its document promises, asked with right data.

The whole, and with wrong data: ``tests/e2e/test_schemathesis.py``.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from schemathesis import GenerationMode

from billing.invoices import LineKind
from bots.web.openapi import operation
from bots.web.server import build, listening
from tests.bots.web.billing_kit import open_counter
from tests.support.fuzz import Fuzz
from tests.support.invoices import line

BODIES: dict[str, dict[str, Any]] = {
    "POST /api/v1/billing/subscription/upgrade": {"plan": "pro"},
    "POST /api/v1/billing/invoices/{invoice_id}/pay": {},
    "POST /api/v1/billing/subscription/cancel": {},
    "POST /api/v1/billing/subscription/reactivate": {},
}
NEEDS_MORE = {
    "POST /api/v1/billing/webhooks/{provider}",  # a signature
    "POST /api/v1/billing/subscription/downgrade",  # a larger plan
}


async def test_billing_keeps_its_promises() -> None:
    """No 5xx, nothing undocumented, answers as described; each operation works at least once."""
    async with open_counter() as counter:
        counter.desk.bill([line(LineKind.OVERAGE, "pro-1", 1000, 800, 1)])
        token = (await counter.auth.issue(counter.people["admin"], days=1)).token
        fuzz = Fuzz(
            url=counter.url,
            headers={"Authorization": f"Bearer {token}"},
            examples=2,
            modes=(GenerationMode.POSITIVE,),
            known={"invoice_id": "inv_1", "line": "1"},
            bodies=BODIES,
        )
        await fuzz.run()
    assert fuzz.problems == []
    assert set(fuzz.statuses) - fuzz.answered() <= NEEDS_MORE
    assert len(fuzz.statuses) == 17


@operation(public=True)
async def _late(_request: web.Request) -> web.Response:
    """Answers with what it did not promise."""
    return web.Response(status=410)


async def test_a_broken_promise_is_found() -> None:
    """An answer that is not documented is reported with its address."""
    routes = [web.get("/late", _late, allow_head=False)]
    async with listening(build(routes, version="0"), "127.0.0.1", 0) as url:
        fuzz = Fuzz(url=url, headers={}, examples=1)
        await fuzz.run()
    assert len(fuzz.problems) == 1
    assert "GET /late" in fuzz.problems[0]
    assert "410" in fuzz.problems[0]
