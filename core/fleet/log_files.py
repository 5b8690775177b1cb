"""Logs that are plain files, with the rotated and compressed ones beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.fleet.host import FileProblem, FileProblemKind, FileRead, Host
from core.fleet.log_query import Wanted
from core.fleet.when import line_time
from core.protected import ProtectedPaths

_TIMEOUT_S = 20.0
_LISTED_BYTES = 262_144
TAIL_BYTES = 262_144
_RANGE_BYTES = 4 * 1024 * 1024
"""Read of each file when a time range is asked for."""
_MOST_FILES = 6
_UNPACK = {".gz": "zcat", ".xz": "xzcat", ".bz2": "bzcat", ".zst": "zstdcat"}
_SUFFIX = re.compile(r"(?:[.-](\d{8})(?:-?\d+)?|\.(\d{1,3}))(\.(?:gz|xz|bz2|zst))?|(\.gz)")
UNPACKED_TAIL = 'exec 3<"$2" || exit 66; readlink /proc/self/fd/3; "$1" <&3 | tail -c "$3"'
"""Says which file it really opened, then its unpacked end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Lines of a log file and those it was rotated to, the oldest first."""

    path: str
    lines: list[str]
    files: int = 1
    partial: bool = False
    """The range goes back further than what was read."""


async def read_log(
    host: Host, path: str, wanted: Wanted, protected: ProtectedPaths
) -> Found | FileProblem:
    """The lines of a log that are wanted; rotated files only for a time range or a text.

    Raises HostUnreachable.
    """
    deep = wanted.query.timed or bool(wanted.query.grep)
    first = await _read(host, path, _RANGE_BYTES if deep else TAIL_BYTES, protected)
    if isinstance(first, FileProblem):
        return first
    lines, cut = _lines(first), first.truncated
    kept, files = wanted.pick(lines), 1
    if not deep or cut or not _goes_back(lines, wanted):
        return Found(path=first.path, lines=kept, partial=deep and cut and _back(lines, wanted))
    for older in (await rotated(host, path))[: _MOST_FILES - 1]:
        read = await _read(host, older, _RANGE_BYTES, protected)
        if isinstance(read, FileProblem):
            break
        lines = _lines(read)
        kept = wanted.pick(lines) + kept
        files += 1
        if read.truncated or not _goes_back(lines, wanted) or len(kept) >= wanted.query.lines:
            break
    return Found(path=first.path, lines=kept, files=files)


async def rotated(host: Host, path: str) -> list[str]:
    """The files that this one was rotated to, the newest first."""
    folder, _, name = path.rpartition("/")
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", name)
    result = await host.run(
        ["find", folder or "/", "-maxdepth", "1", "-type", "f", "-name", f"{pattern}?*"],
        timeout_s=_TIMEOUT_S,
        max_bytes=_LISTED_BYTES,
    )
    ranked: list[tuple[tuple[int, int], str]] = []
    for line in result.stdout.splitlines():
        match = _SUFFIX.fullmatch(line.removeprefix(path)) if line.startswith(path) else None
        if match is not None:
            ranked.append(((-int(match[1] or 0), int(match[2] or 0)), line))
    return [found for _, found in sorted(ranked)]


async def _read(
    host: Host, path: str, most: int, protected: ProtectedPaths
) -> FileRead | FileProblem:
    tool = next((tool for end, tool in _UNPACK.items() if path.endswith(end)), None)
    if tool is None:
        return await host.read_file(path, max_bytes=most, tail=True)
    # The plain read asks whether it may be read at all; what is packed is no text.
    asked = await host.read_file(path, max_bytes=1)
    if isinstance(asked, FileProblem):
        return asked
    result = await host.run(
        ["sh", "-c", UNPACKED_TAIL, "it0", tool, path, str(most)],
        timeout_s=_TIMEOUT_S,
        max_bytes=most + len(path) + 4_096,
    )
    real, _, text = result.stdout.partition("\n")
    if result.exit_status != 0 or not real.startswith("/") or protected.why(real):
        return FileProblem(kind=FileProblemKind.FAILED, sentence=f"{path} could not be unpacked.")
    size = len(text.encode())
    return FileRead(path=real, text=text, size=size, truncated=size >= most)


def _lines(read: FileRead) -> list[str]:
    """Without the piece of a line that a tail begins with."""
    text = read.text.partition("\n")[2] or read.text if read.truncated else read.text
    return text.splitlines()


def _goes_back(lines: list[str], wanted: Wanted) -> bool:
    """Whether older files may hold more of what is wanted."""
    return not wanted.query.timed or _back(lines, wanted)


def _back(lines: list[str], wanted: Wanted) -> bool:
    """Whether the first line that tells its time is younger than the range's beginning."""
    if wanted.clock is None:
        return False
    if wanted.since_s is None:
        return True
    times = (line_time(line, wanted.clock) for line in lines)
    first = next((at for at in times if at is not None), None)
    return first is None or first > wanted.since_s
