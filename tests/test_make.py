from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.processes import Process, free_port
from tests.test_repo import tracked

ROOT = Path(__file__).parent.parent
PYTHONS = ("python3", "python3.11", "python3.12", "python3.13")


@pytest.fixture(autouse=True)
def _no_outer_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """The make that runs the tests must not hand its flags to the make under test."""
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        monkeypatch.delenv(name, raising=False)


def _make(directory: Path, *targets: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *targets],
        cwd=directory,
        env={
            **os.environ,
            "PATH": f"{path}{os.pathsep}{os.environ['PATH']}" if path else os.environ["PATH"],
        },
        capture_output=True,
        text=True,
        check=False,
    )


def _pythons(directory: Path, script: str) -> str:
    """Put scripts in place of every Python that the Makefile looks for; return their directory."""
    for name in PYTHONS:
        file = directory / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    return str(directory)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A directory with nothing but the Makefile: enough to look for a Python."""
    directory = tmp_path / "bare"
    directory.mkdir()
    shutil.copy(ROOT / "Makefile", directory)
    return directory


def test_an_old_python_is_one_clear_sentence(bare: Path, tmp_path: Path) -> None:
    """Whoever has only an old Python reads which one is needed, and nothing is left behind."""
    path = _pythons(tmp_path, '[ "$1" = --version ] && echo Python 3.9.2; exit 1')
    done = _make(bare, ".venv/.place", path=path)
    assert done.returncode != 0
    assert "IT0 needs Python 3.11 or newer. Found: Python 3.9.2." in done.stderr
    assert not (bare / ".venv").exists()


def test_a_python_without_venv_is_one_clear_sentence(bare: Path, tmp_path: Path) -> None:
    """Debian splits venv off: the sentence names the package that brings it."""
    script = f'case "$*" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    done = _make(bare, ".venv/.place", path=_pythons(tmp_path, script))
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr


def test_help_lists_every_target() -> None:
    """`make` alone says what can be made."""
    shown = {line.split()[0] for line in _make(ROOT, "help").stdout.splitlines()}
    assert shown == {
        *("help", "run", "test", "test-slow", "check", "words", "bench", "chaos"),
        *("lock", "clean"),
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fresh_clone_runs_installs_once_and_repairs_itself(tmp_path: Path) -> None:
    """From nothing to a healthy `make run`; a second one installs nothing; damage is undone."""
    clone = tmp_path / "a clone"
    for file in tracked():
        target = clone / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)

    assert "Installing" in _make(clone, ".venv/.run").stdout
    assert _up(clone) == 200
    assert "Installing" not in _make(clone, ".venv/.run").stdout

    (clone / ".venv/bin/python").unlink()
    assert "Installing" in _make(clone, ".venv/.run").stdout
    moved = clone.rename(tmp_path / "moved")
    assert "Installing" in _make(moved, ".venv/.run").stdout
    shown = subprocess.run([moved / ".venv/bin/it0", "--help"], capture_output=True, check=True)
    assert b"up" in shown.stdout


def _up(clone: Path) -> int:
    """Start `make run`, ask for its health, and end it as Ctrl-C does; return the answer."""
    port = free_port()
    with Process(["make", "run"], cwd=clone, env={"IT0_HTTP_PORT": str(port)}) as process:
        process.wait_for_port(port, timeout_s=120)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            status: int = answer.status
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout_s=60)
    return status
