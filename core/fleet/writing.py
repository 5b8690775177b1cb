"""Replacing a file on any host, with nothing but a POSIX shell and what every Linux has.

Two steps: the server says which file the path really is, we judge that path, and the server then
works inside the folder it named (``cd -P`` and a comparison), so that no link can lead anywhere
else in between. A path with a link in it is not written at all: who asks has read the file and
knows its real path, so the link came since, and leads where nobody approved of. The new content
goes to a new file beside the old one, with the old one's owner and mode, and takes its name at
once (``mv``); it is created, filled and given away through one descriptor, because root may be
asked to write into a folder of somebody hostile. ACLs are not kept. The old content stays
reachable: in ``/var/backups/it0`` for root (a copy beside it would be read by whoever reads all
files of the folder, as nginx does), else beside it.
"""

from __future__ import annotations

import hashlib
import posixpath
import secrets
import time
from dataclasses import dataclass
from typing import Protocol

from core.fleet.host import (
    CommandResult,
    FileProblem,
    FileProblemKind,
    FileWritten,
    HostUnreachable,
)
from core.fleet.wrapping import joined
from core.protected import ProtectedPaths
from core.words import sentence

WRITE_TIMEOUT_S = 60.0
_LOOK_AGAIN_S = 15.0
"""How long it may take to find out what a write that took too long has done."""
_MOST_ANSWER = 16_384
_CHANGED = 7
"""What our scripts end with when something is not as it was expected."""

_REAL = """
p=$1
if [ -e "$p" ] || [ -L "$p" ]; then
  [ -f "$p" ] || { [ -e "$p" ] && exit 5; exit 3; }
  exec readlink -f -- "$p"
fi
d=$(dirname -- "$p"); cd -P -- "$d" 2>/dev/null || { [ -d "$d" ] && exit 4; exit 3; }
d=$(pwd -P); [ "$d" = / ] && d=; printf '%s/%s\\n' "$d" "$(basename -- "$p")"
"""

_BEGIN = """
d=$1 n=./$2 was=$3 new=$4 token=$5 stamp=$6 v=/var/backups/it0
digest() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"
  elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r <"$1"
  else shasum -a 256 <"$1"; fi | { read -r a b; printf %s "$a"; }
}
cd -P -- "$d" && [ "$(pwd -P)" = "$d" ] || exit 7
t=./.it0-$token
kept=$v/$(printf %s "$d/$2" | tr / %).$stamp beside=$d/$2.it0-$stamp.bak
"""

_WRITE = (
    _BEGIN
    + """
umask 077
[ -w . ] || { echo "the folder is not writable" >&2; exit 4; }
f=/proc/$$/fd/5 mode=644 b=
if [ -n "$was" ]; then
  [ -L "$n" ] && exit 7
  [ -f "$n" ] || exit 3
  [ "$(digest "$n")" = "$was" ] || exit 7
  owner=$(stat -c %u:%g -- "$n") && mode=$(stat -c %a -- "$n") || exit 6
elif [ -e "$n" ] || [ -L "$n" ]; then exit 7
fi
trap 'rm -f -- "$t"' EXIT
set -C; exec 5>"$t" || exit 6; set +C
cat >&5 || exit 6
[ "$(digest "$f")" = "$new" ] || { echo "the new content did not arrive whole" >&2; exit 6; }
if [ -n "$was" ] && [ "$(stat -L -c %u:%g -- "$f")" != "$owner" ]; then
  chown -- "$owner" "$f" || { echo "its owner cannot be kept" >&2; exit 4; }
fi
chmod -- "$mode" "$f" || exit 6
sync -- "$t" 2>/dev/null
if [ -n "$was" ]; then
  if [ "$(id -u)" = 0 ] && [ -d /var/backups ] && { [ -d $v ] || mkdir -m 700 $v; }; then
    b=$kept
  else b=$beside; fi
  ln -- "$n" "$b" 2>/dev/null || { [ ! -e "$b" ] && cp -p -- "$n" "$b"; } || exit 6
  [ "$(digest "$b")" = "$was" ] || { rm -f -- "$b"; exit 7; }
  mv -f -- "$t" "$n" || exit 6
else
  ln -- "$t" "$n" || { [ -e "$n" ] && exit 7; exit 6; }
fi
sync -- . 2>/dev/null
printf '%s\\n' "$b"
"""
)

_LOOK_AGAIN = (
    _BEGIN
    + """
rm -f -- "$t"
is=
if [ -L "$n" ]; then exit 6
elif [ -f "$n" ]; then is=$(digest "$n"); [ -n "$is" ] || exit 6
elif [ -e "$n" ]; then exit 6; fi
if [ "$is" = "$new" ]; then
  for b in "$kept" "$beside"; do [ -n "$was" ] && [ -f "$b" ] && break; b=; done
  echo new; printf '%s\\n' "$b"
elif [ "$is" = "$was" ]; then rm -f -- "$kept" "$beside"; echo old; fi
"""
)
"""After a write that was ended: says ``new`` and the backup, ``old``, or nothing. The new file
goes first: without it, even a write that lives on replaces nothing any more."""


