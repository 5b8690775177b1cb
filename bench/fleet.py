"""One fact from many servers: IT0 beside bare asyncssh and ``ansible -m command``.

Real OpenSSH servers on loopback ports, the same for all three, which take turns in every round.
Cold: nobody has a connection. Warm: everybody keeps theirs (Ansible through OpenSSH's
ControlPersist). Ansible is a command, so each of its figures has the start of its process in it;
IT0 and asyncssh are measured inside a process that runs, as they are used. Ansible runs with as
many forks as there are servers and is told which Python to use, so that it looks for none.
As root the servers are reached as an account without a start-up file of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from bench._report import Report, median, verdict
from core.fleet.fanout import fan_out
from core.fleet.inventory import Server
from core.fleet.ssh import SshConnector
from tests.support.peers_install import PeerUnavailable, install_ansible
from tests.support.sshd import SshdKit, account, find_sshd

FACT = "uptime"
WARM_RUNS = 3
"""Warm runs of ours and of asyncssh for each one of Ansible's, which takes so much longer."""


@dataclass(slots=True)
class Taken:
    """Seconds, by run."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


@contextlib.contextmanager
def _account() -> Iterator[str]:
    if os.geteuid():
        yield pwd.getpwuid(os.geteuid()).pw_name
        return
    with account("it0bench", sudo=False) as name:
        Path(f"/home/{name}/.bashrc").unlink(missing_ok=True)
        yield name


async def _ours(connector: SshConnector, servers: Sequence[Server]) -> float:
    async def fact(server: Server) -> str:
        ran = await connector.connect(server).run([FACT], timeout_s=120, max_bytes=1000)
        return ran.stdout

    began = time.monotonic()
    answers = await fan_out(servers, fact, most_at_once=len(servers))
    took = time.monotonic() - began
    assert all("load average" in (answer.value or "") for answer in answers), answers
    return took


async def ours(kit: SshdKit, servers: Sequence[Server], taken: Taken) -> None:
    """One cold run and some warm ones."""
    async with kit.connector() as connector:
        taken.cold.append(await _ours(connector, servers))
        for _ in range(WARM_RUNS):
            taken.warm.append(await _ours(connector, servers))


async def _connection(server: Server, key: asyncssh.SSHKey) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        server.address,
        server.port,
        username=server.user,
        client_keys=[key],
        known_hosts=([asyncssh.import_public_key(server.host_key)], [], []),
        agent_path=None,
        config=[],
    )


async def _asked(connections: Sequence[asyncssh.SSHClientConnection]) -> None:
    ran = await asyncio.gather(*(connection.run(FACT) for connection in connections))
    assert all("load average" in str(one.stdout) for one in ran)


async def bare(kit: SshdKit, servers: Sequence[Server], taken: Taken) -> None:
    """The same with asyncssh alone."""
    key = asyncssh.import_private_key(kit.private_key)
    began = time.monotonic()
    connections = await asyncio.gather(*(_connection(server, key) for server in servers))
    await _asked(connections)
    taken.cold.append(time.monotonic() - began)
    for _ in range(WARM_RUNS):
        began = time.monotonic()
        await _asked(connections)
        taken.warm.append(time.monotonic() - began)
    for connection in connections:
        connection.close()
    await asyncio.gather(*(connection.wait_closed() for connection in connections))


class Ansible:
    """Ad-hoc commands; each object has connections of its own."""

    def __init__(self, place: Path, folder: Path, kit: SshdKit, servers: Sequence[Server]) -> None:
        """Write the inventory and the known hosts; ``folder`` must have a short path."""
        known = folder / "known_hosts"
        known.write_text("".join(f"[{one.address}]:{one.port} {one.host_key}\n" for one in servers))
        inventory = folder / "inventory"
        inventory.write_text(
            "".join(
                f"{one.name} ansible_host={one.address} ansible_port={one.port}"
                f" ansible_user={one.user} ansible_python_interpreter={_python()}\n"
                for one in servers
            )
        )
        config = folder / "ansible.cfg"
        config.write_text("[defaults]\n")
        self._servers = servers
        self._folder = folder
        self._command = (
            *(str(place / "bin" / "ansible"), "all", "-i", str(inventory)),
            *("-f", str(len(servers)), "--private-key", str(kit.key_file)),
            *("-m", "command", "-a", FACT, "-o"),
        )
        self._env = {
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_SSH_ARGS": (
                "-C -o ControlMaster=auto -o ControlPersist=120s"
                f" -o UserKnownHostsFile={known} -F none"
            ),
        }

    def ask(self) -> float:
        """Ask all servers once; seconds."""
        began = time.monotonic()
        done = subprocess.run(
            self._command, env=self._env, check=False, capture_output=True, text=True, timeout=600
        )
        took = time.monotonic() - began
        answers = done.stdout.count("load average")
        assert answers == len(self._servers), done.stdout[-2000:] + done.stderr[-2000:]
        return took

    def hang_up(self) -> None:
        """End the connections that OpenSSH keeps in the background."""
        for socket in (self._folder / ".ansible" / "cp").glob("*"):
            subprocess.run(
                ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "x"],
                check=False,
                capture_output=True,
            )


def _python() -> str:
    """A Python that every account can run: an account of its own may not read this one's."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def measured(kit: SshdKit, servers: Sequence[Server], rounds: int) -> dict[str, Taken]:
    """Let all three take turns."""
    taken = {name: Taken() for name in ("IT0", "asyncssh", "Ansible")}
    try:
        place = install_ansible()
    except PeerUnavailable as missing:
        print(f"Without Ansible: {missing}")
        place = None
    for _ in range(rounds):
        asyncio.run(ours(kit, servers, taken["IT0"]))
        asyncio.run(bare(kit, servers, taken["asyncssh"]))
        if place is None:
            continue
        with tempfile.TemporaryDirectory(prefix="a", dir="/tmp") as folder:
            ansible = Ansible(place, Path(folder), kit, servers)
            taken["Ansible"].cold.append(ansible.ask())
            taken["Ansible"].warm.append(ansible.ask())
            ansible.hang_up()
    return taken


def reported(taken: dict[str, Taken], count: int) -> Report:
    """The medians, and the ratios with their bounds."""
    report = Report(f"one fact from {count} servers", ("cold, ms", "warm, ms"))
    for name, each in taken.items():
        if each.cold:
            report.row(name, f"{median(each.cold) * 1000:.0f}", f"{median(each.warm) * 1000:.0f}")
    we, they, ansible = taken["IT0"], taken["asyncssh"], taken["Ansible"]
    ratio = median(we.warm) / median(they.warm)
    report.row("IT0 to asyncssh, warm", "", f"{ratio:.2f}", value=ratio, at_most=1.3)
    if ansible.cold:
        faster = median(ansible.warm) / median(we.warm)
        report.row("Ansible to IT0, warm", "", f"{faster:.1f}", value=faster, at_least=5)
        cold = median(we.cold) / median(ansible.cold)
        report.row("IT0 to Ansible, cold", f"{cold:.2f}", value=cold, at_most=1)
    return report


def main() -> int:
    """Start the servers and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if find_sshd() is None:
        print("There is no OpenSSH server here (apt install openssh-server).")
        return 1
    with _account() as user, SshdKit() as kit:
        running = kit.start(*(f"server-{number}" for number in range(given.servers)))
        servers = [sshd.server(user=user) for sshd in running]
        report = reported(measured(kit, servers, given.rounds), given.servers)
    report.show()
    return verdict(report)


if __name__ == "__main__":
    sys.exit(main())
