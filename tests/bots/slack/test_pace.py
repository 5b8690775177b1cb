"""The pace at which Slack is called."""

from __future__ import annotations

import asyncio

import pytest

from bots.slack.pace import (
    MINUTE_S,
    PATIENCE_S,
    PER_MINUTE,
    POST_BURST,
    POST_S,
    Pace,
    channel_key,
)
from core.sinks import DeliveryFailed, Throttled


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """It is noon."""
        self.time = 1_000.0

    def __call__(self) -> float:
        """Read it."""
        return self.time


def _previews(pace: Pace, workspace: str) -> int:
    made = 0
    while True:
        try:
            pace.preview(workspace, "chat.update")
        except Throttled:
            return made
        made += 1


def test_previews_leave_room_for_final_texts() -> None:
    """They take a share of a minute's calls and wait then; each workspace has its own."""
    clock = Clock()
    pace = Pace(clock)
    made = _previews(pace, "T1")
    assert made < PER_MINUTE["chat.update"] * 0.7
    assert pace.fits("T1", "chat.update")
    assert _previews(pace, "T2") == made
    clock.time += MINUTE_S
    assert _previews(pace, "T1") > 0


async def test_final_texts_do_not_wait_for_our_own_count() -> None:
    """Slack allows more than it writes down; previews step back for what they take."""
    clock = Clock()
    pace = Pace(clock)
    for _ in range(3 * PER_MINUTE["chat.update"]):
        await pace.final("T1", "chat.update")
    with pytest.raises(Throttled):
        pace.preview("T1", "chat.update")


async def test_a_penalty_that_is_too_long_is_left_to_the_core() -> None:
    """With the time that Slack told, and in that workspace alone."""
    pace = Pace(Clock())
    pace.punished("T1", "chat.update", PATIENCE_S + 1)
    with pytest.raises(DeliveryFailed) as caught:
        await pace.final("T1", "chat.update")
    assert (caught.value.retry_after_s, caught.value.permanent) == (PATIENCE_S + 1, False)
    await pace.final("T2", "chat.update")


async def test_after_a_penalty_final_texts_go_one_by_one() -> None:
    """All at once they would meet the same limit again; who would wait too long is told."""
    clock = Clock()
    pace = Pace(clock)
    pace.punished("T1", channel_key("C1"), PATIENCE_S - 0.05)
    clock.time += PATIENCE_S - 0.06
    waits = [asyncio.create_task(pace.final("T1", channel_key("C1"))) for _ in range(30)]
    done, waiting = await asyncio.wait(waits, timeout=0.2)
    assert len([task for task in done if task.exception()]) == 30 - PATIENCE_S
    assert len([task for task in done if not task.exception()]) == 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def _post(pace: Pace) -> None:
    async with pace.post("T1", "C1"):
        pass


async def test_placeholders_keep_to_one_post_a_second() -> None:
    """After a short burst; other channels do not wait, and a final text does not."""
    clock = Clock()
    pace = Pace(clock)
    for _ in range(POST_BURST):
        await pace.placeholder("T1", "C1")
    await pace.placeholder("T1", "C2")
    with pytest.raises(Throttled):
        await pace.placeholder("T1", "C1")
    await _post(pace)
    clock.time += POST_S
    await pace.placeholder("T1", "C1")


async def test_a_post_that_hangs_holds_up_the_next_one_only_for_a_moment() -> None:
    """One at a time is for those that meet a limit, not for a Slack that is slow."""
    pace = Pace()
    async with pace.post("T1", "C1"):
        await _post(pace)


def test_a_punishment_is_waited_for() -> None:
    """Nothing of that kind before Slack allows it."""
    clock = Clock()
    pace = Pace(clock)
    pace.punished("T1", "chat.update", 10)
    with pytest.raises(Throttled) as caught:
        pace.preview("T1", "chat.update")
    assert caught.value.retry_after_s == pytest.approx(10)
    clock.time += 10
    pace.preview("T1", "chat.update")
