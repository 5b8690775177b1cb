"""Sentences in the background: only so many wait, and those for strangers go first."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from bots.slack.notices import DROPPED, MOST_WAITING, Notices, as_typed


def _dropped() -> float:
    found = REGISTRY.get_sample_value("it0_delivery_errors_total", {"kind": DROPPED})
    return found or 0.0


async def _flood(*, important: bool) -> tuple[list[int], float]:
    """Which of the sentences arrive when there are two more than may wait, and the count."""
    arrived: list[int] = []
    go = asyncio.Event()

    async def say(number: int) -> None:
        await go.wait()
        arrived.append(number)

    before = _dropped()
    async with Notices.open() as notices:
        for number in range(MOST_WAITING + 2):
            notices.do(say(number), important=important or number == 0)
        go.set()
        for _ in range(5):
            await asyncio.sleep(0)
    return arrived, _dropped() - before


@pytest.mark.parametrize(("important", "missing"), [(False, {1, 2}), (True, {0, 1})])
async def test_the_oldest_unimportant_sentences_are_dropped(
    *, important: bool, missing: set[int]
) -> None:
    """And counted; where all are important the oldest of them."""
    arrived, dropped = await _flood(important=important)
    assert set(range(MOST_WAITING + 2)) - set(arrived) == missing
    assert dropped == len(missing)


async def test_what_is_dropped_before_it_began_leaves_nothing_behind() -> None:
    """Also on leaving."""
    begun = asyncio.Event()

    async def say() -> None:
        begun.set()

    async with Notices.open() as notices:
        notices.do(say())
    assert not begun.is_set()


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("`/help` lists them, `/link CODE` too", "`/it0 help` lists them, `/it0 link CODE` too"),
        ("`/etc/hosts`, `/helpful` and `/new/x`", "`/etc/hosts`, `/helpful` and `/new/x`"),
        ("`/it0 help`", "`/it0 help`"),
    ],
)
def test_commands_are_shown_as_they_are_typed(text: str, typed: str) -> None:
    """In code spans; paths stay paths."""
    assert as_typed(text) == typed
