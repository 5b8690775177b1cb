"""A server with ``/api/v1/servers`` alone, over a real database, and hosts that are recorded."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import app
from bots.operator import OperatorClient
from bots.operator_servers import ServersClient
from bots.web.auth import Authenticator, operator_token
from bots.web.server import build, listening
from bots.web.servers import ServerRoutes
from core.clock import SystemClock
from core.fleet.host import Host, HostUnreachable
from core.fleet.inventory import Server
from core.tenants import Role, User
from storage.idempotency import SqlKeys
from storage.servers import SqlServers
from tests.fakes.host import FakeHost, said
from tests.support.core_kit import Site

PATH = "/api/v1/servers"
_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = _KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
LOCKED = _KEY.private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
).decode()
SECRET = PEM.splitlines()[3]
"""A line of the private key that no public key has."""


def host_key(seed: int = 1) -> str:
    """A host key line."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@dataclass
class Machines:
    """Implements ``HostProbe``: every server is this host, and shows this key."""

    key: str = field(default_factory=host_key)
    host: FakeHost = field(
        default_factory=lambda: FakeHost(
            commands={"true": said(), "id -un": said("deploy\n"), "sudo": said()}
        )
    )

    async def host_key(self, server: Server) -> str:
        """The key, unless the machine is out of reach."""
        if self.host.unreachable:
            raise HostUnreachable(f"{server.name} does not answer.")
        return self.key

    def connect(self, server: Server) -> Host:
        """The only host."""
        assert server.name
        return self.host


@dataclass(kw_only=True)
class Rack:
    """The routes on a real server, called as one person."""

    storage: app.Storage
    store: SqlServers
    machines: Machines
    url: str
    session: aiohttp.ClientSession
    auth: Authenticator
    admin: User

    async def call(
        self,
        method: str,
        path: str = "",
        body: object = None,
        *,
        who: User | None = None,
        key: str = "",
    ) -> tuple[int, Any]:
        """One request: its status and its document, in which no private key ever is."""
        more = {"Idempotency-Key": key} if key else {}
        token = (await self.auth.issue(who or self.admin, days=1)).token
        async with self.session.request(
            method,
            f"{self.url}{PATH}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}", **more},
        ) as response:
            text = await response.text()
            assert SECRET not in text
            return response.status, await response.json(content_type=None) if text else None

    async def add(self, name: str, address: str = "192.0.2.1", **more: object) -> tuple[int, Any]:
        """Register a server as the admin."""
        return await self.call("POST", "", {"name": name, "address": address, **more})

    async def member(self, role: Role) -> User:
        """Somebody else of the team."""
        user = await self.storage.people.add_user(
            self.admin.tenant_id, email=f"{role}@example.org", name="", role=role
        )
        assert isinstance(user, User)
        return user

    async def stranger(self) -> User:
        """The admin of another team."""
        tenant = await self.storage.people.add_tenant("other")
        user = await self.storage.people.add_user(
            tenant.id, email="o@example.org", name="", role=Role.ADMIN
        )
        assert isinstance(user, User)
        return user

    def client(self) -> ServersClient:
        """The client of ``it0 server``."""
        key = self.storage.keys.derive("tokens")
        return ServersClient(
            client=OperatorClient(base_url=self.url, token_source=lambda: operator_token(key, None))
        )


@asynccontextmanager
async def rack(site: Site) -> AsyncGenerator[Rack]:
    """Serve until left."""
    async with app.open_storage(site.settings()) as storage, aiohttp.ClientSession() as session:
        keys, people = storage.keys, storage.people
        admin = await people.install(tenant_name="My team", admin_email="admin@localhost")
        store = SqlServers(storage.db, keys.derive("servers"), keys.derive("audit"))
        auth = Authenticator(key=keys.derive("tokens"), store=people)
        machines = Machines()
        routes = ServerRoutes(
            store=store, probe=machines, auth=auth, keys=SqlKeys(storage.db, SystemClock())
        )
        application = build(routes.routes(), version="1")
        async with listening(application, "127.0.0.1", 0) as url:
            yield Rack(
                storage=storage,
                store=store,
                machines=machines,
                url=url,
                session=session,
                auth=auth,
                admin=admin,
            )
