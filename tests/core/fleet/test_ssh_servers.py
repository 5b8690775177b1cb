"""Many real servers at once: slow, dead, silent and changed ones, jump hosts, cut lines."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from core.fleet import ssh_channel, ssh_dial
from core.fleet.fanout import fan_out
from core.fleet.host import CommandResult, ConnectionLost, HostUnreachable
from core.fleet.inventory import Server
from core.fleet.ssh import SshConnector
from core.fleet.ssh_pool import MOST_CHANNELS
from tests.support.processes import free_port
from tests.support.sshd import (
    Proxy,
    SshdKit,
    gone,
    make_server,
    new_host_key,
    public_line,
    silent_port,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def _echo(fleet: SshConnector, server: Server, text: str = "hello") -> str:
    ran = await fleet.connect(server).run(["echo", text], timeout_s=60, max_bytes=1000)
    assert ran.exit_status == 0
    return ran.stdout.strip()


async def _refused(fleet: SshConnector, server: Server) -> str:
    with pytest.raises(HostUnreachable) as refused:
        await fleet.connect(server).run(["true"], timeout_s=60, max_bytes=10)
    assert not isinstance(refused.value, ConnectionLost)
    return refused.value.sentence


async def test_a_fleet_with_every_kind_of_trouble(
    kit: SshdKit, fleet: SshConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight good servers and a slow one answer; dead, silent and changed ones say what is wrong."""
    monkeypatch.setattr(ssh_dial, "CONNECT_S", 4.0)
    good = kit.start(*(f"good-{number}" for number in range(8)))
    (slow,) = kit.start(
        "slow", config='ForceCommand sleep 1.5; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    stranger = public_line(new_host_key())
    dead = make_server("dead", port=free_port(), host_key=stranger)
    changed = good[0].server(name="changed", id="srv_changed", host_key=stranger)
    async with silent_port() as port:
        silent = make_server("silent", port=port, host_key=stranger)
        servers = [sshd.server() for sshd in good] + [slow.server(), dead, silent, changed]
        answers = await fan_out(servers, lambda server: _echo(fleet, server, server.name))
    assert [answer.value for answer in answers] == [
        *(f"good-{number}" for number in range(8)),
        *("slow", None, None, None),
    ]
    down, mute, other = (answer.problem for answer in answers[-3:])
    assert "nothing listens" in down
    assert "did not answer within 4 seconds" in mute
    pinned, shown = map(ssh_dial.fingerprint_of, (stranger, good[0].host_key))
    assert f"Confirmed was {pinned}, now it shows {shown}." in other
    assert other.endswith("it0 server trust changed --replace")


async def test_a_key_is_confirmed_before_anything_is_sent(
    kit: SshdKit, fleet: SshConnector
) -> None:
    """Without a pin the fingerprint is told and nobody logs in; with it the server is reached."""
    (sshd,) = kit.start("new")
    told = await _refused(fleet, sshd.server(host_key=""))
    assert ssh_dial.fingerprint_of(sshd.host_key) in told
    assert "it0 server test new" in told
    assert "Accepted publickey" not in sshd.process.output()
    shown = await fleet.host_key(sshd.server(host_key=""))
    assert shown == sshd.host_key
    assert await _echo(fleet, sshd.server(host_key=shown, revision=1)) == "hello"


async def test_a_key_of_another_type_is_a_changed_key(kit: SshdKit, fleet: SshConnector) -> None:
    """A server that has no key of the pinned type any more is refused with both fingerprints."""
    (sshd,) = kit.start("typed")
    ecdsa = public_line(asyncssh.generate_private_key("ecdsa-sha2-nistp256"))
    told = await _refused(fleet, sshd.server(host_key=ecdsa))
    assert ssh_dial.fingerprint_of(ecdsa) in told
    assert ssh_dial.fingerprint_of(sshd.host_key) in told


async def test_through_jump_hosts(kit: SshdKit, fleet: SshConnector) -> None:
    """A server behind two jump hosts answers; its host key can be asked for through them."""
    first, second, inner = kit.start("jump-1", "jump-2", "inner")
    way = [first.server(), second.server(jump="srv_jump-1"), inner.server(jump="srv_jump-2")]
    kit.add(*way)
    assert await _echo(fleet, way[2]) == "hello"
    assert "Accepted publickey" in first.process.output()
    assert "Accepted publickey" in second.process.output()
    assert await fleet.host_key(way[2]) == inner.host_key
    unpinned = second.server(jump="srv_jump-1", host_key="", revision=1)
    kit.add(unpinned)
    told = await _refused(fleet, inner.server(jump="srv_jump-2", revision=1))
    assert "Nobody has confirmed the host key of jump-2" in told


async def test_more_servers_behind_a_jump_host_than_there_is_room_for(kit: SshdKit) -> None:
    """The jump host has its place first; those behind it share what is left, in turn."""
    jump, *inner = kit.start("door", "room-1", "room-2", "room-3")
    kit.add(jump.server())
    async with kit.connector(most_connections=3) as narrow:
        servers = [sshd.server(jump="srv_door") for sshd in inner]
        said = await asyncio.gather(*(_echo(narrow, each, each.name) for each in servers))
    assert said == ["room-1", "room-2", "room-3"]


async def test_bad_ways_through_jump_hosts(kit: SshdKit, fleet: SshConnector) -> None:
    """Loops, long chains, missing jump hosts and those of other teams are refused at once."""
    (sshd,) = kit.start("behind")

    def hop(name: str, jump: str, **more: object) -> Server:
        return sshd.server(name=name, id=f"srv_{name}", jump=f"srv_{jump}" if jump else "", **more)

    kit.add(hop("a", "b"), hop("b", "a"), hop("foreign", "", tenant_id="ten_2"))
    kit.add(hop("h1", ""), hop("h2", "h1"), hop("h3", "h2"), hop("h4", "h3"))
    assert "form a loop" in await _refused(fleet, hop("a", "b"))
    assert "more than 3 jump hosts" in await _refused(fleet, hop("h5", "h4"))
    assert await _echo(fleet, hop("h4", "h3")) == "hello"
    assert "does not exist" in await _refused(fleet, hop("x", "nobody"))
    assert "does not exist" in await _refused(fleet, hop("x", "foreign"))
    dead = make_server("far", port=free_port(), host_key=sshd.host_key, jump="srv_h1")
    assert "cannot be reached from its jump host" in await _refused(fleet, dead)


async def test_ten_megabytes_and_endless_output(kit: SshdKit, fleet: SshConnector) -> None:
    """All of it is counted, what is kept is bounded, and it streams while it comes."""
    (sshd,) = kit.start("loud")
    host = fleet.connect(sshd.server())
    told = 0

    def on_output(text: str) -> None:
        nonlocal told
        told += len(text)

    size = 10 * 1024 * 1024
    ran = await host.shell(
        f"head -c {size} /dev/zero | tr '\\0' y",
        timeout_s=120,
        max_bytes=50_000,
        keep_bytes=size,
        on_output=on_output,
    )
    assert (ran.exit_status, ran.whole_bytes, told) == (0, size, size)
    assert ran.whole == b"y" * size
    assert ran.stdout == "y" * 50_000
    endless = await host.shell("echo $$; exec yes", timeout_s=2, max_bytes=100, keep_bytes=1000)
    assert endless.timed_out
    assert (len(endless.stdout), len(endless.whole)) == (100, 1000)
    assert endless.whole_bytes > 1000
    assert await gone(int(endless.stdout.split()[0]))


async def _waiting(host_shell: asyncio.Task[CommandResult], said: asyncio.Event) -> None:
    """Wait until a command has begun."""
    waiter = asyncio.create_task(said.wait())
    await asyncio.wait({waiter, host_shell}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    assert said.is_set()


async def test_a_line_that_is_cut_in_the_middle(kit: SshdKit, fleet: SshConnector) -> None:
    """The outcome is unknown and said so, nothing is sent twice, and the next command is fine."""
    (sshd,) = kit.start("cut")
    async with Proxy(sshd.port) as proxy:
        server = sshd.server(port=proxy.port)
        said = asyncio.Event()
        task = asyncio.create_task(
            fleet.connect(server).shell(
                "echo begun; sleep 30",
                timeout_s=60,
                max_bytes=100,
                on_output=lambda text: said.set(),
            )
        )
        await _waiting(task, said)
        proxy.cut()
        with pytest.raises(ConnectionLost) as lost:
            await task
        assert "is not known" in lost.value.sentence
        assert not lost.value.retryable
        assert proxy.accepted == 1
        assert await _echo(fleet, server) == "hello"
        assert proxy.accepted == 2


async def test_a_line_that_was_cut_between_commands(kit: SshdKit, fleet: SshConnector) -> None:
    """A pooled connection that died unnoticed is replaced; the command runs once."""
    (sshd,) = kit.start("idle")
    async with Proxy(sshd.port) as proxy:
        server = sshd.server(port=proxy.port)
        assert await _echo(fleet, server) == "hello"
        assert await _echo(fleet, server) == "hello"
        assert proxy.accepted == 1
        proxy.cut()
        assert await _echo(fleet, server) == "hello"
        assert proxy.accepted == 2


async def test_a_line_that_went_silent_between_commands(
    kit: SshdKit, fleet: SshConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No channel opens on it in time, so the command is begun on a new connection."""
    (sshd,) = kit.start("frozen")
    async with Proxy(sshd.port) as proxy:
        server = sshd.server(port=proxy.port)
        assert await _echo(fleet, server) == "hello"
        proxy.freeze()
        monkeypatch.setattr(ssh_channel, "START_S", 2.0)
        assert await _echo(fleet, server) == "hello"
        assert proxy.accepted == 2


async def test_a_slow_line(kit: SshdKit, fleet: SshConnector) -> None:
    """Delay costs time, nothing else; many commands share the one connection."""
    (sshd,) = kit.start("far")
    async with Proxy(sshd.port, delay_s=0.05) as proxy:
        server = sshd.server(port=proxy.port)
        said = await asyncio.gather(*(_echo(fleet, server, f"{n}") for n in range(24)))
        assert said == [f"{number}" for number in range(24)]
        assert proxy.accepted == 1


async def test_a_server_with_few_sessions(kit: SshdKit, fleet: SshConnector) -> None:
    """Below what we would use at once, commands wait for each other instead of failing."""
    (sshd,) = kit.start("narrow", config="MaxSessions 2\n")
    said = await asyncio.gather(*(_echo(fleet, sshd.server(), f"{n}") for n in range(10)))
    assert said == [f"{number}" for number in range(10)]


async def test_all_that_must_end_at_once_is_ended(kit: SshdKit, fleet: SshConnector) -> None:
    """As many as one connection takes time out together, and none runs on."""
    (sshd,) = kit.start("full")
    host = fleet.connect(sshd.server())
    text = "echo $$; exec sleep 300"
    ended = await asyncio.gather(
        *(host.shell(text, timeout_s=3, max_bytes=100) for _ in range(MOST_CHANNELS))
    )
    assert [ran.timed_out for ran in ended] == [True] * MOST_CHANNELS
    assert [await gone(int(ran.stdout)) for ran in ended] == [True] * MOST_CHANNELS


async def test_a_cancelled_command_is_ended(kit: SshdKit, fleet: SshConnector) -> None:
    """Its process is gone, the others on the connection and the connection itself live on."""
    (sshd,) = kit.start("stop")
    said = asyncio.Event()
    told: list[str] = []

    def on_output(text: str) -> None:
        told.append(text)
        said.set()

    host = fleet.connect(sshd.server())
    other = asyncio.create_task(host.shell("sleep 2; echo fine", timeout_s=60, max_bytes=100))
    task = asyncio.create_task(
        host.shell("echo $$; sleep 300", timeout_s=60, max_bytes=100, on_output=on_output)
    )
    await _waiting(task, said)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(int("".join(told)))
    assert (await other).stdout == "fine\n"
