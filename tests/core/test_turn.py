"""One turn, cut at every point: one answer, each effect once, every token metered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.errors import StorageUnreachable
from core.inbox import Accepted
from core.metering import Usage
from core.risk import Level
from core.steps import ToolCall
from tests.fakes.scripted_engine import (
    Crash,
    Fail,
    Move,
    Pause,
    Say,
    ScriptedEngine,
    Signal,
    Until,
)
from tests.support.core_kit import Final, House, Probe, Site

CHANGE = ToolCall(id="t1", name="change")
LOOK = ToolCall(id="t2", name="look")
STORY: list[Move] = [
    Say("First", tools=(CHANGE,), usage=Usage(input_tokens=10, output_tokens=1)),
    Say("Second", tools=(LOOK,), usage=Usage(input_tokens=20, output_tokens=2)),
    Say("Third.", usage=Usage(input_tokens=30, output_tokens=3)),
]
TOLD = "First\n\nSecond\n\nThird."
UNKNOWN = "Outcome unknown: change was started"


def _tools() -> tuple[Probe, Probe]:
    return Probe("change", Level.L1, mutates=True), Probe("look")


@asynccontextmanager
async def after_a_crash(site: Site, house: House, *probes: Probe) -> AsyncIterator[House]:
    """Another core on the site of one that died, when its leases have run out."""
    async with site.open(house.engine, tools=[probe.tool() for probe in probes]) as second:
        await second.write("UPDATE workers SET expires_at = 0 WHERE id <> :me", me=_me(second))
        yield second


def _me(house: House) -> str:
    return house.core.scheduler.worker


async def _told(house: House, event: str) -> Final:
    """What the platform does: send the event again, and read the answer."""
    return await house.final(await house.accepted("tell me", event=event))


async def test_a_story_told_without_a_crash(site: Site) -> None:
    """Steps, tools, usage and the final event agree with what is stored."""
    change, look = _tools()
    async with site.open(ScriptedEngine(STORY), tools=[change.tool(), look.tool()]) as house:
        final = await _told(house, "e")
        assert (final.outcome, final.reply, final.notice) == ("answered", TOLD, "")
        assert (final.engine, final.merged_into) == ("scripted", None)
        assert final.usage["input_tokens"] == 60
        assert final.usage["output_tokens"] == 6
        assert (len(change.runs), len(look.runs)) == (1, 1)
        stored = await house.rows("SELECT reply, notice, outcome, answered_by FROM turns")
        assert stored == [(TOLD, "", "answered", "scripted")]
        assert final.names()[0] == "turn"
        texts = [json.loads(e.data)["text"] for e in final.events if e.name == "text_delta"]
        assert "".join(texts) == TOLD
        kinds = await house.rows("SELECT kind FROM turn_steps ORDER BY n")
        assert [kind for (kind,) in kinds] == [
            *("model", "tool_started", "tool"),
            *("model", "tool"),
            "model",
        ]
        calls = await house.rows("SELECT id, state FROM model_calls ORDER BY id")
        assert calls == [(f"{final.turn_id}.1.{n}", "settled") for n in (1, 2, 3)]
        await house.settled()


async def test_a_turn_cut_at_any_commit_goes_on_after_its_last_step(site: Site) -> None:
    """W1, W22: killed before or after any commit, a turn ends once and changes nothing twice."""
    async with site.open(ScriptedEngine(STORY), tools=[p.tool() for p in _tools()]) as house:
        await _told(house, "whole")
        commits = list(house.faults.passed)
    assert commits[0] == "_accept"
    assert commits[-1] == "_finish"
    for cut in range(len(commits)):
        # Both sides of each commit on SQLite; on PostgreSQL, which is slower, one of them.
        for committed in (cut % 2 == 0,) if site.postgres else (False, True):
            await _cut(site, cut, committed=committed)
    async with site.open() as house:
        await house.settled()


async def _cut(site: Site, cut: int, *, committed: bool) -> None:
    engine = ScriptedEngine(STORY)
    change, look = _tools()
    tools = [change.tool(), look.tool()]
    event = f"cut-{cut}-{committed}"
    async with site.open(engine, tools=tools, cut_at=cut, committed=committed) as house:
        try:
            await house.accepted("tell me", event=event, place=event)
        except StorageUnreachable:
            assert cut == 0
        async with asyncio.timeout(20):
            await house.faults.died.wait()
        await house.crash()
    async with after_a_crash(site, house, change, look) as second:
        final = await _told(second, event)
        where = (event, house.faults.passed)
        assert (final.outcome, final.reply) == ("answered", TOLD), where
        assert len(change.runs) <= 1, where
        steps = await second.rows(
            "SELECT payload FROM turn_steps WHERE turn_id = :id AND kind = 'tool' ORDER BY n",
            id=final.turn_id,
        )
        outputs = [json.loads(payload)["output"] for (payload,) in steps]
        assert len(outputs) == 2, where
        assert outputs[0] == "probed" or outputs[0].startswith(UNKNOWN), where
        assert (outputs[0] == "probed") <= (len(change.runs) == 1), where
        calls = await second.rows(
            "SELECT state, COUNT(*) FROM model_calls WHERE turn_id = :id GROUP BY state",
            id=final.turn_id,
        )
        states = {state: int(number) for state, number in calls}
        assert states.pop("settled") == 3, where
        assert set(states) <= {"estimated"}, where
        assert sum(states.values()) <= 1, where


async def test_a_rerun_takes_back_what_was_not_committed(site: Site) -> None:
    """The stream of a later attempt begins with what remains of the text, and says why."""
    reached = asyncio.Event()
    moves: list[Move] = [
        Say("Kept.", tools=(LOOK,)),
        Signal(reached),
        Say("lost words of the second call", pause_s=0.01),
    ]
    look = Probe("look")
    async with site.open(ScriptedEngine(moves), tools=[look.tool()]) as house:
        accepted = await house.accepted("tell me", event="e")
        await reached.wait()
        await asyncio.sleep(0.03)
        await house.crash()
    async with after_a_crash(site, house, look) as second:
        final = await second.final(accepted)
        assert final.reply == "Kept.\n\nlost words of the second call"
        assert final.names()[:2] == ["turn", "text_reset"]
        assert json.loads(final.events[1].data)["text"] == "Kept."
        assert json.loads(final.events[1].data)["reason"]
        assert {event.id.attempt for event in final.events} == {2}
        assert len(look.runs) == 1
        await second.settled()


async def test_a_call_lost_to_a_crash_is_metered_as_estimated(site: Site) -> None:
    """W9: the call that died with its process is on the bill, marked, and so is its repetition."""
    reached, never = asyncio.Event(), asyncio.Event()
    moves: list[Move] = [Signal(reached), Say("Done."), Until(never)]
    engine = ScriptedEngine(moves)
    async with site.open(engine) as house:
        house.faults.refuse = lambda name: name == "_record"
        accepted = await house.accepted("x" * 300)
        await house.until("SELECT COUNT(*) FROM model_calls", 1)
        await house.crash()
    async with after_a_crash(site, house) as second:
        never.set()
        await second.final(accepted)
        calls = await second.rows(
            "SELECT id, state, input_tokens FROM model_calls ORDER BY created_at, id"
        )
        assert calls[0] == (f"{accepted.turn_id}.1.1", "estimated", 300 // 3 + 50)
        assert calls[1][1:] == ("settled", 100)
        await second.settled()


async def test_a_stopped_call_is_metered_by_what_was_seen(site: Site) -> None:
    """W9: of an interrupted call the provider's own input counts, and the output that was shown."""
    say = Say("word " * 500, pause_s=0.005, usage=Usage(input_tokens=7, output_tokens=1000))
    async with site.open(ScriptedEngine([say])) as house:
        accepted = await house.accepted("go")
        live = house.core.streams._live[accepted.turn_id]
        while sum(event.name == "text_delta" for event in live.events) < 5:
            await live.changed.wait()
        await house.say("/stop")
        final = await house.final(accepted)
        assert (final.outcome, final.notice) == ("cancelled", "Stopped.")
        shown = final.reply
        assert shown.startswith("word word")
        rows = await house.rows("SELECT state, input_tokens, output_tokens FROM model_calls")
        assert rows == [("estimated", 7, -(-len(shown) // 4))]
        assert house.engine.closed_early == 1
        await house.settled()


async def test_a_reported_zero_stays_zero(site: Site) -> None:
    """W9: a provider that reports no tokens is billed no tokens."""
    async with site.open(ScriptedEngine([Say("Free of charge.", usage=Usage())])) as house:
        final = await house.ask("go")
        assert set(final.usage.values()) == {0}
        rows = await house.rows("SELECT state, input_tokens, output_tokens FROM model_calls")
        assert rows == [("settled", 0, 0)]


async def test_a_failing_provider_leaves_what_was_said_and_one_sentence(site: Site) -> None:
    """W20: an answer that breaks off is kept, followed by what happened; the turn is over."""
    async with site.open(ScriptedEngine([Say("one two three", fail_after=2)])) as house:
        final = await house.ask("go")
        assert (final.outcome, final.reply) == ("failed", "one two ")
        assert final.notice == "The scripted provider is down. Try again."
        assert await house.rows("SELECT failure FROM turns") == [("scripted",)]
        assert await house.rows("SELECT state FROM model_calls") == [("estimated",)]
        await house.settled()


async def test_a_provider_that_fails_at_once_is_an_honest_failure(site: Site) -> None:
    """No text at all: the sentence alone is the answer, and the next message is answered."""
    script: dict[str, list[Move]] = {"bad": [Fail()], "good": [Say("Back again.")]}
    async with site.open(ScriptedEngine(lambda request: script[request.text])) as house:
        bad = await house.ask("bad")
        assert (bad.outcome, bad.reply) == ("failed", "")
        assert "Try again" in bad.notice
        assert (await house.ask("good")).reply == "Back again."


async def test_an_unknown_engine_is_refused_without_a_call(site: Site) -> None:
    """An engine that is not there is named, with what is configured and how to get it."""
    async with site.open() as house:
        final = await house.ask("go", engine="gpt")
        assert final.outcome == "refused"
        assert "'gpt'" in final.reply
        unset = await house.ask("go", engine="claude_api")
        assert unset.outcome == "refused"
        assert "ANTHROPIC_API_KEY" in unset.reply
        assert await house.rows("SELECT COUNT(*) FROM model_calls") == [(0,)]
        await house.settled()


async def test_an_empty_answer_is_said_to_be_empty(site: Site) -> None:
    """A model that says nothing does not look like a lost reply."""
    async with site.open(ScriptedEngine([Say("")])) as house:
        final = await house.ask("go")
        assert final.outcome == "answered"
        assert "no answer" in final.notice or "empty answer" in final.notice


async def test_text_that_no_database_takes_is_cleaned(site: Site) -> None:
    """NUL, controls and lone surrogates of a model or a tool do not lose the turn."""
    look = Probe("look", output="bin\x00ary \udcff \x1b[1m")
    moves = [Say("a\x00b", tools=(LOOK,)), Say("c\ud83dd")]
    async with site.open(ScriptedEngine(moves), tools=[look.tool()]) as house:
        final = await house.ask("go")
        assert (final.outcome, final.reply) == ("answered", "ab\n\nc\ufffdd")
        assert await house.rows("SELECT reply, attempt FROM turns") == [(final.reply, 1)]
        payloads = await house.rows("SELECT payload FROM turn_steps WHERE kind = 'tool'")
        assert json.loads(payloads[0][0])["output"] == "binary \ufffd [1m"
        again = await house.ask("and again")
        assert again.outcome == "answered"
        await house.settled()


async def test_a_turn_that_was_stopped_while_its_process_was_dead(site: Site) -> None:
    """What an earlier attempt committed is kept when the turn is stopped before it goes on."""
    reached, never = asyncio.Event(), asyncio.Event()
    moves: list[Move] = [Say("Kept.", tools=(LOOK,)), Signal(reached), Until(never), Say("No.")]
    look = Probe("look")
    async with site.open(ScriptedEngine(moves), tools=[look.tool()]) as house:
        accepted = await house.accepted("go")
        await reached.wait()
        await house.crash()
    async with site.open(run_turns=False) as edge:
        await edge.say("/stop")
    async with after_a_crash(site, house, look) as second:
        final = await second.final(accepted)
        assert (final.outcome, final.reply, final.notice) == ("cancelled", "Kept.", "Stopped.")
        await second.settled()


async def test_a_bug_in_the_engine_is_tried_again_and_then_given_up(site: Site) -> None:
    """A crash is retried with a growing pause; after five the user is told, honestly, once."""
    moves: list[Move] = [Say("So far.", tools=(LOOK,)), Crash()]
    look = Probe("look")
    async with site.open(ScriptedEngine(moves), tools=[look.tool()]) as house:
        final = await house.ask("go")
        assert (final.outcome, final.reply) == ("failed", "So far.")
        assert "5 times" in final.notice
        assert final.turn_id in final.notice
        assert len(look.runs) == 1
        assert len(house.engine.requests) == 5
        assert await house.rows("SELECT failures, failure FROM turns") == [(5, "poisoned")]
        engine_after = await house.ask("/whoami")
        assert engine_after.outcome == "answered"
        await house.settled()


async def test_a_bug_that_passes_is_not_seen_by_the_user(site: Site) -> None:
    """Two crashes and a third attempt that works: one answer, nothing repeated."""
    moves: list[Move] = [Crash(attempts=2), Say("Worked.")]
    async with site.open(ScriptedEngine(moves)) as house:
        final = await house.ask("go")
        assert (final.outcome, final.reply, final.notice) == ("answered", "Worked.", "")
        assert await house.rows("SELECT attempt, failures FROM turns") == [(3, 2)]


async def test_a_handed_back_turn_goes_on_where_it_was(site: Site) -> None:
    """W1, W2: a shutdown that cannot wait is no failure; the next process finishes the turn."""
    reached = asyncio.Event()
    moves: list[Move] = [Say("Half.", tools=(LOOK,)), Signal(reached), Pause(0.5), Say("Whole.")]
    look = Probe("look")
    async with site.open(ScriptedEngine(moves), tools=[look.tool()], grace_s=0) as house:
        accepted = await house.accepted("go")
        await reached.wait()
    async with site.open(ScriptedEngine(moves), tools=[look.tool()]) as second:
        final = await second.final(accepted)
        assert final.reply == "Half.\n\nWhole."
        assert await second.rows("SELECT attempt, failures FROM turns") == [(2, 0)]
        assert len(look.runs) == 1
        await second.settled()


async def test_the_first_accepted_wins_over_a_lost_answer(site: Site) -> None:
    """A commit whose answer was lost is found when the platform sends the event again."""
    async with site.open(cut_at=0, committed=True) as house:
        with pytest.raises(StorageUnreachable):
            await house.say("hello", event="e")
    async with after_a_crash(site, house) as second:
        again = await second.say("hello", event="e")
        assert isinstance(again, Accepted)
        assert again.duplicate
        assert (await second.final(again)).reply == "Fine."
        await second.settled()
