"""Every way in which the provider can fail, for every engine with a model: the same each time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.engines.replies import joined_text
from core.errors import EngineFailure
from core.events import Completed, ModelCallFinished, Notice, StopReason, TextDelta, TextReset
from core.metering import Usage
from core.steps import ToolStep
from tests.contracts.engine_kit import Turn
from tests.contracts.engine_world import API, MODELS, SDK, World, heard, world_of
from tests.fakes.anthropic import SECRET_WORD

pytestmark = pytest.mark.asyncio(loop_scope="module")

SILENT = {
    "status 429": "rate_limited",
    "status 429 retry-after=0": "rate_limited",
    "status 529": "overloaded",
    "status 500": "server_error",
    "hang": "stalled",
    "stall 0": "stalled",
    "drop 0": "dropped",
    "eof 0": "cut",
    "malformed 0": "malformed",
    "overload 0": "overloaded",
}
"""Failures before any text that another try may help, and the reason they are told with."""
VISIBLE = {
    "stall 2": "stalled",
    "drop 2": "dropped",
    "eof 2": "cut",
    "malformed 2": "malformed",
    "overload 2": "overloaded",
}
"""The same after some text."""
FINAL = {
    "status 400": "rejected",
    "status 401": "bad_key",
    "status 402": "no_credit",
    "status 403": "forbidden",
    "status 404": "unknown_model",
    "status 413": "too_large",
    "status 429 retry-after=120": "rate_limited",
    "status 529 retry-after=60": "overloaded",
}
"""Failures that no other try helps."""
FAST = {"status 429", "status 401", "drop 2", "overload 2"}
"""What the Agent SDK shows in the fast suite; the rest is in the slow one, as is all of the CLI."""


def cases(faults: dict[str, str]) -> pytest.MarkDecorator:
    """Every engine with every fault."""
    params = [
        pytest.param(
            engine,
            fault,
            reason,
            id=f"{engine}-{fault}",
            marks=() if engine == API or (engine == SDK and fault in FAST) else pytest.mark.slow,
        )
        for engine in MODELS
        for fault, reason in faults.items()
    ]
    return pytest.mark.parametrize(("engine", "fault", "reason"), params)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """One world for the module; every test has a conversation of its own."""
    async with world_of(stall_timeout_s=1.5) as made:
        yield made


def is_clean(turn: Turn, said: str) -> None:
    """Nothing that was said names the provider's host or is in the CLI's own words."""
    texts = [event.text for event in turn.of(Notice)]
    texts += [event.reason for event in turn.of(TextReset)]
    texts += [event.notice for event in turn.of(Completed)]
    for text in [said, turn.shown, *texts]:
        assert SECRET_WORD not in text
        assert "API Error" not in text
        assert "retry" not in text.lower()


def told_of(turn: Turn) -> list[Notice | TextReset]:
    """What was told of failures: a reset if their text was shown.

    A process may lose text that it had when its connection broke: then there is only a notice.
    """
    return [event for event in turn.events if isinstance(event, Notice | TextReset)]


@cases(SILENT | VISIBLE)
async def test_a_failure_that_happens_once_is_overcome(
    world: World, engine: str, fault: str, reason: str
) -> None:
    """The answer is that of the second try alone; one sentence tells why it took longer."""
    assert reason
    talk = world.talk()
    turn = await talk.ask(f"One for {engine} [[{fault}]] [[times 1]]", engine=engine)
    assert len(talk.seen) == 2
    assert turn.shown == talk.seen[1].text == joined_text(turn.log)
    assert len(turn.of(ModelCallFinished)) == 1
    assert len(told_of(turn)) == 1
    assert bool(turn.of(TextReset)) is (fault in VISIBLE) or engine != API
    is_clean(turn, "")
    assert turn.meter.seen["call-2"] == talk.seen[1].usage
    await talk.ask("And then?", engine=engine)
    assert heard(talk.seen[0].body) == talk.should_hear()


@cases(SILENT | FINAL)
async def test_a_failure_that_lasts_is_told_in_one_sentence(
    world: World, engine: str, fault: str, reason: str
) -> None:
    """Every engine gives it the same reason and sentence, after as many tries as the others."""
    talk = world.talk()
    turn = Turn()
    request = talk.request(turn, f"Lasting for {engine} [[{fault}]]", engine=engine)
    mark = world.fake.count
    with pytest.raises(EngineFailure) as failure:
        await turn.play(world.engine(engine), request)
    assert failure.value.reason == reason
    assert failure.value.sentence.endswith(".") or failure.value.sentence.endswith(")")
    is_clean(turn, failure.value.sentence)
    assert world.fake.count - mark == (1 if fault in FINAL else 3)
    assert not turn.of(TextDelta)
    assert set(turn.meter.seen) == set(turn.meter.reserved) or "hang" in fault
    if fault.startswith("status"):
        assert set(turn.meter.seen.values()) == {Usage()}


@cases(VISIBLE)
async def test_an_answer_that_breaks_each_time_is_given_up(
    world: World, engine: str, fault: str, reason: str
) -> None:
    """After two new beginnings; each was told, and none of its text is committed."""
    talk = world.talk()
    turn = Turn()
    request = talk.request(turn, f"Breaks for {engine} [[{fault}]]", engine=engine)
    mark = world.fake.count
    with pytest.raises(EngineFailure) as failure:
        await turn.play(world.engine(engine), request)
    assert failure.value.reason == reason
    is_clean(turn, failure.value.sentence)
    assert world.fake.count - mark == 3
    assert len(told_of(turn)) == 2
    assert {event.text for event in turn.of(TextReset)} == {""} or engine != API
    assert not turn.log
    assert all(usage.output_tokens for usage in turn.meter.seen.values())


@cases(VISIBLE)
async def test_a_break_after_a_tool_keeps_what_was_done(
    world: World, engine: str, fault: str, reason: str
) -> None:
    """Text is reset to what was committed before; the tool is not run a second time."""
    assert reason
    talk = world.talk()
    text = f"Plum {engine} [[tool look {{}}]] [[then]] [[{fault}]] [[times 1]]"
    turn = await talk.ask(text, engine=engine)
    assert turn.ran == {"look": 1}
    assert len(told_of(turn)) == 1
    assert {event.text for event in turn.of(TextReset)} <= {f"Plum {engine}"}
    assert turn.shown == joined_text(turn.log)
    assert turn.of(Completed)[0].stop_reason is StopReason.END
    assert len([step for step in turn.log if isinstance(step, ToolStep)]) == 1
    first, broken, second = talk.seen
    assert heard(broken.body) == heard(second.body) == talk.should_hear(calls=1)
    assert turn.meter.seen["call-1"] == first.usage
    assert turn.meter.seen["call-3"] == second.usage
