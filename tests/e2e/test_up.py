"""``it0`` as its operator runs it: real processes, real signals, real files."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import cli
from tests.support.processes import Process, free_port

IT0 = [sys.executable, "-m", "cli"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def fake() -> Iterator[str]:
    """The provider, as its own process; its URL."""
    command = [sys.executable, "-m", "tests.fakes.anthropic", "--port", "0"]
    with Process(command, cwd=ROOT) as process:
        yield process.wait_for(r"http://\S+").group()


def up(data_dir: Path, **environ: str) -> Process:
    """Start ``it0 up`` on a free port."""
    env = {"IT0_DATA_DIR": str(data_dir), "IT0_HTTP_PORT": "0", **environ}
    return Process([*IT0, "up"], env={**env, "PYTHONPATH": str(ROOT)}, cwd=data_dir.parent)


def url_of(process: Process) -> str:
    """Where it serves, once it is ready."""
    return process.wait_for(r"API\s+(http://\S+)/api/v1").group(1)


def it0(data_dir: Path, *arguments: str, stdin: str = "", **environ: str) -> tuple[int, str, str]:
    """Run a command to its end: status, output, errors."""
    done = subprocess.run(
        [*IT0, *arguments],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        cwd=data_dir.parent,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "IT0_DATA_DIR": str(data_dir),
            **environ,
        },
    )
    return done.returncode, done.stdout, done.stderr


def post(url: str, token: str, body: object, **headers: str) -> Iterator[tuple[str, str, str]]:
    """Post a message and yield its events as (id, name, data)."""
    request = urllib.request.Request(
        f"{url}/api/v1/agent/turns",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            **headers,
        },
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        fields = {"id": "", "event": "", "data": ""}
        for raw in response:
            line = raw.decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if name in fields:
                fields[name] = value
            elif not line and fields["data"]:
                yield fields["id"], fields["event"], fields["data"]


def follow(url: str, token: str, turn_id: str, last: str) -> list[tuple[str, str]]:
    """The rest of a turn's events as (name, data)."""
    request = urllib.request.Request(
        f"{url}/api/v1/agent/turns/{turn_id}/events",
        headers={"Authorization": f"Bearer {token}", "Last-Event-ID": last},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read().decode()
    return re.findall(r"event: (\w+)\ndata: (.*)\n", text)


def test_up_says_where_to_go_and_stops_cleanly(data_dir: Path) -> None:
    """The banner names the address, the engine, the data and what is missing; SIGTERM ends it."""
    with up(data_dir) as process:
        url = url_of(process)
        banner = process.output()
        assert "runbook" in banner
        assert "ANTHROPIC_API_KEY" in banner
        assert str(data_dir) in banner
        assert "admin@localhost" in banner
        status, out, _ = it0(data_dir, "chat", "--once", "how full are the disks?")
        assert status == 0
        assert "%" in out
        assert "offline" in out.casefold()
        assert it0(data_dir, "check")[0] == 0
        assert urllib.request.urlopen(f"{url}/readyz").status == 200
        process.terminate()
        assert process.wait() == 0
        assert "Traceback" not in process.output()
    assert it0(data_dir, "audit", "verify")[1].startswith(
        "The audit log is intact: 2 rows of 1 team."
    )


def test_chat_embeds_the_core_when_nothing_runs(data_dir: Path) -> None:
    """``it0 chat`` works alone, and what it did is there afterwards."""
    status, out, _ = it0(data_dir, "chat", "--once", "-", "--json", stdin="load?")
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [events[0]["event"], events[-1]["event"]] == ["turn", "completed"]
    conversation = events[0]["conversation_id"]
    status, out, _ = it0(data_dir, "chat", "--once", "/sessions", "--conversation", conversation)
    assert (status, "load?" in out) == (0, True)


def test_the_data_directory_has_one_holder(data_dir: Path) -> None:
    """A second ``it0 up`` is refused with the first one's process id."""
    with up(data_dir) as first:
        url_of(first)
        status, _, errors = it0(data_dir, "up")
        assert status == 1
        assert f"process {first.pid}" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("environ", "phrase"),
    [
        ({"IT0_HTTP_PORT": "eighty"}, "IT0_HTTP_PORT"),
        ({"IT0_ENGINE": "claude_api"}, "ANTHROPIC_API_KEY"),
        ({"IT0_DATABASE_URL": "mysql://x/y"}, "IT0_DATABASE_URL"),
        ({"IT0_DATABASE_URL": "postgresql://u:p@127.0.0.1:9/x"}, "IT0_SECRET_KEY"),
        (
            {
                "IT0_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/x",
                "IT0_SECRET_KEY": "k" * 64,
            },
            "PostgreSQL cannot be reached",
        ),
        ({"IT0_DATA_DIR": "/proc/nowhere"}, "data directory"),
    ],
)
def test_wrong_settings_stop_the_start_with_a_sentence(
    data_dir: Path, environ: dict[str, str], phrase: str
) -> None:
    """The sentence names the variable; no traceback, no secret."""
    status, _, errors = it0(data_dir, "up", **environ)
    assert status == 1
    assert phrase in errors
    assert "Traceback" not in errors
    assert "hunter2" not in errors


