"""The fleet as tools: what the agent can see of servers, and what it can change there.

Every tool takes ``server``, which may mean several. The first line of an output judges and
names the server, so that an answer can be read aloud; the rest is Markdown.
"""

from __future__ import annotations

from core.fleet.artifacts import Artifacts
from core.fleet.inventory import HostConnector, Inventory
from core.fleet.tool_artifact import read_artifact
from core.fleet.tool_command import run_command
from core.fleet.tool_compare import certificates_tool, compare_servers
from core.fleet.tool_files import copy_file, edit_file
from core.fleet.tool_fleet import Fleet
from core.fleet.tool_logs import log_tools
from core.fleet.tool_looks import looks
from core.fleet.tool_packages import package_tools
from core.fleet.tool_reboot import reboot_tool
from core.fleet.tool_services import service_control
from core.protected import ProtectedPaths
from core.tools import Tool


def fleet_tools(
    inventory: Inventory,
    connector: HostConnector,
    protected: ProtectedPaths,
    artifacts: Artifacts,
) -> tuple[Tool, ...]:
    """All tools of the fleet, ready for the door."""
    fleet = Fleet(
        inventory=inventory, connector=connector, protected=protected, artifacts=artifacts
    )
    return (
        *looks(fleet),
        *log_tools(fleet),
        read_artifact(fleet),
        run_command(fleet),
        service_control(fleet),
        edit_file(fleet),
        copy_file(fleet),
        *package_tools(fleet),
        certificates_tool(fleet),
        compare_servers(fleet),
        reboot_tool(fleet),
    )
