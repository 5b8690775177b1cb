"""A file's bytes as they are, for edits and copies.

The server opens the file first and then says which one it holds (``/proc/self/fd``), so the
path that is judged is that of the bytes that come. What is protected never leaves this module.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from dataclasses import dataclass, replace

from core.fleet.host import FileProblem, FileProblemKind, Host
from core.protected import ProtectedPaths

MAX_FILE_BYTES = 5 * 1024 * 1024
"""Largest file that is edited or copied."""
_TIMEOUT_S = 60.0
_ENCODED_BYTES = MAX_FILE_BYTES * 4 // 3 + 256 * 1024
READ_EXACT = """
p=$1
if ! { [ -e "$p" ] || [ -L "$p" ]; }; then
  d=$(dirname -- "$p") && d=$(cd -P -- "$d" 2>/dev/null && pwd -P) || exit 3
  printf '%s/%s\n' "${d%/}" "$(basename -- "$p")"
  exit 3
fi
[ -f "$p" ] || exit 5
[ -r "$p" ] || exit 4
exec 3<"$p" || exit 4
readlink /proc/self/fd/3 || exit 6
head -c "$2" <&3 | base64
"""
_PROBLEMS = {
    4: (FileProblemKind.NO_PERMISSION, "I may not read {path}: the account has no permission."),
    5: (FileProblemKind.NOT_A_FILE, "{path} is not a regular file."),
}
_NOT_THERE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """A whole file, or that there is none."""

    path: str
    """The real one, all links followed; also of a file that does not exist yet."""
    data: bytes = b""
    exists: bool = True
    as_root: bool = False
    """Only root could read it."""

    @property
    def sha256(self) -> str | None:
        """The digest that ``Host.write_file`` is to expect."""
        return digest(self.data) if self.exists else None


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


async def read_exact(
    host: Host, path: str, protected: ProtectedPaths, *, sudo: bool
) -> Exact | FileProblem:
    """Read a file of at most ``MAX_FILE_BYTES``; ``sudo``: as root where it must be.

    Raises HostUnreachable.
    """
    why = protected.why(path)
    if why:
        return _protected(path, why)
    # IT0's own files under another name (a hard link) are known to the host alone.
    asked = await host.read_file(path, max_bytes=1)
    if isinstance(asked, FileProblem) and asked.kind is FileProblemKind.PROTECTED:
        return asked
    found = await _read(host, path, protected, sudo=False)
    denied = isinstance(found, FileProblem) and found.kind is FileProblemKind.NO_PERMISSION
    hidden = isinstance(found, Exact) and not found.exists
    if not sudo or not (denied or hidden):
        return found
    read = await _read(host, path, protected, sudo=True)
    return replace(read, as_root=True) if isinstance(read, Exact) and read.exists else read


async def _read(
    host: Host, path: str, protected: ProtectedPaths, *, sudo: bool
) -> Exact | FileProblem:
    result = await host.shell(
        f"set -- {shlex.quote(path)} {MAX_FILE_BYTES + 1}\n{READ_EXACT}",
        timeout_s=_TIMEOUT_S,
        max_bytes=_ENCODED_BYTES,
        sudo=sudo,
    )
    if result.exit_status == _NOT_THERE:
        place = result.stdout.strip("\n")
        place = place if place.startswith("/") else path
        why = protected.why(place)
        return _protected(path, why) if why else Exact(path=place, exists=False)
    if result.exit_status in _PROBLEMS:
        kind, sentence = _PROBLEMS[result.exit_status]
        return FileProblem(kind=kind, sentence=sentence.format(path=path))
    real, _, encoded = result.stdout.partition("\n")
    if result.exit_status != 0 or result.timed_out or not real.startswith("/"):
        return _failed(path, "it could not be read")
    why = protected.why(real)
    if why:
        return _protected(path, why)
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return _failed(path, "it did not arrive whole")
    if len(data) > MAX_FILE_BYTES:
        return _failed(path, f"it is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    return Exact(path=real, data=data)


def _protected(path: str, why: str) -> FileProblem:
    return FileProblem(kind=FileProblemKind.PROTECTED, sentence=f"{path} is protected: {why}.")


def _failed(path: str, why: str) -> FileProblem:
    return FileProblem(kind=FileProblemKind.FAILED, sentence=f"{path}: {why}.")
