"""Flood control, call by call, in simulated time."""

from __future__ import annotations

import pytest

from bots.telegram.pace import (
    GROUP_BURST,
    GROUP_PER_S,
    MAX_CHATS,
    NO_DRAFTS_S,
    PRIVATE_BURST,
    PRIVATE_DEBT,
)
from core.sinks import DeliveryFailed
from tests.bots.telegram.pace_kit import GROUP, PRIVATE, Simulation, made, pace_of


def test_who_asks_quickly_is_answered_at_once() -> None:
    """A private chat in good standing waits for nothing, until it owes very much."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def ask() -> None:
        for _ in range((PRIVATE_BURST + PRIVATE_DEBT) // 2):
            assert await made(pace.placeholder(PRIVATE))
            before = simulation.at
            async with pace.final(PRIVATE):
                assert simulation.at == before
            await simulation.sleep(0.05)
        assert not await made(pace.placeholder(PRIVATE))
        before = simulation.at
        async with pace.final(PRIVATE):
            assert before < simulation.at <= before + 1

    simulation.play(ask())


def test_previews_wait_until_the_chat_is_at_rest() -> None:
    """All debts are paid, and nothing was said for a moment."""
    simulation = Simulation()
    pace, shown = pace_of(simulation), []

    async def show() -> None:
        for _ in range(2):
            async with pace.final(PRIVATE):
                pass
        for _ in range(50):
            if await made(pace.preview(PRIVATE)):
                shown.append(simulation.at - 1000)
            await simulation.sleep(0.1)

    simulation.play(show())
    assert shown == pytest.approx([2.0, 3.2, 4.4], abs=0.11)


def test_finals_of_a_chat_wait_in_order() -> None:
    """First come, first served, a token each."""
    simulation = Simulation()
    pace, served = pace_of(simulation), []

    async def final(number: int) -> None:
        async with pace.final(GROUP):
            served.append((number, round(simulation.at - 1000, 6)))

    simulation.play(*(final(number) for number in range(GROUP_BURST + 2)))
    pause = round(1 / GROUP_PER_S, 6)
    assert served[:GROUP_BURST] == [(number, 0) for number in range(GROUP_BURST)]
    assert served[GROUP_BURST:] == [(5, pause), (6, pytest.approx(2 * pause))]


def test_calls_of_a_chat_are_made_one_by_one() -> None:
    """Previews and drafts do not wait behind a slow call, final texts do; other chats go on."""
    simulation = Simulation()
    pace, said = pace_of(simulation), []

    async def slow() -> None:
        async with pace.preview(PRIVATE):
            await simulation.sleep(5)
            said.append("slow preview")

    async def other() -> None:
        await simulation.sleep(1)
        for held in (pace.preview, pace.placeholder, pace.draft):
            assert not await made(held(PRIVATE))
        assert await made(pace.placeholder(PRIVATE + 1))
        async with pace.final(PRIVATE):
            said.append("final")

    simulation.play(slow(), other())
    assert said == ["slow preview", "final"]


def test_a_final_behind_a_punished_preview_does_not_prolong_the_penalty() -> None:
    """Two topics of a group: what waited for the preview's answer waits for its penalty, too."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def preview() -> None:
        async with pace.preview(GROUP):
            await simulation.sleep(2)
            pace.punished(GROUP, 9)

    async def final() -> None:
        await simulation.sleep(1)
        async with pace.final(GROUP):
            assert simulation.at > 1011

    simulation.play(preview(), final())


def test_nothing_is_sent_during_a_penalty() -> None:
    """A final text waits for its end, previews and drafts are held back for longer."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def show() -> None:
        pace.punished(PRIVATE, 9)
        for held in (pace.placeholder, pace.preview, pace.draft):
            assert not await made(held(PRIVATE))
        async with pace.final(PRIVATE):
            assert 1009 < simulation.at < 1011
        assert not await made(pace.draft(PRIVATE))
        simulation.at += NO_DRAFTS_S
        assert await made(pace.draft(PRIVATE))
        assert not await made(pace.preview(PRIVATE))

    simulation.play(show())


def test_a_penalty_reaches_those_who_wait_already() -> None:
    """A final text that waits for its token when the penalty comes waits that out, too."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def wait() -> None:
        for _ in range(GROUP_BURST + 1):
            async with pace.final(GROUP):
                pass
        assert simulation.at > 1010

    async def punish() -> None:
        await simulation.sleep(0.5)
        pace.punished(GROUP, 10)

    simulation.play(wait(), punish())


def test_a_long_penalty_is_left_to_the_sweeper() -> None:
    """Over 30 seconds a final text is refused with the time to come back, and takes no token."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def show() -> None:
        pace.punished(GROUP, 100)
        for _ in range(3):
            with pytest.raises(DeliveryFailed) as refused:
                await made(pace.final(GROUP))
            assert refused.value.retry_after_s == pytest.approx(100.5)
        simulation.at += 101
        assert await made(pace.final(GROUP))
        assert simulation.at == 1101

    simulation.play(show())


async def test_drafts_are_free_until_one_is_punished() -> None:
    """Telegram does not say whether they count; the first penalty does."""
    pace = pace_of(Simulation())
    assert all([await made(pace.draft(PRIVATE)) for _ in range(10)])
    pace.drafts_cost = True
    assert [await made(pace.draft(PRIVATE)) for _ in range(3)] == [True, False, False]


async def test_memory_is_bounded() -> None:
    """The chats that were silent longest are forgotten, one that was punished last of all."""
    simulation = Simulation()
    pace = pace_of(simulation)
    pace.punished(-1, 5)
    for chat in range(1, MAX_CHATS + 500):
        simulation.at += 1
        assert await made(pace.preview(chat))
    assert len(pace._chats) == MAX_CHATS
    assert pace._chats[-1].strict


def test_chats_that_are_punished_together_slow_the_bot_down() -> None:
    """Then the bot as a whole is too fast: everybody is silent for the penalty, then slower."""
    simulation = Simulation()
    pace = pace_of(simulation)

    async def play() -> None:
        pace.punished(1, 3)
        assert await made(pace.placeholder(3))
        pace.punished(2, 3)
        assert not await made(pace.placeholder(3))
        before = simulation.at
        async with pace.final(3):
            assert simulation.at >= before + 3

    simulation.play(play())