def test_a_port_in_use_is_said(data_dir: Path) -> None:
    """The sentence names the port and the variable."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, _, errors = it0(data_dir, "up", IT0_HTTP_PORT=port)
    assert status == 1
    assert port in errors
    assert "IT0_HTTP_PORT" in errors
    assert "Traceback" not in errors


def test_a_wrong_key_is_refused(data_dir: Path) -> None:
    """A database made with one key does not open with another."""
    assert it0(data_dir, "migrate")[0] == 0
    status, _, errors = it0(data_dir, "migrate", IT0_SECRET_KEY="k" * 64)
    assert status == 1
    assert "IT0_SECRET_KEY" in errors
    assert it0(data_dir, "migrate")[0] == 0


def test_single_roles_need_postgresql(data_dir: Path) -> None:
    """On SQLite the sentence points to ``it0 up``."""
    for role in ("serve", "worker"):
        status, _, errors = it0(data_dir, role)
        assert status == 1
        assert "it0 up" in errors


def test_people_and_tokens(data_dir: Path) -> None:
    """Users are added and listed; a token works on the API; an unknown person is named."""
    assert it0(data_dir, "user", "add", "ada@example.com", "--role", "viewer")[0] == 0
    assert "ada@example.com" in it0(data_dir, "user", "list")[1]
    assert it0(data_dir, "user", "add", "ada@example.com")[0] == 1
    assert "nobody@example.com" in it0(data_dir, "token", "nobody@example.com")[2]
    status, token, _ = it0(data_dir, "token", "ada@example.com", "--days", "1")
    assert status == 0
    with up(data_dir) as process:
        events = list(post(url_of(process), token.strip(), {"text": "/whoami"}))
        assert "ada@example.com" in events[-1][2]
        assert "viewer" in events[-1][2]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_leavers_roles_and_stolen_tokens(data_dir: Path) -> None:
    """Roles change, leavers are shut out, tokens are listed and revoked; the last admin stays."""
    it0(data_dir, "user", "add", "Ada@example.com")
    assert "admin now" in it0(data_dir, "user", "role", "ada@example.com", "admin")[1]
    token = it0(data_dir, "token", "ada@example.com")[1].strip()
    status, listed, _ = it0(data_dir, "token", "--list")
    assert (status, "ada@example.com" in listed) == (0, True)
    assert token not in listed
    assert it0(data_dir, "token", "--revoke", listed.split()[0])[0] == 0
    assert it0(data_dir, "token", "--list")[1] == ""
    assert it0(data_dir, "token", "--revoke", listed.split()[0])[0] == 1
    assert it0(data_dir, "user", "disable", "ADA@example.com")[0] == 0
    assert "ada" not in it0(data_dir, "user", "list")[1]
    status, _, errors = it0(data_dir, "user", "disable", "admin@localhost")
    assert (status, "last admin" in errors) == (1, True)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_w1_an_answer_cut_by_a_restart_is_finished(data_dir: Path, fake: str, how: str) -> None:
    """A turn that was streaming when its process died ends after the restart, once."""
    environ = {
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": fake,
        "IT0_SHUTDOWN_GRACE_S": "0",
    }
    token = it0(data_dir, "token")[1].strip()
    with up(data_dir, **environ) as process:
        url = url_of(process)
        events = post(url, token, {"text": "[[chunk 50]] [[text 60]]"})
        turn_id = json.loads(next(events)[2])["turn_id"]
        last = next(events)[0]
        if how == "kill":
            process.kill()
        else:
            process.terminate()
            assert process.wait() == 0
    with up(data_dir, **environ) as process:
        rest = follow(url_of(process), token, turn_id, last)
    names = [name for name, _ in rest]
    final = json.loads(rest[-1][1])
    assert names[-1] == "completed"
    assert "text_reset" in names
    assert final["outcome"] == "answered"
    assert final["reply"].split()[:2] == ["w0", "w1"]
    assert final["reply"].count("w59") == 1
    with sqlite3.connect(data_dir / "it0.db") as database:
        states = database.execute("SELECT state FROM model_calls ORDER BY id").fetchall()
        failures = database.execute("SELECT failures FROM turns").fetchall()
    assert states == [("estimated",), ("settled",)]
    assert failures == [(1 if how == "kill" else 0,)]


@pytest.mark.slow
def test_a_locked_database_is_said_and_nothing_is_lost(data_dir: Path) -> None:
    """While another program holds the lock the API answers 503; afterwards all goes on."""
    token = it0(data_dir, "token")[1].strip()
    with up(data_dir) as process:
        url = url_of(process)
        locker = sqlite3.connect(data_dir / "it0.db", isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        with pytest.raises(urllib.error.HTTPError) as refused:
            list(post(url, token, {"text": "/whoami"}))
        assert refused.value.code == 503
        assert refused.value.headers["Retry-After"]
        problem = json.loads(refused.value.read())
        assert problem["code"] == "storage_busy"
        locker.execute("ROLLBACK")
        locker.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                events = list(post(url, token, {"text": "/whoami"}))
                break
            except urllib.error.HTTPError:
                time.sleep(0.5)
        assert json.loads(events[-1][2])["outcome"] == "answered"


def test_check_says_in_words_why_the_provider_is_out_of_reach(data_dir: Path) -> None:
    """A refused connection is called that; no object of a library is shown."""
    status, out, _ = it0(
        data_dir,
        "check",
        ANTHROPIC_API_KEY="sk-ant-test",
        ANTHROPIC_BASE_URL=f"http://127.0.0.1:{free_port()}",
    )
    assert status == 1
    assert "cannot be reached: connection refused." in out
    assert "object at" not in out


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_backup_restores_elsewhere(data_dir: Path, tmp_path: Path) -> None:
    """What was said is there after a restore, under the same key; a full place is refused."""
    it0(data_dir, "chat", "--once", "load?")
    file = str(tmp_path / "backup.it0")
    assert it0(data_dir, "backup", file)[0] == 0
    other = tmp_path / "other" / "data"
    other.parent.mkdir()
    status, out, errors = it0(other, "restore", file)
    assert (status, errors) == (0, "")
    assert "rows" in out
    assert "load?" in it0(other, "chat", "--once", "/sessions")[1]
    assert "1 row of 1 team" in it0(other, "audit", "verify")[1]
    status, _, errors = it0(other, "restore", file)
    assert status == 1
    assert "Traceback" not in errors


def test_check_changes_nothing(data_dir: Path) -> None:
    """Before the first start nothing is made; afterwards every byte stays, and a fault is said."""
    status, out, _ = it0(data_dir, "check")
    assert (status, "not made yet" in out) == (0, True)
    assert not data_dir.exists()
    assert it0(data_dir, "migrate")[0] == 0
    before = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    status, out, _ = it0(data_dir, "check")
    assert (status, "Storage  ok" in out) == (0, True)
    assert {path.name: path.read_bytes() for path in data_dir.iterdir()} == before
    status, out, _ = it0(data_dir, "check", IT0_SECRET_KEY="k" * 64)
    assert (status, "not the one" in out) == (1, True)


def test_check_says_whether_the_provider_can_be_reached(data_dir: Path, fake: str) -> None:
    """It is not asked anything, and gets no key; with a dead address the status is 1."""
    key = {"ANTHROPIC_API_KEY": "sk-ant-test"}
    status, out, _ = it0(data_dir, "check", ANTHROPIC_BASE_URL=fake, **key)
    assert (status, "Provider reachable" in out) == (0, True)
    status, out, _ = it0(data_dir, "check", ANTHROPIC_BASE_URL="http://127.0.0.1:9", **key)
    assert (status, "http://127.0.0.1:9 cannot be reached" in out) == (1, True)


def test_check_names_misspelled_settings_beside_wrong_ones(data_dir: Path) -> None:
    """Both are on the error output at once."""
    status, _, errors = it0(data_dir, "check", IT0_HTTP_PORT="eighty", IT0_ENGIN="runbook")
    assert status == 1
    assert "Did you mean IT0_ENGINE?" in errors
    assert "IT0_HTTP_PORT" in errors


def test_what_the_system_refuses_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the system that nobody foresaw gets no traceback, whatever the command."""

    def full(_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/it0.db")

    monkeypatch.setattr(cli, "_check", full)
    before = os.umask(0o022)
    try:
        assert cli.main(["check"]) == 1
    finally:
        os.umask(before)
    sentence = "it0: The system refused: /data/it0.db: No space left on device.\n"
    assert capsys.readouterr().err == sentence


def test_what_is_written_is_private(data_dir: Path, tmp_path: Path) -> None:
    """Database, key, lock and backups are readable by their owner alone."""
    it0(data_dir, "chat", "--once", "load?")
    it0(data_dir, "backup", str(tmp_path / "b.it0"))
    for path in (data_dir, *data_dir.rglob("*"), tmp_path / "b.it0"):
        assert path.stat().st_mode & 0o077 == 0, path
