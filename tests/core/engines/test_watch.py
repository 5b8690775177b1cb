"""How long a provider that gives no sign is waited for, and what is a sign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from core.engines.claude_endings import announcement
from core.engines.claude_faults import OVERLOADED, UNREACHABLE
from core.engines.watch import NoSign, Patience, Running, Silence, Watch, WatchedMeter
from core.errors import Fenced
from core.events import (
    Completed,
    EngineSession,
    Notice,
    TextDelta,
    TextReset,
    ThinkingDelta,
    ToolStarted,
    TurnEvent,
)
from core.metering import Grant, Usage
from tests.contracts.engine_kit import RecordingMeter

PATIENCE = Patience(engine_s=600, turn_s=850, share_s=250)
"""The default times a hundred: no test waits for it."""
WORD = TextDelta(text="word")
SIGNS = [
    WORD,
    ThinkingDelta(text="hm"),
    ToolStarted(call_id="t", tool="look", summary="look"),
    Completed(),
]


def left(watch: Watch, silence: Silence) -> float | None:
    """Seconds from the beginning of the silence to the end of patience."""
    if watch._deadline is None:
        return None
    assert silence.began is not None
    return round(watch._deadline - silence.began)


def waits(watch: Watch) -> bool:
    """Whether its time is limited now; a call, for the type checker."""
    return watch._deadline is not None


async def test_an_engine_has_its_own_patience_and_leaves_a_share_to_the_later_ones() -> None:
    """All engines together end in time, however many there are and whenever each began."""
    silence = Silence(PATIENCE)
    first = Watch(silence, later=1, limited=True)
    first.asked(10)
    assert left(first, silence) == 600
    began = silence.began
    assert left(Watch(silence, later=2, limited=True), silence) == 350
    assert began is not None
    silence.began = began - 600
    second = Watch(silence, later=0, limited=True)
    assert left(second, silence) == 850
    assert not second.overdue
    silence.began = began - 850
    assert Watch(silence, later=0, limited=True).overdue


async def test_the_last_engine_is_waited_for() -> None:
    """There is nobody else to answer: its own limits apply."""
    watch = Watch(Silence(PATIENCE), later=0, limited=False)
    watch.asked(10)
    watch.trouble()
    assert not waits(watch)
    assert not watch.overdue


async def test_the_time_of_a_call_begins_with_the_call() -> None:
    """Starting a process takes none of it; asking again gives no more."""
    silence = Silence(PATIENCE)
    watch = Watch(silence, later=0, limited=True)
    assert silence.began is None
    assert waits(watch)
    watch.asked(10)
    assert left(watch, silence) == 600
    assert watch._deadline is not None
    watch._deadline -= 20
    watch.asked(10)
    assert left(watch, silence) == 580


async def test_the_time_of_a_process_begins_when_it_is_up() -> None:
    """An engine that reserves before it starts its process gets the time for the start."""
    silence = Silence(PATIENCE)
    watch = Watch(silence, later=0, limited=True)
    watch.asked(100_000)
    assert silence.began is not None
    silence.began -= 200
    watch.noticed(EngineSession(token="s"))
    assert left(watch, silence) == 803
    silence.began -= 200
    watch.noticed(EngineSession(token="s"))
    assert left(watch, silence) == 853


async def test_a_long_prompt_takes_time_to_read() -> None:
    """100,000 tokens get three seconds more."""
    silence = Silence(PATIENCE)
    watch = Watch(silence, later=0, limited=True)
    watch.asked(100_000)
    assert left(watch, silence) == 603


@pytest.mark.parametrize("event", SIGNS, ids=lambda event: type(event).__name__)
async def test_a_sign_ends_the_wait(event: TurnEvent) -> None:
    """After it a model may think as long as it likes."""
    silence = Silence(PATIENCE)
    watch = Watch(silence, later=0, limited=True)
    watch.noticed(event)
    assert not waits(watch)
    assert silence.began is None


async def test_the_providers_first_word_ends_the_wait() -> None:
    """Its usage is told at the beginning of an answer; a zero is told of a failed call."""
    meter = RecordingMeter()
    silence = Silence(PATIENCE)
    watch = Watch(silence, later=0, limited=True)
    watched = WatchedMeter(meter, watch)
    grant = await watched.reserve(engine="e", model="m", estimated_input=1, max_output=1)
    assert isinstance(grant, Grant)
    watched.saw(grant.call_id, Usage())
    assert left(watch, silence) == 600
    watched.saw(grant.call_id, Usage(input_tokens=7))
    assert not waits(watch)
    assert [usage.total for _, usage in meter.history] == [0, 7]


@pytest.mark.parametrize("event", [Notice(text="Again."), TextReset(text="", reason="Again.")])
async def test_a_retry_begins_a_new_silence_but_does_not_lengthen_one(event: TurnEvent) -> None:
    """Announcing one retry after the other does not keep a dead provider in the game."""
    silence = Silence(PATIENCE)
    watch = Watch(silence, later=0, limited=True)
    watch.alive()
    watch.noticed(EngineSession(token="s"))
    assert not waits(watch)
    watch.noticed(event)
    assert left(watch, silence) == 600
    assert silence.began
    silence.began -= 100
    watch.noticed(event)
    assert left(watch, silence) == 700


async def test_what_an_engine_says_of_its_trouble_is_kept_until_a_sign() -> None:
    """Who gives it up can tell the cause, not only the silence."""
    watch = Watch(Silence(PATIENCE), later=0, limited=True)
    watch.noticed(announcement(OVERLOADED, (), shown=False))
    watch.noticed(Notice(text="Something else."))
    assert watch.problem == "Anthropic is busy"
    watch.noticed(announcement(UNREACHABLE, (), shown=True))
    assert watch.problem == "The connection to Anthropic failed"
    watch.noticed(WORD)
    assert not watch.problem


async def test_a_sign_that_comes_while_it_is_waited_for_counts() -> None:
    """The wait under way is lengthened, by the meter, in the engine's own task."""
    watch = Watch(Silence(Patience(engine_s=0.2, turn_s=9)), later=0, limited=True)
    ended = asyncio.Event()

    async def engine() -> AsyncGenerator[TurnEvent, None]:
        watch.alive()
        await asyncio.sleep(0.4)  # longer than the patience
        ended.set()
        yield WORD

    async with Running(engine()) as running:
        assert await running.next(watch) == WORD
        assert await running.next(watch) is None
    assert ended.is_set()


