"""The Host port: what every tool may ask of a server, local or remote.

Tools are built from commands and files that exist on any Linux. A command that is not
installed is exit status 127, as a shell would say, so that a tool can fall back. What a
server answers is text from outside: it is never trusted and never executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core.errors import It0Error

NOT_INSTALLED = 127
"""The exit status of a command that the server does not have."""


class HostUnreachable(It0Error):
    """The server cannot be reached; the sentence names it and says why."""

    code = "host_unreachable"
    retryable = True


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
