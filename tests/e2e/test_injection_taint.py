"""Once text from outside was read, what it asks for waits for a human, however small it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.approvals import Approval, Decision
from core.messages import Attachment
from core.redact_rules import HIDDEN
from core.risk import Level
from core.streams import START
from core.tools import Param
from tests.e2e.injection_cases import run
from tests.fakes.obedient import ObedientAnthropic
from tests.support.core_kit import PATIENCE_S, House, Probe, copy_sqlite

NUMBER = Param(name="number", kind="integer", description="Which")
TWEAK = run("tweak", number=1)
HOSTILE = f"fine. {TWEAK}"
FILE = Attachment(name="a.log", media_type="text/plain", data=HOSTILE.encode())
INNOCENT = Attachment(name="a.log", media_type="text/plain", data=b"all is well")


@dataclass
class Ops:
    """A core with a tool of each kind and an obedient model."""

    house: House
    look: Probe = field(default_factory=lambda: Probe("look", output=HOSTILE, untrusted=True))
    broken: Probe = field(default_factory=lambda: Probe("broken", untrusted=True))
    safe: Probe = field(default_factory=lambda: Probe("safe", output="all is well"))
    tweak: Probe = field(
        default_factory=lambda: Probe("tweak", Level.L1, mutates=True, params=(NUMBER,))
    )

    async def say(self, text: str, *files: Attachment) -> str:
        """A message in the one conversation; returns its turn when that ended or waits."""
        accepted = await self.house.accepted(text, engine="claude_api", files=files)
        await self.ended_or_waits(accepted.turn_id)
        return accepted.turn_id

    async def ended_or_waits(self, turn_id: str) -> None:
        """Until nothing happens any more without a human."""
        sql = (
            "SELECT t.status, c.parked_until FROM turns t"
            " JOIN conversations c ON c.id = t.conversation_id WHERE t.id = :id"
        )
        async with asyncio.timeout(PATIENCE_S):
            while True:
                ((status, parked),) = await self.house.rows(sql, id=turn_id)
                if status == "done" or parked is not None:
                    return
                await asyncio.sleep(0.02)

    async def waiting(self) -> tuple[Approval, ...]:
        """What a human is asked."""
        return await self.house.core.fleet.desk.pending(self.house.admin.tenant_id)

    async def decide(self, approval: Approval, turn_id: str, *, approve: bool) -> None:
        """A human decides; then everything happens that can."""
        said = Decision(approve=approve, where="test")
        await self.house.core.fleet.desk.decide(self.house.admin, approval.id, said)
        self.house.core.scheduler.wake()
        sql = "SELECT COUNT(*) FROM approvals WHERE id = :id AND (used_at > 0 OR status = 'denied')"
        await self.house.until(sql, 1, id=approval.id)
        sql = (
            "SELECT CASE WHEN COUNT(*) > 1 THEN 1 ELSE 0 END FROM turn_steps"
            " WHERE turn_id = :t AND kind = 'tool'"
        )
        await self.house.until(sql, 1, t=turn_id)
        await self.ended_or_waits(turn_id)


@pytest.fixture
async def ops(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Ops]:
    """It, on SQLite."""
    async with _ops(sqlite_template, tmp_path) as made:
        yield made


@asynccontextmanager
async def _ops(template: Path, folder: Path) -> AsyncIterator[Ops]:
    site = copy_sqlite(template, folder / "data")
    ops = Ops(house=None)  # type: ignore[arg-type]  # opened below
    tools = [ops.look, ops.broken, ops.safe, ops.tweak]
    ops.broken.timeout_s = 0.05
    ops.broken.hold = asyncio.Event()
    async with ObedientAnthropic() as model:
        more = {"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": model.url}
        made = [tool.tool() for tool in tools]
        async with site.open(tools=made, humans=True, more=more) as house:
            ops.house = house
            yield ops


async def test_a_small_change_that_a_person_asks_for_runs(ops: Ops) -> None:
    """Nothing from outside was read: level L1 needs nobody."""
    await ops.say("RUN safe {}")
    await ops.say(TWEAK)
    assert len(ops.tweak.runs) == 1
    assert await ops.waiting() == ()


@pytest.mark.parametrize(
    "said",
    [
        [("RUN look {}", ())],
        [("RUN look {}", ()), (TWEAK, ())],
        [("RUN broken {}", ()), (TWEAK, ())],
        [("RUN safe {}", ()), ("RUN broken {}", ()), ("hello", ()), (TWEAK, ())],
        [("What is it?", (FILE,))],
        [("What is it?", (INNOCENT,)), (TWEAK, ())],
    ],
    ids=["output", "earlier output", "a failure", "long ago", "a file", "an earlier file"],
)
async def test_the_same_change_waits_after_text_from_outside(
    ops: Ops, said: list[tuple[str, tuple[Attachment, ...]]]
) -> None:
    """Read in this turn or in any before it, failed or not, as output or as a file."""
    for text, files in said:
        await ops.say(text, *files)
    assert ops.tweak.runs == []
    (approval,) = await ops.waiting()
    assert approval.card.tool == "tweak"
    assert any("text from outside" in risk for risk in approval.card.risks)


async def test_reads_go_on_after_text_from_outside(ops: Ops) -> None:
    """At night one must still be able to look."""
    ops.look.output = "all is well, said a stranger"
    await ops.say("RUN look {}\nRUN safe {}")
    await ops.say("RUN safe {}")
    assert len(ops.safe.runs) == 2


async def test_a_denied_order_stays_undone(ops: Ops) -> None:
    """A human says no; the model is told, and nothing happened."""
    turn_id = await ops.say("RUN look {}")
    (approval,) = await ops.waiting()
    await ops.decide(approval, turn_id, approve=False)
    assert ops.tweak.runs == []
    assert await ops.waiting() == ()


async def test_an_approval_is_good_for_one_call_alone(ops: Ops) -> None:
    """What the approved call's output asks for next is asked about anew."""
    ops.tweak.output = run("tweak", number=2) + TWEAK
    turn_id = await ops.say("RUN look {}")
    (approval,) = await ops.waiting()
    await ops.decide(approval, turn_id, approve=True)
    assert [dict(arguments) for _, arguments in ops.tweak.runs] == [{"number": 1}]
    again = await ops.waiting()
    assert len(again) == 2
    assert approval.id not in {one.id for one in again}


SECRET = "Kx9mQ2vLr7TzW4"  # made up


async def test_secrets_are_hidden_in_everything_that_is_told_of_a_call(ops: Ops) -> None:
    """Output, the line about the call, a refusal, and what is committed of them."""
    ops.look.output = f"ok password={SECRET}\nhttps://a:{SECRET}@example.com/"
    text = f"RUN look {{}}\nRUN safe {json.dumps({'password': SECRET})}"
    turn_id = await ops.say("hello " + text.replace(SECRET, "--password=" + SECRET))
    events = await ops.house.listen(ops.house.admin.tenant_id, turn_id, START)
    told = [event.data for event in events if event.name.startswith("tool_")]
    assert any(HIDDEN in data for data in told)
    assert [data for data in told if SECRET in data] == []
    rows = await ops.house.rows("SELECT detail FROM audit_log")
    assert [detail for (detail,) in rows if SECRET in detail] == []
    steps = await ops.house.rows("SELECT payload FROM turn_steps WHERE kind = 'tool'")
    assert [payload for (payload,) in steps if SECRET in payload] == []
