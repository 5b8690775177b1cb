"""ClaudeApiEngine against the fake provider: endings, limits, tools, closing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from core.engines.claude_api import ClaudeApiEngine
from core.errors import Fenced
from core.events import (
    ModelCallFinished,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolFinished,
    ToolStarted,
)
from core.steps import ModelStep, ToolCall, ToolStep
from core.tools import ToolResult
from tests.contracts.engine_kit import RecordingMeter, Turn, claude_config
from tests.fakes.anthropic import FakeAnthropic

TWO_TOOLS = '[[tool look {}]] [[tool restart {"unit": "nginx"}]]'


@pytest.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    """The provider."""
    async with FakeAnthropic() as server:
        yield server


@pytest.fixture
async def engine(fake: FakeAnthropic) -> AsyncIterator[ClaudeApiEngine]:
    """The engine, pointed at the fake."""
    started = ClaudeApiEngine(claude_config(fake.url))
    yield started
    await started.aclose()


async def until(condition: object) -> None:
    """Wait until a callable becomes true; the test's own timeout ends a hopeless wait."""
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110  # the fake has no event for it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("prompt", "reason", "notice"),
    [
        ("[[text 3]] [[max_tokens]]", StopReason.MAX_TOKENS, "cut at its length limit"),
        ("[[text 3]] [[refusal]]", StopReason.REFUSED, "declined"),
        ("[[empty]]", StopReason.END, "gave no answer"),
        ("[[text 3]]", StopReason.END, ""),
    ],
)
async def test_endings(
    engine: ClaudeApiEngine, prompt: str, reason: StopReason, notice: str
) -> None:
    """Each stop reason becomes ours, with a sentence where the user must know."""
    turn = Turn()
    end = await turn.play(engine, turn.request(prompt))
    assert end.stop_reason is reason
    assert notice in end.notice
    assert bool(end.notice) == bool(notice)


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal", "end_turn"])
async def test_a_rerun_of_an_ended_turn_ends_the_same(
    engine: ClaudeApiEngine, fake: FakeAnthropic, stop_reason: str
) -> None:
    """The ending is in the committed step; the provider is not asked again."""
    step = ModelStep(
        call_id="c", engine="claude_api", model="m", text="So far", stop_reason=stop_reason
    )
    turn = Turn(steps=(step,))
    end = await turn.play(engine, turn.request("[[text 3]]"))
    assert end.stop_reason == {"end_turn": "end", "refusal": "refused"}.get(
        stop_reason, stop_reason
    )
    assert not fake.seen


async def test_a_paused_answer_is_continued(engine: ClaudeApiEngine, fake: FakeAnthropic) -> None:
    """pause_turn sends the answer so far back and goes on until the model is done."""
    turn = Turn()
    async with aclosing(
        engine.run(turn.request("[[text 2]] [[pause]] [[then]] [[text 3]]"))
    ) as run:
        async for event in run:
            turn.take_in(event)
    assert [seen.body["messages"][-1]["role"] for seen in fake.seen] == ["user", "assistant"]
    assert turn.shown == "w0 w1 \n\nw0 w1 w2 "


async def test_a_turn_has_at_most_thirty_model_calls(
    engine: ClaudeApiEngine, fake: FakeAnthropic
) -> None:
    """A model that never stops asking for tools is stopped, and the user is told."""
    turn = Turn()
    end = await turn.play(engine, turn.request("[[tool look {}]] [[then]]" * 40))
    assert end.stop_reason is StopReason.LIMIT
    assert "30 model calls" in end.notice
    assert len(fake.seen) == 30


async def test_a_grant_limits_the_output(engine: ClaudeApiEngine, fake: FakeAnthropic) -> None:
    """The meter's grant, not the request's wish, becomes max_tokens."""
    turn = Turn(meter=RecordingMeter(max_output=77))
    await turn.play(engine, turn.request("[[text 1]]"))
    assert fake.seen[0].body["max_tokens"] == 77


async def test_the_input_is_estimated_generously(
    engine: ClaudeApiEngine, fake: FakeAnthropic
) -> None:
    """What is reserved before a call is never less than what it turns out to cost."""
    turn = Turn()
    await turn.play(engine, turn.request("[[tool look {}]] " + "\u00e4\u6f22 word" * 400))
    for estimate, seen in zip(turn.meter.reserved.values(), fake.seen, strict=True):
        usage = seen.usage
        assert estimate >= usage.total - usage.output_tokens


async def test_usage_is_exact_in_every_bucket(engine: ClaudeApiEngine, fake: FakeAnthropic) -> None:
    """Input, output, cache reads and both kinds of cache writes are what the provider told."""
    turn = Turn()
    await turn.play(engine, turn.request("[[tool look {}]]"))
    usages = [event.step.usage for event in turn.of(ModelCallFinished)]
    assert usages == [seen.usage for seen in fake.seen]
    assert usages[0].cache_write_1h_tokens > 0
    assert usages[0].cache_write_5m_tokens > 0
    assert usages[0].cache_read_tokens > 0


async def test_thinking_is_told_and_sent_back(engine: ClaudeApiEngine, fake: FakeAnthropic) -> None:
    """Thinking never becomes text, and the tool loop returns it with its signature."""
    turn = Turn()
    await turn.play(engine, turn.request("[[thinking]] [[tool look {}]] [[then]] [[text 2]]"))
    assert turn.of(ThinkingDelta)
    assert turn.shown == "w0 w1 "
    kinds = [block["type"] for block in fake.seen[1].body["messages"][1]["content"]]
    assert kinds == ["thinking", "tool_use"]


