"""``service_control``: starts, stops, restarts, reloads, enables, disables."""

from __future__ import annotations

from core.fleet.host import Host
from core.fleet.inventory import Server
from core.fleet.report import Report, clean
from core.fleet.service_control import CONTROLS, control_service
from core.fleet.services import service_problem
from core.fleet.tool_fleet import (
    CHANGE_TIMEOUT_S,
    REASON_PARAM,
    ROLLOUT,
    SERVER,
    Fleet,
    Planned,
    change_tool,
    needs_sudo,
    refused,
    sudo_level,
    weighed,
)
from core.fleet.tool_looks import SERVICE
from core.risk import Assessment
from core.tools import Arguments, Param, Tool, ToolContext, ToolSpec

SPEC = ToolSpec(
    name="service_control",
    description=(
        "Start, stop, restart, reload, enable or disable a systemd service on one or several "
        "servers, and report its state before and after. Prefer reload to restart where the "
        "service can do it. All but reload need a human's approval."
    ),
    params=(
        Param(
            name="action",
            kind="string",
            description="What to do with it; enable and disable are about the next boot.",
            required=True,
            choices=tuple(CONTROLS),
        ),
        SERVICE,
        SERVER,
        ROLLOUT,
        REASON_PARAM,
    ),
)


def service_control(fleet: Fleet) -> Tool:
    """The tool."""

    async def plan(context: ToolContext, arguments: Arguments) -> Planned | Assessment:
        action, service = str(arguments["action"]), str(arguments["service"])
        problem = service_problem(service)
        if problem:
            return refused(problem)
        servers = await fleet.choose(context, arguments, exact=True)
        if isinstance(servers, str):
            return refused(servers)
        control = CONTROLS[action]
        least, reasons = sudo_level(servers)
        assessment = Assessment(
            level=max(control.level, least),
            reasons=(control.reason, *reasons),
            action=f"systemctl {action} {clean(service)}",
            undo=f"{control.undo.format(service=clean(service))}.",
        )

        async def work(server: Server, host: Host) -> Report:
            return await control_service(host, action, service, sudo=needs_sudo(server))

        return Planned(
            assessment=weighed(assessment, servers, arguments), servers=servers, work=work
        )

    return change_tool(fleet, SPEC, plan, timeout_s=CHANGE_TIMEOUT_S, untrusted=True)
