"""Real OpenSSH servers on loopback ports, for tests and benchmarks.

As root they serve every account (``account`` makes one), else only the account that runs the
tests. Keys are made per kit. ``Proxy`` delays, freezes or cuts what goes to one of them;
``silent_port`` accepts and never answers. Without the sshd binary, ``find_sshd`` is None.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import asyncssh

from core.fleet.inventory import Identity, Server, ServerKind
from core.fleet.local import LocalConnector, LocalHost
from core.fleet.ssh import SshConnector
from core.protected import ProtectedPaths
from tests.support.processes import Process, ProcessFailure, free_port

TENANT = "ten_1"
_START_S = 20.0
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/{name}.host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
PermitRootLogin yes
MaxStartups 200
"""


def find_sshd() -> str | None:
    """The path of the OpenSSH server, which must be started by its full path."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """One key for all servers; implements PrivateKeys."""

    key: bytes | None

    async def private_key(self, server: Server) -> bytes | None:
        """The key, for servers that use a stored one."""
        assert server.identity is Identity.STORED
        return self.key


@dataclass(slots=True)
class Servers:
    """Finds servers by their ids; implements ServerLookup."""

    known: dict[str, Server] = field(default_factory=dict)

    async def server(self, tenant_id: str, server_id: str) -> Server | None:
        """A server of this tenant."""
        found = self.known.get(server_id)
        return found if found and found.tenant_id == tenant_id else None


def new_host_key() -> asyncssh.SSHKey:
    """A key for a server."""
    return asyncssh.generate_private_key("ssh-ed25519")


def public_line(key: asyncssh.SSHKey) -> str:
    """``type base64``, as servers are pinned."""
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


@dataclass(slots=True)
class Sshd:
    """One running server."""

    name: str
    port: int
    process: Process
    host_key: str

    def server(self, **changes: object) -> Server:
        """Its entry in an inventory."""
        entry = {"name": self.name, "port": self.port, "host_key": self.host_key, **changes}
        return make_server(**entry)


def make_server(name: object, **changes: object) -> Server:
    """An entry in an inventory for something on a loopback port."""
    entry: dict[str, object] = {
        "id": f"srv_{name}",
        "tenant_id": TENANT,
        "name": name,
        "kind": ServerKind.SSH,
        "address": "127.0.0.1",
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "identity": Identity.STORED,
    }
    return Server(**{**entry, **changes})  # type: ignore[arg-type]  # a test's shorthand


class SshdKit:
    """Starts servers; as a context manager it stops them and removes their files."""

    def __init__(self) -> None:
        """Make the key that opens all of them."""
        self._folder = Path(tempfile.mkdtemp(prefix="it0-sshd-"))
        self._folder.chmod(0o755)
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.private_key = key.export_private_key("openssh")
        authorized = self._folder / "authorized_keys"
        authorized.write_bytes(key.export_public_key("openssh"))
        authorized.chmod(0o644)
        self.key_file = self._folder / "client"
        self.key_file.touch(0o600)
        self.key_file.write_bytes(self.private_key)
        self.running: list[Sshd] = []
        self.servers = Servers()

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop all servers."""
        for sshd in self.running:
            sshd.process.__exit__(None, None, None)
        shutil.rmtree(self._folder)

    def start(
        self, *names: str, config: str = "", env: Mapping[str, str] | None = None
    ) -> tuple[Sshd, ...]:
        """Start servers of these names, all with these lines of configuration besides ours."""
        binary = find_sshd()
        assert binary, "there is no sshd"
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        begun = tuple(self._begin(binary, name, config, env) for name in names)
        self.running += begun
        for sshd in begun:
            _wait_for_port(sshd)
        return begun

    def _begin(self, binary: str, name: str, config: str, env: Mapping[str, str] | None) -> Sshd:
        key, port = new_host_key(), free_port()
        host = self._folder / f"{name}.host"
        host.touch(0o600)
        host.write_bytes(key.export_private_key("openssh"))
        settings = self._folder / f"{name}.conf"
        settings.write_text(config + _CONFIG.format(port=port, folder=self._folder, name=name))
        process = Process([binary, "-D", "-e", "-f", str(settings)], env=env)
        process.__enter__()
        return Sshd(name=name, port=port, process=process, host_key=public_line(key))

    def add(self, *servers: Server) -> None:
        """Make servers known to the lookup of jump hosts."""
        self.servers.known |= {server.id: server for server in servers}

    def connector(self, **changes: object) -> AbstractAsyncContextManager[SshConnector]:
        """A connector that may log in everywhere, closed at the end."""
        return connector(self.private_key, self.servers, **changes)


