"""Recorded outputs of real commands, GNU and busybox."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "payloads" / "fleet"

NO_SYSTEMD = (
    "System has not been booted with systemd as init system (PID 1). Can't operate.\n"
    "Failed to connect to bus: Host is down\n"
)

MEMINFO = """MemTotal:       16303684 kB
MemFree:          512340 kB
MemAvailable:    9123456 kB
Buffers:          201344 kB
Cached:          8123400 kB
SwapTotal:       2097148 kB
SwapFree:        2097148 kB
SReclaimable:     401344 kB
Shmem:            101344 kB
HugePages_Total:       0
"""


def recorded(name: str) -> str:
    """The output in this file."""
    return (_FOLDER / f"{name}.txt").read_text()
