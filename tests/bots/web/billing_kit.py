"""Billing's routes, served in this process over a desk in memory, called as somebody."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from billing.desk import ExplainedCall, LineExplanation, UsageRow
from billing.invoices import CreditNote
from billing.payments import Payment
from bots.web.auth import Authenticator
from bots.web.billing import BillingRoutes
from bots.web.server import build, listening
from core.metering import Usage
from core.refusals import Rejected
from core.tenants import Role, User
from tests.fakes.billing_desk import DeskInMemory, MovedClock
from tests.fakes.web_ports import KeysInMemory, TokensInMemory

NOW_MS = 1_793_620_800_000
"""2 November 2026, 12:00 UTC: a day and a half of the month is over."""


@dataclass
class RestDesk(DeskInMemory):
    """The desk of the chat's tests, with what only REST shows, and a memory of its calls."""

    rows: list[UsageRow] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[CreditNote] = field(default_factory=list)
    attempts: list[Payment] = field(default_factory=list)
    received: list[tuple[str, bytes, str | None]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """Payments wait for it."""
    fails: Exception | Rejected | None = None
    """What paying comes to, once."""

    async def history(self, tenant_id: str, *, from_ms: int, to_ms: int) -> Sequence[UsageRow]:
        """See the port."""
        self.asked.append((tenant_id, from_ms, to_ms))
        return self.rows

    async def credit_notes(self, tenant_id: str, invoice_id: str) -> Sequence[CreditNote]:
        """See the port."""
        return [note for note in self.notes if note.invoice_id == invoice_id]

    async def payments(self, tenant_id: str, invoice_id: str) -> Sequence[Payment]:
        """See the port."""
        return [one for one in self.attempts if one.invoice_id == invoice_id]

    async def explain(
        self, tenant_id: str, id_or_number: str, line: int, *, after: int = 0, limit: int = 50
    ) -> LineExplanation | Rejected:
        """See the port: ten calls of 100 tokens."""
        explained = await super().explain(tenant_id, id_or_number, line)
        if isinstance(explained, Rejected):
            return explained
        calls = tuple(_call(number) for number in range(after, min(10, after + limit)))
        more = after + limit < 10
        return replace(explained, calls=calls, next_after=after + limit if more else None)

    async def pay(
        self, tenant_id: str, id_or_number: str, method: str | None = None
    ) -> Payment | Rejected:
        """See the port; each call is a new attempt, so that a second one shows."""
        if self.hold is not None:
            await self.hold.wait()
        if self.fails is not None:
            failure, self.fails = self.fails, None
            if isinstance(failure, Rejected):
                return failure
            raise failure
        begun = await super().pay(tenant_id, id_or_number, method)
        if isinstance(begun, Payment):
            begun = replace(begun, id=f"pay_{len(self.attempts) + 1}")
            self.attempts.append(begun)
        return begun

    async def notified(
        self, provider: str, body: bytes, headers: Mapping[str, str]
    ) -> Rejected | None:
        """See the port: a provider ``fake`` whose signature is ``good``."""
        if provider != "fake":
            return Rejected(code="unknown_provider", sentence="There is no such provider.")
        if headers.get("X-SIGNATURE") != "good":
            return Rejected(code="bad_signature", sentence="The signature does not hold.")
        self.received.append((provider, body, headers.get("x-signature")))
        return None


def _call(number: int) -> ExplainedCall:
    return ExplainedCall(
        call_id=f"call_{number}",
        turn_id="turn_1",
        conversation_id="conv_1",
        user_id="u_admin",
        model="claude-sonnet-5-5",
        at_ms=NOW_MS,
        usage=Usage(input_tokens=60, output_tokens=40),
        estimated=number == 9,
        billed_tokens=100,
    )


@dataclass(kw_only=True)
class Counter:
    """A served desk, and the people who come to it."""

    desk: RestDesk
    keys: KeysInMemory
    url: str
    session: aiohttp.ClientSession
    auth: Authenticator
    people: dict[str, User]

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        who: str = "admin",
        key: str = "",
    ) -> tuple[int, Any]:
        """One request under ``/api/v1/billing``: its status and its document."""
        status, document, _ = await self.full(method, path, body, who=who, key=key)
        return status, document

    async def full(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        who: str = "admin",
        key: str = "",
        **headers: str,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """The same, with the answer's headers; without ``who`` there is no token."""
        if who:
            issued = await self.auth.issue(self.people[who], days=1)
            headers["Authorization"] = f"Bearer {issued.token}"
        if key:
            headers["Idempotency-Key"] = key
        sent = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {"json": body}
        async with self.session.request(
            method, f"{self.url}/api/v1/billing/{path}", headers=headers, **sent
        ) as response:
            data = await response.read()
            kind = response.content_type
        return (
            response.status,
            json.loads(data) if kind.endswith("json") else data,
            response.headers,
        )


@asynccontextmanager
async def open_counter() -> AsyncIterator[Counter]:
    """Serve billing for one team with an admin, an operator and a viewer."""
    clock = MovedClock(NOW_MS)
    people = {
        str(role): User(
            id=f"u_{role}",
            tenant_id="ten_1",
            email=f"{role}@example.com",
            name=str(role),
            role=role,
        )
        for role in Role
    }
    desk, keys = RestDesk(clock=clock), KeysInMemory(clock)
    auth = Authenticator(key=b"k" * 32, store=TokensInMemory(list(people.values())))
    application = build(BillingRoutes(desk.desk(), auth, keys).routes(), version="1")
    async with (
        listening(application, "127.0.0.1", 0) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Counter(desk=desk, keys=keys, url=url, session=session, auth=auth, people=people)
