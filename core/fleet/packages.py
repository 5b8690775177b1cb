"""Packages of a server: what is installed, what waits to be upgraded, and what a change does.

One table of commands for each package manager; the first that the server has is used.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from core.fleet.host import CommandResult, Host
from core.fleet.report import Report, Verdict, clean, clean_block, count, failure, fenced, table
from core.redact import redact

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_:-]{0,127}")
"""A package's name: no option, no path, no shell."""
_TIMEOUT_S = 60.0
_CHANGE_TIMEOUT_S = 900.0
_MAX_BYTES = 2 * 1024 * 1024
_APT_RUN = "DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Options::=--force-confold"
_APT_DRY = "apt-get -s -o Debug::NoLocking=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """A package manager's commands; ``{name}`` is a quoted package name."""

    name: str
    installed: str
    pending: str
    dry: Mapping[str, str]
    run: Mapping[str, str]
    pending_status: frozenset[int] = frozenset({0})
    """Exit statuses of ``pending`` that are an answer (dnf says 100 for "there are some")."""


MANAGERS: tuple[Manager, ...] = (
    Manager(
        name="apt",
        installed="dpkg-query -W -f='${db:Status-Abbrev} ${Version}\\n' -- {name}",
        pending=f"{_APT_DRY} dist-upgrade",
        dry={
            "install": f"{_APT_DRY} install -- {{name}}",
            "upgrade": f"{_APT_DRY} install --only-upgrade -- {{name}}",
            "remove": f"{_APT_DRY} remove -- {{name}}",
        },
        run={
            "install": f"{_APT_RUN} install -- {{name}}",
            "upgrade": f"{_APT_RUN} install --only-upgrade -- {{name}}",
            "remove": f"{_APT_RUN} remove -- {{name}}",
        },
    ),
    Manager(
        name="dnf",
        installed="rpm -q --qf 'ii %{VERSION}-%{RELEASE}\\n' -- {name}",
        pending="dnf -q check-update; s=$?; echo @security; dnf -q updateinfo list --security "
        "2>/dev/null; exit $s",
        dry={
            "install": "dnf --assumeno install -- {name}",
            "upgrade": "dnf --assumeno upgrade -- {name}",
            "remove": "dnf --assumeno remove -- {name}",
        },
        run={
            "install": "dnf -y install -- {name}",
            "upgrade": "dnf -y upgrade -- {name}",
            "remove": "dnf -y remove -- {name}",
        },
        pending_status=frozenset({0, 100}),
    ),
    Manager(
        name="apk",
        installed="apk info -e {name} >/dev/null && apk list -I {name}",
        pending="apk version -l '<'",
        dry={
            "install": "apk add -s {name}",
            "upgrade": "apk add -s -u {name}",
            "remove": "apk del -s {name}",
        },
        run={
            "install": "apk add {name}",
            "upgrade": "apk add -u {name}",
            "remove": "apk del {name}",
        },
    ),
    Manager(
        name="zypper",
        installed="rpm -q --qf 'ii %{VERSION}-%{RELEASE}\\n' -- {name}",
        pending="zypper -n --no-refresh list-updates; echo @security; zypper -n --no-refresh "
        "list-patches --category security",
        dry={
            "install": "zypper -n install --dry-run -- {name}",
            "upgrade": "zypper -n update --dry-run -- {name}",
            "remove": "zypper -n remove --dry-run -- {name}",
        },
        run={
            "install": "zypper -n install -- {name}",
            "upgrade": "zypper -n update -- {name}",
            "remove": "zypper -n remove -- {name}",
        },
    ),
)
ACTIONS = ("install", "upgrade", "remove")
WHICH = "for m in apt-get dnf apk zypper; do command -v $m >/dev/null && { echo $m; exit; }; done"

