"""SshConnector: servers that are reached over SSH."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from core.fleet.host import (
    CommandResult,
    ConnectionLost,
    FileProblem,
    FileRead,
    FileWritten,
    Host,
    HostUnreachable,
    OnOutput,
)
from core.fleet.inventory import HostConnector, Server, ServerKind
from core.fleet.output import Output
from core.fleet.ssh_channel import END_S, Call, NotBegun
from core.fleet.ssh_dial import Dialer, PrivateKeys
from core.fleet.ssh_files import MOST_HEADER, READ, READ_TIMEOUT_S, answer_of
from core.fleet.ssh_pool import ServerLookup, SshPool, closed_at_once
from core.fleet.writing import Writing, problem_of, protected_file
from core.protected import ProtectedPaths

IDLE_S = 300.0
MOST_CONNECTIONS = 256


class SshConnector:
    """Connects servers; implements ``core.fleet.inventory.HostConnector``."""

    def __init__(
        self,
        keys: PrivateKeys,
        protected: ProtectedPaths,
        local: HostConnector,
        servers: ServerLookup,
        *,
        operator_tenant: str = "",
        agent_path: str = "",
        idle_s: float = IDLE_S,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """``servers`` finds jump hosts; ``operator_tenant`` is the team of the local server.

        Only that team may use this machine's agent (``agent_path``) and key files, and addresses
        that lead to this machine.
        """
        self._protected, self._local = protected, local
        self._dialer = Dialer(keys=keys, operator_tenant=operator_tenant, agent_path=agent_path)
        self._pool = SshPool(self._dialer, servers, idle_s=idle_s, most=most_connections)

    def connect(self, server: Server) -> Host:
        """Return the host; a connection is made when the first command needs it."""
        if server.kind is ServerKind.LOCAL:
            return self._local.connect(server)
        return SshHost(server=server, pool=self._pool, protected=self._protected)

    async def host_key(self, server: Server) -> str:
        """The key that a server shows now, ``type base64``, without logging in to it.

        It is what a human confirms; a jump host on the way must be confirmed already. Raises
        HostUnreachable.
        """
        async with self._pool.way_to(server) as through:
            return await self._dialer.host_key(server, through)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHost:
    """A server behind an SSH connection; implements ``core.fleet.host.Host``."""

    server: Server
    pool: SshPool
    protected: ProtectedPaths

    async def run(self, argv: Sequence[str], *, timeout_s: float, max_bytes: int) -> CommandResult:
        """Run a command; see ``core.fleet.host.Host``."""
        output = Output(max_bytes=max_bytes)
        return await self._call(Call(argv, output=output, timeout_s=timeout_s, looks=True))

    async def shell(
        self,
        command: str,
        *,
        timeout_s: float,
        max_bytes: int,
        sudo: bool = False,
        stdin: bytes = b"",
        keep_bytes: int = 0,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Run shell text; see ``core.fleet.host.Host``."""
        output = Output(max_bytes=max_bytes, keep_bytes=keep_bytes, told=on_output)
        argv = ("/bin/sh", "-c", command)
        return await self._call(
            Call(argv, output=output, timeout_s=timeout_s, sudo=sudo, stdin=stdin)
        )

    async def read_file(
        self, path: str, *, max_bytes: int, tail: bool = False
    ) -> FileRead | FileProblem:
        """Read a file as ``core.fleet.ssh_files`` says."""
        reason = self.protected.why(path)
        if reason or not path.startswith("/"):
            return protected_file(path, reason or "an absolute path is needed")
        argv = ("/bin/sh", "-c", READ, "it0", path, str(max_bytes + 1), "tail" if tail else "head")
        output = Output(max_bytes=max_bytes + MOST_HEADER)
        result = await self._call(Call(argv, output=output, timeout_s=READ_TIMEOUT_S, looks=True))
        if result.timed_out:
            return problem_of(path, 6, "", timed_out=True)
        return answer_of(
            path,
            bytes(output.stdout.data),
            result.exit_status,
            result.stderr,
            protected=self.protected,
            max_bytes=max_bytes,
            tail=tail,
        )

    async def write_file(
        self, path: str, data: bytes, *, expected_sha256: str | None, sudo: bool = False
    ) -> FileProblem | FileWritten:
        """Replace a file as ``core.fleet.writing`` says."""
        writing = Writing(host=self, protected=self.protected, path=path, sudo=sudo)
        return await writing.write(data, expected_sha256=expected_sha256)

    async def _call(self, call: Call) -> CommandResult:
        """Run one command in a task of its own, which ends it well when we are cancelled."""
        task = asyncio.create_task(self._run(call), name="ssh-command")
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if call.begun:
                call.stop()
            else:
                task.cancel()
            self.pool.adopt(task)
            with contextlib.suppress(TimeoutError, HostUnreachable, asyncio.CancelledError):
                async with asyncio.timeout(END_S):
                    await asyncio.shield(task)
            raise

    async def _run(self, call: Call) -> CommandResult:
        """Run it; a pooled connection that turns out to be broken is replaced once."""
        for _ in range(2):
            async with self.pool.lease(self.server) as link:
                try:
                    result = await call.run(link.connection, self.server.name, posix=link.posix)
                except NotBegun:
                    self.pool.discard(link)
                except ConnectionLost:
                    if link.connection.is_closed():
                        self.pool.discard(link)
                    raise
                else:
                    link.posix = link.posix or call.posix
                    return result
        raise HostUnreachable(closed_at_once(self.server.name))