class Shell(Protocol):
    """Runs shell text; ``core.fleet.host.Host`` has it."""

    async def shell(
        self, command: str, *, timeout_s: float, max_bytes: int, sudo: bool, stdin: bytes
    ) -> CommandResult:
        """Run it and say how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """One file that is to be replaced."""

    host: Shell
    protected: ProtectedPaths
    path: str
    sudo: bool

    async def write(self, data: bytes, *, expected_sha256: str | None) -> FileProblem | FileWritten:
        """Replace the file; see ``core.fleet.host.Host.write_file``."""
        reason = self.protected.why(self.path)
        if reason or not self.path.startswith("/") or "\0" in self.path or "\n" in self.path:
            return protected_file(self.path, reason or "an absolute path is needed")
        found = await self._run(_REAL, self.path)
        real = found.stdout.removesuffix("\n")
        if found.exit_status or not real.startswith("/") or "\n" in real:
            return self._problem(found)
        reason = self.protected.why(real)
        if reason:
            return protected_file(self.path, reason)
        if real != self.path:
            return problem_of(self.path, _CHANGED, "")
        return await self._replace(real, data, expected_sha256)

    async def _replace(
        self, real: str, data: bytes, expected_sha256: str | None
    ) -> FileProblem | FileWritten:
        digest = hashlib.sha256(data).hexdigest()
        folder, name = posixpath.split(real)
        token = secrets.token_hex(8)
        stamp = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{token[:4]}"
        words = (folder, name, expected_sha256 or "", digest, token, stamp)
        written = await self._run(_WRITE, *words, stdin=data)
        backup = written.stdout
        if written.timed_out or written.exit_status < 0:
            now, _, backup = (await self._look_again(*words)).partition("\n")
            if now not in {"new", "old"}:
                return _unknown(self.path)
            if now == "old":
                return self._problem(written)
        elif written.exit_status:
            return self._problem(written)
        return FileWritten(path=real, sha256=digest, backup=backup.removesuffix("\n"))

    async def _look_again(self, *words: str) -> str:
        """What the file holds after a write that was ended, as ``_LOOK_AGAIN`` says it."""
        try:
            found = await self._run(_LOOK_AGAIN, *words, timeout_s=_LOOK_AGAIN_S)
        except HostUnreachable:
            return ""
        return "" if found.timed_out or found.exit_status else found.stdout

    async def _run(
        self, script: str, *words: str, stdin: bytes = b"", timeout_s: float | None = None
    ) -> CommandResult:
        return await self.host.shell(
            joined(["set", "--", *words]) + "\n" + script,
            timeout_s=WRITE_TIMEOUT_S if timeout_s is None else timeout_s,
            max_bytes=_MOST_ANSWER,
            sudo=self.sudo,
            stdin=stdin,
        )

    def _problem(self, result: CommandResult) -> FileProblem:
        return problem_of(self.path, result.exit_status, result.stderr, timed_out=result.timed_out)


def problem_of(path: str, status: int, stderr: str, *, timed_out: bool = False) -> FileProblem:
    """Return what an exit status of our scripts means."""
    detail = " ".join(stderr.split())[:300].rstrip(".") or f"exit status {status}"
    if timed_out:
        detail = "the server did not answer in time"
    kind, text = {
        3: (FileProblemKind.NOT_FOUND, sentence("There is no file {path}.", path=path)),
        4: (
            FileProblemKind.NO_PERMISSION,
            sentence(
                "The account has no permission for {path}: {detail}.", path=path, detail=detail
            ),
        ),
        5: (FileProblemKind.NOT_A_FILE, sentence("{path} is not a regular file.", path=path)),
        _CHANGED: (
            FileProblemKind.CHANGED,
            sentence("{path} does not hold what was expected, so I left it.", path=path),
        ),
    }.get(
        status,
        (
            FileProblemKind.FAILED,
            sentence("{path} cannot be read or written: {detail}.", path=path, detail=detail),
        ),
    )
    return FileProblem(kind=kind, sentence=text)


def _unknown(path: str) -> FileProblem:
    """Return that nobody knows what became of a write."""
    return FileProblem(
        kind=FileProblemKind.FAILED,
        sentence=sentence(
            "Writing {path} took too long, and what it holds now is not known. Read it before"
            " writing it again.",
            path=path,
        ),
    )


def protected_file(path: str, reason: str) -> FileProblem:
    """Return the refusal to touch a protected file."""
    return FileProblem(
        kind=FileProblemKind.PROTECTED,
        sentence=sentence(
            "{path} is protected: {reason}. Nobody reads or changes it.", path=path, reason=reason
        ),
    )
