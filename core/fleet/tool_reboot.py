"""``reboot``: always approved, always one server first, and nothing is over until it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from core.fleet.host import Host
from core.fleet.inventory import Server
from core.fleet.reboot import BACK_WITHIN_S, Waiting, reboot
from core.fleet.report import Report
from core.fleet.together import names
from core.fleet.tool_fleet import (
    CHANGE_TIMEOUT_S,
    REASON_PARAM,
    SERVER,
    Fleet,
    Planned,
    change_tool,
    is_here,
    needs_sudo,
    refused,
    weighed,
)
from core.risk import Assessment, Level
from core.tools import Arguments, Tool, ToolContext, ToolSpec

SPEC = ToolSpec(
    name="reboot",
    description=(
        "Reboot one or several servers, one first and the others after it came back; waits up "
        f"to {BACK_WITHIN_S // 60} minutes for each and reports its uptime and failed services. "
        "Needs an approval."
    ),
    params=(SERVER, REASON_PARAM),
)


def reboot_tool(fleet: Fleet, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Tool:
    """The tool."""

    async def plan(context: ToolContext, arguments: Arguments) -> Planned | Assessment:
        servers = await fleet.choose(context, arguments, exact=True)
        if isinstance(servers, str):
            return refused(servers)
        here = [each.name for each in servers if is_here(each)]
        if here:
            return refused(f"IT0 itself runs on {names(here)}; reboot that by hand.")
        through = {each.jump for each in servers if each.jump}
        jumps = [each.name for each in servers if each.id in through]
        reasons = ["it reboots: whatever runs there is interrupted"]
        reasons += [f"others are reached through {names(jumps)}"] if jumps else []
        assessment = Assessment(
            level=Level.L2,
            reasons=tuple(reasons),
            action="reboot",
            undo="a reboot cannot be undone; a server that does not come back needs its console.",
        )
        waiting = Waiting(tell=context.progress, pause=pause)

        async def work(server: Server, host: Host) -> Report:
            return await reboot(host, server.name, sudo=needs_sudo(server), waiting=waiting)

        return Planned(
            assessment=weighed(assessment, servers, arguments), servers=servers, work=work
        )

    return change_tool(fleet, SPEC, plan, timeout_s=CHANGE_TIMEOUT_S, untrusted=True)
