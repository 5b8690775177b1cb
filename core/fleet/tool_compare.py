"""``compare_servers`` and ``certificates``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable

from core.fleet.certificates import certificates, endpoints_of
from core.fleet.compare import Answer, compared
from core.fleet.files import path_problem
from core.fleet.host import FileProblem, Host
from core.fleet.inventory import Server
from core.fleet.packages import manager_of, name_problem, version_of
from core.fleet.report import Report, clean, clean_block, failure
from core.fleet.tool_fleet import LOOK_TIMEOUT_S, SERVER, Fleet, error, refused
from core.fleet.tool_looks import look_tool
from core.redact import aside, redact
from core.risk import Assessment, Level, path_level
from core.shell.judge import judge
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec

_TIMEOUT_S = 60.0
_MAX_BYTES = 256 * 1024
_SYSCTL = re.compile(r"[a-z0-9][a-zA-Z0-9_.*/-]{0,127}")
_FACTS = {
    "kernel": "uname -sr",
    "os": ". /etc/os-release 2>/dev/null; printf '%s\\n' \"${PRETTY_NAME:-unknown}\"",
    "uptime": "uptime -p 2>/dev/null || uptime",
    "time zone": "date '+%Z %z'",
}
"""Facts that need nothing more to be said, and the command that tells each."""

COMPARE = ToolSpec(
    name="compare_servers",
    description=(
        "Ask several servers for the same fact and show who answers alike and what differs from "
        "the majority: the output of a command that only reads, a file, a package's version, a "
        "sysctl value, or the kernel, os, uptime or time zone."
    ),
    params=(
        Param(
            name="what",
            kind="string",
            description="The kind of fact.",
            required=True,
            choices=("command", "file", "package", "sysctl", *_FACTS),
        ),
        Param(
            name="value",
            kind="string",
            description="The command line, the file's path, the package or the sysctl name.",
            minimum=1,
            maximum=4_000,
            multiline=True,
        ),
        SERVER,
    ),
)
CERTIFICATES = ToolSpec(
    name="certificates",
    description=(
        "When TLS certificates end, as seen from the server: of endpoints (its own port 443 when "
        "none is given) and of the certificate files in the usual places, with days left and "
        "the names that they are for."
    ),
    params=(
        Param(
            name="endpoints",
            kind="string",
            description="host or host:port, several with commas; localhost:443 when left out.",
            minimum=1,
            maximum=1_000,
        ),
        SERVER,
    ),
)

_Ask = Callable[[Host], Awaitable[str | Report]]


def certificates_tool(fleet: Fleet) -> Tool:
    """The tool ``certificates``."""

    async def look(host: Host, arguments: Arguments) -> Report:
        endpoints = endpoints_of(str(arguments.get("endpoints", "")))
        if isinstance(endpoints, str):
            return failure(endpoints)
        return await certificates(host, endpoints)

    return look_tool(fleet, CERTIFICATES, look, untrusted=True)


def compare_servers(fleet: Fleet) -> Tool:
    """The tool ``compare_servers``."""

    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        what, value = _asked(arguments)
        if what == "file":
            why = fleet.protected.why(value)
            level = path_level(value, fleet.protected)
            return Assessment(level=level, reasons=(why,) if why else ())
        if what == "command":
            judged = judge(value, fleet.protected, raised=context.raised)
            if judged.level is Level.L3:
                return Assessment(level=Level.L3, reasons=judged.reasons, action=value)
            if judged.level > Level.L0 or judged.sudo:
                return refused("Only commands that just read, without sudo, can be compared.")
        return Assessment(level=Level.L0)

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        assessed = await assess(context, arguments)
        if assessed.problem or assessed.level > Level.L0:
            return error(assessed.problem or f"Forbidden: {'; '.join(assessed.reasons)}.")
        what, value = _asked(arguments)
        ask = _question(what, value)
        if isinstance(ask, str):
            return error(ask)
        servers = await fleet.choose(context, arguments, exact=False)
        if isinstance(servers, str):
            return error(servers)
        answers = await _answers(fleet, servers, ask)
        title = f"{what} {clean(value)[:80]}".strip()
        return ToolResult(
            output=compared(title, answers),
            is_error=all(each.problem for each in answers),
            servers=tuple(server.name for server in servers),
        )

    return Tool(
        spec=COMPARE,
        assess=assess,
        run=run,
        mutates=False,
        timeout_s=LOOK_TIMEOUT_S,
        untrusted=True,
    )


async def _answers(fleet: Fleet, servers: tuple[Server, ...], ask: _Ask) -> list[Answer]:
    said: dict[str, str] = {}

    async def work(server: Server, host: Host) -> Report:
        answer = await ask(host)
        if isinstance(answer, Report):
            return answer
        said[server.name] = await aside(_harmless, answer)
        return Report(headline="")

    reports = await fleet.everywhere(servers, work)
    return [
        Answer(server=name, text=said[name])
        if name in said
        else Answer(server=name, problem=report.headline)
        for name, report in reports
    ]


def _question(what: str, value: str) -> _Ask | str:
    """How to ask one host, or a sentence why not."""
    if what in _FACTS:
        return _command(_FACTS[what])
    if not value:
        return f"value is missing: which {what}?"
    match what:
        case "file":
            return path_problem(value) or _file(value)
        case "package":
            return name_problem(value) or _package(value)
        case "sysctl":
            if not _SYSCTL.fullmatch(value) or ".." in value:
                return "that is no sysctl name; such look like net.core.somaxconn."
            return _command(f"sysctl -n -- {shlex.quote(value)}")
        case _:
            return _command(value)


def _command(command: str) -> _Ask:
    async def ask(host: Host) -> str | Report:
        result = await host.shell(command, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
        if result.timed_out:
            return failure("no answer in time.")
        status = f"[exit status {result.exit_status}]\n" if result.exit_status else ""
        return f"{status}{result.stdout}{result.stderr}"

    return ask


def _file(path: str) -> _Ask:
    async def ask(host: Host) -> str | Report:
        read = await host.read_file(path, max_bytes=_MAX_BYTES)
        if isinstance(read, FileProblem):
            return failure(clean(read.sentence))
        return "[binary file]" if read.binary else read.text

    return ask


def _package(name: str) -> _Ask:
    async def ask(host: Host) -> str | Report:
        manager = await manager_of(host)
        if manager is None:
            return failure("there is none of apt, dnf, apk and zypper.")
        return await version_of(host, manager, name) or "not installed"

    return ask


def _asked(arguments: Arguments) -> tuple[str, str]:
    return str(arguments["what"]), str(arguments.get("value", ""))


def _harmless(text: str) -> str:
    return redact(clean_block(text))
