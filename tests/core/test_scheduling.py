"""Who runs which turn when: overlap, stop, fairness, leases, dead workers, bad databases."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field, replace

import pytest

from core.control import Control, Stop
from core.errors import StorageFailure
from core.inbox import Accepted, ControlDone
from core.messages import ConversationAddress, Overlap
from core.metering import Settlement
from core.risk import Level
from core.scheduling import Beat, Pace, Scheduler
from core.steps import ToolCall
from core.tenants import Role, User
from core.turns import Turn, TurnKind
from tests.fakes.scripted_engine import Move, Say, ScriptedEngine, Signal, Until
from tests.support.core_kit import PACE, Final, House, Probe, Site, eventually

LOOK = ToolCall(id="t1", name="look")
CHANGE = ToolCall(id="t1", name="change")


@dataclass
class Gate:
    """An engine whose answers to messages beginning with "hold" wait for the test."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def engine(self) -> ScriptedEngine:
        """``hold`` shows a text and waits before a tool call and a last text."""

        def script(text: str) -> list[Move]:
            if not text.startswith("hold"):
                return [Say(f"Answer to {text}.")]
            return [
                *(Say("Shown.", tools=(LOOK,)), Signal(self.reached), Until(self.opened)),
                *(Say("", tools=(ToolCall(id="t2", name="look"),)), Say("Done.")),
            ]

        return ScriptedEngine(lambda request: script(request.text))


# -- overlap --------------------------------------------------------------------------------


async def test_queue_waits_for_the_turn_before(site: Site) -> None:
    """QUEUE, the default for text: the second message is answered after the first one."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        first = await house.accepted("hold")
        await gate.reached.wait()
        second = await house.accepted("next")
        assert await house.rows("SELECT status FROM turns ORDER BY seq") == [
            ("running",),
            ("queued",),
        ]
        gate.opened.set()
        assert (await house.final(first)).reply == "Shown.\n\nDone."
        assert (await house.final(second)).reply == "Answer to next."
        await house.settled()


async def test_interrupt_stops_what_runs_and_what_waits(site: Site) -> None:
    """INTERRUPT, the default for speech: earlier turns end as cancelled, with what was shown."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        waiting = await house.accepted("waits")
        newest = await house.accepted("now this", overlap=Overlap.INTERRUPT)
        assert set(newest.stopped) == {running.turn_id, waiting.turn_id}
        cut, skipped = await house.final(running), await house.final(waiting)
        assert (cut.outcome, cut.reply, cut.notice) == ("cancelled", "Shown.", "Stopped.")
        assert (skipped.outcome, skipped.reply) == ("cancelled", "")
        assert skipped.notice == "Stopped before it was answered."
        assert (await house.final(newest)).reply == "Answer to now this."
        assert await house.rows(
            "SELECT COUNT(*) FROM model_calls WHERE turn_id = :id", id=running.turn_id
        ) == [(1,)]
        await house.settled()


async def test_steering_messages_join_at_the_next_step(site: Site) -> None:
    """STEER: what comes while the turn has steps left is read by it; one answer covers all."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        joined = [await house.accepted(f"also {n}", overlap=Overlap.STEER) for n in range(2)]
        queued = await house.accepted("a question of its own")
        late = await house.accepted("too far behind", overlap=Overlap.STEER)
        gate.opened.set()
        assert (await house.final(running)).reply == "Shown.\n\nDone."
        for accepted in joined:
            final = await house.final(accepted)
            assert (final.outcome, final.merged_into) == ("steered", running.turn_id)
            assert final.reply == ""
            assert final.notice
        assert (await house.final(queued)).reply == "Answer to a question of its own."
        assert (await house.final(late)).reply == "Answer to too far behind."
        steps = await house.rows(
            "SELECT kind FROM turn_steps WHERE turn_id = :id ORDER BY n", id=running.turn_id
        )
        assert [kind for (kind,) in steps] == [
            *("model", "tool"),
            *("model", "tool", "steer", "steer"),
            "model",
        ]
        history = house.engine.requests[-1].history
        assert [item.user_text for item in history] == ["hold", "a question of its own"]
        await house.settled()


async def test_steering_a_turn_without_steps_left_queues(site: Site) -> None:
    """STEER that comes too late is not lost: it is answered as a turn of its own."""
    reached, opened = asyncio.Event(), asyncio.Event()

    def script(text: str) -> list[Move]:
        if text != "go":
            return [Say("On its own.")]
        return [Signal(reached), Until(opened), Say("Last.")]

    async with site.open(ScriptedEngine(lambda request: script(request.text))) as house:
        first = await house.accepted("go")
        await reached.wait()
        second = await house.accepted("one more thing", overlap=Overlap.STEER)
        opened.set()
        assert (await house.final(first)).reply == "Last."
        assert (await house.final(second)).reply == "On its own."
        await house.settled()


async def test_nobody_steers_under_anothers_role(site: Site) -> None:
    """A colleague's message in a shared conversation never runs with the asker's role."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        viewer = await house.user(house.admin.tenant_id, "viewer@example.com", Role.VIEWER)
        running = await house.accepted("hold")
        await gate.reached.wait()
        message = house.message("delete everything", viewer, overlap=Overlap.STEER)
        shared = house.message("x").address
        theirs = await house.core.inbox.accept(replace(message, address=shared))
        assert isinstance(theirs, Accepted)
        assert theirs.conversation_id == running.conversation_id
        gate.opened.set()
        await house.final(running)
        assert (await house.final(theirs)).reply == "Answer to delete everything."
        await house.settled()


