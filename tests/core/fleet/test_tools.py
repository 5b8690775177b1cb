from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.fleet.host import (
    NOT_INSTALLED,
    CommandResult,
    FileProblem,
    FileRead,
    FileWritten,
    OnOutput,
)
from core.fleet.inventory import LocalInventory, Server, ServerKind
from core.fleet.local import LocalConnector, LocalHost
from core.fleet.tools import fleet_tools
from core.protected import ProtectedPaths
from core.risk import Level
from core.tools import Tool, ToolContext
from tests.core.fleet.kit import CONTEXT, PROTECTED, call, one, tools_of
from tests.core.fleet.recorded import MEMINFO, NO_SYSTEMD, recorded
from tests.fakes.artifacts import KeptArtifacts
from tests.fakes.host import FakeFleet, FakeHost, said

TRUSTED = {
    "list_servers",
    "disk_usage",
    "memory_usage",
    "system_load",
}
STRANGER = ToolContext(tenant_id="ten_2", user_id="usr_2", turn_id="trn_2")
OWN_NAME = Path("/proc/self/comm").read_text().strip()


SYSTEMD = {
    "systemctl show": said(recorded("show_not_found")),
    "systemctl list-units --all": said(recorded("list_units")),
    "systemctl list-units --state=failed": said(recorded("list_failed")),
    "sh -c": said(recorded("snapshot")),
}


def shows(name: str, recording: str) -> dict[str, object]:
    """A systemd that knows this unit."""
    properties = (
        "Id,Description,LoadState,ActiveState,SubState,Result,MainPID,ExecMainStatus,NRestarts,"
        "StateChangeTimestamp,MemoryCurrent,UnitFileState,TasksCurrent"
    )
    line = f"systemctl show --no-pager --property={properties} -- {name}"
    return {**SYSTEMD, line: said(recorded(recording))}


LOOKS = (
    "list_servers",
    "disk_usage",
    "memory_usage",
    "system_load",
    "top_processes",
    "listening_ports",
    "service_status",
    "service_logs",
)


async def test_levels() -> None:
    """Looking is L0 and changes nothing; a protected file is L3 for every tool that reads it."""
    tools = tools_of(one())
    for name in LOOKS:
        assert (await tools[name].assess(CONTEXT, {})).level is Level.L0
        assert not tools[name].mutates
    for name in ("read_file", "file_logs"):
        assert (await tools[name].assess(CONTEXT, {"path": "/etc/hosts"})).level is Level.L0
        assert (await tools[name].assess(CONTEXT, {"path": "/root/.ssh/id_rsa"})).level is Level.L3


async def test_which_outputs_are_text_from_outside() -> None:
    """Numbers are ours; names, logs, files and what commands print are the servers'."""
    tools = tools_of(one())
    trusted = {name for name, tool in tools.items() if not tool.untrusted}
    assert trusted == TRUSTED


async def test_every_changing_tool_takes_a_reason_and_a_selection() -> None:
    """Approvers read the reason; a model is told how to name several servers."""
    for name, tool in tools_of(one()).items():
        params = {param.name for param in tool.spec.params}
        assert not tool.mutates or {"reason", "server"} <= params, name
        assert len(tool.spec.description) > 30, name


async def test_the_only_server_is_the_default() -> None:
    """With one server nobody has to name it, and the answer names it."""
    fleet = one(commands={"df -P -T": said(recorded("df_gnu")), "df -P -i": said("")})
    result = await call(fleet, "disk_usage")
    assert result.output.startswith("⚠ web-3: /var is 94 % full, 4.1 GiB left.\n\n| Mounted on |")
    assert not result.is_error


async def test_with_several_servers_one_must_be_named() -> None:
    """The names are listed; a part of a name is enough, two candidates are not."""
    host = FakeHost(files={"/proc/meminfo": MEMINFO})
    fleet = FakeFleet(hosts={"web-1": host, "web-2": FakeHost(), "db": FakeHost()})
    assert (await call(fleet, "memory_usage")).output == (
        "Which server? There are 3: db, web-1, web-2."
    )
    assert (await call(fleet, "memory_usage", server="web")).output == (
        "web could be several servers: web-1, web-2."
    )
    assert (await call(fleet, "memory_usage", server="wbe-1")).output == (
        "There is no server called wbe-1. Did you mean web-1 or web-2?"
    )
    assert (await call(fleet, "memory_usage", server="WEB 1")).output.startswith("web-1: 44 % of")


async def test_another_tenants_servers_do_not_exist() -> None:
    """Not by default, not by name, not in the list."""
    fleet = one(files={"/proc/meminfo": MEMINFO})
    for name, arguments in (
        ("memory_usage", {}),
        ("memory_usage", {"server": "web-3"}),
        ("list_servers", {}),
    ):
        result = await call(fleet, name, STRANGER, **arguments)
        assert result.output == "No server is registered here yet."


