"""Over quota: what needs no model is answered by the offline engine, the rest is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.engines.breaker import BreakerState
from core.engines.engine import Engine
from core.events import (
    Completed,
    EngineChanged,
    EngineSession,
    ModelCallFinished,
    StopReason,
    TextDelta,
    TextReset,
    ToolStarted,
    refused,
)
from core.steps import ToolCall
from tests.contracts.engine_kit import Case, RecordingMeter, RunbookKit, Turn
from tests.core.engines.test_failover import Chain, down, first
from tests.fakes.scripted_engine import Fail, Say, ScriptedEngine, Tell

REFUSED = refused(RecordingMeter.REFUSAL)
ANSWERED = "The monthly limit is reached. The offline engine (runbook) answered this one."


async def asked(text: str, *engines: Engine, meter: RecordingMeter | None = None) -> Turn:
    """One turn over quota, with the real offline engine behind the others; nothing opened."""
    turn = Turn(meter=meter or RecordingMeter(allowed=0))
    async with RunbookKit().start() as offline:
        chain = Chain([*engines, offline])
        await turn.play(chain.engine, turn.request(text))
    assert {chain.state(engine.name) for engine in engines} == {BreakerState.CLOSED}
    return turn


async def test_a_routine_is_answered_and_the_refusal_told() -> None:
    """The tool runs, the answer says that no model made it, the change says why."""
    turn = await asked(RunbookKit.prompts[Case.TOOL], first(Say("x")))
    assert turn.events[0] == EngineChanged(engine="runbook", reason=ANSWERED)
    assert [event.tool for event in turn.of(ToolStarted)] == ["look"]
    assert "the model may not be asked right now" in turn.shown
    assert turn.of(Completed) == [Completed()]


@pytest.mark.parametrize("text", ["write me a poem", "restart nginx", ""])
async def test_what_no_routine_knows_is_refused_plainly(text: str) -> None:
    """The refusal alone: no word of the offline engine, and no change of the engine."""
    turn = await asked(text, first(Say("x")))
    assert turn.events == [REFUSED]


async def test_a_re_run_that_is_refused_says_nothing_either() -> None:
    """The offline engine takes nothing back that nobody said."""
    turn = Turn(meter=RecordingMeter(allowed=0))
    async with RunbookKit().start() as offline:
        request = replace(turn.request("write me a poem"), attempt=2)
        await turn.play(Chain([first(Say("x")), offline]).engine, request)
    assert not turn.of(TextReset)
    assert turn.of(Completed) == [REFUSED]


async def test_no_other_model_is_asked() -> None:
    """All of them are under the same quota."""
    second = ScriptedEngine([Say("y")], name="second")
    turn = await asked("look around", first(Say("x")), second)
    assert second.requests == []
    assert turn.of(EngineChanged)[0].engine == "runbook"


async def test_after_an_outage_the_refusal_is_what_is_told() -> None:
    """The first is down, the second one's call is refused: the latter is what can be helped."""
    turn = Turn(meter=RecordingMeter(allowed=0))
    async with RunbookKit().start() as offline:
        chain = Chain([first(down()), ScriptedEngine([Say("y")], name="second"), offline])
        await turn.play(chain.engine, turn.request("look around"))
    assert [event.reason for event in turn.of(EngineChanged)] == [ANSWERED]


async def test_a_started_process_is_no_answer() -> None:
    """An engine that names its session before it is refused has said nothing yet."""
    turn = await asked("look around", first(Tell(EngineSession(token="s")), Say("x")))
    assert turn.of(EngineChanged)[0].reason == ANSWERED


async def test_in_the_middle_the_refusal_stands() -> None:
    """What was said and done stays, the refusal ends it, nobody else goes on."""
    moves = (Say("Let me look.", tools=(ToolCall(id="t1", name="look"),)), Say("Fine."))
    turn = await asked("look around", first(*moves), meter=RecordingMeter(allowed=1))
    assert turn.shown == "Let me look."
    assert len(turn.of(ModelCallFinished)) == 1
    assert turn.of(Completed) == [REFUSED]
    assert not turn.of(EngineChanged)


async def test_a_call_without_words_is_work_too() -> None:
    """A model call that only asked for a tool was paid for: its turn is not begun again."""
    moves = (Say("", tools=(ToolCall(id="t1", name="look"),)), Say("Fine."))
    turn = await asked("look around", first(*moves), meter=RecordingMeter(allowed=1))
    assert turn.of(Completed) == [REFUSED]
    assert not turn.of(TextDelta)


async def test_a_model_that_declines_is_not_the_meter() -> None:
    """Its own refusal is the answer; no routine takes over."""
    declines = first(Say("", stop_reason="refusal"))
    turn = await asked("look around", declines, meter=RecordingMeter())
    (end,) = turn.of(Completed)
    assert (end.stop_reason, end.refusal) == (StopReason.REFUSED, None)
    assert not turn.of(EngineChanged)


async def test_a_summary_over_quota_is_not_made() -> None:
    """It needs a model; its refusal is told to whoever asked for it."""
    turn = Turn(meter=RecordingMeter(allowed=0))
    async with RunbookKit().start() as offline:
        request = replace(turn.request("look around"), ephemeral=True)
        await turn.play(Chain([first(Say("x")), offline]).engine, request)
    assert turn.events == [REFUSED]


async def test_an_offline_engine_that_breaks_leaves_the_refusal() -> None:
    """Its trouble is not what the user can do something about."""
    broken = ScriptedEngine([Fail("Broken.")], name="offline", has_model=False)
    turn = Turn(meter=RecordingMeter(allowed=0))
    await turn.play(Chain([first(Say("x")), broken]).engine, turn.request("look around"))
    assert turn.events == [REFUSED]
