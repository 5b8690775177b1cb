"""The whole API keeps what ``/openapi.json`` promises: asked with right and with wrong data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.refusals import Rejected
from tests.bots.api_kit import Api, attached, open_api
from tests.support.fuzz import Fuzz

EXAMPLES = 12
SKILL = {"description": "How we deploy.", "body": "Ask Bob.", "triggers": ["deploy"]}
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/v1/billing/subscription/upgrade": {"plan": "enterprise"},
    "POST /api/v1/billing/subscription/downgrade": {"plan": "free"},
    "POST /api/v1/billing/subscription/cancel": {},
    "POST /api/v1/billing/subscription/reactivate": {},
    "POST /api/v1/agent/turns": {"text": "hello"},
    "POST /api/v1/sign-in-links": {},
    "PATCH /api/v1/session": {"language": "zh"},
    "PATCH /api/v1/conversations/{conversation_id}": {"title": "Disks"},
    "POST /api/v1/users": {"email": "ada@example.com"},
    "POST /api/v1/skills": {"skills": [{"name": "disk", **SKILL}]},
    "PUT /api/v1/skills/{name}": SKILL,
}
NEEDS_MORE = {
    "DELETE /api/v1/tokens/{token_id}",  # a token that is not the one it is asked with
    "PATCH /api/v1/agent-config",  # the version that was read
    "POST /api/v1/billing/invoices/{invoice_id}/pay",  # an invoice that is still open
    "POST /api/v1/billing/subscription/reactivate",  # a cancellation that still waits
    "POST /api/v1/billing/webhooks/{provider}",  # a provider's signature
    "POST /api/v1/session",  # the code of a link, and our own page
    "DELETE /api/v1/session",  # a cookie
    "DELETE /api/v1/sessions/{session_id}",  # a browser that is signed in
    "POST /api/v1/servers",  # an address and a key that fit together
    "GET /api/v1/servers/{server}",
    "PATCH /api/v1/servers/{server}",
    "DELETE /api/v1/servers/{server}",
    "POST /api/v1/servers/{server}/host-key",
    "POST /api/v1/servers/{server}/test",
    "GET /api/v1/approvals/{approval_id}",  # a call that waits for a human
    "POST /api/v1/approvals/{approval_id}/decision",
    "GET /api/v1/artifacts/{artifact_id}",  # an output that was cut
    "GET /api/v1/handovers/{handover_id}",  # a handover to the caller
    "POST /api/v1/handovers/{handover_id}/accept",
    "POST /api/v1/standing-orders",  # a schedule
    "GET /api/v1/standing-orders/{order_id}",
    "PATCH /api/v1/standing-orders/{order_id}",
    "DELETE /api/v1/standing-orders/{order_id}",
    "POST /api/v1/standing-orders/{order_id}/confirm",
    "POST /api/v1/standing-orders/{order_id}/run",
    "GET /api/v1/standing-orders/{order_id}/runs",
}
"""What chance does not meet, nor what is for the operator's token, which works once; their own
tests do."""


@pytest.mark.slow
async def test_the_api_keeps_its_promises(tmp_path: Path) -> None:
    """No 5xx, nothing undocumented, answers as described, wrong data and strangers refused."""
    async with open_api(tmp_path / "data", {"IT0_BILLING": "on"}) as api:
        fuzz = Fuzz(
            url=api.url,
            headers=api.auth(),
            examples=EXAMPLES,
            known=await _things(api),
            bodies=BODIES,
        )
        await fuzz.run()
        _, document = await api.call("GET", "/openapi.json")
    assert not fuzz.problems, "\n".join(fuzz.problems)
    described = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert set(fuzz.statuses) == described
    missed = described - fuzz.answered() - NEEDS_MORE
    assert {name for name in missed if "/operator/" not in name} == set()


async def _things(api: Api) -> dict[str, str]:
    """A conversation with a file, its turn with a tool's call, a person and an invoice."""
    done = await api.ask("disk on local", attachments=[attached("df.txt", b"/ 91%", "text/plain")])
    conversation = done["conversation_id"]
    _, seen = await api.call("GET", f"/api/v1/conversations/{conversation}/turns")
    (turn,) = seen["turns"]
    _, person = await api.call("POST", "/api/v1/users", {"email": "bob@example.com"})
    known = {
        "conversation_id": conversation,
        "turn_id": turn["id"],
        "call_id": turn["tools"][0]["call_id"],
        "sha256": turn["attachments"][0]["sha256"],
        "user_id": person["id"],
        "name": "disk",
    }
    known["invoice_id"] = await _paid(api, "pro")
    return known


async def _paid(api: Api, plan: str) -> str:
    """Buy a plan, so that there is something to cancel; the invoice that was paid."""
    upgrade = "/api/v1/billing/subscription/upgrade"
    _, asked = await api.call("POST", upgrade, {"plan": plan})
    _, bought = await api.call("POST", upgrade, {"quote_id": asked["quote"]["id"]})
    accounts = api.core.billing.accounts
    assert accounts is not None
    invoice_id = str(bought["invoice"]["id"])
    marked = await accounts.payments.mark_paid(invoice_id, by="the test")
    assert not isinstance(marked, Rejected)
    return invoice_id
