"""What the pool promises, with servers inside this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import asyncssh
import pytest

from core.errors import StorageUnreachable
from core.fleet.host import HostUnreachable
from core.fleet.inventory import Server, ServerKind
from core.fleet.local import LocalConnector, LocalHost
from core.fleet.ssh import SshConnector
from core.protected import ProtectedPaths
from tests.support.processes import free_port
from tests.support.sshd import (
    Servers,
    connector,
    gone,
    in_process_server,
    make_server,
    new_host_key,
    public_line,
)

KEY = asyncssh.generate_private_key("ssh-ed25519")
PRIVATE = KEY.export_private_key("openssh")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One server that our key opens."""
    async with in_process_server(KEY, "one") as made:
        yield made


async def _echo(connections: SshConnector, server: Server, text: str = "hello") -> str:
    ran = await connections.connect(server).run(["echo", text], timeout_s=20, max_bytes=100)
    return ran.stdout.strip()


def _open(connections: SshConnector) -> int:
    return connections._pool.open_connections


async def test_many_commands_share_one_connection(server: Server) -> None:
    """Whoever comes while it is being made waits for the same attempt."""
    async with connector(PRIVATE) as connections:
        said = await asyncio.gather(*(_echo(connections, server, f"{n}") for n in range(12)))
        assert said == [f"{number}" for number in range(12)]
        assert _open(connections) == 1


async def test_an_unused_connection_is_closed(server: Server) -> None:
    """It stays open for a while only."""
    async with connector(PRIVATE, idle_s=0.05) as connections:
        assert await _echo(connections, server) == "hello"
        for _ in range(500):
            if not _open(connections):
                break
            await asyncio.sleep(0.01)
        assert _open(connections) == 0
        assert await _echo(connections, server) == "hello"


async def test_the_longest_unused_connection_makes_room() -> None:
    """There are never more than the limit, and the one used last stays."""
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(in_process_server(KEY, f"s{number}"))
            for number in range(3)
        ]
        connections = await stack.enter_async_context(connector(PRIVATE, most_connections=2))
        for number in (0, 1, 0, 2):
            await _echo(connections, servers[number])
        assert _open(connections) == 2
        assert [key[1] for key in connections._pool._links] == ["srv_s0", "srv_s2"]


async def test_who_comes_with_too_many_waits_for_a_place() -> None:
    """Four that are dialled at once with room for two all answer, those without a place later."""
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(in_process_server(KEY, f"s{number}"))
            for number in range(4)
        ]
        connections = await stack.enter_async_context(connector(PRIVATE, most_connections=2))
        said = await asyncio.gather(*(_echo(connections, each, each.name) for each in servers))
        assert said == ["s0", "s1", "s2", "s3"]
        assert _open(connections) == 2


async def test_a_failed_attempt_gives_its_place_back(server: Server) -> None:
    """Whoever waited for room behind one that cannot be reached is let in."""
    dead = make_server("dead", port=free_port(), host_key=server.host_key)
    async with connector(PRIVATE, most_connections=1) as connections:
        failed, said = await asyncio.gather(
            _echo(connections, dead), _echo(connections, server), return_exceptions=True
        )
        assert isinstance(failed, HostUnreachable)
        assert said == "hello"


async def test_a_changed_entry_gets_a_connection_of_its_own(server: Server) -> None:
    """The connection of the older revision is not used any more."""
    async with connector(PRIVATE) as connections:
        await _echo(connections, server)
        await _echo(connections, replace(server, revision=2))
        assert [key[2] for key in connections._pool._links] == [2]


async def test_a_pin_counts_on_an_open_connection_too(server: Server) -> None:
    """An entry without the right key never gets the connection of one that has it."""
    async with connector(PRIVATE) as connections:
        await _echo(connections, server)
        for wrong in ("", public_line(new_host_key())):
            with pytest.raises(HostUnreachable):
                await _echo(connections, replace(server, host_key=wrong))


async def test_all_that_must_end_at_once_is_ended() -> None:
    """Each ending takes a session more than the server has; it is asked until one is free."""
    async with (
        in_process_server(KEY, "narrow", most_sessions=5) as server,
        connector(PRIVATE) as connections,
    ):
        host = connections.connect(server)
        said = await asyncio.gather(
            *(host.shell("echo $$; exec sleep 300", timeout_s=0.8, max_bytes=100) for _ in range(4))
        )
        assert [ran.timed_out for ran in said] == [True] * 4
        assert [await gone(int(ran.stdout)) for ran in said] == [True] * 4


async def test_an_attempt_that_nobody_waits_for_does_no_harm(server: Server) -> None:
    """A cancelled user leaves the attempt to the others."""
    async with connector(PRIVATE) as connections:
        hasty = asyncio.create_task(_echo(connections, server))
        patient = asyncio.create_task(_echo(connections, server))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        assert await patient == "hello"
        assert _open(connections) == 1


class _Locked:
    """Keys whose storage is away; implements PrivateKeys."""

    async def private_key(self, server: Server) -> bytes | None:
        """Fail."""
        raise StorageUnreachable("The database cannot be reached.")


async def test_a_key_that_cannot_be_fetched_is_a_server_not_reached(server: Server) -> None:
    """Nothing was begun there, and the sentence says why; no fault leaves as it is."""
    connections = SshConnector(
        _Locked(), ProtectedPaths(), LocalConnector(host=LocalHost(ProtectedPaths())), Servers()
    )
    with pytest.raises(HostUnreachable) as refused:
        await _echo(connections, server)
    assert type(refused.value) is HostUnreachable
    assert refused.value.sentence == ("one was not contacted: The database cannot be reached.")
    await connections.aclose()


async def test_the_local_server_needs_no_connection() -> None:
    """It is left to the local connector."""
    here = Server(id="srv_here", tenant_id="ten_1", name="here", kind=ServerKind.LOCAL)
    async with connector(None) as connections:
        assert isinstance(connections.connect(here), LocalHost)


async def test_a_change_of_the_host_key_is_loud(server: Server) -> None:
    """Both fingerprints are named, and nobody logs in."""
    pinned = public_line(new_host_key())
    async with connector(PRIVATE) as connections:
        with pytest.raises(HostUnreachable) as refused:
            await _echo(connections, replace(server, host_key=pinned))
    assert "HAS CHANGED" in refused.value.sentence
    assert refused.value.sentence.count("SHA256:") == 2
