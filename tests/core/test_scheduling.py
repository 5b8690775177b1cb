"""Who runs which turn when: fairness, leases, dead workers, bad databases."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field

import pytest

from core.control import Control, Pause, Stop
from core.errors import StorageFailure
from core.inbox import Accepted
from core.messages import ConversationAddress, Overlap
from core.metering import Settlement
from core.scheduling import Beat, Pace, Scheduler
from core.tenants import Role, User
from core.turns import Turn, TurnKind
from tests.fakes.scripted_engine import Move, Say, ScriptedEngine, Until
from tests.support.core_gate import Gate
from tests.support.core_kit import PACE, Final, House, Probe, Site, eventually

# -- slots and fairness ---------------------------------------------------------------------


async def test_no_more_turns_run_than_there_are_slots(site: Site) -> None:
    """Ten conversations on three slots: never more than three at once, all answered."""
    most = 0
    moves: list[Move] = [Say("one two three", pause_s=0.005)]
    async with site.open(ScriptedEngine(moves), slots=3, tenant_slots=3) as house:
        accepted = [await house.accepted("go", place=f"p{n}") for n in range(10)]
        while house.core.scheduler.running:
            most = max(most, house.core.scheduler.running)
            await asyncio.sleep(0.002)
        for item in accepted:
            await house.final(item)
        assert 1 <= most <= 3
        await house.settled()


async def test_a_quiet_tenant_does_not_wait_behind_a_loud_one(site: Site) -> None:
    """200 queued conversations of one tenant: the one message of another is among the first."""
    order: list[str] = []

    def script(tenant: str) -> list[Move]:
        order.append(tenant)
        return [Say("Fine.")]

    engine = ScriptedEngine(lambda request: script(request.tenant_id))
    async with site.open(run_turns=False) as edge:
        loud, quiet = await edge.tenant("loud"), await edge.tenant("quiet")
        await asyncio.gather(*(edge.accepted("go", loud, place=f"p{n}") for n in range(200)))
        single = await edge.accepted("me too", quiet)
    async with site.open(engine, slots=4, tenant_slots=3) as house:
        final = await house.final(single)
        assert final.outcome == "answered"
        assert order.index(quiet.tenant_id) < 12
        await house.settled()
        assert len(order) == 201


async def test_one_tenant_cannot_take_every_slot(site: Site) -> None:
    """A tenant whose turns hang leaves slots for the others, at ingest and in the claim loop."""
    never = asyncio.Event()

    def script(text: str) -> list[Move]:
        return [Until(never), Say("Late.")] if text == "hang" else [Say("Fine.")]

    engine = ScriptedEngine(lambda request: script(request.text))
    async with site.open(engine, slots=4, tenant_slots=3, grace_s=0) as house:
        loud, quiet = await house.tenant("loud"), await house.tenant("quiet")
        for number in range(8):
            await house.accepted("hang", loud, place=f"p{number}")
        for number in range(3):
            assert (await house.ask("go", quiet, place=f"q{number}")).reply == "Fine."
        running = await house.rows("SELECT COUNT(*) FROM turns WHERE status = 'running'")
        assert running == [(3,)]
        never.set()
        await house.settled()


# -- leases ---------------------------------------------------------------------------------


async def _expire(house: House) -> None:
    me = house.core.scheduler.worker
    await house.write("UPDATE workers SET expires_at = 0 WHERE id <> :me", me=me)


async def test_a_dead_process_is_recovered_by_the_next(site: Site) -> None:
    """W1: running and queued turns of a process that died are answered, without being sent again."""
    gate = Gate()
    look = Probe("look")
    async with site.open(gate.engine(), tools=[look.tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        queued = await house.accepted("next")
        await house.crash()
    gate.opened.set()
    async with site.open(house.engine, tools=[look.tool()]) as second:
        if site.postgres:
            assert await second.rows("SELECT status FROM turns WHERE seq = 1") == [("running",)]
            await _expire(second)
        assert (await second.final(running)).reply == "Shown.\n\nDone."
        assert (await second.final(queued)).reply == "Answer to next."
        assert await second.rows("SELECT attempt FROM turns ORDER BY seq") == [(2,), (1,)]
        await second.settled()


async def test_a_living_process_takes_over_from_a_dead_one(postgres_place: Site) -> None:
    """On PostgreSQL another worker runs the turns of one whose heartbeat stopped, after its time."""
    gate = Gate()
    look = Probe("look")
    pace = Pace(beat_s=0.1, ttl_s=1.5, poll_s=0.1, sweep_s=0.1)
    async with postgres_place.open(gate.engine(), tools=[look.tool()], pace=pace) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        async with postgres_place.open(house.engine, tools=[look.tool()], pace=pace) as second:
            await house.crash()
            gate.opened.set()
            assert (await second.final(running)).reply == "Shown.\n\nDone."
            await second.settled()


async def test_a_zombie_is_fenced(postgres_place: Site) -> None:
    """A worker that was declared dead and wakes up changes nothing; its calls stay metered."""
    gate = Gate()
    look = Probe("look")
    async with postgres_place.open(
        gate.engine(),
        tools=[look.tool()],
        pace=Pace(beat_s=60, ttl_s=600, poll_s=60, sweep_s=60),
        slots=1,
    ) as zombie:
        running = await zombie.accepted("hold")
        await gate.reached.wait()
        await zombie.write("UPDATE workers SET expires_at = 0")
        other = ScriptedEngine([Say("Ignored."), Say("By the other.")], name="scripted")
        other_look = Probe("look")
        async with postgres_place.open(other, tools=[other_look.tool()]) as second:
            final = await second.final(running)
            assert final.reply.startswith("Shown.")
            gate.opened.set()
            await eventually(lambda: not zombie.core.scheduler.running)
            rows = await second.rows("SELECT reply, attempt FROM turns")
            assert rows == [(final.reply, 2)]
            kept = await second.rows("SELECT COUNT(*) FROM turn_steps WHERE attempt = 1")
            assert kept == [(2,)]
            await second.settled()


async def test_a_lease_that_nobody_holds_is_found(site: Site) -> None:
    """A claim whose answer was lost is given back after two heartbeats, and its turn answered."""
    async with site.open(run_turns=False) as edge:
        accepted = await edge.accepted("go")
    async with site.open() as house:
        me = house.core.scheduler.worker
        assert (await house.final(accepted)).reply == "Fine."
        await house.settled()
        await house.write(
            "UPDATE turns SET status = 'running', outcome = NULL, delivered_at = NULL"
        )
        await house.write(
            "UPDATE conversations SET done_seq = 0, lease_owner = :me,"
            " lease_epoch = lease_epoch + 1",
            me=me,
        )
        await house.until("SELECT status FROM turns", "done")
        assert await house.rows("SELECT attempt FROM turns") == [(2,)]
        await house.settled()


async def test_a_graceful_stop_lets_turns_end(site: Site) -> None:
    """Inside its grace a shutdown waits for what runs; messages that come are kept for later."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()], grace_s=20) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        closing = asyncio.create_task(house.core.scheduler.drain(20))
        await asyncio.sleep(0.02)
        kept = await house.accepted("meanwhile", place="other")
        assert kept.leased is None
        gate.opened.set()
        await closing
        assert await house.rows("SELECT reply FROM turns WHERE id = :id", id=running.turn_id) == [
            ("Shown.\n\nDone.",)
        ]
    async with site.open() as second:
        assert (await second.final(kept)).reply == "Fine."
        assert await second.rows("SELECT MAX(failures) FROM turns") == [(0,)]
        await second.settled()


