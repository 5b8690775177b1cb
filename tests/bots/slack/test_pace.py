"""The pace at which Slack is called."""

from __future__ import annotations

import pytest

from bots.slack.pace import MINUTE_S, PER_MINUTE, POST_BURST, POST_S, Pace
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


async def test_final_texts_take_what_is_left_and_no_more() -> None:
    """A workspace's minute is never overdrawn, so Slack has nothing to punish."""
    clock = Clock()
    pace = Pace(clock)
    for _ in range(PER_MINUTE["chat.update"] - _previews(pace, "T1")):
        await pace.final("T1", "chat.update")
    with pytest.raises(DeliveryFailed) as caught:
        await pace.final("T1", "chat.update")
    assert caught.value.retry_after_s == MINUTE_S


async def test_a_channel_takes_one_post_a_second() -> None:
    """After a short burst; other channels do not wait."""
    clock = Clock()
    pace = Pace(clock)
    for _ in range(POST_BURST):
        await pace.post("T1", "C1")
    await pace.post("T1", "C2")
    assert not pace.fits("T1", "#C1")
    clock.time += POST_S
    assert pace.fits("T1", "#C1")


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
