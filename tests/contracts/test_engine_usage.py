"""Every call to the provider is metered, however the turn ends; none is counted twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from core.engines.engine import EngineRequest
from core.errors import EngineFailure
from core.events import ModelCallFinished, TextDelta, ToolStarted
from core.metering import Usage
from tests.contracts.engine_kit import RecordingMeter, Turn
from tests.contracts.engine_world import (
    AGENTS_ALSO_CLI,
    ALSO_CLI,
    MODELS,
    Talk,
    World,
    heard,
    world_of,
)
from tests.core.engines.gateway_kit import until
from tests.fakes.anthropic import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
every_model = pytest.mark.parametrize("engine", MODELS)
any_model = pytest.mark.parametrize("engine", ALSO_CLI)
any_agent = pytest.mark.parametrize("engine", AGENTS_ALSO_CLI)
SLOW = "[[text 3000]] [[chunk 5]]"
"""Text for longer than any test waits, unless it is made to."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """One world for the module; every test has a conversation of its own."""
    async with world_of() as made:
        yield made


def is_exact(turn: Turn, seen: list[Seen]) -> None:
    """Each reserved call is one request, with the provider's own figures; steps carry them."""
    assert list(turn.meter.seen.values()) == [request.usage for request in seen]
    assert list(turn.meter.reserved) == list(turn.meter.seen)
    told = [event.step.usage for event in turn.of(ModelCallFinished)]
    assert told == [request.usage for request in seen if request.finished]


def is_cut_short(usage: Usage, seen: Seen) -> None:
    """The input is exact; the output is what was heard, less than the whole."""
    told = seen.usage
    assert usage.input_tokens == told.input_tokens
    assert usage.cache_read_tokens == told.cache_read_tokens
    assert usage.cache_write_5m_tokens == told.cache_write_5m_tokens
    assert usage.cache_write_1h_tokens == told.cache_write_1h_tokens
    assert 0 < usage.output_tokens < told.output_tokens


@every_model
async def test_a_turn_that_ended_well_is_metered_exactly(world: World, engine: str) -> None:
    """Text, a tool loop of three calls, and a second turn on the same process."""
    talk = world.talk()
    turn = await talk.ask("hello", engine=engine)
    is_exact(turn, talk.seen)
    script = 'A [[thinking]] [[tool look {}]] [[then]] B [[tool restart {"unit": "x"}]] [[then]] C'
    turn = await talk.ask(script, engine=engine)
    assert len(talk.seen) == 3
    is_exact(turn, talk.seen)
    usage = talk.seen[0].usage
    assert min(usage.cache_read_tokens, usage.cache_write_5m_tokens) > 0


@any_model
async def test_several_tools_of_one_answer_are_one_call(world: World, engine: str) -> None:
    """What the CLI says once a block is not counted once a block."""
    talk = world.talk()
    script = "A [[tool look {}]] [[tool look {}]] [[tool forbidden {}]] [[then]] B"
    turn = await talk.ask(script, engine=engine)
    assert len(talk.seen) == 2
    is_exact(turn, talk.seen)


@any_model
async def test_a_failed_try_costs_what_it_used(world: World, engine: str) -> None:
    """A broken answer its input and what came of it; a refused request nothing."""
    talk = world.talk()
    turn = await talk.ask(f"{engine} usage [[drop 2]] [[times 1]]", engine=engine)
    broken, whole = talk.seen
    assert list(turn.meter.seen) == list(turn.meter.reserved) == ["call-1", "call-2"]
    assert turn.meter.seen["call-2"] == whole.usage
    assert turn.meter.seen["call-1"].input_tokens == broken.usage.input_tokens
    turn = await talk.ask(f"{engine} usage [[status 529]] [[times 1]]", engine=engine)
    assert list(turn.meter.seen.values()) == [Usage(), talk.seen[1].usage]


@any_model
async def test_a_refusal_of_the_first_call_costs_nothing(world: World, engine: str) -> None:
    """Nothing reaches the provider, and the next turn is answered as if nothing had been."""
    talk = world.talk()
    turn = await talk.ask("one", engine=engine, meter=RecordingMeter(allowed=0))
    assert not talk.seen
    assert not turn.meter.seen
    turn = await talk.ask("two", engine=engine)
    is_exact(turn, talk.seen)


