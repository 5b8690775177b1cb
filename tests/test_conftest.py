from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_socket

ROOT = Path(__file__).parent.parent


def _pytest(directory: Path, content: str, *, ci: str) -> subprocess.CompletedProcess[str]:
    """Run one test file with the repository's hooks and settings, in a process of its own."""
    file = directory / "test_it.py"
    file.write_text(content)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory), str(file)),
        ],
        env={**os.environ, "CI": ci},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


TESTS = """
import warnings
import pytest


def test_called():
    pytest.skip("no moon tonight")


@pytest.mark.skip(reason="no sun today")
def test_marked():
    pass


@pytest.mark.xfail(strict=True)
def test_expected():
    assert 0


def test_warns():
    warnings.warn("old", DeprecationWarning)
"""
MODULE_SKIPS = "import pytest\n\npytest.skip('no moon tonight', allow_module_level=True)\n"
MISSPELLED = "import pytest\n\n\n@pytest.mark.slwo\ndef test_a():\n    pass\n"


def test_a_skip_fails_under_ci_with_its_reason(tmp_path: Path) -> None:
    """What CI does not run is not proven; an expected failure has run and stays what it is."""
    done = _pytest(tmp_path, TESTS, ci="true")
    assert done.returncode == 1
    assert "a skip fails under CI=true. Skipped: no moon tonight" in done.stdout
    assert "a skip fails under CI=true. Skipped: no sun today" in done.stdout
    assert "2 failed, 1 xfailed, 1 error in" in done.stdout.splitlines()[-1]


def test_a_module_that_skips_itself_fails_under_ci(tmp_path: Path) -> None:
    """A missing package cannot take a whole module out of the proof."""
    done = _pytest(tmp_path, MODULE_SKIPS, ci="true")
    assert done.returncode == 2
    assert "no moon tonight" in done.stdout


def test_a_skip_is_printed_elsewhere_and_a_warning_fails_everywhere(tmp_path: Path) -> None:
    """On a developer's machine a skip passes, but never silently; a warning never does."""
    done = _pytest(tmp_path, TESTS, ci="")
    assert "no moon tonight" in done.stdout
    assert "1 failed, 2 skipped, 1 xfailed in" in done.stdout.splitlines()[-1]


def test_an_unknown_marker_is_refused(tmp_path: Path) -> None:
    """A misspelled marker would silently change which suite a test is in."""
    done = _pytest(tmp_path, MISSPELLED, ci="")
    assert done.returncode == 2
    assert "slwo" in done.stdout


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_no_test_reaches_the_network() -> None:
    """Loopback is open, everything else is refused before a packet leaves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    with pytest.raises(pytest_socket.SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 443), timeout=5)


def test_no_setting_of_the_developer_reaches_a_test() -> None:
    """A key in the shell that starts the tests must not make them talk to the provider."""
    assert [name for name in os.environ if name.startswith(("IT0_", "ANTHROPIC_"))] == []
