"""Where a guest team's server may be connected to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from core.fleet.host import HostUnreachable
from core.fleet.inventory import Identity, Server
from core.fleet.ssh_dial import Dialer
from tests.support.processes import free_port
from tests.support.sshd import make_server, new_host_key, public_line


@dataclass(slots=True, kw_only=True)
class Keyring:
    """The guest's own key."""

    key: bytes = field(default_factory=lambda: new_host_key().export_private_key())

    async def private_key(self, server: Server) -> bytes | None:
        """See the port."""
        assert server.identity is Identity.STORED
        return self.key


async def refusal(server: Server, *, pinned: bool) -> str:
    """What a guest is told who connects, or looks at the host key."""
    dialer = Dialer(keys=Keyring(), operator_tenant="ten_operator", agent_path="")
    with pytest.raises(HostUnreachable) as refused:
        await (dialer.connect(server, None) if pinned else dialer.host_key(server, None))
    return refused.value.sentence


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("pinned", [True, False])
async def test_no_connection_is_opened_to_this_machine(address: str, *, pinned: bool) -> None:
    """A guest is refused before, in the same words whether something listens there or not."""
    accepted = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        said = [
            await refusal(
                make_server("mine", port=at, host_key=public_line(new_host_key()), address=address),
                pinned=pinned,
            )
            for at in (port, free_port())
        ]
        await asyncio.sleep(0)
    assert accepted == []
    assert said[0] == said[1]
    assert "an address of the machine that IT0 runs on" in said[0]
