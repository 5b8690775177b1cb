"""How full the file systems are (``df``), in bytes and in inodes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.fleet.host import CommandResult, Host
from core.fleet.report import Report, Verdict, clean, count, failure, size, table

LOOK_PERCENT = 85
ACT_PERCENT = 95
_TIMEOUT_S = 8.0
_MAX_BYTES = 262_144
_ALWAYS_FULL = frozenset({"squashfs", "iso9660", "erofs", "cramfs", "udf", "romfs"})
_PSEUDO = frozenset(
    {
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fuse.gvfsd-fuse",
        "fuse.lxcfs",
        "fuse.portal",
        "fuse.snapfuse",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "sysfs",
        "tracefs",
    }
)
_MEMORY = frozenset({"tmpfs", "none", "shm"})
_CONTAINER_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
"""Single files that a container runtime mounts from the host's disk."""
_INNER = ("/snap/", "/var/lib/docker/", "/var/lib/containerd/", "/var/lib/containers/", "/sys/")
_ROW = re.compile(
    r"^(?P<device>.+?)\s+(?P<total>\d+|-)\s+(?P<used>\d+|-)\s+(?P<free>-?\d+|-)"
    r"\s+(?P<percent>\d+%|-)\s+(?P<mount>/.*)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """One mounted file system; sizes in the unit of the command (KiB, or inodes)."""

    device: str
    kind: str
    """Such as ``ext4``; empty when ``df`` did not tell."""
    total: int
    used: int
    free: int
    """What an ordinary account may still use (less than total - used on most)."""
    mount: str

    @property
    def percent(self) -> int:
        """Used, of what an ordinary account may use, rounded up as ``df`` does."""
        usable = self.used + max(self.free, 0)
        return -(-100 * self.used // usable) if usable > 0 else 0


def parse_df(text: str, *, typed: bool) -> tuple[FileSystem, ...]:
    """Read the output of ``df -P`` (``typed``: with ``-T``), GNU or busybox; skips the rest."""
    found: list[FileSystem] = []
    for line in text.splitlines():
        match = _ROW.match(line)
        if not match or "-" in {match["total"], match["used"], match["free"]}:
            continue
        device, kind = match["device"].strip(), ""
        if typed:
            device, _, kind = device.rpartition(" ")
        found.append(
            FileSystem(
                device=device.strip(),
                kind=kind.strip(),
                total=_number(match["total"]),
                used=_number(match["used"]),
                free=_number(match["free"]),
                mount=match["mount"],
            )
        )
    return tuple(found)


def relevant(systems: tuple[FileSystem, ...]) -> tuple[FileSystem, ...]:
    """What a person cares about: real file systems, each once, and memory ones that fill up."""
    kept: dict[object, FileSystem] = {}
    for system in sorted(systems, key=lambda each: (len(each.mount), each.mount)):
        if system.total <= 0 or not _counts(system):
            continue
        key = (system.device, system.total) if system.device.startswith("/") else system.mount
        kept.setdefault(key, system)
    return tuple(sorted(kept.values(), key=lambda each: (-each.percent, each.mount)))


async def disk_usage(host: Host) -> Report:
    """Report the space and the inodes of every real file system."""
    result, typed = await _df(host)
    systems = relevant(parse_df(result.stdout, typed=typed))
    if not systems:
        return failure(_why_nothing(result))
    inodes = await host.run(["df", "-P", "-i"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    by_mount = {each.mount: each for each in parse_df(inodes.stdout, typed=False)}
    report = judge(systems, by_mount)
    if not result.timed_out:
        return report
    note = "A network file system does not answer; only local ones are shown."
    return Report(
        headline=f"{report.headline} {note}",
        details=report.details,
        verdict=max(report.verdict, Verdict.LOOK),
    )


def judge(systems: tuple[FileSystem, ...], inodes: dict[str, FileSystem]) -> Report:
    """Say which file systems need attention, and show them all, the fullest first."""
    worst = [each for each in systems if each.percent >= LOOK_PERCENT]
    scarce = [
        inodes[each.mount]
        for each in systems
        if each.mount in inodes and inodes[each.mount].percent >= LOOK_PERCENT
    ]
    top = max((each.percent for each in (*worst, *scarce)), default=0)
    parts = [
        f"{clean(each.mount)} is {each.percent} % full, {size(each.free * 1024)} left"
        for each in worst[:3]
    ]
    parts += [f"{clean(each.mount)} has used {each.percent} % of its inodes" for each in scarce[:3]]
    fullest = systems[0]
    calm = (
        f"{clean(fullest.mount)} is {fullest.percent} % full, {size(fullest.free * 1024)} left"
        if len(systems) == 1
        else f"all {len(systems)} file systems have room; the fullest is {clean(fullest.mount)} "
        f"at {fullest.percent} %, {size(fullest.free * 1024)} left"
    )
    hidden = len(worst[3:]) + len(scarce[3:])
    more = f"; {count(hidden, 'more problem')} below" if hidden else ""
    return Report(
        headline=("; ".join(parts) + more if parts else calm) + ".",
        details=_table(systems, inodes),
        verdict=_verdict(top),
    )


def _table(systems: tuple[FileSystem, ...], inodes: dict[str, FileSystem]) -> str:
    def inode_use(mount: str) -> str:
        return f"{inodes[mount].percent} %" if mount in inodes and inodes[mount].total else "-"

    return table(
        ("Mounted on", "Used", "Size", "Left", "Inodes", "Type"),
        (
            (
                each.mount,
                f"{each.percent} %",
                size(each.total * 1024),
                size(max(each.free, 0) * 1024),
                inode_use(each.mount),
                each.kind or "-",
            )
            for each in systems
        ),
    )


async def _df(host: Host) -> tuple[CommandResult, bool]:
    """Try with types, then local file systems only (a dead NFS hangs ``df``), then plain."""
    result = await host.run(["df", "-P", "-T", "-k"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    if result.timed_out:
        local = await host.run(
            ["df", "-P", "-T", "-k", "-l"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES
        )
        return (local if local.timed_out else _marked(local)), True
    if parse_df(result.stdout, typed=True) or result.missing:
        return result, True
    plain = await host.run(["df", "-P", "-k"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    return plain, False


def _marked(result: CommandResult) -> CommandResult:
    """The local answer, still marked as timed out: the reader must know what is missing."""
    return type(result)(
        exit_status=result.exit_status, stdout=result.stdout, stderr=result.stderr, timed_out=True
    )


def _why_nothing(result: CommandResult) -> str:
    if result.missing:
        return "I cannot tell: the `df` command is not installed there."
    if result.timed_out:
        return "`df` does not answer; a dead network file system is the usual reason."
    # Its own words are text from outside, which this tool's output is not marked as.
    failed = f" (exit status {result.exit_status})" if result.exit_status else ""
    return f"`df` shows no real file system{failed}."


def _counts(system: FileSystem) -> bool:
    if system.kind in _ALWAYS_FULL or system.kind in _PSEUDO:
        return False
    if system.kind in _MEMORY or system.device in {"tmpfs", "devtmpfs", "udev", "shm", "none"}:
        return system.percent >= LOOK_PERCENT
    if system.mount == "/":
        return True
    if system.mount in _CONTAINER_FILES:
        return False
    return not system.mount.startswith(_INNER) and system.kind != "overlay"


def _verdict(percent: int) -> Verdict:
    if percent >= ACT_PERCENT:
        return Verdict.ACT
    return Verdict.LOOK if percent >= LOOK_PERCENT else Verdict.FINE


def _number(digits: str) -> int:
    return int(digits[:25])
