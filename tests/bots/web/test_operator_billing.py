"""The operator's billing over HTTP: who may, and what a request must bring."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from bots.operator_billing import HEADER as CLIENT_HEADER
from bots.web.auth import operator_token
from bots.web.operator_billing import BASE
from bots.web.operator_proof import HEADER, operator_proof
from core.tenants import Role
from tests.bots.web.operator_kit import PROOFS, TOKENS, OperatorSite, operator_site

PAID = f"{BASE}/invoices/IT0-2026-000001/paid"
REQUESTS = [
    ("POST", f"{BASE}/run"),
    ("POST", f"{BASE}/reconcile"),
    ("GET", f"{BASE}/invoices"),
    ("POST", PAID),
    ("POST", f"{BASE}/invoices/IT0-2026-000001/credit"),
    ("POST", f"{BASE}/invoices/IT0-2026-000001/void"),
    ("POST", f"{BASE}/plans"),
    ("POST", f"{BASE}/move"),
    ("POST", f"{BASE}/trials"),
    ("PATCH", f"{BASE}/account"),
]


async def ask(
    site: OperatorSite, method: str, path: str, token: str, proof: str = "", body: object = None
) -> tuple[int, dict[str, Any]]:
    """One request: its status and its document."""
    headers = {"Authorization": f"Bearer {token}", **({HEADER: proof} if proof else {})}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{site.url}{path}", json=body or {}, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


def proof(method: str = "POST", path: str = PAID, key: bytes = PROOFS) -> str:
    """A good proof, unless told otherwise."""
    return operator_proof(key, method, path)


def test_client_and_server_agree_on_the_header() -> None:
    """They are in rooms that do not import each other."""
    assert CLIENT_HEADER == HEADER


@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_an_admin_of_a_team_may_do_none_of_it(method: str, path: str) -> None:
    """A token of the API, and the operator's own without the proof, are refused everywhere."""
    async with operator_site() as site:
        invoice = site.bill()
        issued = await site.auth.issue(site.people.user(), days=1)
        for token in (issued.token, operator_token(TOKENS, None)):
            status, answer = await ask(site, method, path, token)
            assert (status, answer["code"]) == (403, "operator_only")
        assert site.memory.team.bills == [invoice]
        assert site.memory.runs == []


async def test_every_route_is_among_those_that_were_tried() -> None:
    """A new one must be added to the list above."""
    async with operator_site() as site:
        async with aiohttp.ClientSession() as session:
            answer = await (await session.get(f"{site.url}/openapi.json")).json()
        described = {
            (method.upper(), path.replace("{invoice}", "IT0-2026-000001"))
            for path, methods in answer["paths"].items()
            for method in methods
        }
        assert described == set(REQUESTS)


async def test_a_proof_is_for_one_request_and_works_once() -> None:
    """Another path, another method, another key, an old one and a second use are refused."""
    async with operator_site() as site:
        site.bill()

        async def status(proven: str) -> int:
            return (await ask(site, "POST", PAID, operator_token(TOKENS, None), proven))[0]

        wrong = [
            proof(path=f"{BASE}/run"),
            proof(method="GET"),
            proof(key=b"x" * 32),
            operator_token(PROOFS, None),
            "nothing",
        ]
        assert [await status(one) for one in wrong] == [403] * len(wrong)
        assert site.memory.team.bills[0].due
        good = proof()
        assert [await status(good), await status(good)] == [200, 403]
        assert not site.memory.team.bills[0].due


async def test_the_proof_replaces_no_token() -> None:
    """Without a token it is 401; with that of somebody who is no admin, 403."""
    async with operator_site() as site:
        assert (await ask(site, "POST", PAID, "x", proof()))[0] == 401
        site.people.role = Role.OPERATOR
        issued = await site.auth.issue(site.people.user(), days=1)
        status, answer = await ask(site, "POST", PAID, issued.token, proof())
        assert (status, answer["code"]) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (PAID, {"amount": "1.999"}, 422, "bad_amount"),
        (PAID, {"amount": "NaN"}, 422, "bad_amount"),
        (PAID, {"amount": "1e99"}, 422, "bad_amount"),
        (PAID, {"amount": "5", "currency": "XYZ"}, 422, "bad_currency"),
        (PAID, {"sum": 5}, 422, "bad_request"),
        (f"{BASE}/invoices/nothing/paid", {}, 404, "not_found"),
        (f"{BASE}/invoices/nothing/void", {}, 404, "not_found"),
        (f"{BASE}/invoices/IT0-2026-000001/credit", {"amount": "5"}, 422, "bad_request"),
        (f"{BASE}/run", {"at": "2026-12-01T00:05:00"}, 422, "bad_request"),
        (f"{BASE}/trials", {"plan": "pro", "days": 0}, 422, "bad_request"),
        (f"{BASE}/move", {"version": "pro-9"}, 404, "not_found"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    path: str, body: dict[str, object], status: int, code: str
) -> None:
    """With a problem document, and nothing is done."""
    async with operator_site() as site:
        invoice = site.bill()
        token = operator_token(TOKENS, None)
        told, answer = await ask(site, "POST", path, token, proof(path=path), body)
        assert (told, answer["code"]) == (status, code)
        assert site.memory.team.bills == [invoice]
        assert site.memory.runs == []
