"""What every engine promises (``core.engines.engine.Engine``), whichever it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from core.engines.engine import Engine
from core.engines.replies import joined_text
from core.errors import EngineFailure
from core.events import (
    ModelCallFinished,
    StopReason,
    TextDelta,
    TextReset,
    ToolFinished,
    ToolStarted,
)
from core.messages import Attachment
from core.steps import Exchange, ModelStep, SteerStep, Step, ToolCall, ToolStep
from tests.contracts.engine_kit import FILES, KITS, Case, EngineKit, RecordingMeter, Turn
from tests.fakes.anthropic import SECRET_WORD

CUTS = range(7)
"""How many steps of ``Case.STEPS`` were committed when the process died; 6 is all."""


def kits_for(case: Case, *, model: bool = False) -> pytest.MarkDecorator:
    """Parametrise over the engines that can be brought into a case (and have a model)."""
    fitting = [kit for kit in KITS if case in kit.prompts and (kit.has_model or not model)]
    kits = [pytest.param(kit, id=kit.name) for kit in fitting]
    return pytest.mark.parametrize("kit", kits)


@pytest.fixture
async def engine(kit: EngineKit) -> AsyncIterator[Engine]:
    """The engine under test."""
    async with kit.start() as started:
        yield started


@kits_for(Case.TEXT)
async def test_text_arrives_once(kit: EngineKit, engine: Engine) -> None:
    """The deltas add up to the committed text, and the turn ends by itself."""
    turn = Turn()
    end = await turn.play(engine, turn.request(kit.prompts[Case.TEXT]))
    assert end.stop_reason is StopReason.END
    assert turn.shown
    assert turn.shown == joined_text(turn.log) or not kit.has_model
    assert not turn.of(ToolStarted)


@pytest.mark.parametrize("kit", [pytest.param(kit, id=kit.name) for kit in KITS])
async def test_an_engine_says_what_it_is(kit: EngineKit, engine: Engine) -> None:
    """Its name is stable, and compaction can ask whether it has a model."""
    assert engine.name == kit.name
    assert engine.has_model is kit.has_model


@kits_for(Case.TOOL)
async def test_a_recorded_result_is_not_asked_for_twice(kit: EngineKit, engine: Engine) -> None:
    """An attempt that died after its tools goes on with their results."""
    first = Turn()
    await first.play(engine, first.request(kit.prompts[Case.TOOL]))
    ran = [step for step in first.log if isinstance(step, ToolStep)]
    turn = Turn(steps=tuple(first.log[: first.log.index(ran[-1]) + 1]))
    end = await turn.play(engine, turn.request(kit.prompts[Case.TOOL]))
    assert end.stop_reason is StopReason.END
    assert not turn.ran
    assert turn.shown


@kits_for(Case.TEXT, model=True)
async def test_usage_of_every_call_is_reported(kit: EngineKit, engine: Engine) -> None:
    """A finished call carries what the meter saw, and it is not nothing."""
    turn = Turn()
    await turn.play(engine, turn.request(kit.prompts[Case.TEXT]))
    (finished,) = turn.of(ModelCallFinished)
    assert finished.step.engine == engine.name
    assert finished.step.usage.input_tokens > 0
    assert finished.step.usage.output_tokens > 0
    assert list(turn.meter.reserved) == [finished.step.call_id]
    assert turn.meter.reserved[finished.step.call_id] > 0


@kits_for(Case.TOOL)
async def test_a_tool_is_called_through_the_door(kit: EngineKit, engine: Engine) -> None:
    """The door runs it once; start and end are told around it."""
    turn = Turn()
    end = await turn.play(engine, turn.request(kit.prompts[Case.TOOL]))
    assert end.stop_reason is StopReason.END
    assert turn.ran == {"look": 1}
    (started,), (finished,) = turn.of(ToolStarted), turn.of(ToolFinished)
    assert started.call_id == finished.call_id
    assert started.summary
    assert finished.ok
    assert finished.output == "look is fine"
    assert turn.shown


@kits_for(Case.REFUSED_TOOL)
async def test_a_refused_tool_does_not_end_the_turn(kit: EngineKit, engine: Engine) -> None:
    """The refusal is told as a failed tool and the model answers after it."""
    turn = Turn()
    end = await turn.play(engine, turn.request(kit.prompts[Case.REFUSED_TOOL]))
    assert end.stop_reason is StopReason.END
    (finished,) = turn.of(ToolFinished)
    assert not finished.ok
    assert finished.output == "Your role may not use forbidden."
    assert not turn.ran
    assert turn.shown


@kits_for(Case.STEPS)
async def test_texts_of_several_steps_do_not_run_together(kit: EngineKit, engine: Engine) -> None:
    """Three model calls with text are separated by blank lines in the reply."""
    turn = Turn()
    await turn.play(engine, turn.request(kit.prompts[Case.STEPS]))
    texts = [step.text for step in turn.log if isinstance(step, ModelStep)]
    assert len(texts) == 3
    assert turn.shown == "\n\n".join(texts)
    assert turn.ran == {"restart": 1, "look": 1}


@kits_for(Case.STEPS)
@pytest.mark.parametrize("cut", CUTS)
async def test_a_rerun_goes_on_after_the_last_committed_step(
    kit: EngineKit, engine: Engine, cut: int
) -> None:
    """Wherever a process died, the second run ends the same and repeats no model call."""
    whole = Turn()
    await whole.play(engine, whole.request(kit.prompts[Case.STEPS]))
    assert len(whole.log) == 6  # model, started, tool, model, tool, model
    committed = tuple(whole.log[:cut])
    turn = Turn(steps=committed)
    end = await turn.play(engine, turn.request(kit.prompts[Case.STEPS]))
    assert end.stop_reason is StopReason.END
    assert turn.log[: len(committed)] == list(committed)
    calls = [step for step in turn.log if isinstance(step, ModelStep)]
    assert len(calls) == 3
    assert len(turn.meter.reserved) == 3 - sum(isinstance(s, ModelStep) for s in committed)
    assert [call.name for step in calls for call in step.tool_calls] == ["restart", "look"]
    ran_before = sum(isinstance(step, ToolStep) and step.name == "restart" for step in committed)
    unknown = _started(committed) and not ran_before
    assert turn.ran["restart"] == (0 if ran_before or unknown else 1)
    assert turn.shown == joined_text(turn.log)


def _started(steps: list[Step] | tuple[Step, ...]) -> int:
    return sum(type(step).__name__ == "ToolStartedStep" for step in steps)


@kits_for(Case.TOOL)
async def test_a_complete_answer_is_not_asked_for_again(kit: EngineKit, engine: Engine) -> None:
    """A re-run whose last step is the final answer completes without a model call."""
    steps = (ModelStep(call_id="c", engine="claude_agent_sdk", model="m", text="Done."),)
    turn = Turn(steps=steps)
    end = await turn.play(engine, turn.request(kit.prompts[Case.TOOL]))
    assert end.stop_reason is StopReason.END
    assert not turn.meter.reserved
    assert not turn.of(TextDelta)


@kits_for(Case.TOOL, model=True)
async def test_messages_that_join_are_taken_after_a_tool(kit: EngineKit, engine: Engine) -> None:
    """Steering is committed between a tool's result and the next model call."""
    turn = Turn(steers=["and memory?"])
    await turn.play(engine, turn.request(kit.prompts[Case.TOOL]))
    kinds = [type(step) for step in turn.log]
    assert kinds == [ModelStep, ToolStep, SteerStep, ModelStep]


