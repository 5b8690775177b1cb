"""Faults of the core that chaos runs found, each on its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import app
from core.errors import Fenced
from core.metering import CallRequest
from core.sinks import Destination, View
from core.steps import ModelStep, ToolCall, ToolStep
from core.turns import Ending, Outcome, Turn
from storage.leases import SqlLeases
from storage.metering import RecordingMeter
from storage.turnlog import SqlTurnLog
from tests.contracts.sink_kit import HTTP_KITS, Hooked
from tests.support.core_kit import House, Site, postgres_site
from tests.support.postgres import PostgresServer

WORKER = "w_found"


async def leased_turn(house: House) -> Turn:
    """One turn, leased to a worker of the test's own."""
    leases = SqlLeases(house.core.storage.db)
    await leases.beat(WORKER, 60_000, ())
    await house.accepted("Hello")
    (turn,) = await leases.claim(WORKER, 1, 1)
    return turn


async def test_steps_that_end_side_by_side_are_all_committed(site: Site) -> None:
    """Several tools of one answer end at the same moment; none of their steps is refused."""
    async with site.open(run_turns=False) as house:
        turn = await leased_turn(house)
        log = SqlTurnLog(house.core.storage.db, b"k" * 32, WORKER)
        names = [f"t{number}" for number in range(8)]
        steps = [ToolStep(tool_call_id=name, name="disk", output=name) for name in names]
        await asyncio.gather(*(log.record(turn, step) for step in steps))
        rows = await house.rows("SELECT n FROM turn_steps ORDER BY n")
        assert [row[0] for row in rows] == list(range(1, 9))


def _call(turn: Turn, number: int) -> CallRequest:
    return CallRequest(
        id=f"{turn.id}.{turn.attempt}.{number}",
        tenant_id=turn.tenant_id,
        conversation_id=turn.conversation_id,
        turn_id=turn.id,
        user_id=turn.user.id,
        engine="scripted",
        model="m",
        estimated_input=1,
        max_output=1,
    )


async def test_a_worker_that_lost_its_turn_makes_no_paid_call(site: Site) -> None:
    """A model call is refused once another worker runs the turn, and leaves no open row."""
    async with site.open(run_turns=False) as house:
        turn = await leased_turn(house)
        meter = RecordingMeter(house.core.storage.db)
        await meter.reserve(_call(turn, 1))
        await house.write("UPDATE turns SET attempt = attempt + 1")
        with pytest.raises(Fenced):
            await meter.reserve(_call(turn, 2))
        assert len(await house.rows("SELECT id FROM model_calls")) == 1


async def test_a_message_that_comes_while_the_last_answer_is_delivered(site: Site) -> None:
    """It waits for the delivery and runs once; the delivering worker's lease is not its own."""
    async with HTTP_KITS[0].start() as (sink, stage):
        held = Held(sink)
        async with site.open(sink=held) as house:
            first = await house.accepted("One", platform="chat")
            await asyncio.wait_for(held.reached.wait(), 10)
            second = await house.accepted("Two", platform="chat")
            rows = await house.rows("SELECT status FROM turns WHERE id = :id", id=second.turn_id)
            assert rows == [("queued",)]
            held.go_on.set()
            await house.final(second)
            await house.settled()
            rows = await house.rows("SELECT attempt FROM turns ORDER BY seq")
            assert rows == [(1,), (1,)]
            assert stage.refs(first.turn_id) < stage.refs(second.turn_id)


class Held(Hooked):
    """A platform that takes its time for the first final edit."""

    def __init__(self, sink: object) -> None:
        """Hold until told."""
        super().__init__(sink)  # type: ignore[arg-type]
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Wait, then edit."""
        self.reached.set()
        await self.go_on.wait()
        await super().edit(to, ref, view)


async def test_a_later_turn_knows_that_an_earlier_one_was_given_up(site: Site) -> None:
    """History says that a turn broke off, so that no model goes on with its tool results."""
    async with site.open(run_turns=False) as house:
        turn = await leased_turn(house)
        log = SqlTurnLog(house.core.storage.db, b"k" * 32, WORKER)
        call = ToolCall(id="t1", name="probe")
        await log.record(
            turn, ModelStep(call_id="c", engine="e", model="m", text="Looking.", tool_calls=(call,))
        )
        await log.record(turn, ToolStep(tool_call_id="t1", name="probe", output="probed"))
        given_up = Ending(outcome=Outcome.FAILED, reply="", notice="I gave up.", failure="poisoned")
        await log.finish(turn, given_up, events=(), settlements=(), deliver=False)
        await house.accepted("Next")
        (second,) = await SqlLeases(house.core.storage.db).claim(WORKER, 1, 1)
        memory = await house.core.conversations.remember(second, max_turns=10)
        assert [past.exchange.reply for past in memory.past] == ["I gave up."]


async def test_a_turn_that_gets_further_is_not_given_up(site: Site) -> None:
    """Crashes count while a turn makes no progress; a tool's result is progress."""
    async with site.open(run_turns=False) as house:
        turn = await leased_turn(house)
        leases = SqlLeases(house.core.storage.db)
        await leases.hand_back(turn, settlements=(), failed=True, pause_ms=0)
        (second,) = await leases.claim(WORKER, 1, 1)
        assert second.failures == 1
        log = SqlTurnLog(house.core.storage.db, b"k" * 32, WORKER)
        await log.record(second, ToolStep(tool_call_id="t1", name="probe", output="probed"))
        await leases.hand_back(second, settlements=(), failed=True, pause_ms=0)
        (third,) = await leases.claim(WORKER, 1, 1)
        assert third.failures == 1


@pytest.mark.postgres
async def test_processes_that_start_together_install_once(
    postgres_server: PostgresServer, data_dir: Path
) -> None:
    """Of several first starts on one empty database each finds the same first admin."""
    url = postgres_server.create_database()
    settings = postgres_site(data_dir, postgres_server, url).settings()
    async with app.open_storage(settings) as storage:
        admins = await asyncio.gather(
            *(
                storage.people.install(tenant_name="T", admin_email="a@example.org")
                for _ in range(6)
            )
        )
    postgres_server.drop_database(url)
    assert len({admin.id for admin in admins}) == 1