def _wait_for_port(sshd: Sshd) -> None:
    give_up = time.monotonic() + _START_S
    while f"port {sshd.port}" not in sshd.process.output():
        if time.monotonic() > give_up:
            raise ProcessFailure(f"sshd does not listen:\n{sshd.process.output()}")
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """The state of a process as in /proc, or "gone"."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


async def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(500):
        if state_of(pid) in {"gone", "Z"}:
            return True
        await asyncio.sleep(0.01)
    return False


@contextlib.contextmanager
def account(name: str, *, sudo: bool) -> Iterator[str]:
    """A normal account of this machine that may log in with a key; takes root."""
    subprocess.run(["userdel", "-r", name], check=False, capture_output=True)
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", name], check=True, capture_output=True)
    rule = Path(f"/etc/sudoers.d/{name}")
    try:
        subprocess.run(["usermod", "-p", "*", name], check=True, capture_output=True)
        if sudo:
            rule.write_text(f"{name} ALL=(ALL) NOPASSWD: ALL\n")
            rule.chmod(0o440)
        yield name
    finally:
        rule.unlink(missing_ok=True)
        subprocess.run(["pkill", "-KILL", "-u", name], check=False)
        subprocess.run(["userdel", "-r", name], check=False, capture_output=True)


class Proxy:
    """A TCP proxy to a loopback port that can be slow, frozen or cut."""

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        """Each piece of data waits for ``delay_s`` in each direction."""
        self._target, self._delay_s = port, delay_s
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.accepted = 0
        """Connections so far."""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Cut everything."""
        assert self._server
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections as a failing network does."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Keep the connections that there are, and let nothing through any more."""
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        flows = self._flows
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, there_writer}
        await asyncio.gather(
            self._pass(reader, there_writer, flows), self._pass(there_reader, writer, flows)
        )
        self._writers -= {writer, there_writer}

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                await asyncio.sleep(self._delay_s)
                await flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def silent_port() -> AsyncIterator[int]:
    """A port that accepts connections and never says a word."""
    writers: list[asyncio.StreamWriter] = []

    def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


class _Anybody(asyncssh.SSHServer):
    """Lets everybody in who has the kit's key; asyncssh looks that up."""

    def __init__(self, most_sessions: int) -> None:
        self._free = most_sessions

    def session_requested(self) -> asyncssh.SSHServerProcess[bytes] | bool:
        """Refuse what is too many, as OpenSSH does with its MaxSessions."""
        if not self._free:
            return False
        self._free -= 1
        return asyncssh.SSHServerProcess(self._run, None, 3, False)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        try:
            await _run_command(process)
        finally:
            self._free += 1


async def _run_command(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run what was sent with a shell, in a session of its own as OpenSSH does."""
    child = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", process.command or "true"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin
    assert child.stdout
    assert child.stderr
    feeding = asyncio.create_task(_feed(process, child.stdin))
    await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
    status = await child.wait()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


async def _pump(reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


async def _feed(process: asyncssh.SSHServerProcess[bytes], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        while data := await process.stdin.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def in_process_server(
    key: asyncssh.SSHKey, name: str, *, most_sessions: int = 10
) -> AsyncIterator[Server]:
    """A server without OpenSSH that runs commands as this account; ``key`` opens it."""
    host_key = new_host_key()
    authorized = asyncssh.import_authorized_keys(key.export_public_key("openssh").decode())
    listener = await asyncssh.create_server(
        lambda: _Anybody(most_sessions),
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=authorized,
        encoding=None,
        config=[],
    )
    try:
        yield make_server(name, port=listener.get_port(), host_key=public_line(host_key))
    finally:
        listener.close()
        await listener.wait_closed()


@contextlib.asynccontextmanager
async def connector(
    private_key: bytes | None, servers: Servers | None = None, **changes: object
) -> AsyncIterator[SshConnector]:
    """A connector of the operator's team with this key, closed at the end."""
    protected = changes.pop("protected", ProtectedPaths())
    assert isinstance(protected, ProtectedPaths)
    wanted: dict[str, object] = {"operator_tenant": TENANT, **changes}
    made = SshConnector(
        Keyring(key=private_key),
        protected,
        LocalConnector(host=LocalHost(protected)),
        servers or Servers(),
        **wanted,  # type: ignore[arg-type]  # a test's shorthand
    )
    try:
        yield made
    finally:
        await made.aclose()
