"""The launcher, with small programs in the place of the CLI (`env`, `cat`, `sleep`)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.engines.cli_home import Homes, HomesConfig
from core.errors import EngineFailure
from tests.support.cli_homes import (
    ROOT,
    UID,
    a_place,
    environment,
    homes_in,
    needs_root,
    run,
    users,
    wait_for,
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can come to."""
    with a_place() as made:
        yield made


def test_a_cli_that_does_not_start(place: Path) -> None:
    """The sentence repeats what the program said."""
    homes = Homes(HomesConfig(root=place / "cli", cli=place / "missing"))
    with pytest.raises(EngineFailure, match=r"does not start: it0: .*missing"):
        homes.prepare()


def test_the_environment_starts_empty(place: Path) -> None:
    """Nothing of IT0's own environment reaches the child, whatever it is called."""
    home = homes_in(place, cli="env").of("ten_a", "conv_a")
    lines = run(home, CANARY="c", ANTHROPIC_AUTH_TOKEN="t", LD_PRELOAD="", BASH_ENV="x").stdout
    seen = dict(line.split("=", 1) for line in lines.splitlines())
    assert {name for name in seen if name not in environment(home)} <= {"PWD"}
    assert seen["ANTHROPIC_API_KEY"] == "sk-mine"
    assert not any(name.startswith("IT0_") for name in seen)
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in seen


def test_what_an_engine_may_change(place: Path) -> None:
    """A setting may be changed; where the child lives and who pays may not."""
    home = homes_in(place).of("ten_a", "conv_a")
    assert environment(home, PATH="/usr/bin")["PATH"] == "/usr/bin"
    assert "NODE_EXTRA_CA_CERTS" in environment(home, NODE_EXTRA_CA_CERTS="/ca.pem")["IT0_NAMES"]
    for name in ("HOME", "CLAUDE_CONFIG_DIR", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        with pytest.raises(ValueError, match=name):
            environment(home, **{name: "x"})


@pytest.mark.parametrize("uid", users())
def test_what_the_child_is(place: Path, uid: int | None) -> None:
    """As /proc shows it: user, groups, capabilities, no way back, limits, session, mask."""
    home = homes_in(place, cli="cat", uid=uid).of("ten_a", "conv_a")
    secret = os.open(__file__, os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        shown = subprocess.run(
            [str(home.launcher), "/proc/self/status", "/proc/self/limits", f"/dev/fd/{secret}"],
            cwd=home.cwd,
            env=environment(home),
            capture_output=True,
            text=True,
            check=False,
            close_fds=False,
        )
    finally:
        os.close(secret)
    assert "No such file" in shown.stderr  # the inherited file was closed
    fields = dict(line.split(":\t", 1) for line in shown.stdout.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["Umask"] == "0077"
    assert fields["NSsid"] == fields["NSpgid"] == fields["Pid"]
    assert "Max core file size        0                    0" in shown.stdout
    if uid is not None:
        assert fields["Uid"].split() == fields["Gid"].split() == [str(uid)] * 4
        assert not fields["Groups"].strip()
        assert {fields[name].strip("0") for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {
            ""
        }


@needs_root
def test_a_dropped_child_reads_no_secret(place: Path) -> None:
    """Not IT0's data, not its environment, not another tenant's home where it may not look."""
    data = place / "data"
    data.mkdir(mode=0o700)
    (data / "it0.db").write_text("secret")
    homes = homes_in(place, cli="cat", uid=UID)
    home = homes.of("ten_a", "conv_a")
    for path in (data / "it0.db", Path(f"/proc/{os.getpid()}/environ"), homes.launcher):
        done = run(home, str(path))
        assert (done.stdout, "Permission denied" in done.stderr) == ("", True), path


@needs_root
def test_a_home_that_was_closed_later(place: Path) -> None:
    """A child that cannot come to its directory by its path is not started."""
    home = homes_in(place, uid=UID).of("ten_a", "conv_a")
    place.chmod(0o700)
    done = run(home)
    assert (done.returncode, "PermissionError" in done.stderr) == (126, True)


@needs_root
def test_a_cli_that_the_uid_cannot_reach(place: Path) -> None:
    """A program under a closed directory, as a virtual environment of root is, still starts."""
    closed = place / "venv"
    closed.mkdir(mode=0o700)
    program = shutil.copy(str(shutil.which("id")), closed / "claude")
    homes = Homes(HomesConfig(root=place / "cli", uid=UID, cli=Path(program)))
    homes.prepare()
    assert run(homes.of("ten_a", "conv_a"), "-u").stdout == f"{UID}\n"
    Path(program).chmod(0o700)
    with pytest.raises(EngineFailure, match=f"chmod o\\+rx {program}"):
        homes.prepare()


@pytest.fixture
def parent(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts a child and tells its pid."""
    home = homes_in(place, cli="sleep", uid=UID if ROOT else None).of("ten_a", "conv_a")
    program = (
        "import os, subprocess, sys, time\n"
        f"env = {environment(home)!r} | {{'IT0_PARENT': str(os.getpid())}}\n"
        f"child = subprocess.Popen([{str(home.launcher)!r}, '3600'], cwd={str(home.cwd)!r}, env=env)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as it0:
        yield it0
        it0.kill()


def test_the_child_dies_with_its_parent(parent: subprocess.Popen[str]) -> None:
    """A kill -9 of IT0 leaves no child behind."""
    assert parent.stdout
    pid = int(parent.stdout.readline())
    wait_for(pid, "(sleep", expected=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(pid, "(sleep", expected=False)


def test_a_parent_that_is_gone(place: Path) -> None:
    """A child whose parent ended before it began ends too."""
    home = homes_in(place, cli="env").of("ten_a", "conv_a")
    done = run(home, IT0_PARENT="1")
    assert (done.returncode, done.stdout) == (126, "")
    assert "ended before" in done.stderr
