"""The Host port: what every tool may ask of a server, local or remote.

Tools are built from commands and files that exist on any Linux. A command that is not
installed is exit status 127, as a shell would say, so that a tool can fall back. What a
server answers is text from outside: it is never trusted and never executed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core.errors import It0Error

NOT_INSTALLED = 127
"""The exit status of a command that the server does not have."""


MAX_WHOLE_BYTES = 16 * 1024 * 1024
"""Most output of one command that is kept as an artifact; the rest is counted, not kept."""


class HostUnreachable(It0Error):
    """The server cannot be reached; the sentence names it and says why."""

    code = "host_unreachable"
    retryable = True


class ConnectionLost(HostUnreachable):
    """The connection broke while a command ran: whether it ended, and how, is not known."""

    code = "connection_lost"
    retryable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command left behind. Undecodable bytes became U+FFFD."""

    exit_status: int
    """Negative when a signal ended it, 127 when it is not installed."""
    stdout: str
    stderr: str
    truncated: bool = False
    """More output came than was kept."""
    timed_out: bool = False
    """It was killed because it took too long; the output is what came until then."""
    whole: bytes = b""
    """stdout and stderr as they came, up to what ``shell`` was told to keep."""
    whole_bytes: int = 0
    """How much output came in all."""
    seconds: float = 0.0

    @property
    def missing(self) -> bool:
        """Whether the server has no such command."""
        return self.exit_status == NOT_INSTALLED and not self.timed_out


class FileProblemKind(StrEnum):
    """Why a file was not read."""

    NOT_FOUND = "not_found"
    NO_PERMISSION = "no_permission"
    PROTECTED = "protected"
    NOT_A_FILE = "not_a_file"
    CHANGED = "changed"
    """It does not hold what was expected."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """A file that was not read, with a sentence for the user."""

    kind: FileProblemKind
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """Part of a file. ``path`` is the file that was really read, all links followed."""

    path: str
    text: str
    size: int
    """Bytes of the whole file; 0 for generated files such as those of /proc."""
    truncated: bool
    """Only the beginning (or, with ``tail``, the end) is here."""
    binary: bool = False
    """It holds NUL bytes: no text file."""


OnOutput = Callable[[str], None]
"""Is told output as it comes, in pieces of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWritten:
    """A file that was replaced."""

    path: str
    """The file that was really written, all links followed."""
    sha256: str
    backup: str = ""
    """Where its old content is on the server; empty when it is new."""


class Host(Protocol):
    """A server that can be looked at."""

    async def run(self, argv: Sequence[str], *, timeout_s: float, max_bytes: int) -> CommandResult:
        """Run a command without a shell, without input, in a clean environment.

        Keeps at most ``max_bytes`` of stdout and of stderr each. Cancelling it kills the
        command with all its children. Raises HostUnreachable.
        """

    async def read_file(
        self, path: str, *, max_bytes: int, tail: bool = False
    ) -> FileRead | FileProblem:
        """Read the beginning or the end of a regular file, unless it is protected.

        Raises HostUnreachable.
        """

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
        """Run shell text with ``/bin/sh -c``, in the clean environment.

        ``sudo`` runs it as root without asking for a password (``sudo -n``). A timeout or a
        cancellation ends the remote process with all its children. Raises HostUnreachable, and
        ConnectionLost when the connection broke after the command was begun.
        """

    async def write_file(
        self, path: str, data: bytes, *, expected_sha256: str | None, sudo: bool = False
    ) -> FileProblem | FileWritten:
        """Replace a regular file atomically, keeping its owner and mode, unless protected.

        ``expected_sha256`` is the digest of what it must hold now (None: it must not exist); a
        file that changed meanwhile is a FileProblem and stays as it is. Raises HostUnreachable.
        """
