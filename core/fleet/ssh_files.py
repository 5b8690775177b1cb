"""Reading a file of a remote server with a POSIX shell.

The server opens the file and says which file it really holds (``/proc/PID/fd``); that path is
judged here before anything of the content is looked at, so no link can be swapped between the
check and the read. What is no regular file is never opened.
"""

from __future__ import annotations

from core.fleet.host import FileProblem, FileRead
from core.fleet.writing import problem_of, protected_file
from core.protected import ProtectedPaths

READ_TIMEOUT_S = 30.0
MOST_HEADER = 8192
"""Bytes before the content: its size and its real path."""

READ = """
p=$1
if [ ! -e "$p" ]; then
  case $(LC_ALL=C ls -d -- "$p" 2>&1) in *"ermission denied"*) exit 4;; *) exit 3;; esac
fi
[ -f "$p" ] || exit 5
[ -r "$p" ] || exit 4
exec 4<"$p" || exit 4
h=/proc/$$/fd/4
[ -f "$h" ] || exit 5
size=$(stat -L -c %s -- "$h") || exit 6
printf '%s\\0%s\\0' "$size" "$(readlink -- "$h")"
if [ "$3" = tail ]; then exec tail -c "$2" <&4; fi
exec head -c "$2" <&4
"""


def answer_of(
    path: str,
    answer: bytes,
    status: int,
    stderr: str,
    *,
    protected: ProtectedPaths,
    max_bytes: int,
    tail: bool,
) -> FileRead | FileProblem:
    """Return what ``READ`` answered; of a protected file nothing but the refusal."""
    size_text, _, rest = answer.partition(b"\0")
    real_bytes, found, data = rest.partition(b"\0")
    if status or not found or not size_text.isdigit():
        return problem_of(path, status or 6, stderr)
    real, size = real_bytes.decode("utf-8", "surrogateescape"), int(size_text)
    reason = protected.why(real)
    if reason:
        return protected_file(path, reason)
    kept = data[-max_bytes:] if tail else data[:max_bytes]
    return FileRead(
        path=real.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        text=kept.decode("utf-8", "replace"),
        size=size,
        truncated=len(data) > len(kept) or size > len(kept),
        binary=b"\0" in kept,
    )
