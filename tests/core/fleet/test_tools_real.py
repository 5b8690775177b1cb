"""The scripts that the tools run, on the machine that runs the tests."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.fleet.exact import MAX_FILE_BYTES, Exact, read_exact
from core.fleet.host import FileProblem, FileProblemKind
from core.fleet.inventory import LocalInventory, Server, ServerKind
from core.fleet.local import LocalConnector, LocalHost
from core.fleet.tools import fleet_tools
from core.protected import ProtectedPaths
from core.risk import Assessment
from core.tools import Tool, ToolResult, check_arguments
from tests.core.fleet.kit import CONTEXT
from tests.fakes.artifacts import KeptArtifacts

SERVER = Server(id="s", tenant_id="ten_1", name="here", kind=ServerKind.LOCAL, user="root")


@pytest.fixture
def protected(tmp_path: Path) -> ProtectedPaths:
    """IT0's own data, below the test's folder."""
    return ProtectedPaths.of(tmp_path / "data")


@pytest.fixture
def tools(protected: ProtectedPaths) -> dict[str, Tool]:
    """The tools over the real machine."""
    connector = LocalConnector(host=LocalHost(protected))
    found = fleet_tools(LocalInventory(server=SERVER), connector, protected, KeptArtifacts())
    return {tool.spec.name: tool for tool in found}


async def call(tools: dict[str, Tool], called: str, /, **arguments: str | int) -> ToolResult:
    """Assess and run, as the door does after an approval."""
    checked = check_arguments(tools[called].spec, arguments)
    assert not isinstance(checked, str), checked
    assessed = await tools[called].assess(CONTEXT, checked)
    assert not assessed.problem, assessed.problem
    return await tools[called].run(CONTEXT, checked)


@pytest.mark.parametrize(
    "data", [b"", b"text\n", bytes(range(256)) * 300, "名\r\n".encode(), b"no end"]
)
async def test_a_file_is_read_byte_for_byte(
    tmp_path: Path, protected: ProtectedPaths, data: bytes
) -> None:
    """Whatever it holds, under a name with spaces and quotes, through a link."""
    file = tmp_path / "a 'b' \"c\" $(d)"
    file.write_bytes(data)
    (tmp_path / "way").symlink_to(file)
    for path in (file, tmp_path / "way"):
        read = await read_exact(LocalHost(protected), str(path), protected, sudo=False)
        assert read == Exact(path=str(file), data=data)


async def test_what_is_no_file_or_not_ours_is_a_problem(
    tmp_path: Path, protected: ProtectedPaths
) -> None:
    """A folder, one that is too large, one of IT0's by a link or a second name."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "it0.db").write_text("canary")
    (tmp_path / "link").symlink_to(data / "it0.db")
    (tmp_path / "second").hardlink_to(data / "it0.db")
    (tmp_path / "big").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    host = LocalHost(protected)
    kinds = {}
    for name in ("data", "link", "second", "big", "."):
        read = await read_exact(host, str(tmp_path / name), protected, sudo=False)
        assert isinstance(read, FileProblem), name
        kinds[name] = read.kind
    assert kinds == {
        "data": FileProblemKind.PROTECTED,
        "link": FileProblemKind.PROTECTED,
        "second": FileProblemKind.PROTECTED,
        "big": FileProblemKind.FAILED,
        ".": FileProblemKind.NOT_A_FILE,
    }
    missing = await read_exact(host, str(tmp_path / "none"), protected, sudo=False)
    assert missing == Exact(path=str(tmp_path / "none"), exists=False)


