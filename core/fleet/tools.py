"""The fleet as tools: what the agent can see of a server, and the little it can change.

Every tool takes an optional ``server``. The first line of an output judges and names the
server, so that an answer can be read aloud; the rest is Markdown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.fleet.disk import disk_usage
from core.fleet.files import MAX_LINES as MAX_FILE_LINES
from core.fleet.files import read_file
from core.fleet.host import Host, HostUnreachable
from core.fleet.inventory import Ambiguous, HostConnector, Inventory, Server, Unknown, resolve
from core.fleet.logs import MAX_LINES as MAX_LOG_LINES
from core.fleet.logs import service_logs
from core.fleet.memory import memory_usage, system_load
from core.fleet.ports import MAX_PORT, listening_ports
from core.fleet.processes import top_processes
from core.fleet.report import Report, clean, count, table
from core.fleet.services import restart_service, service_status
from core.protected import ProtectedPaths
from core.risk import Assessment, Level, path_level
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec

_SERVER = Param(
    name="server",
    kind="string",
    description="Name of the server; may be left out when there is only one.",
    minimum=1,
    maximum=200,
)
_SERVICE = Param(
    name="service",
    kind="string",
    description="Name of the service, such as nginx or postgresql.",
    required=True,
    minimum=1,
    maximum=200,
)
_READ_FILE = ToolSpec(
    name="read_file",
    description=(
        "Read a text file: its beginning, or its last lines with tail_lines. Keys, "
        "credentials and other protected files are refused."
    ),
    params=(
        Param(
            name="path",
            kind="string",
            description="Full path, such as /etc/nginx/nginx.conf.",
            required=True,
            minimum=1,
            maximum=4096,
        ),
        Param(
            name="lines",
            kind="integer",
            description="How many lines from the beginning.",
            minimum=1,
            maximum=MAX_FILE_LINES,
        ),
        Param(
            name="tail_lines",
            kind="integer",
            description="How many lines from the end, instead of the beginning.",
            minimum=1,
            maximum=MAX_FILE_LINES,
        ),
        _SERVER,
    ),
)
_DEFAULT_LOG_LINES = 30
_DEFAULT_PROCESSES = 10
_LOOK_TIMEOUT_S = 45.0
_CHANGE_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fleet:
    """The servers of all tenants, and the way to them."""

    inventory: Inventory
    connector: HostConnector

    async def choose(
        self, context: ToolContext, arguments: Arguments, *, exact: bool
    ) -> Server | ToolResult:
        """The server that is meant, or a sentence that says why none is."""
        servers = await self.inventory.servers(context.tenant_id)
        names = ", ".join(clean(server.name) for server in servers[:30])
        wanted = arguments.get("server")
        if not servers:
            return _error("No server is registered here yet.")
        if wanted is None:
            if len(servers) == 1:
                return servers[0]
            return _error(f"Which server? There are {len(servers)}: {names}.")
        match resolve(str(wanted), servers, exact=exact):
            case Server() as server:
                return server
            case Ambiguous(candidates=candidates):
                listed = ", ".join(clean(name) for name in candidates[:10])
                return _error(f"{clean(str(wanted))} could be several servers: {listed}.")
            case Unknown(nearest=nearest):
                hint = f" Did you mean {' or '.join(clean(name) for name in nearest)}?"
                tail = hint if nearest else f" There are: {names}."
                return _error(f"There is no server called {clean(str(wanted))}.{tail}")

    async def run(
        self,
        context: ToolContext,
        arguments: Arguments,
        look: Callable[[Host, Arguments], Awaitable[Report]],
        *,
        exact: bool = False,
    ) -> ToolResult:
        """Look at the chosen server; a server out of reach is a sentence, not a crash."""
        server = await self.choose(context, arguments, exact=exact)
        if isinstance(server, ToolResult):
            return server
        try:
            report = await look(self.connector.connect(server), arguments)
        except HostUnreachable as unreachable:
            return _error(unreachable.sentence)
        return ToolResult(output=report.text(server.name), is_error=report.failed)


def fleet_tools(
    inventory: Inventory, connector: HostConnector, protected: ProtectedPaths
) -> tuple[Tool, ...]:
    """All tools of the fleet, ready for the door."""
    fleet = _Fleet(inventory=inventory, connector=connector)
    return (
        _list_servers(inventory),
        *(_look(fleet, spec, look) for spec, look in _LOOKS),
        _read_file(fleet, protected),
        _restart(fleet),
    )


def _list_servers(inventory: Inventory) -> Tool:
    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        del arguments
        servers = await inventory.servers(context.tenant_id)
        if not servers:
            return ToolResult(output="No server is registered here yet.")
        rows = table(("Server", "Reached by"), ((each.name, each.kind) for each in servers))
        return ToolResult(output=f"There {_are(len(servers))}.\n\n{rows}")

    spec = ToolSpec(name="list_servers", description="List the servers that can be looked at.")
    return Tool(spec=spec, assess=_harmless, run=run, mutates=False)


def _look(
    fleet: _Fleet, spec: ToolSpec, look: Callable[[Host, Arguments], Awaitable[Report]]
) -> Tool:
    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        return await fleet.run(context, arguments, look)

    return Tool(spec=spec, assess=_harmless, run=run, mutates=False, timeout_s=_LOOK_TIMEOUT_S)


def _read_file(fleet: _Fleet, protected: ProtectedPaths) -> Tool:
    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        del context
        path = str(arguments["path"])
        why = protected.why(path)
        return Assessment(level=path_level(path, protected), reasons=(why,) if why else ())

    async def look(host: Host, arguments: Arguments) -> Report:
        return await read_file(
            host,
            str(arguments["path"]),
            tail=_number(arguments, "tail_lines"),
            head=_number(arguments, "lines"),
        )

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        return await fleet.run(context, arguments, look)

    return Tool(
        spec=_READ_FILE,
        assess=assess,
        run=run,
        mutates=False,
        timeout_s=_LOOK_TIMEOUT_S,
        untrusted=True,
    )


def _restart(fleet: _Fleet) -> Tool:
    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        del context, arguments
        return Assessment(level=Level.L2)

    async def look(host: Host, arguments: Arguments) -> Report:
        return await restart_service(host, str(arguments["service"]))

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        return await fleet.run(context, arguments, look, exact=True)

    spec = ToolSpec(
        name="restart_service",
        description="Restart a systemd service. Interrupts whoever uses it; needs an approval.",
        params=(_SERVICE, _SERVER),
    )
    return Tool(spec=spec, assess=assess, run=run, mutates=True, timeout_s=_CHANGE_TIMEOUT_S)


async def _disk(host: Host, arguments: Arguments) -> Report:
    del arguments
    return await disk_usage(host)


async def _memory(host: Host, arguments: Arguments) -> Report:
    del arguments
    return await memory_usage(host)


async def _load(host: Host, arguments: Arguments) -> Report:
    del arguments
    return await system_load(host)


async def _top(host: Host, arguments: Arguments) -> Report:
    return await top_processes(
        host,
        by="cpu" if arguments.get("by") == "cpu" else "memory",
        limit=_number(arguments, "limit") or _DEFAULT_PROCESSES,
    )


async def _ports(host: Host, arguments: Arguments) -> Report:
    return await listening_ports(host, port=_number(arguments, "port"))


async def _status(host: Host, arguments: Arguments) -> Report:
    service = arguments.get("service")
    return await service_status(host, None if service is None else str(service))


async def _logs(host: Host, arguments: Arguments) -> Report:
    lines = _number(arguments, "lines") or _DEFAULT_LOG_LINES
    return await service_logs(host, str(arguments["service"]), lines)


_LOOKS: tuple[tuple[ToolSpec, Callable[[Host, Arguments], Awaitable[Report]]], ...] = (
    (
        ToolSpec(
            name="disk_usage",
            description="How full the disks are: space and inodes of every real file system.",
            params=(_SERVER,),
        ),
        _disk,
    ),
    (
        ToolSpec(
            name="memory_usage",
            description="Memory and swap in use, a container's limit, out-of-memory kills.",
            params=(_SERVER,),
        ),
        _memory,
    ),
    (
        ToolSpec(
            name="system_load",
            description="Load averages against the processors, pressure, uptime.",
            params=(_SERVER,),
        ),
        _load,
    ),
    (
        ToolSpec(
            name="top_processes",
            description="The processes that use most memory or processor time right now.",
            params=(
                Param(
                    name="by",
                    kind="string",
                    description="What to rank by; memory when left out.",
                    choices=("memory", "cpu"),
                ),
                Param(
                    name="limit",
                    kind="integer",
                    description=f"How many to list; {_DEFAULT_PROCESSES} when left out.",
                    minimum=1,
                    maximum=40,
                ),
                _SERVER,
            ),
        ),
        _top,
    ),
    (
        ToolSpec(
            name="listening_ports",
            description="Which processes listen on which TCP and UDP ports.",
            params=(
                Param(
                    name="port",
                    kind="integer",
                    description="Only this port.",
                    minimum=1,
                    maximum=MAX_PORT,
                ),
                _SERVER,
            ),
        ),
        _ports,
    ),
    (
        ToolSpec(
            name="service_status",
            description="Whether a service runs; without a name, which services have failed.",
            params=(
                Param(
                    name="service",
                    kind="string",
                    description="Name of the service, such as nginx; all failed ones if left out.",
                    minimum=1,
                    maximum=200,
                ),
                _SERVER,
            ),
        ),
        _status,
    ),
    (
        ToolSpec(
            name="service_logs",
            description="The last log lines of a service, from the journal or /var/log.",
            params=(
                _SERVICE,
                Param(
                    name="lines",
                    kind="integer",
                    description=f"How many lines; {_DEFAULT_LOG_LINES} when left out.",
                    minimum=1,
                    maximum=MAX_LOG_LINES,
                ),
                _SERVER,
            ),
        ),
        _logs,
    ),
)


async def _harmless(context: ToolContext, arguments: Arguments) -> Assessment:
    del context, arguments
    return Assessment(level=Level.L0)


def _number(arguments: Arguments, name: str) -> int | None:
    value = arguments.get(name)
    return value if isinstance(value, int) else None


def _are(number: int) -> str:
    return f"{'is' if number == 1 else 'are'} {count(number, 'server')}"


def _error(sentence: str) -> ToolResult:
    return ToolResult(output=sentence, is_error=True)
