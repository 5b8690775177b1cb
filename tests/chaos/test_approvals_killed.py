"""kill -9 around an approval: never run without a decision, never twice, unknown is said."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

import app
from storage.database import execute
from tests.support.core_kit import Site
from tests.support.processes import Process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
STORIES = (  # where the first process dies, what is decided, how often it ran in the end
    ("asked", "approve", 1),
    ("asked", "deny", 0),
    ("parked", "approve", 1),
    ("parked", "deny", 0),
    ("decided", "approve", 1),
    ("decided", "deny", 0),
    ("begun", "approve", 0),
    ("ran", "approve", 1),
)


def play(site: Site, effects: Path, stage: str, decision: str) -> Process:
    """Start a process of the story; it ends by itself, one way or the other."""
    command = [sys.executable, "-m", "tests.chaos.approvals_worker", str(effects), stage, decision]
    return Process(command, env=site.environment, cwd=ROOT)


async def _told(site: Site) -> tuple[list[str], list[str], dict[str, str]]:
    """The outputs of tools, what is on record, and the faults of the audit log."""
    async with app.open_storage(site.settings()) as storage:

        def read(conn: sa.Connection) -> tuple[list[str], list[str]]:
            steps = execute(conn, "SELECT payload FROM turn_steps WHERE kind = 'tool'").all()
            audit = execute(conn, "SELECT action FROM audit_log ORDER BY seq").all()
            return (
                [str(json.loads(str(row[0]))["output"]) for row in steps],
                [str(row[0]) for row in audit],
            )

        outputs, actions = await storage.db.read(read)
        return outputs, actions, await storage.audit.verify()


@pytest.mark.parametrize(("stage", "decision", "expected"), STORIES)
async def test_a_kill_around_an_approval(
    site: Site, tmp_path: Path, stage: str, decision: str, expected: int
) -> None:
    """The next process finds the question, the decision or the doubt, and acts on that alone."""
    effects = tmp_path / "effects"
    before = "wait" if stage in {"asked", "parked"} else decision
    with play(site, effects, stage, before) as first:
        first.wait(timeout_s=60)
        assert first.returncode == -signal.SIGKILL, first.output()
    ran = effects.read_text().count("ran") if effects.exists() else 0
    assert ran == (1 if stage == "ran" else 0)
    with play(site, effects, "none", decision) as second:
        second.wait(timeout_s=90)
        assert second.returncode == 0, second.output()
    ran = effects.read_text().count("ran") if effects.exists() else 0
    assert ran == expected
    outputs, actions, faults = await _told(site)
    assert faults == {}
    assert actions.count("approval.asked") == 1
    assert len(outputs) == 1
    if stage in {"begun", "ran"}:
        assert outputs[0].startswith("Outcome unknown")
        assert actions[-1] == "tool.unknown"
    elif decision == "deny":
        assert "denied it" in outputs[0]
    else:
        assert outputs == ["wrecked"]


async def test_nobody_decides(site: Site, tmp_path: Path) -> None:
    """Killed while it waits, and nobody ever decides: it expires, and does not run."""
    effects = tmp_path / "effects"
    with play(site, effects, "parked", "wait") as first:
        first.wait(timeout_s=60)
        assert first.returncode == -signal.SIGKILL, first.output()
    async with app.open_storage(site.settings()) as storage:

        def age(conn: sa.Connection) -> None:
            execute(conn, "UPDATE approvals SET expires_at = 1")
            execute(conn, "UPDATE conversations SET parked_until = 1")

        await storage.db.transaction(age)
    with play(site, effects, "none", "wait") as second:
        second.wait(timeout_s=90)
        assert second.returncode == 0, second.output()
    outputs, actions, _ = await _told(site)
    assert not effects.exists()
    assert "expired" in outputs[0]
    assert "approval.expired" in actions
