"""Characters that no database or header takes are the sender's fault, never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from bots.web.auth import operator_token
from bots.web.operator_billing import BASE
from bots.web.operator_proof import HEADER, operator_proof
from tests.bots.web.billing_kit import Counter, open_counter
from tests.bots.web.operator_kit import PROOFS, TOKENS, operator_site
from tests.bots.web.test_operator_billing import ask


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    """Billing, served."""
    async with open_counter() as counter:
        yield counter


async def raw(url: str, method: str, path: str, headers: dict[str, bytes]) -> int:
    """The status of a request whose headers are bytes, as no client would send them."""
    place = urlsplit(url)
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: x", b"Content-Length: 2"]
    lines += [name.encode() + b": " + value for name, value in headers.items()]
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b"{}"]))
    status = int((await reader.read()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "invoices/a%00b"),
        ("GET", "invoices/a%00b/pdf"),
        ("GET", "invoices/a%00b/lines/1/explanation"),
        ("POST", "invoices/a%00b/pay"),
        ("POST", "webhooks/a%00b"),
    ],
)
async def test_no_address_has_a_nul(counter: Counter, method: str, path: str) -> None:
    """A NUL in the path is an address at which nothing is, before any store is asked."""
    status, problem = await counter.call(method, path, {} if method == "POST" else None)
    assert (status, problem["code"]) == (404, "not_found")
    assert "nothing at this address" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "invoices?cursor=1.%00", None),
        ("GET", "invoices/inv_1/pdf?language=e%00n", None),
        ("POST", "subscription/upgrade", {"quote_id": "a\0b"}),
        ("POST", "invoices/inv_1/pay", {"method": "a\0b"}),
        ("PUT", "usage/budgets", {"scope": "user", "subject": "x\0y", "tokens": 1}),
    ],
)
async def test_no_value_has_a_nul(
    counter: Counter, method: str, path: str, body: dict[str, object] | None
) -> None:
    """PostgreSQL stores none, so neither database is asked."""
    status, problem = await counter.call(method, path, body)
    assert (status, problem["code"]) == (422, "bad_request")
    assert counter.desk.limits == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "invoices/IT0-2026-000001/credit", {"amount": "1.00", "reason": "a\0b"}),
        ("POST", "invoices/IT0-2026-000001/paid", {"amount": "1.00", "currency": "U\0D"}),
        ("POST", "trials", {"plan": "pro", "tenant": "a\0b"}),
        ("POST", "move", {"version": "a\0b"}),
        ("PATCH", "account", {"name": "a\0b"}),
    ],
)
async def test_the_operator_writes_no_nul_either(
    method: str, path: str, body: dict[str, object]
) -> None:
    """What is printed on an invoice has none."""
    async with operator_site() as site:
        site.bill()
        where = f"{BASE}/{path}"
        proof = operator_proof(PROOFS, method, where)
        token = operator_token(TOKENS, None)
        status, problem = await ask(site, method, where, token, proof, body)
    assert (status, problem["code"]) == (422, "bad_request"), json.dumps(problem)


@pytest.mark.parametrize("key", [b"a\xff\xfe", b"a\tb", "käse".encode("latin-1")])
async def test_a_key_that_cannot_be_kept(counter: Counter, key: bytes) -> None:
    """Bytes that are not UTF-8 and control characters are refused before anything is done."""
    token = (await counter.auth.issue(counter.people["admin"], days=1)).token
    headers = {"Authorization": b"Bearer " + token.encode(), "Idempotency-Key": key}
    path = "/api/v1/billing/subscription/cancel"
    assert await raw(counter.url, "POST", path, headers) == 422
    assert counter.desk.cancelled is False


async def test_a_token_of_other_bytes_is_no_token(counter: Counter) -> None:
    """It is refused as any wrong one."""
    headers = {"Authorization": b"Bearer a\xff.b.c"}
    assert await raw(counter.url, "GET", "/api/v1/billing/plans", headers) == 401


async def test_a_proof_of_other_bytes_is_no_proof() -> None:
    """It is refused as any wrong one."""
    async with operator_site() as site:
        token = operator_token(TOKENS, None).encode()
        headers = {"Authorization": b"Bearer " + token, HEADER: b"a\xff.b.c"}
        assert await raw(site.url, "POST", f"{BASE}/run", headers) == 403
