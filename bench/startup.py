"""What IT0 costs before anybody has asked it anything: CPU to ready, memory at rest.

``it0 up`` is started on a fresh data directory, on an existing one, and on one with many
idle conversations, beside a process that only imports the two big libraries it stands on.
CPU is user plus system time of the process from exec to the first OK of ``/readyz``; memory
is its resident set after a few seconds of rest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import structlog

import app
from bench import _house
from bench._child import ROOT, Child
from bench._report import Report, median, verdict
from core.messages import Actor, ConversationAddress, InboundMessage
from settings import Settings
from tests.support.processes import Process, free_port

REST_S = 3.0
"""After ready: what is warmed in the background is then warm."""
NEVER = ("prompt_toolkit", "alembic", "asyncpg", "PIL", "numpy", "mako", "anthropic", "httpx2")
"""Packages that a process at rest on an existing SQLite data directory has no use for.
``rich`` is not among them: structlog imports it by itself where it is installed (1.5 MB)."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start: seconds and MB."""

    cpu_s: float
    wall_s: float
    rested_cpu_s: float
    """CPU after the rest: what was warmed in the background is in it."""
    rss_mb: float


def start(data_dir: Path, upstream: str | None) -> Start:
    """Start, wait for ``/readyz``, rest, stop."""
    port = free_port()
    before = time.monotonic()
    environment = _house.environment(data_dir, port, upstream)
    with Process(_house.command(), env=environment, cwd=ROOT) as process:
        _wait_until_ready(process, port)
        wall_s, cpu_s = time.monotonic() - before, cpu_of(process.pid)
        time.sleep(REST_S)
        return Start(
            cpu_s=cpu_s,
            wall_s=wall_s,
            rested_cpu_s=cpu_of(process.pid),
            rss_mb=rss_kb(process.pid) / 1024,
        )


def _wait_until_ready(process: Process, port: int) -> None:
    while process.returncode is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    sys.exit(f"IT0 did not start:\n{process.output()}")


def cpu_of(pid: int) -> float:
    """User plus system time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_kb(pid: int) -> int:
    """Resident memory in KB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(pid)


def bare(statement: str) -> Start:
    """A process that imports and rests."""
    before = time.monotonic()
    code = f"{statement}; print('ready', flush=True); import time; time.sleep(60)"
    with Process([sys.executable, "-c", code], cwd=ROOT) as process:
        process.wait_for("ready")
        wall_s, cpu_s = time.monotonic() - before, cpu_of(process.pid)
        return Start(
            cpu_s=cpu_s, wall_s=wall_s, rested_cpu_s=cpu_s, rss_mb=rss_kb(process.pid) / 1024
        )


def populate(data_dir: Path, conversations: int) -> None:
    """Give the installation idle conversations, each with one answered message."""
    asyncio.run(_use(data_dir, conversations))


async def _use(data_dir: Path, conversations: int) -> int:
    """Hold the conversations in this process; returns how many KB it grew by."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    settings = Settings.from_environment({"IT0_DATA_DIR": str(data_dir)})
    async with app.open_storage(settings) as storage:
        admin = await storage.people.install(tenant_name="Bench", admin_email="a@example.com")
        async with app.open_core(settings, storage) as core:

            async def ask(number: int) -> None:
                accepted = await core.inbox.accept(
                    InboundMessage(
                        event_id=f"bench:{number}",
                        address=ConversationAddress(
                            platform="api", workspace="", channel="bench", thread=str(number)
                        ),
                        actor=Actor(platform="it0", workspace="", external_id=admin.id),
                        text=f"/whoami {number}",
                    )
                )
                events = core.streams.listen(admin.tenant_id, accepted.turn_id)
                async for _ in events:
                    pass

            for number in range(200):
                await ask(number)
            before = rss_kb(os.getpid())
            for first in range(200, conversations, 20):
                await asyncio.gather(*map(ask, range(first, min(first + 20, conversations))))
            return rss_kb(os.getpid()) - before


def loaded(data_dir: Path, upstream: str | None) -> set[str]:
    """Top-level packages in a process at rest."""
    with Child(
        "bench._modules", str(REST_S), environ=_house.environment(data_dir, free_port(), upstream)
    ) as child:
        return set(child.greeting.split())


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--conversations", type=int, default=10_000)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="it0-bench-") as place,
        Child("bench._upstream") as upstream,
    ):
        work, url = Path(place), upstream.greeting
        reports = [
            _starts(work, url, given.starts),
            _idle(work, given.conversations),
            _imports(work, url),
        ]
    for report in reports:
        report.show()
    return verdict(*reports)


def _starts(work: Path, url: str, count: int) -> Report:
    columns = ("CPU to ready, s", "wall, s", "CPU after 3 s, s", "memory at rest, MB")
    report = Report("start", columns)
    existing = work / "existing"
    start(existing, None)
    fresh = iter(range(1000))
    kinds = {
        "bare: import aiohttp, sqlalchemy": lambda: bare("import aiohttp, sqlalchemy"),
        "bare: import anthropic": lambda: bare("import anthropic"),
        "it0 up, fresh directory": lambda: start(work / f"fresh{next(fresh)}", None),
        "it0 up, existing directory": lambda: start(existing, None),
        "it0 up, existing directory, API key": lambda: start(existing, url),
    }
    found: dict[str, list[Start]] = {name: [] for name in kinds}
    for _ in range(count):
        for name, once in kinds.items():
            found[name].append(once())
    for name, starts in found.items():
        cpu_s, rss_mb = (median([s.cpu_s for s in starts]), median([s.rss_mb for s in starts]))
        judged = not name.startswith("bare")
        report.row(
            name,
            f"{cpu_s:.2f}",
            f"{median([s.wall_s for s in starts]):.2f}",
            f"{median([s.rested_cpu_s for s in starts]):.2f}",
            f"{rss_mb:.0f}",
            value=max(cpu_s / 1.5, rss_mb / 120) if judged else None,
            at_most=1.0,
            bound="1.5 s CPU, 120 MB" if judged else "",
        )
    return report


def _idle(work: Path, conversations: int) -> Report:
    report = Report(f"{conversations:,} idle conversations", ("memory at rest, MB", "KB each"))
    few, many = work / "few", work / "many"
    populate(few, 1)
    grown_kb = asyncio.run(_use(many, conversations))
    without, with_them = start(few, None), start(many, None)
    each = (with_them.rss_mb - without.rss_mb) * 1024 / conversations
    report.row("with 1 conversation", f"{without.rss_mb:.1f}")
    report.row("after a restart", f"{with_them.rss_mb:.1f}", f"{each:.2f}", value=each, at_most=10)
    used = grown_kb / max(conversations - 200, 1)
    report.row("all used in this process", "", f"{used:.2f}", value=used, at_most=10)
    size = sum(path.stat().st_size for path in many.glob("it0.db*"))
    report.row("on disk", "", f"{size / 1024 / conversations:.2f}")
    return report


def _imports(work: Path, url: str) -> Report:
    report = Report("packages that need not be loaded at rest", ("loaded",))
    for name, upstream in (("offline engine", None), ("API key set", url)):
        found = sorted(loaded(work / "existing", upstream) & set(NEVER))
        report.row(name, ", ".join(found) or "none", value=len(found), at_most=0)
    return report


if __name__ == "__main__":
    sys.exit(main())
