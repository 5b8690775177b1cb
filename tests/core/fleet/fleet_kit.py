"""A small fleet, and turns that ask about it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from core.fleet.inventory import (
    Criticality,
    Environment,
    Identity,
    Server,
    ServerKind,
    SudoPolicy,
)

HOST_KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"k" * 32).decode()


def server(name: str, *tags: str, environment: Environment = Environment.PRODUCTION) -> Server:
    """A server that is reached over SSH."""
    return Server(
        id=f"srv_{name}",
        tenant_id="ten_1",
        name=name,
        kind=ServerKind.SSH,
        address=f"{name}.example.org",
        tags=tags,
        environment=environment,
    )


LOCAL = Server(id="srv_local", tenant_id="ten_1", name="local", kind=ServerKind.LOCAL)
BASTION = Server(
    id="srv_bastion",
    tenant_id="ten_1",
    name="bastion",
    kind=ServerKind.SSH,
    address="2001:db8::7",
    tags=("edge",),
    environment=Environment.STAGING,
)
WEB = Server(
    id="srv_web",
    tenant_id="ten_1",
    name="web-1",
    kind=ServerKind.SSH,
    address="192.0.2.7",
    port=2222,
    user="deploy",
    tags=("edge", "eu"),
    criticality=Criticality.CRITICAL,
    jump="srv_bastion",
    identity=Identity.STORED,
    host_key=HOST_KEY,
    sudo=SudoPolicy.NEVER,
)


@dataclass
class Listed:
    """Implements ``Inventory``: these servers, for everybody."""

    fleet: tuple[Server, ...] = (BASTION, LOCAL, WEB)

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """All of them."""
        assert tenant_id
        return self.fleet
