"""What happens to a running turn when another message, or a stop, arrives."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from core.inbox import Accepted, ControlDone
from core.messages import Overlap
from core.risk import Level
from core.scheduling import Pace
from core.steps import ToolCall
from core.tenants import Role
from tests.fakes.scripted_engine import Move, Say, ScriptedEngine, Signal, Until
from tests.support.core_gate import Gate
from tests.support.core_kit import House, Probe, Site

CHANGE = ToolCall(id="t1", name="change")


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
        assert done.reply == "Stopped, with 1 more that waited."
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


async def test_a_stop_that_comes_with_the_last_word_still_counts(site: Site) -> None:
    """Who was told "Stopped." never finds the turn answered, however late the stop came."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        # As another process does whose notification is still on its way.
        await house.write("UPDATE turns SET cancel_at = 1 WHERE id = :id", id=running.turn_id)
        gate.opened.set()
        assert (await house.final(running)).outcome == "cancelled"
        await house.settled()


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


async def _expire(house: House) -> None:
    me = house.core.scheduler.worker
    await house.write("UPDATE workers SET expires_at = 0 WHERE id <> :me", me=me)