@kits_for(Case.FILES)
async def test_every_kind_of_file_is_taken(kit: EngineKit, engine: Engine) -> None:
    """An image, a PDF, a log and an empty file, without a word beside them."""
    turn = Turn()
    request = turn.request(kit.prompts[Case.FILES], attachments=FILES)
    end = await turn.play(engine, request)
    assert end.stop_reason is StopReason.END
    assert turn.shown


@kits_for(Case.TEXT)
async def test_any_history_is_taken(kit: EngineKit, engine: Engine) -> None:
    """Turns of other engines, interrupted ones and silent ones are acceptable history."""
    call = ToolCall(id="x:1/2", name="odd name", arguments={"a": 1})
    odd = ModelStep(call_id="c1", engine="other", model="m", text=" ", tool_calls=(call,))
    result = ToolStep(tool_call_id="x:1/2", name="odd name", output="x" * 20_000)
    final = ModelStep(call_id="c2", engine="other", model="m", text="Done.")
    cut = ModelStep(call_id="c3", engine="other", model="m", text="Let me", tool_calls=(call,))
    history = [
        Exchange(user_text="one", reply="Said by a runbook."),
        Exchange(user_text="two", steps=(odd, result, SteerStep(text="hm"), final), reply="Done."),
        Exchange(user_text="", attachments=FILES, steps=(cut,), reply="Let me"),
        Exchange(user_text="four", reply=""),
        Exchange(user_text="five", steps=(cut,), reply="This turn was stopped."),
    ]
    turn = Turn()
    request = turn.request(kit.prompts[Case.TEXT], history=history, summary="Earlier: much.")
    end = await turn.play(engine, request)
    assert end.stop_reason is StopReason.END
    assert turn.shown