async def test_a_silent_engine_is_given_up_and_closed_in_its_own_task() -> None:
    """What it holds open is closed by the task that opened it."""
    tasks: list[object] = []

    async def engine() -> AsyncGenerator[TurnEvent, None]:
        tasks.append(asyncio.current_task())
        try:
            await asyncio.Event().wait()
            yield WORD
        finally:
            tasks.append(asyncio.current_task())

    watch = Watch(Silence(Patience(engine_s=0.05, turn_s=9, start_s=0.05)), later=0, limited=True)
    async with Running(engine()) as running:
        with pytest.raises(NoSign):
            await running.next(watch)
    assert len(set(tasks)) == 1
    assert len(tasks) == 2
    assert tasks[0] is not asyncio.current_task()


async def test_an_engine_goes_on_only_when_it_is_asked() -> None:
    """Its consumer commits an event before the next one is made."""
    made: list[int] = []

    async def engine() -> AsyncGenerator[TurnEvent, None]:
        for number in range(3):
            made.append(number)
            yield WORD

    watch = Watch(Silence(PATIENCE), later=0, limited=True)
    async with Running(engine()) as running:
        assert not made
        await running.next(watch)
        await asyncio.sleep(0.01)
        assert made == [0]


async def test_what_fails_while_an_engine_is_closed_is_raised() -> None:
    """A lost lease that shows when the last tool is recorded must not be swallowed."""

    async def engine() -> AsyncGenerator[TurnEvent, None]:
        try:
            await asyncio.Event().wait()
            yield WORD
        finally:
            raise Fenced("Somebody else has it.")

    watch = Watch(Silence(Patience(engine_s=0.05, turn_s=9, start_s=0.05)), later=0, limited=True)
    with pytest.raises(Fenced):
        async with Running(engine()) as running:
            await running.next(watch)


async def test_a_timeout_inside_an_engine_is_not_mistaken() -> None:
    """An engine's own TimeoutError is its bug and passes."""

    async def engine() -> AsyncGenerator[TurnEvent, None]:
        for event in (WORD,):
            await asyncio.wait_for(asyncio.Event().wait(), 0)
            yield event

    async with Running(engine()) as running:
        with pytest.raises(TimeoutError):
            await running.next(Watch(Silence(PATIENCE), later=0, limited=True))
