"""LocalHost: the machine on which IT0 runs.

Commands get a clean environment (never IT0's own, which holds keys), no input, and a
process group of their own that dies with the call. Files are taken hold of without being
opened (``O_PATH``: no device notices), judged by what is held, and only then opened, so that
no link can be swapped between the check and the read. That takes Linux.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.fleet.host import (
    CommandResult,
    FileProblem,
    FileProblemKind,
    FileRead,
    FileWritten,
    Host,
    OnOutput,
)
from core.fleet.local_command import LocalCommand, run_as_root
from core.fleet.output import Output
from core.fleet.writing import Writing, protected_file
from core.protected import ProtectedPaths
from core.threads import in_daemon_thread

CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}
_CHUNK = 65_536
_GENERATED_LIMIT = 8 * 1024 * 1024
"""Files that tell no size (/proc) are read up to here when their end is wanted."""


class LocalHost:
    """Runs commands and reads files here; implements ``core.fleet.host.Host``."""

    def __init__(self, protected: ProtectedPaths) -> None:
        """``protected`` is asked about the file that was really opened."""
        self._protected = protected

    async def run(self, argv: Sequence[str], *, timeout_s: float, max_bytes: int) -> CommandResult:
        """Run a command; a timeout or a cancellation kills its whole process group."""
        output = Output(max_bytes=max_bytes)
        return await LocalCommand(argv=argv, output=output, environment=CLEAN_ENVIRONMENT).run(
            timeout_s=timeout_s
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
        """Run shell text; with ``sudo`` as root, unless IT0 runs as root anyway."""
        output = Output(max_bytes=max_bytes, keep_bytes=keep_bytes, told=on_output)
        argv = ("/bin/sh", "-c", command)
        if sudo and os.geteuid():
            return await run_as_root(argv, output, CLEAN_ENVIRONMENT, stdin, timeout_s)
        return await LocalCommand(
            argv=argv, output=output, environment=CLEAN_ENVIRONMENT, stdin=stdin
        ).run(timeout_s=timeout_s)

    async def write_file(
        self, path: str, data: bytes, *, expected_sha256: str | None, sudo: bool = False
    ) -> FileProblem | FileWritten:
        """Replace a file as on any other host; see ``core.fleet.writing``."""
        with contextlib.suppress(OSError, ValueError):
            if self._own_by_another_name(await in_daemon_thread(os.stat, path)):
                return protected_file(path, "it belongs to IT0 itself")
        writing = Writing(host=self, protected=self._protected, path=path, sudo=sudo)
        return await writing.write(data, expected_sha256=expected_sha256)

    async def read_file(
        self, path: str, *, max_bytes: int, tail: bool = False
    ) -> FileRead | FileProblem:
        """Read a file in a thread, which a dead mount may hold; see ``core.fleet.host.Host``."""
        return await in_daemon_thread(self._read, path, max_bytes, tail)

    def _read(self, path: str, max_bytes: int, tail: bool) -> FileRead | FileProblem:  # noqa: FBT001
        reason = self._protected.why(path)
        if reason:
            return _protected(path, reason)
        try:
            held = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            return _problem(path, error)
        try:
            return self._read_held(held, path, max_bytes, tail=tail)
        except OSError as error:
            return _problem(path, error)
        finally:
            os.close(held)

    def _read_held(
        self, held: int, path: str, max_bytes: int, *, tail: bool
    ) -> FileRead | FileProblem:
        status = os.fstat(held)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            return FileProblem(
                kind=FileProblemKind.NOT_A_FILE, sentence=f"{path} is {what}; I read files only."
            )
        real = str(Path(f"/proc/self/fd/{held}").readlink())
        reason = self._protected.why(real) or self._own_by_another_name(status)
        if reason:
            return _protected(path, reason)
        data, truncated = _slice(held, status.st_size, max_bytes, tail=tail)
        return FileRead(
            path=real,
            text=data.decode("utf-8", "replace"),
            size=status.st_size,
            truncated=truncated,
            binary=b"\0" in data,
        )

    def _own_by_another_name(self, status: os.stat_result) -> str | None:
        """Find hard links and bind mounts of IT0's own files, which keep their inode."""
        for own in self._protected.own:
            with contextlib.suppress(OSError):
                for candidate in (own, *_children(own)):
                    with contextlib.suppress(OSError):
                        if os.path.samestat(Path(candidate).stat(), status):
                            return "it belongs to IT0 itself"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConnector:
    """Connects every server of kind ``local`` to one host; implements HostConnector."""

    host: Host

    def connect(self, server: object) -> Host:
        """Return the local host; the inventory decides who has a local server."""
        del server
        return self.host


def _slice(held: int, size: int, max_bytes: int, *, tail: bool) -> tuple[bytes, bool]:
    """Open what is held, the very same file, and read the wanted part of it."""
    descriptor = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if tail and size > max_bytes:
            os.lseek(descriptor, size - max_bytes, os.SEEK_SET)
            return _read_up_to(descriptor, max_bytes), True
        limit = _GENERATED_LIMIT if tail and size == 0 else max_bytes
        data = _read_up_to(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    kept = data[-max_bytes:] if tail else data[:max_bytes]
    return kept, len(data) > len(kept)


def _read_up_to(descriptor: int, limit: int) -> bytes:
    data = bytearray()
    while len(data) < limit:
        try:
            chunk = os.read(descriptor, min(_CHUNK, limit - len(data)))
        except BlockingIOError:
            break
        if not chunk:
            break
        data += chunk
    return bytes(data)


def _children(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries]
    except NotADirectoryError:
        return []


def _protected(path: str, reason: str) -> FileProblem:
    return FileProblem(
        kind=FileProblemKind.PROTECTED, sentence=f"{path} is protected: {reason}. Nobody reads it."
    )


def _problem(path: str, error: OSError | ValueError) -> FileProblem:
    match getattr(error, "errno", None):
        case errno.ENOENT | errno.ENOTDIR:
            return FileProblem(kind=FileProblemKind.NOT_FOUND, sentence=f"There is no file {path}.")
        case errno.EACCES | errno.EPERM:
            return FileProblem(
                kind=FileProblemKind.NO_PERMISSION,
                sentence=f"I may not read {path}: the account that IT0 runs as has no permission.",
            )
        case _:
            detail = getattr(error, "strerror", None) or str(error)
            return FileProblem(
                kind=FileProblemKind.FAILED, sentence=f"{path} cannot be read: {detail}."
            )
