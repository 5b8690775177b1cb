"""Rebooting a server, and making sure that it came back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.fleet.host import FileRead, Host, HostUnreachable
from core.fleet.report import Report, Verdict, duration, failure
from core.fleet.services import failed_services

BACK_WITHIN_S = 300
_ASK_EVERY_S = 5
_TELL_EVERY = 6
"""Rounds between two lines of progress."""
_BEGIN_TIMEOUT_S = 30.0
_MAX_BYTES = 4_096
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_ID = re.compile(r"[0-9a-f-]{36}")
_UPTIME = re.compile(r"(\d{1,12})\.")
REBOOT = "systemctl reboot --no-wall 2>/dev/null || shutdown -r now || reboot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How to wait and whom to tell; tests wait faster."""

    tell: Callable[[str], None]
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep


async def reboot(host: Host, name: str, *, sudo: bool, waiting: Waiting) -> Report:
    """Reboot and wait for the new boot. Raises HostUnreachable when it could not begin."""
    before = await _boot_id(host)
    if before is None:
        return failure("it does not tell its boot id, so its return could not be seen; not done.")
    refused = await _begin(host, sudo=sudo)
    if refused:
        return failure(f"the reboot was refused: {refused}")
    waiting.tell(f"{name}: rebooting")
    for asked in range(1, BACK_WITHIN_S // _ASK_EVERY_S + 1):
        await waiting.pause(_ASK_EVERY_S)
        now = await _reached(host)
        if now is not None and now != before:
            waiting.tell(f"{name}: back after about {duration(asked * _ASK_EVERY_S)}")
            return await _back(host, asked * _ASK_EVERY_S)
        if asked % _TELL_EVERY == 0:
            waiting.tell(f"{name}: not back after {duration(asked * _ASK_EVERY_S)}")
    state = "answers, but never went down" if await _reached(host) else "does not answer"
    return Report(
        headline=f"not back within {duration(BACK_WITHIN_S)}: it {state}. Look at its console.",
        verdict=Verdict.ACT,
        failed=True,
    )


async def _begin(host: Host, *, sudo: bool) -> str:
    """Ask for it; a connection that breaks is what a reboot does. Returns a refusal."""
    try:
        result = await host.shell(
            REBOOT, timeout_s=_BEGIN_TIMEOUT_S, max_bytes=_MAX_BYTES, sudo=sudo
        )
    except HostUnreachable:
        return ""
    if result.exit_status <= 0 or result.timed_out:
        return ""
    return " ".join(result.stderr.split())[:200] or f"exit status {result.exit_status}"


async def _reached(host: Host) -> str | None:
    try:
        return await _boot_id(host)
    except HostUnreachable:
        return None


async def _boot_id(host: Host) -> str | None:
    read = await host.read_file(_BOOT_ID, max_bytes=100)
    if not isinstance(read, FileRead):
        return None
    found = _ID.fullmatch(read.text.strip())
    return found.group() if found else None


async def _back(host: Host, after_s: int) -> Report:
    """What a person wants to know of a server that just came back."""
    try:
        units = await failed_services(host)
        read = await host.read_file("/proc/uptime", max_bytes=100)
    except HostUnreachable:
        return Report(
            headline=f"back after about {duration(after_s)}, then out of reach again.",
            verdict=Verdict.ACT,
        )
    up = _UPTIME.match(read.text) if isinstance(read, FileRead) else None
    since = f", up for {duration(int(up[1]))}" if up else ""
    return Report(
        headline=f"back after about {duration(after_s)}{since}; {units.headline}",
        details=units.details,
        verdict=Verdict.LOOK if units.failed else units.verdict,
    )