async def test_the_list_of_servers() -> None:
    """Names and how they are reached."""
    result = await call(FakeFleet(hosts={"b": FakeHost(), "a": FakeHost()}), "list_servers")
    assert result.output.startswith("There are 2 servers.")
    assert "| a | ssh | production | normal |" in result.output


async def test_a_server_out_of_reach_is_a_sentence() -> None:
    """The connection's own sentence is the answer."""
    fleet = one(unreachable="web-3 does not answer on port 22.")
    result = await call(fleet, "disk_usage")
    assert (result.output, result.is_error) == ("web-3 does not answer on port 22.", True)


@pytest.mark.parametrize(
    ("commands", "sentence"),
    [
        ({}, "I cannot tell: the `df` command is not installed there."),
        ({"df": said("", hung=True)}, "`df` does not answer; a dead network file system"),
        (
            {"df": said("", status=1, stderr="df: oops")},
            "`df` shows no real file system (exit status 1).",
        ),
    ],
)
async def test_disk_usage_says_why_it_cannot_tell(
    commands: dict[str, object], sentence: str
) -> None:
    """A missing, hanging or failing df is told as such."""
    result = await call(one(commands=commands), "disk_usage")
    assert result.is_error
    assert sentence in result.output


async def test_a_dead_network_file_system_does_not_hide_the_local_ones() -> None:
    """When df hangs, the local file systems are shown with a warning."""
    commands = {
        "df -P -T -k": said("", hung=True),
        "df -P -T -k -l": said("/dev/vda1 ext4 1000 100 900 10% /\n"),
        "df -P -i": said("", hung=True),
    }
    result = await call(one(commands=commands), "disk_usage")
    assert result.output.startswith(
        "⚠ web-3: / is 10 % full, 900.0 KiB left. A network file system"
    )


async def test_an_old_busybox_df() -> None:
    """Without -T the answer has no types."""
    commands = {
        "df -P -T": said("", status=1, stderr="df: unrecognized option: T"),
        "df -P -k": said(recorded("df_busybox_plain")),
    }
    result = await call(one(commands=commands), "disk_usage")
    assert result.output.startswith("‼ web-3: / is 96 % full")


@pytest.mark.parametrize(
    "name", ["memory_usage", "system_load", "top_processes", "listening_ports"]
)
async def test_an_empty_machine_is_told_honestly(name: str) -> None:
    """Without any command or file the answer is that there is none."""
    result = await call(one(), name)
    assert result.is_error
    assert "I cannot tell" in result.output


async def test_ports_without_ss() -> None:
    """The kernel's tables answer when ss is not installed."""
    fleet = one(commands={"sh -c": said(recorded("proc_sockets"))})
    result = await call(fleet, "listening_ports", port=5432)
    assert "postgres (845) listens on port 5432 (tcp), for this machine only." in result.output


async def test_a_running_service() -> None:
    """Systemd's answer, judged."""
    fleet = one(commands=shows("nginx", "show_running"))
    result = await call(fleet, "service_status", service="nginx")
    assert result.output.startswith("web-3: nginx is running, since Sat")


async def test_a_service_under_its_other_name() -> None:
    """Who asks for ssh means sshd where the unit is called so."""
    fleet = one(commands=shows("sshd", "show_running"))
    result = await call(fleet, "service_status", service="ssh")
    assert "is running" in result.output


async def test_a_service_that_does_not_exist() -> None:
    """Similar names are offered."""
    result = await call(one(commands=SYSTEMD), "service_status", service="ngin")
    assert result.output == (
        "⚠ web-3: systemd knows no service called ngin. Similar: nginx, nginx-exporter."
    )


async def test_failed_services() -> None:
    """Without a name the failed ones are listed."""
    result = await call(one(commands=SYSTEMD), "service_status")
    assert result.output.startswith(
        "⚠ web-3: 2 services have failed: app.service, logrotate.service."
    )


@pytest.mark.parametrize("systemctl", [None, said("", status=1, stderr=NO_SYSTEMD)])
@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        ("postgresql", "postgresql is running: 2 processes, the oldest for 8 min"),
        ("mysql", "no process called mysql is running"),
    ],
)
async def test_a_service_without_systemd(systemctl: object, service: str, sentence: str) -> None:
    """In a container the process list answers, and says that it does."""
    commands = {"sh -c": said(recorded("snapshot"))} | (
        {"systemctl": systemctl} if systemctl else {}
    )
    result = await call(one(commands=commands), "service_status", service=service)
    assert sentence in result.output
    assert "systemd does not run here" in result.output


