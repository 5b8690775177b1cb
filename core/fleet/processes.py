"""What runs: process names, memory and processor time, straight from /proc.

One constant script works on any Linux, with or without ``ps``. Only the command's name is
ever read, never its arguments, which often hold passwords.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from core.fleet.host import Host
from core.fleet.report import Report, clean, count, failure, size, table

SNAPSHOT = r"""
echo "@page $(getconf PAGESIZE 2>/dev/null || echo 4096)"
echo "@tick $(getconf CLK_TCK 2>/dev/null || echo 100)"
read up _ </proc/uptime; echo "@uptime $up"
cat /proc/[0-9]*/stat 2>/dev/null
if [ "$1" = twice ]; then
  sleep 1
  read up _ </proc/uptime; echo "@uptime $up"
  cat /proc/[0-9]*/stat 2>/dev/null
fi
stat -c '@user %n %U' /proc/[0-9]* 2>/dev/null
exit 0
"""
"""Two pictures of /proc one second apart (``twice``), then who owns what."""

_TIMEOUT_S = 12.0
_MAX_BYTES = 8 * 1024 * 1024
_STAT = re.compile(r"^(\d{1,10}) \((.*)\) (\S) (-?\d.*)$")
_UTIME, _STIME, _START, _RSS = 10, 11, 18, 20
"""Positions in /proc/PID/stat, counted from the field after the state."""
By = Literal["memory", "cpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process. ``name`` is the kernel's 15-character command name."""

    pid: int
    name: str
    user: str
    rss: int
    """Resident bytes; memory shared with other processes counts in each of them."""
    cpu_percent: float
    """Of one processor, during the second that was watched; 0 when it was not."""
    age_s: float
    zombie: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    uptime_s: float
    stats: dict[int, tuple[str, str, tuple[int, ...]]]


def parse_snapshot(text: str) -> tuple[Process, ...]:
    """Read the output of ``SNAPSHOT``; lines that make no sense are skipped."""
    page, tick = 4096, 100
    users: dict[int, str] = {}
    pictures: list[_Picture] = []
    for line in text.splitlines():
        match line.split(" "):
            case ["@page", number] if _is_number(number):
                page = int(number)
            case ["@tick", number] if _is_number(number):
                tick = max(1, int(number))
            case ["@uptime", number]:
                pictures.append(_Picture(uptime_s=_seconds(number), stats={}))
            case ["@user", folder, user] if _is_number(folder.removeprefix("/proc/")):
                users[int(folder.removeprefix("/proc/"))] = user
            case _:
                _note(pictures, line)
    if not pictures:
        return ()
    first, last = pictures[0], pictures[-1]
    return tuple(
        _process(pid, first, last, page=page, tick=tick, user=users.get(pid, "?"))
        for pid in last.stats
    )


async def processes(host: Host, *, measure_cpu: bool) -> tuple[Process, ...]:
    """All processes that the account may see; ``measure_cpu`` takes a second longer."""
    mode = "twice" if measure_cpu else "once"
    result = await host.run(
        ["sh", "-c", SNAPSHOT, "it0", mode], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES
    )
    return parse_snapshot(result.stdout)


async def top_processes(host: Host, *, by: By, limit: int) -> Report:
    """Report what uses most memory or most processor time right now."""
    found = await processes(host, measure_cpu=True)
    if not found:
        return failure("I cannot tell: /proc is not readable there.")
    return judge_processes(found, by=by, limit=limit)


def judge_processes(found: tuple[Process, ...], *, by: By, limit: int) -> Report:
    """Name the biggest program (its processes together), then list single processes."""

    def weight(process: Process) -> float:
        return process.rss if by == "memory" else process.cpu_percent

    programs: dict[str, list[Process]] = defaultdict(list)
    for process in found:
        programs[process.name].append(process)
    name, members = max(programs.items(), key=lambda item: sum(map(weight, item[1])))
    total = sum(map(weight, members))
    several = f" ({len(members)} processes together)" if len(members) > 1 else ""
    if by == "memory":
        about = "about " if several else ""
        headline = f"{clean(name)} uses most memory: {about}{size(total)}{several}"
    elif total < 1:
        headline = "no process uses the processors noticeably right now"
    else:
        headline = f"{clean(name)} uses most processor time: {total:.0f} % of one core{several}"
    zombies = sum(process.zombie for process in found)
    if zombies:
        headline += f"; {count(zombies, 'zombie process', 'zombie processes')}"
    shown = sorted(found, key=lambda each: (-weight(each), each.pid))[:limit]
    return Report(headline=f"{headline}.", details=_table(shown))


def _table(shown: list[Process]) -> str:
    return table(
        ("PID", "Command", "User", "Memory", "CPU now"),
        (
            (
                str(each.pid),
                each.name,
                each.user,
                size(each.rss),
                f"{each.cpu_percent:.0f} %",
            )
            for each in shown
        ),
    )


def _note(pictures: list[_Picture], line: str) -> None:
    match = _STAT.match(line)
    if not match or not pictures:
        return
    fields = match[4].split(" ")
    if len(fields) <= _RSS or not all(_is_number(field.removeprefix("-")) for field in fields):
        return
    numbers = tuple(int(field) for field in fields)
    pictures[-1].stats[int(match[1])] = (match[2], match[3], numbers)


def _process(  # one row out of two pictures and three constants
    pid: int, first: _Picture, last: _Picture, *, page: int, tick: int, user: str
) -> Process:
    name, state, numbers = last.stats[pid]
    age = max(0.0, last.uptime_s - numbers[_START] / tick)
    watched = last.uptime_s - first.uptime_s
    before = first.stats.get(pid)
    used = _cpu(numbers) - (_cpu(before[2]) if before else 0)
    return Process(
        pid=pid,
        name=name,
        user=user,
        rss=max(0, numbers[_RSS]) * page,
        cpu_percent=max(0.0, 100 * used / tick / watched) if watched > 0 else 0.0,
        age_s=age,
        zombie=state == "Z",
    )


def _cpu(numbers: tuple[int, ...]) -> int:
    return numbers[_UTIME] + numbers[_STIME]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20  # noqa: PLR2004  # 64 bits


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", text) else 0.0
