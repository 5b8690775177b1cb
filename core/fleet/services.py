"""Services: their state, and the failed ones (systemd).

Where systemd does not run (most containers), the processes of that name are the honest
answer, and the report says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.fleet.host import CommandResult, Host
from core.fleet.processes import Process, processes
from core.fleet.report import Report, Verdict, clean, count, duration, failure, size, table

_TIMEOUT_S = 10.0
_MAX_BYTES = 262_144
_COMM_CHARS = 15
_NAME = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,199}")
_UNIT_KINDS = (".service", ".socket", ".timer", ".mount", ".target", ".path", ".slice", ".scope")
_NO_SYSTEMD = re.compile(
    r"not been booted with systemd|[Ff]ailed to connect to (?:system )?(?:scope )?bus"
    r"|[Hh]ost is down"
)
_PROPERTIES = (
    "Id,Description,LoadState,ActiveState,SubState,Result,MainPID,ExecMainStatus,NRestarts,"
    "StateChangeTimestamp,MemoryCurrent,UnitFileState,TasksCurrent"
)
_UNSET_MEMORY = 2**63
ALIASES: dict[str, tuple[str, ...]] = {
    "ssh": ("sshd",),
    "sshd": ("ssh",),
    "mysql": ("mysqld", "mariadb", "mariadbd"),
    "mariadb": ("mariadbd", "mysqld", "mysql"),
    "postgres": ("postgresql",),
    "postgresql": ("postgres",),
    "pg": ("postgresql", "postgres"),
    "redis": ("redis-server",),
    "apache": ("apache2", "httpd"),
    "apache2": ("httpd",),
    "httpd": ("apache2",),
    "docker": ("dockerd",),
    "cron": ("crond",),
    "crond": ("cron",),
    "mongo": ("mongod",),
    "mongodb": ("mongod",),
    "rabbitmq": ("rabbitmq-server", "beam.smp"),
    "syslog": ("rsyslogd", "rsyslog"),
    "dns": ("named", "systemd-resolved", "unbound"),
    "k3s": ("k3s-server",),
    "php": ("php-fpm",),
    "nfs": ("nfs-server", "nfsd"),
    "ntp": ("chronyd", "chrony", "ntpd", "systemd-timesyncd"),
}
"""Other names under which the same program is known as a unit or a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A systemd unit, as ``systemctl show`` tells it."""

    id: str
    description: str
    load: str
    active: str
    sub: str
    result: str
    pid: str
    exit_status: str
    restarts: int
    since: str
    memory: int
    enabled: str


def service_problem(name: str) -> str | None:
    """A sentence when this cannot be a unit's name, or None."""
    if _NAME.fullmatch(name):
        return None
    return f"{clean(name)[:80]!r} is not a service name; such names look like nginx or php8.2-fpm."