@pytest.mark.parametrize(
    "service", ["-x", "a b", "a;b", "$(x)", "../x", "a/b", "x" * 201 + "", "é"]
)
@pytest.mark.parametrize("name", ["service_status", "service_logs"])
async def test_odd_service_names_never_reach_the_server(name: str, service: str) -> None:
    """Only a unit's characters; nothing is run."""
    fleet = one(commands=SYSTEMD)
    tool = tools_of(fleet)[name]
    result = await tool.run(CONTEXT, {"service": service})
    assert result.is_error
    assert "is not a service name" in result.output
    assert fleet.hosts["web-3"].ran == []


@pytest.fixture
def here(tmp_path: Path) -> dict[str, Tool]:
    """The tools over the real machine."""
    protected = ProtectedPaths.of(tmp_path / "data")
    server = Server(id="s", tenant_id="ten_1", name="here", kind=ServerKind.LOCAL)
    connector = LocalConnector(host=LocalHost(protected))
    tools = fleet_tools(LocalInventory(server=server), connector, protected, KeptArtifacts())
    return {tool.spec.name: tool for tool in tools}


@pytest.mark.parametrize("name", ["disk_usage", "memory_usage", "system_load", "top_processes"])
async def test_the_real_machine_answers(here: dict[str, Tool], name: str) -> None:
    """The machine that runs the tests has a disk, memory, a load and processes."""
    result = await here[name].run(CONTEXT, {})
    assert not result.is_error
    assert "here: " in result.output
    assert result.output.count("\n| ") >= 3


async def test_a_real_listener_is_found(here: dict[str, Tool]) -> None:
    """A socket that listens now is reported with its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = await here["listening_ports"].run(CONTEXT, {"port": port})
    assert f"listens on port {port} (tcp), for this machine only." in result.output


@dataclass(frozen=True)
class Slim:
    """The real machine, as if these commands were not installed."""

    host: LocalHost
    missing: frozenset[str]

    async def run(self, argv: Sequence[str], *, timeout_s: float, max_bytes: int) -> CommandResult:
        """Run what is installed."""
        if argv[0] in self.missing:
            return said(status=NOT_INSTALLED)
        return await self.host.run(argv, timeout_s=timeout_s, max_bytes=max_bytes)

    async def read_file(
        self, path: str, *, max_bytes: int, tail: bool = False
    ) -> FileRead | FileProblem:
        """Read as the host does."""
        return await self.host.read_file(path, max_bytes=max_bytes, tail=tail)

    async def shell(  # the port's signature
        self,
        command: str,
        *,
        timeout_s: float,
        max_bytes: int,
        sudo: bool = False,
        stdin: bytes = b"",
        keep_bytes: int = 0,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Not needed by a look."""
        raise NotImplementedError

    async def write_file(
        self, path: str, data: bytes, *, expected_sha256: str | None, sudo: bool = False
    ) -> FileProblem | FileWritten:
        """Not needed by a look."""
        raise NotImplementedError


async def test_a_slim_container_is_understood_too() -> None:
    """Without ss and systemctl the kernel's own tables name the listener and the process."""
    host = Slim(host=LocalHost(PROTECTED), missing=frozenset({"ss", "systemctl", "ps"}))
    server = Server(id="s", tenant_id="ten_1", name="here", kind=ServerKind.LOCAL)
    connector = LocalConnector(host=host)
    inventory = LocalInventory(server=server)
    found = fleet_tools(inventory, connector, PROTECTED, KeptArtifacts())
    tools = {tool.spec.name: tool for tool in found}
    name = OWN_NAME
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ports = await tools["listening_ports"].run(CONTEXT, {"port": port})
    assert f"{name} ({os.getpid()}) listens on port {port} (tcp), for this machine" in ports.output
    status = await tools["service_status"].run(CONTEXT, {"service": name})
    assert f"here: {name} is running: " in status.output
    assert "systemd does not run here" in status.output


async def test_a_real_service_question_is_answered(here: dict[str, Tool]) -> None:
    """Whatever init system runs here, a service that does not exist is not running."""
    result = await here["service_status"].run(CONTEXT, {"service": "no-such-thing"})
    assert "no-such-thing" in result.output
    assert result.output.startswith("⚠ here: ")


async def test_a_real_file_is_read(here: dict[str, Tool], tmp_path: Path) -> None:
    """A file's text arrives; IT0's own data does not."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "it0.db").write_text("canary")
    (tmp_path / "note").write_text("hello\n")
    (tmp_path / "way").symlink_to(tmp_path / "data" / "it0.db")
    shown = await here["read_file"].run(CONTEXT, {"path": str(tmp_path / "note")})
    assert "hello" in shown.output
    for path in ("data/it0.db", "way"):
        refused = await here["read_file"].run(CONTEXT, {"path": str(tmp_path / path)})
        assert refused.is_error
        assert "canary" not in refused.output
