"""What a process says becomes our events once, whatever order and repetition it says it in."""

from __future__ import annotations

from typing import Any

import pytest

from core.engines.agent_said import Retrying
from core.engines.claude_faults import CUT
from core.engines.gateway import CallBegan, CallFailed, CallFinished, GatewayEvent
from core.errors import EngineFailure
from core.events import (
    Completed,
    EngineSession,
    ModelCallFinished,
    Notice,
    StopReason,
    TextDelta,
    TextReset,
    ToolFinished,
    ToolStarted,
)
from core.metering import Usage
from core.steps import ModelStep, SteerStep, ToolStep
from tests.contracts.engine_kit import RecordingMeter, Turn
from tests.core.engines.agent_kit import (
    USAGE,
    Ask,
    Script,
    Wait,
    ended,
    finish,
    opened,
    play,
    prepared,
    resulted,
    streamed,
    text_of,
    whole,
)


async def fails(script: Script, **changes: Any) -> tuple[EngineFailure, Turn]:
    """Play a script that ends in a failure."""
    played = prepared(script, **changes)
    with pytest.raises(EngineFailure) as failure:
        await finish(played)
    return failure.value, played.turn


async def test_text_that_is_said_three_times_is_shown_once() -> None:
    """Stream, message and result carry the same text; the stream counts."""
    script = [opened(), *streamed("m1", "All |is |well."), whole("m1", text_of("All is well."))]
    played = await play([*script, ended()])
    assert played.turn.shown == "All is well."
    assert len(played.turn.of(ModelCallFinished)) == 1
    assert [event.token for event in played.turn.of(EngineSession)] == ["s-1"]
    assert played.turn.meter.seen == {"call-1": USAGE}
    assert played.agent.settled


async def test_a_message_may_come_before_the_end_of_its_stream() -> None:
    """As the CLI says it: the whole message comes between its last delta and its end."""
    stream = streamed("m1", "All is well.")
    script = [opened(), *stream[:3], whole("m1", text_of("All is well.")), *stream[3:], ended()]
    played = await play(script)
    assert played.turn.shown == "All is well."
    assert len(played.turn.of(ModelCallFinished)) == 1


async def test_an_answer_that_was_never_streamed_is_taken_whole() -> None:
    """Its parts, one message a block, are one step with one usage."""
    use = {"type": "tool_use", "id": "t1", "name": "mcp__it0__look", "input": {"a": 1}}
    script: Script = [
        opened(),
        whole("m1", text_of("Let me look.")),
        whole("m1", use),
        Ask("t1", "look"),
        Wait(),
        resulted("t1", "look is fine"),
        whole("m2", text_of("Fine.")),
        ended(),
    ]
    played = await play(script)
    first, tool, second = played.turn.log
    assert isinstance(first, ModelStep)
    assert isinstance(tool, ToolStep)
    assert isinstance(second, ModelStep)
    assert first.text == "Let me look."
    assert [(call.name, call.arguments) for call in first.tool_calls] == [("look", {"a": 1})]
    assert played.turn.shown == "Let me look.\n\nFine."
    assert played.turn.meter.seen == {"call-1": USAGE, "call-2": USAGE}


async def test_a_tool_that_is_asked_for_early_waits_for_its_step() -> None:
    """The process calls it in mid-answer; it runs when the model's step is committed."""
    stream = streamed("m1", "Look", ("t1", "look"))
    script = [
        opened(),
        *stream[:-2],
        Ask("t1", "look"),
        *stream[-2:],
        Wait(),
        resulted("t1", "look is fine"),
        *streamed("m2", "Fine."),
        ended(),
    ]
    played = await play(script)
    assert [type(step) for step in played.turn.log] == [ModelStep, ToolStep, ModelStep]
    assert played.turn.ran == {"look": 1}
    assert [result.output for result in played.child.results] == ["look is fine"]
    kinds = [type(event) for event in played.turn.events]
    assert kinds.index(ModelCallFinished) < kinds.index(ToolStarted) < kinds.index(ToolFinished)


async def test_a_call_that_is_asked_for_twice_runs_once() -> None:
    """The id is the model's own: the second is answered by no one, and nothing runs again."""
    script = [
        opened(),
        *streamed("m1", "Look", ("t1", "look")),
        Ask("t1", "look"),
        Ask("t1", "look"),
        resulted("t1", "look is fine"),
        Wait(lambda: bool(turn.ran)),
        *streamed("m2", "Fine."),
        ended(),
    ]
    turn = Turn()
    played = await play(script, turn)
    assert played.turn.ran == {"look": 1}
    assert len(played.turn.of(ToolFinished)) == 1


