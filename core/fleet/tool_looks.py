"""The tools that only look: each over one server or several, without any change."""

from __future__ import annotations

from core.fleet.disk import disk_usage
from core.fleet.files import MAX_LINES as MAX_FILE_LINES
from core.fleet.files import read_file
from core.fleet.host import Host
from core.fleet.memory import memory_usage, system_load
from core.fleet.ports import MAX_PORT, listening_ports
from core.fleet.processes import top_processes
from core.fleet.report import Report, count, table
from core.fleet.services import service_status
from core.fleet.tool_fleet import LOOK_TIMEOUT_S, SERVER, Fleet, Look
from core.risk import Assessment, Level, path_level
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec

SERVICE = Param(
    name="service",
    kind="string",
    description="Name of the service, such as nginx or postgresql.",
    required=True,
    minimum=1,
    maximum=200,
)
PATH = Param(
    name="path",
    kind="string",
    description="Full path, such as /etc/nginx/nginx.conf.",
    required=True,
    minimum=1,
    maximum=4096,
)
_READ_FILE = ToolSpec(
    name="read_file",
    description=(
        "Read a text file: its beginning, or its last lines with tail_lines. Keys, "
        "credentials and other protected files are refused."
    ),
    params=(
        PATH,
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
        SERVER,
    ),
)
_DEFAULT_PROCESSES = 10


def looks(fleet: Fleet) -> tuple[Tool, ...]:
    """All of them."""
    return (
        _list_servers(fleet),
        *(look_tool(fleet, spec, look, untrusted=outside) for spec, look, outside in _LOOKS),
        _read_file(fleet),
    )


def look_tool(fleet: Fleet, spec: ToolSpec, look: Look, *, untrusted: bool) -> Tool:
    """A tool that only looks, and that nobody needs to weigh."""

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        return await fleet.look(context, arguments, look)

    return Tool(
        spec=spec,
        assess=harmless,
        run=run,
        mutates=False,
        timeout_s=LOOK_TIMEOUT_S,
        untrusted=untrusted,
    )


async def harmless(context: ToolContext, arguments: Arguments) -> Assessment:
    """The assessment of what only looks."""
    del context, arguments
    return Assessment(level=Level.L0)


def number(arguments: Arguments, name: str) -> int | None:
    """An integer argument, if it was given."""
    value = arguments.get(name)
    return value if isinstance(value, int) else None


def _list_servers(fleet: Fleet) -> Tool:
    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        del arguments
        servers = await fleet.inventory.servers(context.tenant_id)
        if not servers:
            return ToolResult(output="No server is registered here yet.")
        rows = table(
            ("Server", "Reached by", "Environment", "Criticality", "Tags"),
            (
                (each.name, each.kind, each.environment, each.criticality, ", ".join(each.tags))
                for each in servers
            ),
            limit=200,
        )
        are = "is" if len(servers) == 1 else "are"
        return ToolResult(output=f"There {are} {count(len(servers), 'server')}.\n\n{rows}")

    spec = ToolSpec(
        name="list_servers",
        description="List the servers that can be looked at, with their environments and tags.",
    )
    return Tool(spec=spec, assess=harmless, run=run, mutates=False)


def _read_file(fleet: Fleet) -> Tool:
    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        del context
        path = str(arguments["path"])
        why = fleet.protected.why(path)
        level = path_level(path, fleet.protected)
        return Assessment(level=level, reasons=(why,) if why else ())

    async def look(host: Host, arguments: Arguments) -> Report:
        return await read_file(
            host,
            str(arguments["path"]),
            tail=number(arguments, "tail_lines"),
            head=number(arguments, "lines"),
        )

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        return await fleet.look(context, arguments, look)

    return Tool(
        spec=_READ_FILE,
        assess=assess,
        run=run,
        mutates=False,
        timeout_s=LOOK_TIMEOUT_S,
        untrusted=True,
    )


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
        limit=number(arguments, "limit") or _DEFAULT_PROCESSES,
    )


async def _ports(host: Host, arguments: Arguments) -> Report:
    return await listening_ports(host, port=number(arguments, "port"))


async def _status(host: Host, arguments: Arguments) -> Report:
    service = arguments.get("service")
    return await service_status(host, None if service is None else str(service))


_LOOKS: tuple[tuple[ToolSpec, Look, bool], ...] = (
    (
        ToolSpec(
            name="disk_usage",
            description="How full the disks are: space and inodes of every real file system.",
            params=(SERVER,),
        ),
        _disk,
        False,
    ),
    (
        ToolSpec(
            name="memory_usage",
            description="Memory and swap in use, a container's limit, out-of-memory kills.",
            params=(SERVER,),
        ),
        _memory,
        False,
    ),
    (
        ToolSpec(
            name="system_load",
            description="Load averages against the processors, pressure, uptime.",
            params=(SERVER,),
        ),
        _load,
        False,
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
                SERVER,
            ),
        ),
        _top,
        True,
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
                SERVER,
            ),
        ),
        _ports,
        True,
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
                SERVER,
            ),
        ),
        _status,
        True,
    ),
)
