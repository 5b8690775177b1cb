"""Flood control against a model of how Telegram punishes, in simulated time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bots.telegram.pace import GROUP_BURST
from tests.bots.telegram.pace_kit import GROUP, PRIVATE, Bot, Simulation, made, pace_of
from tests.fakes.telegram_flood import ALL_CHATS, FloodLimits, FloodModel

turns = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, -1, -2]),
        st.floats(0, 20),
        st.floats(0, 15),
        st.floats(0.3, 2.0),
    ),
    min_size=1,
    max_size=25,
)


@given(
    turns,
    st.integers(1, 10),
    st.integers(1, 20),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.2, 2.5]),
)
def test_no_chat_is_punished_twice(
    plan: list[tuple[int, float, float, float]], private: int, group: int, extend: int, rtt: float
) -> None:
    """However small Telegram's buckets are, and with several turns in a chat at once.

    One penalty teaches, none is made longer, and everybody gets their answer.
    """
    simulation = Simulation()
    limits = FloodLimits(private_burst=private, group_burst=group, extend_s=extend)
    flood = FloodModel(limits=limits, clock=simulation.now)
    bot = Bot(pace_of(simulation), flood, simulation, rtt)
    simulation.play(*(bot.turn(*turn) for turn in plan))
    assert bot.answered == len(plan)
    assert all(len(found) <= 1 for found in flood.penalties.values())
    assert flood.provoked_again() == 0


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(2, 15)), min_size=1, max_size=20),
    st.floats(0.1, 1.5),
    st.integers(3, 10),
)
def test_one_streamed_turn_after_another_is_never_punished(
    plan: list[tuple[float, float]], previews: float, burst: int
) -> None:
    """A private chat whose next question comes at once; Telegram need allow bursts of 3 only."""
    simulation = Simulation()
    flood = FloodModel(limits=FloodLimits(private_burst=burst), clock=simulation.now)
    bot = Bot(pace_of(simulation), flood, simulation)
    simulation.play(bot.turns(PRIVATE, plan, previews))
    assert bot.answered == len(plan)
    assert dict(flood.penalties) == {}


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 15)), min_size=1, max_size=20),
    st.floats(0.1, 1.5),
)
def test_groups_stay_within_twenty_a_minute(
    plan: list[tuple[float, float]], previews: float
) -> None:
    """That limit is documented: no penalty at all, however quickly people ask."""
    simulation = Simulation()
    flood = FloodModel(limits=FloodLimits(group_burst=GROUP_BURST), clock=simulation.now)
    bot = Bot(pace_of(simulation), flood, simulation, rtt_s=0.25)
    simulation.play(bot.turns(GROUP, plan, previews))
    assert bot.answered == len(plan)
    assert dict(flood.penalties) == {}


@given(st.integers(1, 150), st.floats(0, 3), st.floats(0.3, 2.0))
def test_all_chats_together_stay_below_the_limit(chats: int, work: float, previews: float) -> None:
    """Up to 150 people at once: no penalty at all, and everybody gets their answer."""
    simulation = Simulation()
    flood = FloodModel(limits=FloodLimits(total_burst=28), clock=simulation.now)
    bot = Bot(pace_of(simulation), flood, simulation)
    simulation.play(*(bot.turn(chat + 1, 0.0, work, previews) for chat in range(chats)))
    assert bot.answered == chats
    assert flood.penalties.get(ALL_CHATS, []) == []
    assert dict(flood.penalties) == {}


@given(st.sampled_from([PRIVATE, GROUP]), st.lists(st.floats(0, 4), max_size=30))
def test_previews_never_make_a_final_text_wait(chat: int, pauses: list[float]) -> None:
    """Whatever previews were shown before, a token is left."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def show() -> None:
        assert await made(pace.placeholder(chat))
        for pause in pauses:
            await simulation.sleep(pause)
            await made(pace.preview(chat))
        before = simulation.at
        async with pace.final(chat):
            assert simulation.at == before

    simulation.play(show())


@given(st.integers(1, 200))
def test_finals_come_before_the_previews_of_all_other_chats(others: int) -> None:
    """Edits of previews leave tokens that only a final text may take."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def show() -> None:
        for chat in range(1, others + 1):
            await made(pace.preview(chat))
        async with pace.final(1000):
            assert simulation.at == 1000.0

    simulation.play(show())
