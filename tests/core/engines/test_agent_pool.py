"""The cap, the order of eviction, the idle, the dead and the busy, without any process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engines import agent_pool
from core.engines.agent_pool import AgentPool, PoolLimits
from core.errors import EngineFailure
from tests.core.engines.gateway_kit import until


@dataclass(eq=False)
class Fake:
    """A process that can die and be closed."""

    name: str = ""
    alive: bool = True
    closed: int = 0

    async def close(self) -> None:
        """End it; takes a moment."""
        self.alive = False
        self.closed += 1
        await asyncio.sleep(0)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        """At the beginning."""
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
async def pool(clock: Clock) -> AsyncIterator[AgentPool[Fake]]:
    """Room for two processes; nobody waits for a third."""
    made: AgentPool[Fake] = AgentPool(PoolLimits(most=2, idle_s=60, wait_s=0.01), "test", clock)
    yield made
    await made.aclose()


async def idle(pool: AgentPool[Fake], name: str) -> Fake:
    """A process that answered one turn of the conversation and waits."""
    await pool.room()
    process = Fake(name)
    await pool.keep(name, process, fingerprint="f", mark="t1")
    return process


async def test_a_conversation_gets_its_own_process_back(pool: AgentPool[Fake]) -> None:
    """And nobody else's; it occupies one place all the time."""
    process = await idle(pool, "a")
    assert await pool.reuse("b", "f", "t1") is None
    assert await pool.reuse("a", "f", "t1") is process
    assert await pool.reuse("a", "f", "t1") is None
    assert pool.live == 1
    await pool.drop(process)
    await pool.ended()
    assert pool.live == 0
    assert process.closed == 1


@pytest.mark.parametrize(("fingerprint", "turn"), [("g", "t1"), ("f", "t2"), ("f", "")])
async def test_a_process_that_does_not_fit_is_ended(
    pool: AgentPool[Fake], fingerprint: str, turn: str
) -> None:
    """Another person, prompt or model; or a turn that it has not seen."""
    process = await idle(pool, "a")
    assert await pool.reuse("a", fingerprint, turn) is None
    await pool.ended()
    assert process.closed == 1
    assert pool.live == 0


async def test_a_dead_process_is_not_given_out(pool: AgentPool[Fake]) -> None:
    """It frees its place."""
    process = await idle(pool, "a")
    process.alive = False
    assert await pool.reuse("a", "f", "t1") is None
    await pool.ended()
    assert pool.live == 0


async def test_the_one_that_waits_longest_makes_room(pool: AgentPool[Fake]) -> None:
    """Asking an older one makes it the newest."""
    first, second = await idle(pool, "a"), await idle(pool, "b")
    assert await pool.reuse("a", "f", "t1") is first
    await pool.keep("a", first, fingerprint="f", mark="t2")
    await pool.room()
    assert (first.closed, second.closed) == (0, 1)
    assert pool.live == 2
    await pool.drop(None)


async def test_when_all_are_at_work_the_turn_is_refused(pool: AgentPool[Fake]) -> None:
    """After a while, with a sentence that says what to do; it then holds no place."""
    await pool.room()
    await pool.room()
    with pytest.raises(EngineFailure) as failure:
        await pool.room()
    assert failure.value.reason == "engine_busy"
    assert pool.live == 2
    await pool.drop(None)
    await pool.room()
    assert pool.live == 2


async def test_a_turn_that_waits_gets_the_next_free_place() -> None:
    """Of a process that ended, or of one that became idle and is evicted for it."""
    pool: AgentPool[Fake] = AgentPool(PoolLimits(most=1, wait_s=30), "test")
    await pool.room()
    waiting = asyncio.create_task(pool.room())
    await asyncio.sleep(0)
    await pool.drop(None)
    await waiting
    waiting = asyncio.create_task(pool.room())
    await asyncio.sleep(0)
    process = Fake("a")
    await pool.keep("a", process, fingerprint="f", mark="t")
    await waiting
    assert process.closed == 1
    assert pool.live == 1
    await pool.drop(None)
    await pool.aclose()


