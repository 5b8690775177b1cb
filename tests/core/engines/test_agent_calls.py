"""How calls are admitted and counted when nothing of ours is between process and provider."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.engines.agent_calls import ReportedCalls
from core.metering import QuotaRefusal, Usage
from tests.contracts.engine_kit import RecordingMeter

FIRST = Usage(input_tokens=10, output_tokens=4, cache_read_tokens=3)
SECOND = Usage(input_tokens=20, output_tokens=5, cache_write_1h_tokens=7)


def calls_of(meter: RecordingMeter) -> ReportedCalls:
    """The calls of a turn."""
    return ReportedCalls(
        meter=meter, engine="claude_agent_sdk", model="m", estimated_input=50, max_output=10
    )


async def test_the_first_call_is_reserved_before_the_process_is_asked() -> None:
    """And it is the one that the first answer belongs to; later ones are reserved as they come."""
    meter = RecordingMeter()
    calls = calls_of(meter)
    assert await calls.admit() is None
    assert list(meter.reserved) == ["call-1"]
    assert await calls.began("m1") == "call-1"
    assert await calls.began("m2") == "call-2"
    assert list(meter.reserved) == ["call-1", "call-2"]


async def test_a_refusal_comes_before_the_process_is_asked_or_when_a_call_begins() -> None:
    """Nothing is noted for a call that was refused."""
    assert isinstance(await calls_of(RecordingMeter(allowed=0)).admit(), QuotaRefusal)
    meter = RecordingMeter(allowed=1)
    calls = calls_of(meter)
    assert await calls.admit() is None
    assert await calls.began("m1") == "call-1"
    assert isinstance(await calls.began("m2"), QuotaRefusal)
    calls.spoke("m2", SECOND)
    assert not meter.seen


async def test_each_answer_has_its_own_figures() -> None:
    """The newest count, as far as they are known when the answer is cut off."""
    meter = RecordingMeter()
    calls = calls_of(meter)
    await calls.admit()
    await calls.began("m1")
    calls.spoke("m1", Usage(input_tokens=10, output_tokens=1))
    assert meter.seen == {"call-1": Usage(input_tokens=10, output_tokens=1)}
    assert calls.ended("m1", FIRST) == FIRST
    await calls.began("m2")
    assert calls.ended("m2", SECOND) == SECOND
    calls.total(FIRST + SECOND)
    assert meter.seen == {"call-1": FIRST, "call-2": SECOND}


async def test_a_total_without_an_answer_is_what_the_first_call_used() -> None:
    """All that is known of a call whose answer never began."""
    meter = RecordingMeter()
    calls = calls_of(meter)
    await calls.admit()
    calls.total(FIRST)
    assert meter.seen == {"call-1": FIRST}


async def test_a_try_that_was_given_up_gets_what_the_answers_leave() -> None:
    """The process's total counts it, though nobody told its output; nothing is counted twice."""
    meter = RecordingMeter()
    calls = calls_of(meter)
    await calls.admit()
    for number in (1, 2):
        await calls.began(f"m{number}")
        calls.spoke(f"m{number}", Usage(input_tokens=10, output_tokens=1))
    await calls.began("m3")
    calls.ended("m3", SECOND)
    calls.total(FIRST + FIRST + SECOND)
    assert meter.seen == {"call-1": Usage(), "call-2": FIRST + FIRST, "call-3": SECOND}


async def test_a_result_without_figures_takes_nothing_away() -> None:
    """After an interrupt or an error the process tells zeros: what was heard stays."""
    meter = RecordingMeter()
    calls = calls_of(meter)
    await calls.admit()
    await calls.began("m1")
    calls.spoke("m1", FIRST)
    calls.total(Usage())
    assert meter.seen == {"call-1": FIRST}


async def test_a_turn_without_any_call_costs_nothing() -> None:
    """The reservation is settled with zeros, not left as an estimate."""
    meter = RecordingMeter()
    calls = calls_of(meter)
    await calls.admit()
    calls.total(Usage())
    assert meter.seen == {"call-1": Usage()}


BUCKETS = st.builds(
    Usage,
    input_tokens=st.integers(0, 99),
    output_tokens=st.integers(0, 99),
    cache_read_tokens=st.integers(0, 99),
    cache_write_5m_tokens=st.integers(0, 99),
    cache_write_1h_tokens=st.integers(0, 99),
)


@given(answers=st.lists(BUCKETS, min_size=1, max_size=5))
async def test_a_total_of_what_is_known_adds_nothing(answers: list[Usage]) -> None:
    """Whatever the answers used, their sum is metered once."""
    meter = RecordingMeter()
    calls = calls_of(meter)
    await calls.admit()
    for number, used in enumerate(answers):
        await calls.began(f"m{number}")
        calls.ended(f"m{number}", used)
    everything = sum(answers, Usage())
    calls.total(everything)
    assert sum(meter.seen.values(), Usage()) == everything