async def test_what_was_absorbed_survives_a_crash(site: Site) -> None:
    """A steering message that joined is in the steps of the re-run, and is not answered twice."""
    gate = Gate()
    engine = gate.engine()
    look = Probe("look")
    async with site.open(engine, tools=[look.tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        joined = await house.accepted("also this", overlap=Overlap.STEER)
        passed = house.faults.passed
        house.faults.refuse = lambda name: name == "_reserve" and "_absorb" in passed
        gate.opened.set()
        await house.until("SELECT status FROM turns WHERE seq = 2", "merged")
        await house.crash()
    async with site.open(engine, tools=[look.tool()]) as second:
        await _expire(second)
        assert (await second.final(running)).reply == "Shown.\n\nDone."
        assert (await second.final(joined)).merged_into == running.turn_id
        assert (await second.ask("next")).reply == "Answer to next."
        await second.settled()


# -- stop -----------------------------------------------------------------------------------


async def test_stop_ends_what_runs_and_what_waits(site: Site) -> None:
    """``/stop`` ends the running turn with what it showed, the queued ones before they begin."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        waiting = await house.accepted("waits")
        done = await house.say("/stop", event="s")
        assert isinstance(done, ControlDone)
        assert done.reply == "Stopped, with 1 waiting message."
        assert (await house.final(running)).reply == "Shown."
        assert (await house.final(waiting)).outcome == "cancelled"
        again = await house.say("/stop", event="s")
        assert isinstance(again, ControlDone)
        assert (again.reply, again.stopped) == (done.reply, ())
        assert (await house.ask("and now?")).reply == "Answer to and now?."
        await house.settled()


async def test_stop_reaches_a_turn_that_has_not_begun(site: Site) -> None:
    """Accepted and stopped in the same breath: the engine is never asked."""
    async with site.open() as house:
        accepted, done = await asyncio.gather(house.accepted("go"), _stop_soon(house))
        final = await house.final(accepted)
        assert isinstance(done, ControlDone)
        if accepted.turn_id in done.stopped:
            assert final.outcome == "cancelled"
        await house.settled()


async def _stop_soon(house: House) -> object:
    await asyncio.sleep(0)
    done = await house.say("/stop")
    while not isinstance(done, ControlDone):
        done = await house.say("/stop")
    return done


async def test_a_change_in_flight_is_let_finish_and_recorded(site: Site) -> None:
    """W14: stopping a turn never cuts a side effect in half; its outcome is in the steps."""
    change = Probe("change", Level.L1, mutates=True, hold=asyncio.Event())
    moves: list[Move] = [Say("Changing.", tools=(CHANGE,)), Say("Never said.")]
    async with site.open(ScriptedEngine(moves), tools=[change.tool()]) as house:
        accepted = await house.accepted("go")
        await change.begun.wait()
        await house.say("/stop")
        await asyncio.sleep(0.05)
        assert await house.rows("SELECT status FROM turns") == [("running",)]
        assert change.hold is not None
        change.hold.set()
        final = await house.final(accepted)
        assert (final.outcome, final.reply) == ("cancelled", "Changing.")
        kinds = await house.rows("SELECT kind FROM turn_steps ORDER BY n")
        assert [kind for (kind,) in kinds] == ["model", "tool_started", "tool"]
        actions = await house.rows("SELECT action FROM audit_log")
        assert actions == [("tool.ran",)]
        await house.settled()


async def test_stop_reaches_another_process(postgres_place: Site) -> None:
    """A turn that runs in one process is stopped by a message that another one accepted."""
    gate = Gate()
    slow_beat = Pace(beat_s=5, ttl_s=60, poll_s=0.1, sweep_s=1)
    async with (
        postgres_place.open(gate.engine(), tools=[Probe("look").tool()], pace=slow_beat) as worker,
        postgres_place.open(run_turns=False, pace=slow_beat) as edge,
    ):
        accepted = await worker.accepted("hold")
        await gate.reached.wait()
        done = await edge.say("/stop")
        assert isinstance(done, ControlDone)
        final = await edge.final(accepted)
        assert (final.outcome, final.reply) == ("cancelled", "Shown.")
        await edge.settled()


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
