"""The tools over real OpenSSH servers: many, dead ones, sudo, a connection that breaks."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core.fleet.inventory import Server, SudoPolicy
from core.fleet.ssh import SshConnector
from core.fleet.tools import fleet_tools
from core.protected import ProtectedPaths
from core.risk import Assessment, Level
from core.tools import Tool, ToolResult, check_arguments
from tests.core.fleet.kit import CONTEXT
from tests.fakes.artifacts import KeptArtifacts
from tests.support.processes import free_port
from tests.support.sshd import Proxy, Sshd, SshdKit, make_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass
class Fleet:
    """Servers and the tools over them."""

    connector: SshConnector
    entries: tuple[Server, ...]
    artifacts: KeptArtifacts

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """Those of the one tenant."""
        return self.entries if tenant_id == CONTEXT.tenant_id else ()

    def tool(self, called: str) -> Tool:
        """A tool by its name."""
        tools = fleet_tools(self, self.connector, ProtectedPaths(), self.artifacts)
        return next(tool for tool in tools if tool.spec.name == called)

    async def call(
        self,
        called: str,
        /,
        *,
        progress: Callable[[str], None] = CONTEXT.progress,
        **arguments: str | int,
    ) -> tuple[Assessment, ToolResult]:
        """Assess, then run, as the door does after an approval."""
        tool, context = self.tool(called), replace(CONTEXT, progress=progress)
        checked = check_arguments(tool.spec, arguments)
        assert not isinstance(checked, str), checked
        assessed = await tool.assess(context, checked)
        assert not assessed.problem, assessed.problem
        return assessed, await tool.run(context, checked)


@pytest.fixture(scope="module")
def sshds(kit: SshdKit) -> tuple[Sshd, ...]:
    """Three servers."""
    return kit.start("web-1", "web-2", "web-3")


@pytest.fixture
def roots_folder(sudo_user: str) -> Iterator[Path]:
    """A folder that is no scratch space, and root's alone."""
    assert sudo_user
    with tempfile.TemporaryDirectory(dir="/srv") as folder:
        yield Path(folder)


def fleet_of(connector: SshConnector, *servers: Server) -> Fleet:
    """A fleet of these."""
    return Fleet(connector=connector, entries=servers, artifacts=KeptArtifacts())


async def test_a_fact_from_all_and_a_dead_host(
    sshds: tuple[Sshd, ...], fleet: SshConnector
) -> None:
    """Equal answers once; the dead one is named with its reason."""
    dead = make_server("dead", port=free_port(), host_key=sshds[0].host_key)
    site = fleet_of(fleet, *(sshd.server() for sshd in sshds), dead)
    _, result = await site.call("run_command", command="uname -s", server="all")
    assert result.output.startswith("‼ 1 of 4 servers failed: dead; 3 servers done.")
    assert "### web-1, web-2, web-3" in result.output
    assert result.output.count("Linux") == 1
    _, disks = await site.call("disk_usage", server="web-1, web-2, dead")
    assert "1 of 3 servers gave no answer: dead" in disks.output.splitlines()[0]
    assert not disks.is_error


async def test_ten_megabytes_of_output(sshds: tuple[Sshd, ...], fleet: SshConnector) -> None:
    """Both ends are shown, the rest is an artifact."""
    site = fleet_of(fleet, sshds[0].server())
    _, result = await site.call("run_command", command="seq -f %0100g 1 100000", timeout_s=120)
    assert result.exit_status == 0
    assert "0100000\n" in result.output
    assert len(result.output) < 20_000
    (_, data) = site.artifacts.kept[result.artifact]
    assert len(data) > 9_000_000
    assert len(data.splitlines()) == 100_000
    assert site.artifacts.totals[0] > 9_000_000


async def test_a_connection_that_breaks_in_the_middle(
    sshds: tuple[Sshd, ...], fleet: SshConnector, tmp_path: Path
) -> None:
    """The outcome is unknown, the rollout stops, and nothing is run a second time."""
    ran = tmp_path / "ran"
    begun = asyncio.Event()
    async with Proxy(sshds[0].port) as proxy:
        site = fleet_of(fleet, sshds[0].server(port=proxy.port), sshds[1].server())
        call = asyncio.create_task(
            site.call(
                "run_command",
                command=f"echo x >> {ran}; echo begun; sleep 30",
                server="all",
                progress=lambda _line: begun.set(),
            )
        )
        await asyncio.wait_for(begun.wait(), 20)
        proxy.cut()
        _, result = await call
    assert result.is_error
    assert "outcome unknown" in result.output
    assert "1 not touched, because of the failure: web-2" in result.output
    assert await asyncio.to_thread(ran.read_text) == "x\n"


def _remove(backup: str) -> None:
    """What is kept outside of the test's folder."""
    Path(backup).unlink()


async def test_an_edit_and_a_copy_as_a_normal_account_with_sudo(
    sshds: tuple[Sshd, ...], fleet: SshConnector, sudo_user: str, roots_folder: Path
) -> None:
    """A file that only root may read: shown as a diff, written, copied byte for byte."""
    file, copy = roots_folder / "app.conf", roots_folder / "copy.conf"
    file.write_text("port = 80\n")
    file.chmod(0o600)
    servers = [each.server(user=sudo_user, sudo=SudoPolicy.ALLOWED) for each in sshds[:2]]
    site = fleet_of(fleet, *servers)
    assessed, result = await site.call(
        "edit_file", path=str(file), old="80", new="81", server="web-1"
    )
    assert assessed.level is Level.L2
    assert "-port = 80\n+port = 81" in assessed.change
    assert not result.is_error, result.output
    _remove(result.output.split("The old content is in ")[1].split(";")[0])
    file.write_bytes(bytes(range(256)) * 1_000)
    assessed, result = await site.call(
        "copy_file", from_server="web-1", path=str(file), to_path=str(copy), server="web-2"
    )
    assert not result.is_error, result.output
    assert hashlib.sha256(file.read_bytes()).hexdigest() in assessed.change
    assert copy.read_bytes() == file.read_bytes()


async def test_root_is_not_used_where_the_server_asks_first(
    sshds: tuple[Sshd, ...], fleet: SshConnector, sudo_user: str, tmp_path: Path
) -> None:
    """The question itself takes no rights that only its answer may give."""
    file = tmp_path / "secret.conf"
    file.write_text("port = 80\n")
    file.chmod(0o600)
    site = fleet_of(fleet, sshds[0].server(user=sudo_user, sudo=SudoPolicy.ASK))
    tool = site.tool("edit_file")
    assessed = await tool.assess(CONTEXT, {"path": str(file), "content": "port = 81\n"})
    assert "port = 80" not in assessed.change
