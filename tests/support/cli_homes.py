"""Homes of Claude Code processes for tests: a place that another user can come to."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from _pytest.mark import ParameterSet

from core.engines.cli_home import Home, Homes, HomesConfig

UID = 61_000 + os.getpid() % 4_000
"""Of nobody, and of no other test process."""
ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")


@contextmanager
def a_place() -> Iterator[Path]:
    """A directory that other users can come to; pytest's own are closed to them."""
    with TemporaryDirectory(prefix="it0-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def homes_in(place: Path, *, cli: str = "true", uid: int | None = None) -> Homes:
    """Prepared homes whose CLI is a small program."""
    program = shutil.which(cli)
    assert program
    homes = Homes(HomesConfig(root=place / "cli", uid=uid, cli=Path(program).resolve()))
    homes.prepare()
    return homes


def environment(home: Home, **extra: str) -> dict[str, str]:
    """What an engine passes."""
    return home.environment(
        base_url="http://127.0.0.1:1",
        api_key="sk-mine",
        oauth_token=None,
        max_output_tokens=4096,
        extra=extra,
    )


def run(home: Home, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Start the child as the SDK does: our whole environment, plus the options' one."""
    return subprocess.run(
        [str(home.launcher), *arguments],
        cwd=home.cwd,
        env={**os.environ, **environment(home), **more},
        capture_output=True,
        text=True,
        check=False,
    )


def users() -> list[ParameterSet]:
    """As ourselves, and as another user if we may."""
    as_ourselves = pytest.param(None, id="ourselves")
    return [as_ourselves, pytest.param(UID, id="dropped")] if ROOT else [as_ourselves]


def alive(pid: int, name: str) -> bool:
    """Whether the process runs under this name; a zombie does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0].endswith(name) and fields[2].split()[0] != "Z"


def wait_for(pid: int, name: str, expected: bool) -> None:
    """Wait, at most as long as a test may take."""
    while alive(pid, name) is not expected:
        time.sleep(0.01)