# -- bad databases --------------------------------------------------------------------------


async def test_the_loops_outlive_a_server_that_cuts_every_connection(postgres_place: Site) -> None:
    """All backends are terminated, also the listener's: turns go on, the next is answered."""
    gate = Gate()
    server = postgres_place.server
    assert server is not None
    url = postgres_place.environment["IT0_DATABASE_URL"]
    async with postgres_place.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        for _ in range(3):
            assert await asyncio.to_thread(server.terminate_backends, url) > 0
            await asyncio.sleep(0.1)
        gate.opened.set()
        final = await _retried(house, "hold", running)
        assert final.reply == "Shown.\n\nDone."
        next_one = await _accepted_soon(house, "next")
        assert (await _retried(house, "next", next_one)).reply == "Answer to next."
        await house.settled()


async def _accepted_soon(house: House, text: str) -> Accepted:
    while True:
        try:
            return await house.accepted(text, event=text)
        except StorageFailure:
            await asyncio.sleep(0.05)


async def _retried(house: House, text: str, accepted: Accepted) -> Final:
    while True:
        try:
            return await house.final(accepted)
        except StorageFailure:
            await asyncio.sleep(0.05)


async def test_the_loops_outlive_a_locked_database(site: Site) -> None:
    """Every write fails for a while: nobody is told "stored", and then all goes on by itself."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        house.faults.refuse = lambda _name: True
        gate.opened.set()
        await eventually(lambda: not house.core.scheduler.running)
        with pytest.raises(StorageFailure):
            await house.say("refused", event="r")
        house.faults.refuse = lambda _name: False
        assert (await house.final(running)).reply == "Shown.\n\nDone."
        again = await house.accepted("refused", event="r")
        assert not again.duplicate
        assert (await house.final(again)).reply == "Answer to refused."
        await house.settled()


async def test_a_file_locked_by_another_program_is_waited_for(site: Site) -> None:
    """SQLite: another program holds the write lock for a moment; the message is stored after it."""
    if site.postgres:
        return
    async with site.open() as house:
        path = house.core.settings.database_path
        assert path is not None
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        pending = asyncio.create_task(house.ask("go"))
        await asyncio.sleep(0.3)
        assert not pending.done()
        other.execute("ROLLBACK")
        other.close()
        assert (await pending).reply == "Fine."
        await house.settled()


# -- the scheduler alone --------------------------------------------------------------------


def _a_turn(epoch: int) -> Turn:
    return Turn(
        id="turn_1",
        tenant_id="ten_1",
        conversation_id="conv_1",
        seq=1,
        epoch=epoch,
        attempt=epoch,
        failures=0,
        kind=TurnKind.MESSAGE,
        event_id="e",
        user=User(id="u", tenant_id="ten_1", email="a@b.c", name="a", role=Role.ADMIN),
        address=ConversationAddress(platform="api", workspace="", channel="", thread=""),
        text="go",
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=0,
    )


@dataclass
class SlowLeases:
    """A lease store whose heartbeat answers when the test says so."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def beat(self, worker: str, ttl_ms: int, running: tuple[Turn, ...]) -> Beat:
        """Everything that ran when it was asked is lost."""
        self.asked.set()
        await self.answer.wait()
        return Beat(lost=frozenset(turn.id for turn in running), stop=(), reaped=0)

    async def claim(self, worker: str, limit: int, tenant_limit: int) -> tuple[Turn, ...]:
        """Nothing waits."""
        return ()

    async def hand_back(
        self, turn: Turn, *, settlements: tuple[Settlement, ...], failed: bool, pause_ms: int
    ) -> None:
        """Taken."""

    async def park(self, turn: Turn, *, settlements: tuple[Settlement, ...], pause: Pause) -> None:
        """Taken."""

    async def leave(self, worker: str) -> None:
        """Gone."""