@any_model
async def test_a_refusal_between_calls_keeps_the_first_ones_figures(
    world: World, engine: str
) -> None:
    """The second call does not reach the provider; the next turn is metered as ever."""
    talk = world.talk()
    turn = await talk.ask("[[tool look {}]]", engine=engine, meter=RecordingMeter(allowed=1))
    assert len(talk.seen) == 1
    is_exact(turn, talk.seen)
    turn = await talk.ask("two", engine=engine)
    is_exact(turn, talk.seen)


class Running:
    """A turn in a task, to be ended from outside."""

    def __init__(self, talk: Talk, engine: str, text: str) -> None:
        """Nothing runs yet."""
        self.turn = Turn()
        self.request: EngineRequest = talk.request(self.turn, text, engine=engine)
        self.engine = talk.world.engine(engine)
        self.mark = len(talk.world.fake.seen)
        self.talk = talk

    async def to_the_end(self) -> None:
        """Run it as the turn runner does."""
        await self.turn.play(self.engine, self.request)

    async def until_text(self, pieces: int = 3) -> None:
        """Run it, and leave it in the middle of its text."""
        async with aclosing(self.engine.run(self.request)) as events:
            async for event in events:
                self.turn.take_in(event)
                if len(self.turn.of(TextDelta)) >= pieces:
                    return

    @property
    def seen(self) -> list[Seen]:
        """What reached the provider of it."""
        return self.talk.world.fake.seen[self.mark :]

    async def is_over(self) -> None:
        """The provider stopped working on it, and no more of it comes."""
        await until(lambda: all(seen.closed_early or seen.finished for seen in self.seen))
        assert self.seen[-1].closed_early

    def keep(self) -> None:
        """Commit it as a turn that was stopped."""
        self.talk.keep(self.request, self.turn, reply="This turn was stopped.", engine="")


@every_model
async def test_closing_in_mid_answer_ends_the_spending(world: World, engine: str) -> None:
    """The provider's connection is closed, the call has its figures, nothing comes after."""
    talk = world.talk()
    await talk.ask("one", engine=engine)
    running = Running(talk, engine, SLOW)
    await running.until_text()
    await running.is_over()
    (usage,) = running.turn.meter.seen.values()
    is_cut_short(usage, running.seen[0])
    running.keep()
    turn = await talk.ask("three", engine=engine)
    is_exact(turn, talk.seen)
    assert len(running.turn.meter.history) == len(set(running.turn.meter.history))