def parse_show(text: str) -> Unit | None:
    """Read ``systemctl show``; None when it is no such output."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            fields.setdefault(key, value)
    if "LoadState" not in fields or "ActiveState" not in fields:
        return None
    memory = fields.get("MemoryCurrent", "")
    restarts = fields.get("NRestarts", "")
    return Unit(
        id=fields.get("Id", ""),
        description=fields.get("Description", ""),
        load=fields["LoadState"],
        active=fields["ActiveState"],
        sub=fields.get("SubState", ""),
        result=fields.get("Result", ""),
        pid=fields.get("MainPID", "0"),
        exit_status=fields.get("ExecMainStatus", "0"),
        restarts=int(restarts) if re.fullmatch(r"[0-9]{1,9}", restarts) else 0,
        since=fields.get("StateChangeTimestamp", ""),
        memory=int(memory) if re.fullmatch(r"[0-9]{1,20}", memory) else 0,
        enabled=fields.get("UnitFileState", ""),
    )


def parse_units(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``systemctl list-units --plain --no-legend``: names and descriptions."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        fields = line.lstrip("● *").split(None, 4)
        if len(fields) >= 4 and fields[0].endswith(_UNIT_KINDS):  # noqa: PLR2004  # UNIT LOAD ACTIVE SUB
            found.append((fields[0], fields[4] if len(fields) > 4 else ""))  # noqa: PLR2004
    return tuple(found)


async def service_status(host: Host, service: str | None) -> Report:
    """Report one service, or all failed ones when none is named."""
    if service is None:
        return await failed_services(host)
    problem = service_problem(service)
    if problem:
        return failure(problem)
    for name in (service, *ALIASES.get(service.casefold(), ())):
        result = await _show(host, name)
        unit = parse_show(result.stdout)
        if has_no_systemd(result):
            return await _by_processes(host, service, because="systemd does not run here")
        if unit is None:
            return await _by_processes(host, service, because="systemd does not answer")
        if unit.load != "not-found":
            return judge_unit(unit)
    return await _unknown_unit(host, service)


async def failed_services(host: Host) -> Report:
    """Report the units that systemd calls failed."""
    result = await host.run(
        ["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"],
        timeout_s=_TIMEOUT_S,
        max_bytes=_MAX_BYTES,
    )
    if result.exit_status != 0 and not has_no_systemd(result):
        return failure("systemd does not answer, so I cannot tell which services have failed.")
    if result.exit_status != 0:
        return Report(
            headline="systemd does not run here, so there is no list of failed services; "
            "ask for one by its name.",
            verdict=Verdict.UNKNOWN,
        )
    units = parse_units(result.stdout)
    if not units:
        return Report(headline="no service has failed.")
    names = ", ".join(clean(name) for name, _ in units[:5])
    more = f" and {len(units) - 5} more" if len(units) > 5 else ""  # noqa: PLR2004
    return Report(
        headline=f"{count(len(units), 'service has', 'services have')} failed: {names}{more}.",
        details=table(("Failed", "Description"), units),
        verdict=Verdict.LOOK,
    )


def judge_unit(unit: Unit) -> Report:
    """Say whether a unit runs, since when, and what is wrong when it does not."""
    name = clean(unit.id.removesuffix(".service"))
    verdict = Verdict.FINE
    state = {
        "active": "is running" if unit.sub == "running" else f"is active ({clean(unit.sub)})",
        "activating": "is starting",
        "reloading": "is reloading",
        "deactivating": "is stopping",
        "inactive": "is not running",
        "failed": f"has failed ({clean(unit.result)}, exit status {clean(unit.exit_status)})",
    }.get(unit.active, f"is {clean(unit.active)}")
    if unit.active == "failed" or (unit.active == "activating" and unit.sub == "auto-restart"):
        verdict = Verdict.ACT
    elif unit.active != "active" or unit.load not in {"loaded", "masked"}:
        verdict = Verdict.LOOK
    if unit.load == "masked":
        state, verdict = "is masked: it cannot be started", Verdict.LOOK
    headline = f"{name} {state}"
    if unit.since:
        headline += f", since {clean(unit.since)}"
    if unit.restarts:
        headline += f"; systemd restarted it {count(unit.restarts, 'time')}"
        verdict = max(verdict, Verdict.LOOK)
    rows = [("Description", unit.description), ("State", f"{unit.active} ({unit.sub})")]
    rows += [("Main process", unit.pid)] if unit.pid not in {"", "0"} else []
    rows += [("Memory", size(unit.memory))] if 0 < unit.memory < _UNSET_MEMORY else []
    rows += [("Starts at boot", unit.enabled)] if unit.enabled else []
    return Report(headline=f"{headline}.", details=table((name, ""), rows), verdict=verdict)


async def show_unit(host: Host, service: str) -> Unit | None:
    """The unit of this very name, if systemd knows it. Raises HostUnreachable."""
    unit = parse_show((await _show(host, service)).stdout)
    return None if unit is None or unit.load == "not-found" else unit


async def _show(host: Host, name: str) -> CommandResult:
    return await host.run(
        ["systemctl", "show", "--no-pager", f"--property={_PROPERTIES}", "--", name],
        timeout_s=_TIMEOUT_S,
        max_bytes=_MAX_BYTES,
    )


async def _by_processes(host: Host, service: str, *, because: str) -> Report:
    """The answer without systemd: whether a program of that name runs."""
    names = {service.casefold(), *ALIASES.get(service.casefold(), ())}
    names = {name.removesuffix(".service")[:_COMM_CHARS] for name in names}
    everything = await processes(host, measure_cpu=False)
    if not everything:
        return failure(f"I cannot tell: {because}, and /proc is not readable.")
    found = [each for each in everything if _is_called(each, names)]
    note = f"{because}, so this is what the process list says"
    if not found:
        return Report(
            headline=f"no process called {clean(service)} is running ({note}).",
            verdict=Verdict.LOOK,
        )
    oldest = max(each.age_s for each in found)
    return Report(
        headline=f"{clean(service)} is running: {count(len(found), 'process', 'processes')}, the "
        f"oldest for {duration(oldest)} ({note}).",
        details=table(
            ("PID", "Command", "User", "Memory", "Running for"),
            (
                (str(each.pid), each.name, each.user, size(each.rss), duration(each.age_s))
                for each in found
            ),
            limit=10,
        ),
    )


def _is_called(process: Process, names: set[str]) -> bool:
    """``nginx`` and ``nginx: worker`` and ``php-fpm8.2`` for ``php-fpm``; no zombies."""
    name = process.name.casefold()
    return not process.zombie and any(
        name == wanted or re.fullmatch(rf"{re.escape(wanted)}[:\d.-].*", name) for wanted in names
    )


async def _unknown_unit(host: Host, service: str) -> Report:
    result = await host.run(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager"],
        timeout_s=_TIMEOUT_S,
        max_bytes=_MAX_BYTES,
    )
    wanted = service.casefold()
    near = [
        name.removesuffix(".service")
        for name, _ in parse_units(result.stdout)
        if wanted in name.casefold() and name.endswith(".service")
    ]
    processes_report = await _by_processes(host, service, because="systemd does not know it")
    running = processes_report.verdict is Verdict.FINE and not processes_report.failed
    also = " A process of that name runs without systemd." if running else ""
    hint = f" Similar: {', '.join(clean(name) for name in near[:5])}." if near else ""
    return Report(
        headline=f"systemd knows no service called {clean(service)}.{also}{hint}",
        details=processes_report.details if running else "",
        verdict=Verdict.LOOK,
    )


def has_no_systemd(result: CommandResult) -> bool:
    """Whether the command failed because systemd does not run there."""
    return result.missing or (
        result.exit_status != 0 and bool(_NO_SYSTEMD.search(f"{result.stderr}{result.stdout}"))
    )