@pytest.mark.parametrize("early", [False, True])
async def test_a_call_that_the_process_turns_down_itself_is_on_record(*, early: bool) -> None:
    """No such tool, said before or after the answer's end: a failed call, and nothing ran."""
    stream = streamed("m1", "Look", ("t1", "gone"))
    said = resulted("t1", "No such tool available", is_error=True)
    first = [*stream[:-2], said, *stream[-2:]] if early else [*stream, said]
    played = await play([opened(), *first, *streamed("m2", "Sorry."), ended()])
    (finished,) = played.turn.of(ToolFinished)
    assert not finished.ok
    assert finished.output == "No such tool available"
    assert not played.turn.ran
    assert [type(step) for step in played.turn.log] == [ModelStep, ToolStep, ModelStep]


async def test_an_answer_without_a_stop_reason_is_taken_back_when_it_starts_again() -> None:
    """The CLI ends a cut answer with message_stop and streams another one under a new id."""
    script = [opened(), *streamed("m1", "Half of", stop=None), *streamed("m2", "All."), ended()]
    played = await play(script)
    (reset,) = played.turn.of(TextReset)
    assert reset.text == ""
    assert played.turn.shown == "All."
    assert len(played.turn.of(ModelCallFinished)) == 1
    assert set(played.turn.meter.seen) == {"call-1", "call-2"}


async def test_a_retry_takes_back_what_was_shown_at_once() -> None:
    """``api_retry`` comes before the second answer: the user is not left with half a sentence."""
    half = streamed("m1", "Half of", stop=None)[:-1]
    script = [opened(), *half, Retrying(status=529), *streamed("m2", "All."), ended()]
    played = await play(script)
    (reset,) = played.turn.of(TextReset)
    assert reset.reason.startswith("Anthropic is busy")
    assert played.turn.shown == "All."


async def test_what_the_cli_says_of_an_error_is_no_answer() -> None:
    """Its text is dropped; the failure is told in our words, by the status."""
    script: Script = [
        opened(),
        whole("m1", text_of("API Error: 529 upstream"), failed=True),
        ended(failed=True, status=529),
    ]
    failure, turn = await fails(script)
    assert failure.reason == "overloaded"
    assert "API Error" not in failure.sentence
    assert not turn.of(TextDelta)


async def test_a_failed_turn_without_a_cause_is_a_crash() -> None:
    """``is_error`` with nothing else known."""
    failure, _ = await fails([opened(), ended("error_during_execution", failed=True)])
    assert failure.reason == "engine_crashed"


@pytest.mark.parametrize("end", [[], [OSError("pipe")], [*streamed("m1", "Half")[:3]]])
async def test_a_process_that_ends_is_a_failure(end: Script) -> None:
    """At once, with an error, or in the middle of an answer."""
    failure, turn = await fails([opened(), *end])
    assert failure.reason == "engine_crashed"
    assert not turn.log


async def test_a_process_that_cannot_be_asked_is_a_failure() -> None:
    """Its pipe is closed already."""
    played = prepared([])

    async def broken(_content: object) -> None:
        raise BrokenPipeError

    played.child.ask = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(EngineFailure) as failure:
        await finish(played)
    assert failure.value.reason == "engine_crashed"


async def test_an_error_of_a_tools_door_is_raised_as_it_is() -> None:
    """A lost lease must end the turn as such."""
    turn = Turn()

    async def run(_call: object) -> None:
        raise KeyError("fenced")

    turn._run = run  # type: ignore[assignment, method-assign]
    script = [opened(), *streamed("m1", "", ("t1", "look")), Ask("t1", "look"), Wait()]
    with pytest.raises(KeyError, match="fenced"):
        await play(script, turn)


async def test_the_second_result_is_not_waited_for() -> None:
    """A message that joined late may be answered by a result of its own: the turn is over."""
    script = [opened(), *streamed("m1", "One."), ended(), *streamed("m2", "Two."), ended()]
    played = await play(script)
    assert played.turn.shown == "One."
    assert len(played.turn.of(Completed)) == 1


async def test_messages_that_join_are_given_before_the_tools_result() -> None:
    """So that the process sends both with the next model call."""
    turn = Turn(steers=["and memory?"])
    script = [
        opened(),
        *streamed("m1", "", ("t1", "look")),
        Ask("t1", "look"),
        Wait(),
        *streamed("m2", "Fine."),
        ended(),
    ]
    played = await play(script, turn)
    assert [type(step) for step in turn.log] == [ModelStep, ToolStep, SteerStep, ModelStep]
    assert list(played.child.asked[1]) == [text_of("and memory?")]


