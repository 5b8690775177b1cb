"""``service_logs`` and ``file_logs``: log lines in a time range."""

from __future__ import annotations

from core.fleet.host import Host
from core.fleet.log_query import PRIORITIES, LogQuery
from core.fleet.logs import MAX_LINES, file_logs, service_logs
from core.fleet.report import Report
from core.fleet.tool_fleet import LOOK_TIMEOUT_S, SERVER, Fleet
from core.fleet.tool_looks import PATH, SERVICE, look_tool, number
from core.risk import Assessment, path_level
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec

_DEFAULT_LINES = 30
_TIME = (
    "a time with or without zone (2026-11-22T10:00:00Z, 2026-11-22 10:00; without one the "
    "server's own counts), a time of day (10:30), today, yesterday, or such as '2 hours ago'"
)
_QUERY = (
    Param(
        name="since",
        kind="string",
        description=f"Only lines from then on: {_TIME}.",
        minimum=1,
        maximum=64,
    ),
    Param(
        name="until",
        kind="string",
        description="Only lines up to then; written as since.",
        minimum=1,
        maximum=64,
    ),
    Param(
        name="priority",
        kind="string",
        description="Only lines as grave as this or graver; in plain files judged by their words.",
        choices=PRIORITIES,
    ),
    Param(
        name="grep",
        kind="string",
        description="Only lines that hold this text, in any case (no pattern).",
        minimum=1,
        maximum=200,
    ),
    Param(
        name="lines",
        kind="integer",
        description=f"At most so many lines, the latest; {_DEFAULT_LINES} when left out.",
        minimum=1,
        maximum=MAX_LINES,
    ),
    SERVER,
)


def log_tools(fleet: Fleet) -> tuple[Tool, ...]:
    """Both."""

    async def of_service(host: Host, arguments: Arguments) -> Report:
        query = _query(arguments)
        return await service_logs(host, str(arguments["service"]), query, fleet.protected)

    spec = ToolSpec(
        name="service_logs",
        description=(
            "The last log lines of a service, from the journal or the files below /var/log "
            "(rotated and compressed ones too), in a time range if one is given."
        ),
        params=(SERVICE, *_QUERY),
    )
    return (look_tool(fleet, spec, of_service, untrusted=True), _file_logs(fleet))


def _file_logs(fleet: Fleet) -> Tool:
    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        del context
        path = str(arguments["path"])
        why = fleet.protected.why(path)
        return Assessment(level=path_level(path, fleet.protected), reasons=(why,) if why else ())

    async def look(host: Host, arguments: Arguments) -> Report:
        return await file_logs(host, str(arguments["path"]), _query(arguments), fleet.protected)

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        return await fleet.look(context, arguments, look)

    spec = ToolSpec(
        name="file_logs",
        description=(
            "Lines of a log file by its path, by time range, text and priority; goes on to the "
            "files that it was rotated to (.1, .2.gz, ...) when the range goes back that far."
        ),
        params=(PATH, *_QUERY),
    )
    return Tool(
        spec=spec,
        assess=assess,
        run=run,
        mutates=False,
        timeout_s=LOOK_TIMEOUT_S,
        untrusted=True,
    )


def _query(arguments: Arguments) -> LogQuery:
    def text(name: str) -> str:
        return str(arguments.get(name, ""))

    return LogQuery(
        lines=number(arguments, "lines") or _DEFAULT_LINES,
        since=text("since"),
        until=text("until"),
        priority=text("priority"),
        grep=text("grep"),
    )