@any_model
async def test_a_cancelled_turn_is_metered_and_ends(world: World, engine: str) -> None:
    """As when the task is cancelled in a tool loop: the finished call exact, the other cut."""
    talk = world.talk()
    running = Running(talk, engine, f"[[tool look {{}}]] [[then]] {SLOW}")
    task = asyncio.create_task(running.to_the_end())
    await until(lambda: running.turn.of(TextDelta), within_s=30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await running.is_over()
    first, second = running.seen
    assert running.turn.meter.seen["call-1"] == first.usage
    is_cut_short(running.turn.meter.seen["call-2"], second)
    assert len(running.turn.meter.reserved) == 2


@pytest.mark.slow
@any_model
async def test_a_turn_cancelled_before_the_first_byte_ends(world: World, engine: str) -> None:
    """The request is given up; what it may have cost stays as it was reserved."""
    talk = world.talk()
    running = Running(talk, engine, "[[hang]]")
    task = asyncio.create_task(running.to_the_end())
    await until(lambda: running.seen, within_s=30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(running.turn.meter.reserved) == ["call-1"]
    assert not running.turn.meter.seen
    turn = await talk.ask("two", engine=engine)
    is_exact(turn, talk.seen)


@any_model
async def test_a_turn_cancelled_in_a_tool_makes_no_further_call(world: World, engine: str) -> None:
    """The tool's end is nobody's business any more, and the model is not asked again."""
    talk = world.talk()
    running = Running(talk, engine, "[[tool look {}]]")
    began = asyncio.Event()
    waits(running.turn, began)
    task = asyncio.create_task(running.to_the_end())
    await asyncio.wait_for(began.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(running.seen) == 1
    is_exact(running.turn, running.seen)
    running.keep()
    turn = await talk.ask("two", engine=engine)
    is_exact(turn, talk.seen)


def waits(turn: Turn, began: asyncio.Event) -> None:
    """Make the turn's tools say that they began, and never end."""

    async def run(_call: object) -> None:
        began.set()
        await asyncio.Event().wait()

    turn._run = run  # type: ignore[assignment, method-assign]


@any_agent
async def test_a_killed_process_is_metered_as_far_as_it_came(world: World, engine: str) -> None:
    """The turn fails with one sentence, the provider's work ends, the figures are there."""
    talk = world.talk()
    running = Running(talk, engine, SLOW)
    task = asyncio.create_task(running.to_the_end())
    await until(lambda: running.turn.of(TextDelta), within_s=30)
    kill(talk)
    with pytest.raises(EngineFailure) as failure:
        await task
    assert failure.value.reason == "engine_crashed"
    await running.is_over()
    (usage,) = running.turn.meter.seen.values()
    is_cut_short(usage, running.seen[0])
    assert not talk.processes()
    running.keep()
    turn = await talk.ask("two", engine=engine)
    is_exact(turn, talk.seen)


@pytest.mark.slow
@any_agent
async def test_a_process_killed_in_a_tool_is_found_out(world: World, engine: str) -> None:
    """Its finished call keeps its figures; no call is made for a result that nobody awaits."""
    talk = world.talk()
    running = Running(talk, engine, "[[tool look {}]]")
    began = asyncio.Event()
    waits(running.turn, began)
    task = asyncio.create_task(running.to_the_end())
    await asyncio.wait_for(began.wait(), 30)
    kill(talk)
    with pytest.raises(EngineFailure) as failure:
        await task
    assert failure.value.reason == "engine_crashed"
    assert len(running.turn.of(ToolStarted)) == 1
    is_exact(running.turn, running.seen)


@any_agent
async def test_an_idle_process_that_died_is_replaced(world: World, engine: str) -> None:
    """The next turn has the whole history, on a process of its own, metered as ever."""
    talk = world.talk()
    await talk.ask("one", engine=engine)
    kill(talk)
    await until(lambda: not talk.processes())
    turn = await talk.ask("two", engine=engine)
    is_exact(turn, talk.seen)
    assert heard(talk.seen[0].body) == talk.should_hear()


def kill(talk: Talk) -> None:
    """End the conversation's processes at once."""
    for process in talk.processes():
        os.kill(process, signal.SIGKILL)


@any_model
async def test_a_fault_of_a_tools_door_is_raised_as_it_is(world: World, engine: str) -> None:
    """A lost lease or a broken database is no failure of the engine: the turn is run again."""
    talk = world.talk()
    running = Running(talk, engine, "[[tool look {}]]")

    async def run(_call: object) -> None:
        raise RuntimeError("the lease is gone")

    running.turn._run = run  # type: ignore[assignment, method-assign]
    with pytest.raises(RuntimeError, match="the lease is gone"):
        await running.to_the_end()
    is_exact(running.turn, running.seen)


@any_model
async def test_a_granted_limit_reaches_the_provider(world: World, engine: str) -> None:
    """What the meter grants is the most that the model may say, in each call."""
    talk = world.talk()
    turn = await talk.ask("[[tool look {}]]", engine=engine, meter=RecordingMeter(max_output=77))
    assert [seen.body["max_tokens"] for seen in talk.seen] == [77, 77]
    is_exact(turn, talk.seen)


@pytest.mark.slow
@any_model
async def test_conversations_side_by_side_are_metered_apart(world: World, engine: str) -> None:
    """Each turn's meter has its own calls only, whatever the others do."""
    talks = [world.talk() for _ in range(3)]
    turns = await asyncio.gather(
        *(
            talk.ask(f"[[tool look {{}}]] [[then]] [[word n{n}]] [[text {n + 2}]]", engine=engine)
            for n, talk in enumerate(talks)
        )
    )
    for number, (talk, turn) in enumerate(zip(talks, turns, strict=True)):
        own = [seen for seen in world.fake.seen if f"[[word n{number}]]" in seen.prompt]
        is_exact(turn, own[-2:])
        assert talk.past[-1].reply.startswith(f"n{number}0")
