"""A host that answers with recorded outputs; a command without a recording is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.fleet.host import (
    NOT_INSTALLED,
    CommandResult,
    FileProblem,
    FileProblemKind,
    FileRead,
    HostUnreachable,
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

    async def run(self, argv: Sequence[str], *, timeout_s: float, max_bytes: int) -> CommandResult:
        """Answer from the recordings, cut at ``max_bytes``."""
        assert timeout_s > 0
        if self.unreachable:
            raise HostUnreachable(self.unreachable)
        self.ran.append(tuple(argv))
        line = " ".join(argv)
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