@kits_for(Case.TEXT, model=True)
async def test_a_quota_refusal_ends_the_turn_with_its_sentence(
    kit: EngineKit, engine: Engine
) -> None:
    """No model call is made without a grant; the refusal is the ending's, with no word said."""
    turn = Turn(meter=RecordingMeter(allowed=0))
    end = await turn.play(engine, turn.request(kit.prompts[Case.TEXT]))
    assert end.stop_reason is StopReason.REFUSED
    assert end.notice == "The monthly limit is reached."
    assert end.refusal == RecordingMeter.REFUSAL
    assert not turn.of(TextDelta)
    assert not turn.of(ModelCallFinished)


@kits_for(Case.TOOL, model=True)
async def test_a_quota_refusal_between_steps_keeps_what_was_done(
    kit: EngineKit, engine: Engine
) -> None:
    """The second model call is refused after the first was committed and its tool ran."""
    turn = Turn(meter=RecordingMeter(allowed=1))
    end = await turn.play(engine, turn.request(kit.prompts[Case.TOOL]))
    assert end.stop_reason is StopReason.REFUSED
    assert end.refusal == RecordingMeter.REFUSAL
    assert turn.ran == {"look": 1}
    assert len(turn.of(ModelCallFinished)) == 1


@kits_for(Case.SLOW)
async def test_closing_the_generator_ends_the_call_and_meters_it(
    kit: EngineKit, engine: Engine
) -> None:
    """A turn that is left in the middle of its text has told what it spent so far."""
    turn = Turn()
    async with aclosing(engine.run(turn.request(kit.prompts[Case.SLOW]))) as events:
        async for event in events:
            turn.take_in(event)
            if len(turn.of(TextDelta)) == 3:
                break
    (usage,) = turn.meter.seen.values()
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert not turn.of(ModelCallFinished)


@kits_for(Case.SLOW)
async def test_cancelling_the_task_ends_the_call_and_meters_it(
    kit: EngineKit, engine: Engine
) -> None:
    """The same when the task that runs the engine is cancelled while it waits."""
    turn = Turn()
    shown = asyncio.Event()

    async def run() -> None:
        async with aclosing(engine.run(turn.request(kit.prompts[Case.SLOW]))) as events:
            async for event in events:
                turn.take_in(event)
                if isinstance(event, TextDelta):
                    shown.set()

    task = asyncio.create_task(run())
    await asyncio.wait_for(shown.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (usage,) = turn.meter.seen.values()
    assert usage.output_tokens > 0


@kits_for(Case.FAILS)
async def test_a_failing_provider_is_told_in_one_sentence(kit: EngineKit, engine: Engine) -> None:
    """EngineFailure says what to do, has a static reason and not the provider's words."""
    turn = Turn()
    with pytest.raises(EngineFailure) as failure:
        await turn.play(engine, turn.request(kit.prompts[Case.FAILS]))
    assert failure.value.reason.replace("_", "").isalpha()
    assert failure.value.sentence.endswith(".")
    assert SECRET_WORD not in failure.value.sentence
    assert not turn.of(TextDelta)


@kits_for(Case.FAILS_MIDWAY)
async def test_a_provider_that_dies_mid_sentence_is_metered_and_told(
    kit: EngineKit, engine: Engine
) -> None:
    """Each try that reached the provider was admitted and has its usage."""
    turn = Turn()
    with pytest.raises(EngineFailure):
        await turn.play(engine, turn.request(kit.prompts[Case.FAILS_MIDWAY]))
    assert turn.of(TextDelta)
    assert set(turn.meter.seen) == set(turn.meter.reserved)
    assert all(usage.output_tokens > 0 for usage in turn.meter.seen.values())


@kits_for(Case.RECOVERS_MIDWAY)
async def test_text_of_a_broken_try_is_taken_back(kit: EngineKit, engine: Engine) -> None:
    """A retry after visible text resets it, and the reply is the second try alone."""
    turn = Turn()
    end = await turn.play(engine, turn.request(kit.prompts[Case.RECOVERS_MIDWAY]))
    assert end.stop_reason is StopReason.END
    assert len(turn.of(TextReset)) == 1
    assert len(turn.meter.reserved) == 2
    assert turn.shown == joined_text(turn.log)


@kits_for(Case.FILES)
async def test_an_unreadable_file_is_no_reason_to_fail(kit: EngineKit, engine: Engine) -> None:
    """Bytes of an unknown kind are named, not sent."""
    turn = Turn()
    blob = Attachment(name="core.dump", media_type="application/octet-stream", data=b"\0\xff" * 99)
    end = await turn.play(engine, turn.request(kit.prompts[Case.FILES], attachments=(blob,)))
    assert end.stop_reason is StopReason.END
