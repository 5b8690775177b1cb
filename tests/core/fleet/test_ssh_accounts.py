"""Who one is on a real server: root, a normal account, sudo; noise of login shells; keys."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.fleet.host import FileProblem, FileWritten, Host, HostUnreachable
from core.fleet.inventory import Identity
from core.fleet.ssh import SshConnector
from tests.support.processes import Process
from tests.support.sshd import Sshd, SshdKit, connector, gone, state_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def sshd(kit: SshdKit) -> Sshd:
    """One server for all accounts."""
    return kit.start("accounts")[0]


def _text(path: Path) -> str:
    return path.read_text()


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _remove(path: Path) -> None:
    path.unlink()


@contextlib.contextmanager
def _content(path: Path, text: str, *, mode: int = 0o644) -> Iterator[None]:
    """A file with another content for a while."""
    before = path.read_text() if path.exists() else None
    path.write_text(text)
    path.chmod(mode)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


@contextlib.contextmanager
def _login_shell(user: str, shell: str) -> Iterator[None]:
    subprocess.run(["usermod", "-s", shell, user], check=True)
    try:
        yield
    finally:
        subprocess.run(["usermod", "-s", "/bin/bash", user], check=True)


@contextlib.contextmanager
def _agent(socket: Path, key_file: Path) -> Iterator[str]:
    """An SSH agent that holds one key."""
    with Process(["ssh-agent", "-D", "-a", str(socket)]) as agent:
        agent.wait_for("SSH_AUTH_SOCK")
        env = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", str(key_file)], check=True, env=env)
        yield str(socket)


HANGING = "sleep 300 & echo $!; timeout 400 sleep 300 & echo $!; (sleep 300 & echo $!); sleep 300"
"""Says its children: in its group, in a group of their own, and one whose parent is gone."""


async def _hang(host: Host, *, sudo: bool) -> list[int]:
    ran = await host.shell(HANGING, timeout_s=3, max_bytes=1000, sudo=sudo)
    assert ran.timed_out
    pids = [int(line) for line in ran.stdout.split()]
    assert len(pids) == 3
    return pids


async def _cancel(host: Host, *, sudo: bool) -> list[int]:
    told: list[str] = []
    three = asyncio.Event()

    def on_output(text: str) -> None:
        told.append(text)
        if "".join(told).count("\n") == 3:
            three.set()

    task = asyncio.create_task(
        host.shell(HANGING, timeout_s=60, max_bytes=1000, sudo=sudo, on_output=on_output)
    )
    async with asyncio.timeout(30):
        await three.wait()
    pids = [int(line) for line in "".join(told).split()]
    assert all(state_of(pid) in {"R", "S"} for pid in pids)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return pids


async def _nothing_left(host: Host, *, sudo: bool) -> None:
    for pid in [*await _hang(host, sudo=sudo), *await _cancel(host, sudo=sudo)]:
        assert await gone(pid)


async def test_nothing_is_left_behind_as_the_account_of_the_tests(
    sshd: Sshd, fleet: SshConnector
) -> None:
    """As root too, to whom sshd delivers no signals: timeouts and cancellations end it all."""
    await _nothing_left(fleet.connect(sshd.server()), sudo=False)


async def test_nothing_is_left_behind_as_a_normal_account(
    sshd: Sshd, fleet: SshConnector, plain_user: str
) -> None:
    """The same for an account without rights."""
    await _nothing_left(fleet.connect(sshd.server(user=plain_user)), sudo=False)


async def test_nothing_is_left_behind_through_sudo(
    sshd: Sshd, fleet: SshConnector, sudo_user: str
) -> None:
    """Processes of root that a normal account began through sudo are ended too."""
    await _nothing_left(fleet.connect(sshd.server(user=sudo_user)), sudo=True)


async def test_nothing_is_left_behind_through_a_sudo_with_its_own_terminal(
    sshd: Sshd, fleet: SshConnector, sudo_user: str
) -> None:
    """With use_pty sudo puts a command in a session of its own; it is ended all the same."""
    rule = Path(f"/etc/sudoers.d/{sudo_user}")
    with _content(rule, f"Defaults use_pty\n{_text(rule)}"):
        await _nothing_left(fleet.connect(sshd.server(user=sudo_user)), sudo=True)


async def test_a_service_that_was_started_lives_on(sshd: Sshd, fleet: SshConnector) -> None:
    """What made a session of its own is no child any more, even if its starter hangs."""
    ran = await fleet.connect(sshd.server()).shell(
        "setsid sh -c 'echo $$; exec sleep 300' </dev/null 2>&1 & sleep 300",
        timeout_s=2,
        max_bytes=100,
    )
    assert ran.timed_out
    pid = int(ran.stdout)
    assert state_of(pid) in {"R", "S"}
    os.kill(pid, 9)


async def test_a_background_child_does_not_hold_the_answer_up(
    sshd: Sshd, fleet: SshConnector
) -> None:
    """A child that keeps the streams open is ended soon after its command, which counts."""
    ran = await fleet.connect(sshd.server()).shell(
        "sleep 300 & echo $!; exit 4", timeout_s=60, max_bytes=100
    )
    assert (ran.exit_status, ran.timed_out) == (4, False)
    assert await gone(int(ran.stdout))


async def test_sudo(sshd: Sshd, fleet: SshConnector, sudo_user: str) -> None:
    """It is root with a clean environment, with input, output and status of the command."""
    host = fleet.connect(sshd.server(user=sudo_user))
    ran = await host.shell(
        "id -u; pwd; cat; echo oops >&2; exit 5",
        timeout_s=60,
        max_bytes=1000,
        sudo=True,
        stdin=b"in",
    )
    assert (ran.stdout, ran.stderr, ran.exit_status) == ("0\n/\nin", "oops\n", 5)
    plain = await host.shell("id -un", timeout_s=60, max_bytes=100)
    assert plain.stdout.strip() == sudo_user


async def test_sudo_that_wants_a_password(sshd: Sshd, fleet: SshConnector, plain_user: str) -> None:
    """No password is given; the sentence says what to set up, and nothing ran."""
    ran = await fleet.connect(sshd.server(user=plain_user)).shell(
        "echo ran", timeout_s=60, max_bytes=1000, sudo=True
    )
    assert ran.exit_status == 1
    assert "NOPASSWD" in ran.stderr
    assert ran.stdout == ""


async def test_files_through_sudo(sshd: Sshd, fleet: SshConnector, sudo_user: str) -> None:
    """Root's file is replaced, its backup goes where no other program looks for files."""
    host = fleet.connect(sshd.server(user=sudo_user))
    path = Path("/etc/it0-test.conf")
    digest = hashlib.sha256(b"old").hexdigest()
    with _content(path, "old", mode=0o600):
        plain = await host.write_file(str(path), b"new", expected_sha256=digest)
        assert isinstance(plain, FileProblem)
        done = await host.write_file(str(path), b"new", expected_sha256=digest, sudo=True)
        assert isinstance(done, FileWritten)
        assert (_text(path), _mode(path)) == ("new", 0o600)
        backup = Path(done.backup)
        assert backup.parent == Path("/var/backups/it0")
        assert _text(backup) == "old"
        _remove(backup)


