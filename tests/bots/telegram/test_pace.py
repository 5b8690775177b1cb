"""Flood control against a model of how Telegram punishes, in simulated time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.telegram.pace import MAX_CHATS, NO_DRAFTS_S, Pace
from core.sinks import DeliveryFailed, Throttled
from tests.fakes.telegram_flood import ALL_CHATS, FloodLimits, FloodModel

PRIVATE, GROUP = 7, -7


@dataclass
class Simulation:
    """Time that passes only when everybody sleeps."""

    at: float = 1000.0
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _order: Any = field(default_factory=count)

    def now(self) -> float:
        """This moment."""
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Wait in simulated time."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.at + max(0.0, seconds), next(self._order), woken))
        await woken

    async def _play(self, *acts: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(act) for act in acts]
        while not all(task.done() for task in tasks):
            for _ in range(8):
                await asyncio.sleep(0)
            if self._sleepers:
                self.at, _, woken = heapq.heappop(self._sleepers)
                woken.set_result(None)
        for task in tasks:
            task.result()

    def play(self, *acts: Coroutine[Any, Any, None]) -> None:
        """Run the acts to their ends."""
        asyncio.run(self._play(*acts))


def pace_of(simulation: Simulation) -> Pace:
    """A pace in simulated time."""
    return Pace(now=simulation.now, sleep=simulation.sleep)


@dataclass
class Bot:
    """A bot that answers, and obeys nothing but its pace."""

    pace: Pace
    flood: FloodModel
    simulation: Simulation
    answered: int = 0

    def call(self, chat: int, method: str) -> bool:
        """Call Telegram; False when it punishes."""
        retry_after = self.flood.admit(chat, method)
        if retry_after:
            self.pace.punished(chat, retry_after)
        return not retry_after

    async def _final(self, chat: int, method: str) -> None:
        while True:
            try:
                await self.pace.final(chat)
            except DeliveryFailed as refused:
                await self.simulation.sleep(refused.retry_after_s or 0)
                continue
            if self.call(chat, method):
                return

    async def turn(self, chat: int, start: float, work: float, previews: float) -> None:
        """One turn: placeholder, previews while it works, final text; as the core does it."""
        await self.simulation.sleep(start)
        posted = self._try(lambda: self.pace.placeholder(chat), chat, "sendMessage")
        until = self.simulation.at + work
        while self.simulation.at < until:
            if posted:
                self._try(lambda: self.pace.preview(chat), chat, "editMessageText")
            await self.simulation.sleep(previews)
        if not posted:
            await self._final(chat, "sendMessage")
        await self._final(chat, "editMessageText")
        self.answered += 1

    def _try(self, take: Callable[[], None], chat: int, method: str) -> bool:
        try:
            take()
        except Throttled:
            return False
        return self.call(chat, method)


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


@given(turns, st.integers(1, 5), st.integers(1, 20), st.integers(0, 3))
def test_no_chat_is_punished_twice(
    plan: list[tuple[int, float, float, float]], private: int, group: int, extend: int
) -> None:
    """However small Telegram's buckets are: one penalty teaches, and none is made longer."""
    simulation = Simulation()
    limits = FloodLimits(private_burst=private, group_burst=group, extend_s=extend)
    flood = FloodModel(limits=limits, clock=simulation.now)
    bot = Bot(pace_of(simulation), flood, simulation)
    simulation.play(*(bot.turn(*turn) for turn in plan))
    assert bot.answered == len(plan)
    assert all(len(found) <= 1 for found in flood.penalties.values())
    assert flood.provoked_again() == 0


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
        pace.placeholder(chat)
        for pause in pauses:
            await simulation.sleep(pause)
            try:
                pace.preview(chat)
            except Throttled:
                continue
        before = simulation.at
        await pace.final(chat)
        assert simulation.at == before

    simulation.play(show())


@given(st.integers(1, 200))
def test_finals_come_before_the_previews_of_all_other_chats(others: int) -> None:
    """Edits of previews leave tokens that only a final text may take."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def show() -> None:
        for chat in range(1, others + 1):
            try:
                pace.preview(chat)
            except Throttled:
                break
        await pace.final(1000)
        assert simulation.at == 1000.0

    simulation.play(show())


def test_finals_of_a_chat_wait_in_order() -> None:
    """First come, first served, a token each."""
    simulation = Simulation()
    pace, served = pace_of(simulation), []

    async def final(number: int) -> None:
        await pace.final(PRIVATE)
        served.append((number, simulation.at - 1000))

    simulation.play(*(final(number) for number in range(5)))
    assert served == [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3)]


def test_nothing_is_sent_during_a_penalty() -> None:
    """A final text waits for its end, previews and drafts are held back for longer."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def show() -> None:
        pace.punished(PRIVATE, 9)
        for held in (pace.placeholder, pace.preview):
            with pytest.raises(Throttled):
                held(PRIVATE)
        assert not pace.draft(PRIVATE)
        await pace.final(PRIVATE)
        assert 1009 < simulation.at < 1011
        assert not pace.draft(PRIVATE)
        simulation.at += NO_DRAFTS_S
        assert pace.draft(PRIVATE)
        with pytest.raises(Throttled):
            pace.preview(PRIVATE)

    simulation.play(show())


def test_a_penalty_reaches_those_who_wait_already() -> None:
    """A final text that waits for its token when the penalty comes waits that out, too."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def wait() -> None:
        for _ in range(3):
            await pace.final(PRIVATE)
        assert simulation.at > 1010

    async def punish() -> None:
        await simulation.sleep(0.5)
        pace.punished(PRIVATE, 10)

    simulation.play(wait(), punish())


def test_a_long_penalty_is_left_to_the_sweeper() -> None:
    """Over 30 seconds a final text is refused with the time to come back, and takes no token."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def show() -> None:
        pace.punished(GROUP, 100)
        for _ in range(3):
            with pytest.raises(DeliveryFailed) as refused:
                await pace.final(GROUP)
            assert refused.value.retry_after_s == pytest.approx(100.5)
        simulation.at += 101
        await pace.final(GROUP)
        assert simulation.at == 1101

    simulation.play(show())


def test_drafts_are_free_until_one_is_punished() -> None:
    """Telegram does not say whether they count; the first penalty does."""
    simulation = Simulation()
    pace = pace_of(simulation)
    assert all(pace.draft(PRIVATE) for _ in range(10))
    pace.drafts_cost = True
    assert [pace.draft(PRIVATE) for _ in range(3)] == [True, False, False]


def test_memory_is_bounded() -> None:
    """The chats that were silent longest are forgotten, one that was punished last of all."""
    simulation = Simulation()
    pace = pace_of(simulation)
    pace.punished(-1, 5)
    for chat in range(1, MAX_CHATS + 500):
        simulation.at += 1
        pace.preview(chat)
    assert len(pace._chats) == MAX_CHATS
    assert pace._chats[-1].strict
