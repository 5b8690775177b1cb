"""Memory and load, read from /proc and the control groups: no command needed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.fleet.host import FileRead, Host
from core.fleet.report import Report, Verdict, count, duration, failure, size, table

_MAX_BYTES = 262_144
_LIMIT_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
_LINE = re.compile(r"^([\w()]+):\s+(\d{1,20})(?: kB)?\s*$", re.MULTILINE)
_LOOK_FREE, _ACT_FREE = 0.12, 0.05
_SWAP_LOOK = 0.5
_PRESSURE_LOOK, _PRESSURE_ACT = 10.0, 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes, from /proc/meminfo."""

    total: int
    available: int
    swap_total: int
    swap_free: int
    cached: int


def parse_meminfo(text: str) -> Memory | None:
    """Read /proc/meminfo; None when it does not even tell the total."""
    fields = {name: int(value) * 1024 for name, value in _LINE.findall(text)}
    total = fields.get("MemTotal", 0)
    if total <= 0:
        return None
    cached = fields.get("Cached", 0) + fields.get("Buffers", 0) + fields.get("SReclaimable", 0)
    free = fields.get("MemFree", 0) + cached - fields.get("Shmem", 0)
    return Memory(
        total=total,
        available=max(0, min(total, fields.get("MemAvailable", free))),
        swap_total=fields.get("SwapTotal", 0),
        swap_free=fields.get("SwapFree", 0),
        cached=cached,
    )


def parse_load(text: str) -> tuple[float, float, float] | None:
    """Read the three averages of /proc/loadavg."""
    match = re.match(r"\s*(\d{1,9}\.\d+)\s+(\d{1,9}\.\d+)\s+(\d{1,9}\.\d+)", text)
    return (float(match[1]), float(match[2]), float(match[3])) if match else None


def parse_cpus(text: str) -> int:
    """Count the processors in /proc/stat; 0 when it tells none."""
    return len(re.findall(r"^cpu\d+ ", text, re.MULTILINE))


def parse_pressure(text: str) -> float | None:
    """The share of the last 10 s in which some task waited (/proc/pressure/*), in percent."""
    match = re.search(r"^some .*?avg10=(\d{1,3}\.\d+)", text, re.MULTILINE)
    return float(match[1]) if match else None


def parse_ooms(text: str) -> int:
    """Out-of-memory kills since boot, from /proc/vmstat."""
    match = re.search(r"^oom_kill (\d{1,15})$", text, re.MULTILINE)
    return int(match[1]) if match else 0


async def memory_usage(host: Host) -> Report:
    """Report memory, swap, a container's limit and out-of-memory kills."""
    memory = parse_meminfo(await _text(host, "/proc/meminfo"))
    if memory is None:
        return failure("I cannot tell: /proc/meminfo is not readable there.")
    limit = await _container_limit(host, memory.total)
    return judge_memory(memory, limit, parse_ooms(await _text(host, "/proc/vmstat")))


def judge_memory(memory: Memory, limit: tuple[int, int] | None, ooms: int) -> Report:
    """``limit`` is (bytes allowed, bytes used) of the container, where there is one."""
    share = memory.available / memory.total
    used = memory.total - memory.available
    swap_used = max(0, memory.swap_total - memory.swap_free)
    in_use = f"{100 * used // memory.total} % of {size(memory.total)} memory is in use"
    parts = [f"{in_use}, {size(memory.available)} available"]
    verdict = Verdict.FINE
    if share < _LOOK_FREE:
        verdict = Verdict.ACT if share < _ACT_FREE else Verdict.LOOK
    if limit and limit[1] / limit[0] > 1 - _LOOK_FREE:
        verdict = max(verdict, Verdict.LOOK)
        parts.append(f"the container uses {size(limit[1])} of the {size(limit[0])} it may")
    if memory.swap_total and swap_used / memory.swap_total > _SWAP_LOOK:
        verdict = max(verdict, Verdict.LOOK)
        parts.append(f"swap is {100 * swap_used // memory.swap_total} % full")
    if ooms:
        parts.append(f"{count(ooms, 'process was', 'processes were')} killed for memory since boot")
    swap = f"{size(swap_used)} of {size(memory.swap_total)}" if memory.swap_total else "none"
    rows = [
        ("Total", size(memory.total)),
        ("In use", size(used)),
        ("Available", size(memory.available)),
        ("Cache and buffers", size(memory.cached)),
        ("Swap", swap),
    ]
    if limit:
        rows.append(("Container", f"{size(limit[1])} of {size(limit[0])}"))
    return Report(
        headline="; ".join(parts) + ".", details=table(("Memory", ""), rows), verdict=verdict
    )


async def system_load(host: Host) -> Report:
    """Report load averages against the number of processors, pressure and uptime."""
    load = parse_load(await _text(host, "/proc/loadavg"))
    if load is None:
        return failure("I cannot tell: /proc/loadavg is not readable there.")
    cpus = parse_cpus(await _text(host, "/proc/stat"))
    pressure = {
        what: parse_pressure(await _text(host, f"/proc/pressure/{what}"))
        for what in ("cpu", "memory", "io")
    }
    uptime = re.match(r"(\d{1,12})\.", await _text(host, "/proc/uptime"))
    return judge_load(load, cpus, pressure, int(uptime[1]) if uptime else None)


def judge_load(
    load: tuple[float, float, float],
    cpus: int,
    pressure: dict[str, float | None],
    uptime_s: int | None,
) -> Report:
    """A load above the number of processors means that work waits."""
    per_cpu = load[1] / cpus if cpus else 0.0
    verdict = Verdict.FINE
    said = "calm"
    if per_cpu > 1:
        verdict, said = Verdict.LOOK, "more work than processors"
    if per_cpu > 2:  # noqa: PLR2004  # twice as much runnable work as processors
        verdict, said = Verdict.ACT, "overloaded"
    waits = [
        f"tasks wait for {what} {share:.0f} % of the time"
        for what, share in pressure.items()
        if share is not None and share >= _PRESSURE_LOOK
    ]
    worst = max((share for share in pressure.values() if share is not None), default=0.0)
    if waits:
        verdict = max(verdict, Verdict.ACT if worst >= _PRESSURE_ACT else Verdict.LOOK)
    cores = f" on {count(cpus, 'processor')}" if cpus else ""
    parts = [f"{said if cpus else 'load'}: load {load[0]:.2f} now, {load[1]:.2f} over 5 min{cores}"]
    parts += waits
    if uptime_s is not None:
        parts.append(f"up {duration(uptime_s)}")
    rows = [("Load 1 / 5 / 15 min", " / ".join(f"{each:.2f}" for each in load))]
    rows += [
        (f"Waiting for {what} (10 s)", f"{share:.1f} %")
        for what, share in pressure.items()
        if share is not None
    ]
    return Report(
        headline="; ".join(parts) + ".", details=table(("Load", ""), rows), verdict=verdict
    )


async def _container_limit(host: Host, total: int) -> tuple[int, int] | None:
    for limit_file, usage_file in _LIMIT_FILES:
        limit, usage = await _text(host, limit_file), await _text(host, usage_file)
        if re.fullmatch(r"[1-9]\d{0,19}\n?", limit) and re.fullmatch(r"\d{1,20}\n?", usage):
            return (int(limit), int(usage)) if int(limit) < total else None
    return None


async def _text(host: Host, path: str) -> str:
    """A generated file's text, or nothing: not every kernel has every file."""
    read = await host.read_file(path, max_bytes=_MAX_BYTES, tail=False)
    return read.text if isinstance(read, FileRead) else ""