async def test_a_cancelled_wait_takes_no_place() -> None:
    """Nor does it swallow the place that another one waits for."""
    pool: AgentPool[Fake] = AgentPool(PoolLimits(most=1, wait_s=30), "test")
    await pool.room()
    first, second = asyncio.create_task(pool.room()), asyncio.create_task(pool.room())
    await asyncio.sleep(0)
    first.cancel()
    await pool.drop(None)
    await second
    assert pool.live == 1
    await pool.drop(None)
    await pool.aclose()


async def test_two_turns_of_one_conversation_leave_one_process(pool: AgentPool[Fake]) -> None:
    """The second that is given back is ended, not kept beside the first."""
    await pool.room()
    await pool.room()
    first, second = Fake("1"), Fake("2")
    await pool.keep("a", first, fingerprint="f", mark="t1")
    await pool.keep("a", second, fingerprint="f", mark="t2")
    await pool.ended()
    assert (first.closed, second.closed) == (0, 1)
    assert pool.live == 1


async def test_the_idle_and_the_dead_are_reaped(
    pool: AgentPool[Fake], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waited too long is ended, one that died is forgotten, the others stay."""
    monkeypatch.setattr(agent_pool, "REAP_S", 0.001)
    old = await idle(pool, "old")
    clock.now = 59
    new = await idle(pool, "new")
    await asyncio.sleep(0.01)
    assert (old.closed, new.closed) == (0, 0)
    clock.now = 60
    await until(lambda: pool.live == 1)
    assert (old.closed, new.closed) == (1, 0)
    new.alive = False
    await until(lambda: pool.live == 0)


async def test_a_closed_pool_ends_what_is_given_back(pool: AgentPool[Fake]) -> None:
    """And gives nobody a place; ending it twice does no harm."""
    waiting = await idle(pool, "a")
    await pool.room()
    working = Fake("b")
    await pool.aclose()
    assert waiting.closed == 1
    await pool.keep("b", working, fingerprint="f", mark="t")
    await pool.ended()
    assert working.closed == 1
    assert pool.live == 0
    with pytest.raises(EngineFailure):
        await pool.room()
    await pool.aclose()


async def test_a_deleted_conversation_has_no_process(pool: AgentPool[Fake]) -> None:
    """Forgetting one that has none does nothing."""
    process = await idle(pool, "a")
    await pool.forget("b")
    assert process.closed == 0
    await pool.forget("a")
    await pool.ended()
    assert process.closed == 1
    assert pool.live == 0


async def test_a_process_that_does_not_listen_occupies_its_place() -> None:
    """Until it has really ended there is no other one in its stead."""
    pool: AgentPool[Fake] = AgentPool(PoolLimits(most=1, wait_s=0.01), "test")
    ends = asyncio.Event()

    class Stubborn(Fake):
        async def close(self) -> None:
            await ends.wait()
            await super().close()

    await pool.room()
    await pool.drop(Stubborn("a"))
    assert pool.live == 1
    with pytest.raises(EngineFailure):
        await pool.room()
    ends.set()
    await pool.ended()
    await pool.room()
    await pool.drop(None)
    await pool.aclose()


PLANS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.sampled_from(["keep", "die", "cut"])),
    min_size=1,
    max_size=12,
)


@given(plan=PLANS, most=st.integers(1, 3))
def test_turns_side_by_side_never_exceed_the_cap(
    plan: list[tuple[str, int, str]], most: int
) -> None:
    """Whatever turns do, there are at most so many processes, and none is lost or shared."""

    async def live() -> None:
        pool: AgentPool[Fake] = AgentPool(PoolLimits(most=most, wait_s=30), "test")
        made: list[Fake] = []
        working: set[Fake] = set()

        async def turn(name: str, rounds: int, end: str) -> None:
            process = await pool.reuse(name, "f", "t")
            if process is None:
                await pool.room()
                process = Fake(name)
                made.append(process)
            assert process not in working
            assert process.alive
            assert process.name == name
            working.add(process)
            for _ in range(rounds):
                await asyncio.sleep(0)
                assert sum(one.closed == 0 for one in made) <= most
            working.discard(process)
            process.alive = end != "die"
            if end == "cut":
                await pool.drop(process)
            else:
                await pool.keep(name, process, fingerprint="f", mark="t")

        await asyncio.gather(*(turn(*step) for step in plan))
        assert pool.live <= most
        await pool.aclose()
        assert pool.live == 0
        assert all(process.closed == 1 for process in made)

    asyncio.run(live())