class WaitingRunner:
    """Runs until it is ended."""

    def __init__(self) -> None:
        """Nothing ran yet."""
        self.controls: dict[int, Control] = {}
        self.end = asyncio.Event()

    async def run(self, turn: Turn, control: Control) -> tuple[Settlement, ...]:
        """Wait."""
        self.controls[turn.epoch] = control
        control.begin()
        if turn.epoch > 1:
            await self.end.wait()
        return ()


async def test_a_late_heartbeat_does_not_end_the_next_attempt() -> None:
    """What a heartbeat finds lost is the attempt it asked about, not the one that began since."""
    leases, runner = SlowLeases(), WaitingRunner()

    async def sweep(_worker: str) -> int:
        return 0

    scheduler = Scheduler(
        leases=leases, sweep=sweep, slots=2, tenant_slots=2, pace=PACE, runner=runner
    )
    assert scheduler.reserve()
    scheduler.start(_a_turn(1))
    beat = asyncio.create_task(scheduler.begin())
    await leases.asked.wait()
    await eventually(lambda: not scheduler.running)
    assert scheduler.reserve()
    scheduler.start(_a_turn(2))
    await eventually(lambda: 2 in runner.controls)
    leases.answer.set()
    await beat
    assert runner.controls[2].reason is None
    runner.end.set()
    await scheduler.drain(5)


async def test_the_loops_end_when_they_are_cancelled_at_a_wake_up() -> None:
    """A shutdown that meets a wake-up ends all the same (``wait_for`` would swallow it)."""
    leases, runner = SlowLeases(), WaitingRunner()
    leases.answer.set()

    async def sweep(_worker: str) -> int:
        return 0

    for _ in range(50):
        scheduler = Scheduler(
            leases=leases, sweep=sweep, slots=1, tenant_slots=1, pace=PACE, runner=runner
        )
        loops = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.001)
        scheduler.wake()
        loops.cancel()
        done, _ = await asyncio.wait([loops], timeout=5)
        assert done


async def test_a_first_stop_counts() -> None:
    """A turn that is being stopped by its user is not handed back by a shutdown as well."""
    control = Control()
    control.stop(Stop.USER)
    control.stop(Stop.HAND_BACK)
    assert control.reason is Stop.USER
    late = Control(settled=True)
    late.stop(Stop.USER)
    assert late.reason is None
