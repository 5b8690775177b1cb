"""A server with the operator's billing alone, over billing in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from billing.invoices import Invoice
from bots.operator import OperatorClient
from bots.operator_billing import BillingOperator
from bots.web.auth import Authenticator, operator_token
from bots.web.operator_billing import OperatorBillingRoutes
from bots.web.operator_proof import ProofCheck, operator_proof
from bots.web.server import build, listening
from core.tenants import Role, User
from tests.billing.command_kit import NOW_MS
from tests.billing.test_commands_invoices import BASE, OVERAGE
from tests.fakes.billing_desk import DeskInMemory, MovedClock
from tests.fakes.operator_desk import OperatorInMemory

TOKENS, PROOFS = b"t" * 32, b"p" * 32


@dataclass
class OneUser:
    """Implements ``TokenStore``: everybody is this user."""

    role: Role = Role.ADMIN

    def user(self) -> User:
        """The only one."""
        return User(id="usr_0", tenant_id="ten_1", email="a@b.c", name="", role=self.role)

    async def token_user(self, token_id: str, user_id: str) -> User | None:
        """Every token is live."""
        assert token_id
        return self.user() if user_id == "usr_0" else None

    async def user_by_email(self, email: str | None) -> User:
        """Whoever is asked for."""
        assert email is None
        return self.user()

    async def save_token(
        self, user: User, token_id: str, *, expires_ms: int, parent: str | None = None
    ) -> None:
        """Tokens are not kept: each is live."""


@dataclass
class OperatorSite:
    """The server, and what it works on."""

    url: str
    memory: OperatorInMemory
    auth: Authenticator
    people: OneUser

    def bill(self) -> Invoice:
        """An open invoice of $51.99, number IT0-2026-000001."""
        return self.memory.team.bill([BASE, OVERAGE])

    def client(self, *, proofs: bytes = PROOFS) -> BillingOperator:
        """The client of ``it0 billing``, with a key of its own for the proofs."""
        return BillingOperator(
            client=OperatorClient(
                base_url=self.url, token_source=lambda: operator_token(TOKENS, None)
            ),
            proof=lambda method, path: operator_proof(proofs, method, path),
        )


@asynccontextmanager
async def operator_site() -> AsyncGenerator[OperatorSite]:
    """Serve until left."""
    memory = OperatorInMemory(DeskInMemory(MovedClock(NOW_MS)))
    people = OneUser()
    auth = Authenticator(key=TOKENS, store=people)
    routes = OperatorBillingRoutes(memory.desk(), auth, ProofCheck(key=PROOFS)).routes()
    async with listening(build(routes, version="1"), "127.0.0.1", 0) as url:
        yield OperatorSite(url, memory, auth, people)