async def test_noise_of_a_login_shell_is_no_output(
    sshd: Sshd, fleet: SshConnector, plain_user: str
) -> None:
    """What a .bashrc prints is in front of neither stream."""
    with _content(Path(f"/home/{plain_user}/.bashrc"), "echo welcome; printf more >&2\n"):
        ran = await fleet.connect(sshd.server(user=plain_user)).shell(
            "echo out; echo err >&2", timeout_s=60, max_bytes=100
        )
    assert (ran.stdout, ran.stderr) == ("out\n", "err\n")


async def test_an_account_without_a_shell(sshd: Sshd, fleet: SshConnector, plain_user: str) -> None:
    """That nothing can be run there is said in the account's own words."""
    with _login_shell(plain_user, "/usr/sbin/nologin"), pytest.raises(HostUnreachable) as refused:
        await fleet.connect(sshd.server(user=plain_user)).run(["true"], timeout_s=60, max_bytes=10)
    assert "runs no commands" in refused.value.sentence
    assert "not available" in refused.value.sentence


async def _problem(connections: SshConnector, sshd: Sshd, **changes: object) -> str:
    with pytest.raises(HostUnreachable) as refused:
        await connections.connect(sshd.server(**changes)).run(["true"], timeout_s=60, max_bytes=10)
    return refused.value.sentence


async def test_keys(kit: SshdKit, sshd: Sshd, fleet: SshConnector, tmp_path: Path) -> None:
    """A stored key, a key file; no key, a broken key and a stranger's key say so."""
    by_file = sshd.server(identity=Identity.FILE, identity_file=str(kit.key_file))
    ran = await fleet.connect(by_file).run(["echo", "in"], timeout_s=60, max_bytes=10)
    assert ran.stdout == "in\n"
    nowhere = {"identity": Identity.FILE, "identity_file": str(tmp_path / "none")}
    assert "cannot be read" in await _problem(fleet, sshd, **nowhere)
    assert "refused the login" in await _problem(fleet, sshd, user="it0nobody")
    async with connector(None) as without, connector(b"nonsense") as broken:
        assert "no private key" in await _problem(without, sshd)
        assert "cannot be read" in await _problem(broken, sshd)


async def test_the_agent(kit: SshdKit, sshd: Sshd, tmp_path: Path) -> None:
    """Its keys are used only where the entry says so, and only if there is one."""
    with _agent(tmp_path / "agent", kit.key_file) as socket:
        async with connector(None, agent_path=socket) as fleet:
            host = fleet.connect(sshd.server(identity=Identity.AGENT))
            ran = await host.run(["echo", "in"], timeout_s=60, max_bytes=10)
            assert ran.stdout == "in\n"
            assert "no private key" in await _problem(fleet, sshd)
        async with connector(None) as fleet:
            assert "SSH_AUTH_SOCK" in await _problem(fleet, sshd, identity=Identity.AGENT)


async def test_other_teams_use_nothing_of_this_machine(kit: SshdKit, sshd: Sshd) -> None:
    """Neither its agent and key files nor addresses that lead to it, by any name."""
    async with kit.connector(operator_tenant="ten_9", agent_path="/nowhere") as fleet:
        key_file = {"identity": Identity.FILE, "identity_file": str(kit.key_file)}
        assert "the operator's own team" in await _problem(fleet, sshd, **key_file)
        assert "the operator's own team" in await _problem(fleet, sshd, identity=Identity.AGENT)
        for address in ("127.0.0.1", "localhost"):
            assert "an address of the machine" in await _problem(fleet, sshd, address=address)
            with pytest.raises(HostUnreachable, match="an address of the machine"):
                await fleet.host_key(sshd.server(address=address))