async def test_too_many_calls_end_the_turn_with_a_notice() -> None:
    """``error_max_turns`` is the CLI's word for our own limit."""
    script = [opened(), *streamed("m1", "One."), ended("error_max_turns", failed=True)]
    played = await play(script)
    (end,) = played.turn.of(Completed)
    assert end.stop_reason is StopReason.LIMIT
    assert played.agent.settled


async def test_an_answer_without_a_word_says_so() -> None:
    """The user is never left with nothing."""
    played = await play([opened(), *streamed("m1"), ended()])
    assert played.turn.of(Completed)[0].notice.startswith("The model gave no answer")


async def test_without_a_grant_nothing_is_asked() -> None:
    """The first call is refused before the process hears of the turn."""
    turn = Turn(meter=RecordingMeter(allowed=0))
    played = await play([opened()], turn)
    assert played.turn.of(Completed)[0].stop_reason is StopReason.REFUSED
    assert not played.child.asked


async def test_a_call_beyond_the_quota_is_not_shown() -> None:
    """Nothing between the process and the provider can stop it; its text is not the user's."""
    turn = Turn(meter=RecordingMeter(allowed=1))
    script = [
        opened(),
        *streamed("m1", "One", ("t1", "look")),
        Ask("t1", "look"),
        Wait(),
        *streamed("m2", "Two."),
        ended(),
    ]
    played = await play(script, turn)
    assert played.turn.shown == "One"
    assert played.turn.of(Completed)[0].stop_reason is StopReason.REFUSED


class Routed:
    """Calls behind a gateway that has metered them all."""

    explained = True

    async def admit(self) -> None:
        """The gateway does."""

    async def began(self, message_id: str) -> str:
        """Its id is the message's."""
        return message_id

    def ended(self, message_id: str, told: Usage) -> Usage:
        """As it was told."""
        assert message_id
        return told

    def spoke(self, message_id: str, told: Usage) -> None:
        """The gateway knows."""

    def total(self, told: Usage) -> None:
        """The gateway knows."""


async def behind_the_gateway(script: Script, *told: GatewayEvent) -> Turn:
    """Play a script whose gateway has said all it has to say before the process's first word."""
    turn = Turn()
    turn.meter.reserved = {"m1": 1, "m2": 1}
    turn.meter.seen = {"m1": USAGE, "m2": USAGE}
    played = prepared(script, turn, calls=Routed())
    for event in told:
        played.agent.tell(event)
    await finish(played)
    return turn


async def test_late_text_of_a_broken_answer_is_never_shown() -> None:
    """The gateway told of the break before the process said the first word of that answer."""
    turn = await behind_the_gateway(
        [opened(), *streamed("m1", "Half", stop=None), *streamed("m2", "All."), ended()],
        CallBegan(call_id="m1", message_id="m1"),
        CallFailed(fault=CUT, final=False),
        CallBegan(call_id="m2", message_id="m2"),
        CallFinished(call_id="m2", message_id="m2", usage=USAGE),
    )
    assert [event.text for event in turn.of(TextDelta)] == ["All."]
    assert len(turn.of(Notice)) == 1
    assert not turn.of(TextReset)


async def test_a_whole_answer_survives_the_failure_of_the_next_call() -> None:
    """The process is behind: it still tells the first answer when the second has failed."""
    first = streamed("m1", "One", ("t1", "gone"))
    turn = Turn()
    turn.meter.reserved = {"m1": 1, "m2": 1}
    turn.meter.seen = {"m1": USAGE, "m2": USAGE}
    calls = Routed()
    no_tool = resulted("t1", "No such tool", is_error=True)
    script = [
        opened(),
        *first[:4],
        Wait(lambda: bool(turn.of(Notice))),
        *first[4:],
        no_tool,
        *streamed("m2", "Two."),
        ended(),
    ]
    played = prepared(script, turn, calls=calls)
    events: list[GatewayEvent] = [
        CallBegan(call_id="m1", message_id="m1"),
        CallFinished(call_id="m1", message_id="m1", usage=USAGE),
        CallFailed(fault=CUT, final=False),
    ]
    async for event in played.agent.run([text_of("hello")]):
        turn.take_in(event)
        if isinstance(event, TextDelta) and events:
            for told in events:
                played.agent.tell(told)
            events = []
    assert [type(step) for step in turn.log] == [ModelStep, ToolStep, ModelStep]
    assert turn.shown == "One\n\nTwo."
    assert not turn.of(TextReset)
