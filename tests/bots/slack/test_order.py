"""The order of what happens in a channel."""

from __future__ import annotations

import asyncio

from bots.slack.order import Order, channel_of


async def test_a_channel_is_taken_in_order_and_others_do_not_wait() -> None:
    """The first of a channel may take its time: the next one waits, another channel does not."""
    order, taken, gate = Order(), list[str](), asyncio.Event()

    async def take(channel: str, name: str, wait: asyncio.Event | None = None) -> None:
        async with order.of(channel):
            if wait is not None:
                await wait.wait()
            taken.append(name)

    first = asyncio.create_task(take("T1:C1", "first", gate))
    second = asyncio.create_task(take("T1:C1", "second"))
    await asyncio.create_task(take("T1:C2", "other"))
    await asyncio.create_task(take("", "none"))
    gate.set()
    await asyncio.gather(first, second)
    assert taken == ["other", "none", "first", "second"]
    assert order._lines == {}


def test_an_edit_belongs_to_the_channel_of_its_message() -> None:
    """Messages, edits and deletions of a channel share a line; App Home has none."""
    said = {"team_id": "T1", "event": {"type": "message", "channel": "C1"}}
    assert channel_of(said) == "T1:C1"
    assert channel_of({"team_id": "T1", "event": {"type": "app_home_opened"}}) == ""