_NO_SUCH = re.compile(
    r"(?i)unable to locate|no such package|no match for|not found in package|no package .{1,99} "
    r"available|no provider of"
)
_NOT_INSTALLED = re.compile(r"(?i)is not installed|not installed, so not")
_APT = re.compile(r"^Inst (\S{1,200})(?: \[([^\]]{1,200})\])? \(([^\s)]{1,200}) ([^)]{0,500})\)?")
_DNF = re.compile(r"^(\S{1,200})\.(?:x86_64|aarch64|noarch|i686|ppc64le|s390x)\s+(\S+)\s+\S+\s*$")
_APK = re.compile(r"^(\S{1,200})-(\d[^\s-]*(?:-r\d+)?)\s+<\s+(\S+)")
_ZYPPER = re.compile(r"^v\s*\|[^|]*\|\s*(\S+)\s*\|\s*(\S+)\s*\|\s*(\S+)\s*\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A package that has a newer version."""

    name: str
    new: str
    old: str = ""
    security: bool = False


def name_problem(name: str) -> str | None:
    """A sentence when this cannot be a package's name."""
    if NAME.fullmatch(name):
        return None
    return f"{clean(name)[:80]!r} is not the name of a package; such names look like nginx."


def parse_pending(manager: str, text: str) -> tuple[Pending, ...]:
    """Read what waits to be upgraded; lines that make no sense are skipped."""
    listed, _, advisories = text.partition("@security")
    match manager:
        case "apt":
            return tuple(_apt(match) for match in map(_APT.match, listed.splitlines()) if match)
        case "dnf":
            found = [match for match in map(_DNF.match, listed.splitlines()) if match]
            return tuple(
                Pending(name=match[1], new=match[2], security=f" {match[1]}-" in advisories)
                for match in found
            )
        case "apk":
            found = [match for match in map(_APK.match, listed.splitlines()) if match]
            return tuple(Pending(name=match[1], old=match[2], new=match[3]) for match in found)
        case _:
            found = [match for match in map(_ZYPPER.match, listed.splitlines()) if match]
            return tuple(
                Pending(name=match[1], old=match[2], new=match[3], security=match[1] in advisories)
                for match in found
            )


async def manager_of(host: Host) -> Manager | None:
    """The package manager that the server has. Raises HostUnreachable."""
    said = (await _quiet(host, WHICH)).stdout.strip().removesuffix("-get")
    return next((each for each in MANAGERS if each.name == said), None)


async def packages(host: Host, name: str | None) -> Report:
    """Report a package's version, or what waits to be upgraded."""
    problem = name_problem(name) if name else None
    if problem:
        return failure(problem)
    manager = await manager_of(host)
    if manager is None:
        return failure("I cannot tell: there is none of apt, dnf, apk and zypper.")
    if name:
        version = await version_of(host, manager, name)
        headline = f"{name} {version} is installed." if version else f"{name} is not installed."
        return Report(headline=headline)
    result = await _quiet(host, manager.pending)
    if result.timed_out or result.exit_status not in manager.pending_status:
        return failure(f"{manager.name} does not answer: {clean(result.stderr)[:200] or 'no word'}")
    return judge_pending(manager.name, parse_pending(manager.name, result.stdout))


def judge_pending(manager: str, waiting: tuple[Pending, ...]) -> Report:
    """Say how many upgrades wait, and how many of them are for security."""
    if not waiting:
        return Report(headline=f"{manager} knows of no upgrade.")
    urgent = sum(each.security for each in waiting)
    rows = sorted(waiting, key=lambda each: (not each.security, each.name))
    knows = manager != "apk"
    security = f"{urgent} for security" if knows else "apk does not say which are for security"
    return Report(
        headline=f"{count(len(waiting), 'upgrade waits', 'upgrades wait')}; {security}.",
        details=table(
            ("Package", "Installed", "New", "Security"),
            (
                (each.name, each.old or "-", each.new, "yes" if each.security else "")
                for each in rows
            ),
        ),
        verdict=Verdict.LOOK if urgent else Verdict.FINE,
    )


async def version_of(host: Host, manager: Manager, name: str) -> str:
    """The installed version, or nothing. Raises HostUnreachable."""
    result = await _quiet(host, manager.installed.replace("{name}", shlex.quote(name)))
    first = result.stdout.partition("\n")[0]
    if result.exit_status != 0 or not first:
        return ""
    if manager.name == "apk":
        return clean(first.partition(" ")[0].removeprefix(f"{name}-"))
    state, _, version = first.partition(" ")
    return clean(version.strip()) if state.startswith("ii") else ""


async def dry_run(host: Host, action: str, name: str) -> Report:
    """What the change would do, without doing it. Raises HostUnreachable."""
    manager = await manager_of(host)
    if manager is None:
        return failure("there is none of apt, dnf, apk and zypper.")
    result = await _quiet(host, manager.dry[action].replace("{name}", shlex.quote(name)))
    said = redact(clean_block(f"{result.stdout}{result.stderr}")).strip()
    refused = manager.name == "dnf" and "Nothing to do" not in said and "Transaction" in said
    if result.timed_out or (result.exit_status != 0 and not refused):
        return failure(f"{manager.name} cannot {action} {name}: {_why_not(said, result)}.")
    lines = [line for line in said.splitlines() if _tells(line)]
    return Report(headline=manager.name, details="\n".join(lines))


async def change_package(host: Host, action: str, name: str, *, sudo: bool) -> Report:
    """Do it, and report the version before and after. Raises HostUnreachable."""
    manager = await manager_of(host)
    if manager is None:
        return failure("there is none of apt, dnf, apk and zypper.")
    before = await version_of(host, manager, name)
    result = await host.shell(
        manager.run[action].replace("{name}", shlex.quote(name)),
        timeout_s=_CHANGE_TIMEOUT_S,
        max_bytes=_MAX_BYTES,
        sudo=sudo,
    )
    said = redact(clean_block(f"{result.stdout}{result.stderr}")).strip()
    after = await version_of(host, manager, name)
    moved = f"{before or 'not installed'} before, {after or 'not installed'} now"
    if result.timed_out:
        return failure(f"the {action} of {name} did not end in time; outcome unknown: {moved}.")
    if result.exit_status != 0:
        return Report(
            headline=f"the {action} of {name} failed ({manager.name}): {moved}.",
            details=fenced(said[-2_000:]),
            verdict=Verdict.ACT,
        )
    as_wanted = bool(after) != (action == "remove")
    return Report(
        headline=f"{action} of {name} done: {moved}.",
        verdict=Verdict.FINE if as_wanted else Verdict.ACT,
    )


async def _quiet(host: Host, command: str) -> CommandResult:
    return await host.shell(command, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)


def _why_not(said: str, result: CommandResult) -> str:
    """In our words: a refusal is no place for text from outside."""
    if result.timed_out:
        return "it gives no answer in time"
    if _NO_SUCH.search(said):
        return "it knows no such package"
    if _NOT_INSTALLED.search(said):
        return "it is not installed"
    return f"the dry run failed with exit status {result.exit_status}"


def _apt(match: re.Match[str]) -> Pending:
    return Pending(
        name=match[1],
        old=match[2] or "",
        new=match[3],
        security="security" in match[4].casefold(),
    )


def _tells(line: str) -> bool:
    """Not apt's progress and its notes about simulation."""
    return bool(line.strip()) and not line.startswith(("Reading ", "Building ", "NOTE:", "Conf "))
