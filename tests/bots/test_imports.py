"""What an installation without chat platforms pays for them: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import Process

ROOT = Path(__file__).parents[2]
PLATFORMS = ("telegram", "slack_sdk", "slack_bolt", "bots.telegram", "bots.slack")
UP = """
import atexit, json, sys
atexit.register(lambda: print("MODULES", json.dumps(sorted(sys.modules)), flush=True))
import cli
sys.exit(cli.main(["up"]))
"""


def modules_of_up(directory: Path, **environ: str) -> set[str]:
    """What ``it0 up`` has imported at its end, after it answered one message."""
    environ |= {
        "IT0_DATA_DIR": str(directory / "data"),
        "IT0_HTTP_PORT": "0",
        "PYTHONPATH": str(ROOT),
    }
    with Process([sys.executable, "-c", UP], env=environ, cwd=directory) as process:
        process.wait_for("IT0 is ready")
        asked = subprocess.run(
            [sys.executable, "-m", "cli", "chat", "--once", "how full are the disks?"],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", **environ},
        )
        assert "%" in asked.stdout
        process.terminate()
        assert process.wait() == 0
        line = process.wait_for(r"^MODULES (.*)$")[1]
    return set(json.loads(line))


def test_without_a_platform_nothing_of_it_is_imported(tmp_path: Path) -> None:
    """``it0 up`` alone loads no platform's SDK or adapter, and for English no babel."""
    modules = modules_of_up(tmp_path)
    assert "core.inbox" in modules
    assert "core.words" in modules
    assert {name for name in modules if name.startswith(PLATFORMS)} == set()
    assert {name for name in modules if name.partition(".")[0] in {"babel", "gettext"}} <= {
        "gettext"  # argparse brings it
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environ", "absent"),
    [
        (
            {"TELEGRAM_BOT_TOKEN": "1:TEST", "IT0_TELEGRAM_API_URL": "http://127.0.0.1:9"},
            ("slack_sdk", "slack_bolt", "bots.slack"),
        ),
        (
            {
                "SLACK_BOT_TOKEN": "xoxb-test",
                "SLACK_SIGNING_SECRET": "secret",
                "IT0_SLACK_API_URL": "http://127.0.0.1:9/api/",
            },
            ("telegram", "bots.telegram"),
        ),
    ],
    ids=["telegram", "slack"],
)
def test_one_platform_does_not_bring_the_other(
    tmp_path: Path, environ: dict[str, str], absent: tuple[str, ...]
) -> None:
    """Who uses one platform pays for that one; one that is down keeps nothing else from work."""
    modules = modules_of_up(tmp_path, **environ)
    present = {name for name in PLATFORMS if name not in absent}
    assert present <= modules
    assert {name for name in modules if name.startswith(absent)} == set()
