"""``packages`` and ``package_change``."""

from __future__ import annotations

import re

from core.fleet.editing import MAX_CHANGE_CHARS
from core.fleet.host import Host
from core.fleet.inventory import Server
from core.fleet.packages import ACTIONS, change_package, dry_run, name_problem, packages
from core.fleet.report import Report
from core.fleet.together import names
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
from core.fleet.tool_looks import look_tool
from core.risk import Assessment, Level
from core.tools import Arguments, Param, Tool, ToolContext, ToolSpec

_NAME = Param(
    name="name",
    kind="string",
    description="The package's name, such as nginx.",
    required=True,
    minimum=1,
    maximum=128,
)
LOOK = ToolSpec(
    name="packages",
    description=(
        "With a name: which version of a package is installed. Without: which upgrades wait and "
        "which of them are for security (apt, dnf, apk, zypper)."
    ),
    params=(
        Param(
            name="name",
            kind="string",
            description="Only this package; all pending upgrades if left out.",
            minimum=1,
            maximum=128,
        ),
        SERVER,
    ),
)
CHANGE = ToolSpec(
    name="package_change",
    description=(
        "Install, upgrade or remove one package on one or several servers. Needs an approval; "
        "the approver sees a dry run of the package manager."
    ),
    params=(
        Param(
            name="action",
            kind="string",
            description="What to do with it.",
            required=True,
            choices=ACTIONS,
        ),
        _NAME,
        SERVER,
        ROLLOUT,
        REASON_PARAM,
    ),
)
_UNDO = {
    "install": "remove {name} again; what was installed with it stays",
    "upgrade": "install the old version of {name} again, if the repository still has it",
    "remove": "install {name} again; data that it deletes is gone",
}
_WHY = {
    "install": "it installs software",
    "upgrade": "it replaces software, and may restart services",
    "remove": "it removes software, and what depends on it",
}
_STEP = re.compile(r"(?:Inst|Remv|Purg) |\(\d+/\d+\) ")
"""Of apt and apk; what dnf and zypper say holds times and speeds."""


def package_tools(fleet: Fleet) -> tuple[Tool, ...]:
    """Both."""

    async def look(host: Host, arguments: Arguments) -> Report:
        name = arguments.get("name")
        return await packages(host, None if name is None else str(name))

    return (look_tool(fleet, LOOK, look, untrusted=True), _change(fleet))


def _change(fleet: Fleet) -> Tool:
    async def plan(context: ToolContext, arguments: Arguments) -> Planned | Assessment:
        action, name = str(arguments["action"]), str(arguments["name"])
        problem = name_problem(name)
        if problem:
            return refused(problem)
        servers = await fleet.choose(context, arguments, exact=True)
        if isinstance(servers, str):
            return refused(servers)

        async def simulate(_server: Server, host: Host) -> Report:
            return await dry_run(host, action, name)

        simulated = await fleet.everywhere(servers, simulate)
        failed = [(each, report) for each, report in simulated if report.failed]
        if failed:
            return refused(f"{failed[0][0]}: {failed[0][1].headline}")

        async def work(server: Server, host: Host) -> Report:
            return await change_package(host, action, name, sudo=needs_sudo(server))

        _, reasons = sudo_level(servers)
        change = _shown([(each, report.details) for each, report in simulated])
        if len(change) > MAX_CHANGE_CHARS:
            return refused("What it would change is too much to be approved; name fewer servers.")
        assessment = Assessment(
            level=Level.L2,
            reasons=(_WHY[action], *reasons),
            action=f"{simulated[0][1].headline}: {action} {name}",
            change=change,
            undo=f"{_UNDO[action].format(name=name)}.",
        )
        return Planned(
            assessment=weighed(assessment, servers, arguments, *_steps(change)),
            servers=servers,
            work=work,
        )

    return change_tool(fleet, CHANGE, plan, timeout_s=CHANGE_TIMEOUT_S, untrusted=True)


def _steps(change: str) -> list[str]:
    """The lines of a dry run that name what happens to a package: an approval is bound to them."""
    return [line for line in change.splitlines() if _STEP.match(line)]


def _shown(simulated: list[tuple[str, str]]) -> str:
    """Equal dry runs once, with the servers' names where they differ."""
    groups: dict[str, list[str]] = {}
    for name, said in simulated:
        groups.setdefault(said, []).append(name)
    if len(groups) == 1:
        return simulated[0][1]
    return "\n\n".join(f"{names(members)}:\n{said}" for said, members in groups.items())