async def test_a_new_file_below_a_linked_folder_is_judged_where_it_would_be(
    tools: dict[str, Tool], tmp_path: Path
) -> None:
    """The approver sees the real path; no link leads to what is protected."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "lnk").symlink_to(real)
    (tmp_path / "own").symlink_to(tmp_path / "data")

    async def assess(path: str) -> Assessment:
        arguments = {"path": str(tmp_path / path), "content": "x"}
        return await tools["edit_file"].assess(CONTEXT, arguments)

    linked = await assess("lnk/new")
    assert f"(really {real}/new)" in linked.action
    assert f"+++ {real}/new" in linked.change
    assert "protected" in (await assess("own/new")).problem


def _taken(path: str) -> str:
    """The text of a file that is removed."""
    file = Path(path)
    text = file.read_text()
    file.unlink()
    return text


async def test_a_real_edit_and_a_real_copy(tools: dict[str, Tool], tmp_path: Path) -> None:
    """Written at once, mode kept, the old content kept where the answer says."""
    file = tmp_path / "app.conf"
    file.write_text("port = 80\n")
    file.chmod(0o640)
    result = await call(tools, "edit_file", path=str(file), old="80", new="8080")
    assert not result.is_error, result.output
    assert file.read_text() == "port = 8080\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert _taken(result.output.split("The old content is in ")[1].split(";")[0]) == "port = 80\n"
    copy = tmp_path / "copy.conf"
    copied = await call(tools, "copy_file", from_server="here", path=str(file), to_path=str(copy))
    assert not copied.is_error, copied.output
    assert copy.read_text() == "port = 8080\n"


async def test_a_real_command(tools: dict[str, Tool], tmp_path: Path) -> None:
    """Its text, its status, its duration; a long output is cut and kept whole."""
    (tmp_path / "a").write_text("x\n")
    shown = await call(tools, "run_command", command=f"ls {tmp_path}")
    assert "```text\na\n```" in shown.output
    assert shown.exit_status == 0
    failed = await call(tools, "run_command", command="ls /no/such/place")
    assert failed.is_error
    assert "No such file" in failed.output
    long = await call(tools, "run_command", command="seq 1 30000")
    assert long.artifact
    assert "\n30000" in long.output
    part = await call(tools, "read_artifact", id=long.artifact, from_line=-1)
    assert "30000: 30000" in part.output


async def test_a_command_that_takes_too_long_is_ended(tools: dict[str, Tool]) -> None:
    """And says so."""
    result = await call(tools, "run_command", command="sleep 60", timeout_s=1)
    assert "did not end within 1 s; it was ended" in result.output


async def test_a_real_compressed_log(tools: dict[str, Tool], tmp_path: Path) -> None:
    """The rotated file is unpacked and read in the same time range."""
    now = datetime.now(UTC)

    def line(hours: int) -> str:
        return f"{(now - timedelta(hours=hours)).isoformat()} app: {hours} hours\n"

    log = tmp_path / "app.log"
    log.write_text(line(2) + line(1))
    packed = gzip.compress("".join(line(hours) for hours in range(30, 2, -1)).encode())
    (tmp_path / "app.log.1.gz").write_bytes(packed)
    result = await call(tools, "file_logs", path=str(log), since="5 hours ago", lines=50)
    assert "and 1 older file" in result.output
    told = [int(each.split()[2]) for each in result.output.splitlines() if " app: " in each]
    assert told in ([4, 3, 2, 1], [5, 4, 3, 2, 1])
    alone = await call(tools, "file_logs", path=f"{log}.1.gz", lines=1)
    assert "app: 3 hours" in alone.output


async def test_facts_of_the_real_machine(tools: dict[str, Tool]) -> None:
    """Kernel, system, time zone and a sysctl are told."""
    for what in ("kernel", "os", "time zone"):
        result = await call(tools, "compare_servers", what=what)
        assert "1 server answered" in result.output, result.output


@pytest.mark.slow  # apt reads all its lists
@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs a Debian")
async def test_packages_of_the_real_machine(tools: dict[str, Tool]) -> None:
    """A version, and that one is not there; the simulation changes nothing."""
    assert " is installed." in (await call(tools, "packages", name="dpkg")).output
    missing = await call(tools, "packages", name="no-such-package-here")
    assert "no-such-package-here is not installed." in missing.output
    assessed = await tools["package_change"].assess(CONTEXT, {"action": "remove", "name": "dpkg"})
    assert assessed.problem or "dpkg" in assessed.change


@asynccontextmanager
async def tls_server(folder: Path, days: int) -> AsyncIterator[int]:
    """A server with a certificate of its own; its port."""
    key, cert = folder / "k.pem", folder / "c.pem"
    process = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days)),
        *("-keyout", key, "-out", cert, "-subj", "/CN=here.example"),
        *("-addext", "subjectAltName=DNS:here.example,DNS:other.example"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_a_real_endpoints_certificate(tools: dict[str, Tool], tmp_path: Path) -> None:
    """Days left and names, over TLS; a port where nobody listens is named."""
    async with tls_server(tmp_path, 10) as port:
        result = await call(tools, "certificates", endpoints=f"localhost:{port}, localhost:1")
    assert re.search(rf"here\.example \(localhost:{port}\) ends in (?:9|10) days", result.output)
    assert "No certificate at localhost:1." in result.output
    assert "here.example, other.example" in result.output


async def test_nothing_runs_for_a_stranger(tools: dict[str, Tool], tmp_path: Path) -> None:
    """Another tenant has no servers here, whatever it calls."""
    stranger = replace(CONTEXT, tenant_id="ten_2")
    file = tmp_path / "f"
    file.write_text("x")
    for name, arguments in (
        ("run_command", {"command": f"touch {tmp_path}/made"}),
        ("edit_file", {"path": str(file), "content": "y"}),
        ("copy_file", {"from_server": "here", "path": str(file)}),
        ("service_control", {"action": "stop", "service": "cron"}),
        ("package_change", {"action": "remove", "name": "dpkg"}),
        ("reboot", {}),
    ):
        assessed = await tools[name].assess(stranger, arguments)
        assert assessed.problem == "No server is registered here yet.", name
        assert (await tools[name].run(stranger, arguments)).is_error
    assert file.read_text() == "x"
    assert not (tmp_path / "made").exists()
