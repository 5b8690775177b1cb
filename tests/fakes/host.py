"""A host that answers with recorded outputs; a command without a recording is not installed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.fleet.host import (
    NOT_INSTALLED,
    CommandResult,
    FileProblem,
    FileProblemKind,
    FileRead,
    FileWritten,
    HostUnreachable,
    OnOutput,
)
from core.fleet.inventory import Server, ServerKind


def said(
    stdout: str = "", *, status: int = 0, stderr: str = "", hung: bool = False
) -> CommandResult:
    """The result of a command that said this."""
    return CommandResult(exit_status=status, stdout=stdout, stderr=stderr, timed_out=hung)


@dataclass
class FakeHost:
    """Recorded commands by the beginning of their command line (the longest match wins)."""

    commands: dict[str, CommandResult] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    unreachable: str = ""
    ran: list[tuple[str, ...]] = field(default_factory=list)
    shells: list[str] = field(default_factory=list)
    """The shell texts that were run; those with sudo begin with ``sudo: ``."""
    stdins: list[bytes] = field(default_factory=list)

    async def run(self, argv: Sequence[str], *, timeout_s: float, max_bytes: int) -> CommandResult:
        """Answer from the recordings, cut at ``max_bytes``."""
        assert timeout_s > 0
        if self.unreachable:
            raise HostUnreachable(self.unreachable)
        self.ran.append(tuple(argv))
        return self._recorded(" ".join(argv), max_bytes)

    def _recorded(self, line: str, max_bytes: int) -> CommandResult:
        known = sorted((key for key in self.commands if line.startswith(key)), key=len)
        if not known:
            return said(status=NOT_INSTALLED, stderr="not found")
        found = self.commands[known[-1]]
        assert len(found.stdout) <= max_bytes
        return found

    async def read_file(
        self, path: str, *, max_bytes: int, tail: bool = False
    ) -> FileRead | FileProblem:
        """Answer from ``files``."""
        if self.unreachable:
            raise HostUnreachable(self.unreachable)
        if path not in self.files:
            return FileProblem(kind=FileProblemKind.NOT_FOUND, sentence=f"There is no file {path}.")
        text = self.files[path]
        kept = text[-max_bytes:] if tail else text[:max_bytes]
        return FileRead(
            path=path,
            text=kept,
            size=len(text),
            truncated=len(kept) < len(text),
            binary="\0" in text,
        )

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
        """Answer from the recordings, and tell and keep the output as a real host does."""
        assert timeout_s > 0
        if self.unreachable:
            raise HostUnreachable(self.unreachable)
        self.shells.append(f"sudo: {command}" if sudo else command)
        self.stdins.append(stdin)
        found = self._recorded(command, max_bytes)
        text = found.stdout + found.stderr
        if on_output is not None and text:
            on_output(text)
        came = text.encode()
        return replace(found, whole=came[:keep_bytes], whole_bytes=len(came))

    async def write_file(
        self, path: str, data: bytes, *, expected_sha256: str | None, sudo: bool = False
    ) -> FileProblem | FileWritten:
        """Replace what ``files`` holds, if it is what was expected."""
        if self.unreachable:
            raise HostUnreachable(self.unreachable)
        old = self.files.get(path)
        digest = None if old is None else hashlib.sha256(old.encode()).hexdigest()
        if digest != expected_sha256:
            return FileProblem(
                kind=FileProblemKind.CHANGED,
                sentence=f"{path} does not hold what was expected, so I left it.",
            )
        backup = ""
        if old is not None:
            backup = f"{path}.it0-1.bak"
            self.files[backup] = old
        self.files[path] = data.decode()
        return FileWritten(path=path, sha256=hashlib.sha256(data).hexdigest(), backup=backup)


@dataclass
class FakeFleet:
    """An inventory and a connector over named hosts of the tenant ``ten_1``."""

    hosts: dict[str, FakeHost]
    tenant_id: str = "ten_1"

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """The servers of the one tenant that has some."""
        return tuple(
            Server(id=f"srv_{name}", tenant_id=tenant_id, name=name, kind=ServerKind.SSH)
            for name in sorted(self.hosts)
            if tenant_id == self.tenant_id
        )

    def connect(self, server: Server) -> FakeHost:
        """The host of that name."""
        return self.hosts[server.name]