class MeetingDoor(Turn):
    """A door whose calls wait for each other."""

    barrier = asyncio.Barrier(2)

    async def call(self, call: ToolCall) -> ToolResult:
        """Return only after the other call began."""
        async with asyncio.timeout(10):
            await self.barrier.wait()
        return ToolResult(output=call.name)


async def test_tools_of_one_answer_run_side_by_side_and_are_told_in_order(
    engine: ClaudeApiEngine,
) -> None:
    """Two calls of one answer wait for each other here, so one by one would never end."""
    turn = MeetingDoor()
    turn.barrier = asyncio.Barrier(2)
    await turn.play(engine, turn.request(TWO_TOOLS))
    assert [event.tool for event in turn.of(ToolStarted)] == ["look", "restart"]
    assert [event.tool for event in turn.of(ToolFinished)] == ["look", "restart"]


class FencedDoor(Turn):
    """A door that loses its lease in one call while another runs."""

    ended = False

    async def call(self, call: ToolCall) -> ToolResult:
        """``look`` is fenced; ``restart`` waits until it is cancelled."""
        if call.name == "look":
            await asyncio.sleep(0.01)
            raise Fenced("Somebody else has the conversation.")
        try:
            await asyncio.sleep(60)
        finally:
            self.ended = True
        return ToolResult(output="")


async def test_a_door_that_raises_ends_the_other_calls(engine: ClaudeApiEngine) -> None:
    """What the door raises comes through, and no call is left running without an owner."""
    turn = FencedDoor()
    with pytest.raises(Fenced):
        await turn.play(engine, turn.request(TWO_TOOLS))
    assert turn.ended


async def test_only_unanswered_calls_go_to_the_door_again(engine: ClaudeApiEngine) -> None:
    """A re-run between two results of one answer runs the second tool alone."""
    calls = (ToolCall(id="a", name="restart"), ToolCall(id="b", name="look"))
    asked = ModelStep(call_id="c", engine="claude_api", model="m", text="", tool_calls=calls)
    done = ToolStep(tool_call_id="a", name="restart", output="restarted")
    turn = Turn(steps=(asked, done))
    await turn.play(engine, turn.request("look again"))
    assert turn.ran == {"look": 1}
    assert turn.shown == "result: restarted | result: look is fine"


async def test_steering_reaches_the_model(engine: ClaudeApiEngine, fake: FakeAnthropic) -> None:
    """A message that joined follows the tool results in the same user message."""
    turn = Turn(steers=["and memory?"])
    await turn.play(engine, turn.request("[[tool look {}]]"))
    kinds = [block["type"] for block in fake.seen[1].body["messages"][-1]["content"]]
    assert kinds == ["tool_result", "text"]
    assert "steer: and memory?" in turn.shown


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_closes_the_http_stream(
    engine: ClaudeApiEngine, fake: FakeAnthropic, how: str
) -> None:
    """The provider sees the connection end while it still has words to say."""
    turn = Turn()

    async def run() -> None:
        async with aclosing(engine.run(turn.request("[[text 9000]] [[chunk 5]]"))) as events:
            async for event in events:
                turn.take_in(event)
                if how == "close" and turn.of(TextDelta):
                    return

    task = asyncio.create_task(run())
    await until(lambda: turn.of(TextDelta))
    if how == "cancel":
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: fake.seen[-1].closed_early)


async def test_a_cut_off_answer_is_metered_by_its_length(engine: ClaudeApiEngine) -> None:
    """The provider tells the output at the end only; until then its length speaks."""
    turn = Turn()
    async with aclosing(engine.run(turn.request("[[text 9000]] [[chunk 1]]"))) as events:
        async for event in events:
            turn.take_in(event)
            if len(turn.shown) > 300:
                break
    (usage,) = turn.meter.seen.values()
    assert usage.output_tokens >= 100
    assert usage.cache_read_tokens > 0


async def test_the_connection_is_used_again(engine: ClaudeApiEngine, fake: FakeAnthropic) -> None:
    """A turn with a tool and the next turn share one connection, though its end came late."""
    for _ in range(2):
        turn = Turn()
        await turn.play(engine, turn.request("[[tool look {}]] [[linger 50]]"))
    assert len(fake.seen) == 4
    assert len({seen.peer for seen in fake.seen}) == 1


async def test_a_connection_that_never_ends_does_not_hold_the_turn(
    engine: ClaudeApiEngine, fake: FakeAnthropic
) -> None:
    """After the last event the answer is complete, whatever the provider does then."""
    turn = Turn()
    end = await turn.play(engine, turn.request("[[text 2]] [[linger 3600000]]"))
    assert end.stop_reason is StopReason.END
    assert turn.shown == "w0 w1 "
    assert len(turn.meter.reserved) == 1
    await until(lambda: fake.seen[-1].closed_early)


def test_importing_the_engine_does_not_import_the_sdk() -> None:
    """0.9 CPU-seconds and 50 MB are spent on first use only."""
    code = "import sys, core.engines.claude_api; print('anthropic' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "False"
