"""What the children of a process use, read from ``/proc``."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def children(of: int | None = None) -> set[int]:
    """The ids of all processes below one; without an id, below this one."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    below, found = {of or os.getpid()}, set[int]()
    while below:
        below = {pid for pid, parent in parents.items() if parent in below}
        found |= below
    return found


def cpu_s() -> float:
    """CPU seconds of everything below this process until now, what has ended included.

    The kernel adds up a process's threads; it counts in ticks of 10 ms.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = sum(
        sum(int(ticks) for ticks in fields[11:15]) for pid in children() if (fields := _stat(pid))
    )
    return used.ru_utime + used.ru_stime + ticks / _TICKS


def memory_mb(pid: int) -> tuple[float, float]:
    """What it holds: its share of all (PSS), and what is its alone; in megabytes."""
    kb: dict[str, int] = {}
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        kb[name] = int(value.split()[0])
    return kb["Pss"] / 1024, (kb["Private_Clean"] + kb["Private_Dirty"]) / 1024


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` after the name; empty when it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
