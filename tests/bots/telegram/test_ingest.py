"""The order of what comes in: inside a chat strictly, chats side by side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog

from bots.telegram.events import Said
from bots.telegram.events_text import Me
from bots.telegram.ingest import GIVE_UP_S, MAX_DONE, MAX_TRIES, Behind, Ingest
from core.errors import StorageBusy
from tests.bots.telegram.test_events import payload


@dataclass
class Desk:
    """A reception that a test holds and breaks."""

    heard: list[str] = field(default_factory=list)
    hold: dict[str, asyncio.Event] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    lost_messages: list[str] = field(default_factory=list)

    def lost(self, happening: object) -> None:
        """Tell a chat that its message is given up."""
        assert isinstance(happening, Said)
        self.lost_messages.append(happening.message.text)

    async def said(self, said: Said) -> None:
        """Hear a message."""
        text = said.message.text
        if text in self.hold:
            await self.hold[text].wait()
        if text in self.broken:
            raise self.broken[text]
        self.heard.append(text)

    async def handle(self, happening: object) -> None:
        """Hear anything else."""
        name = type(happening).__name__
        if name in self.hold:
            await self.hold[name].wait()
        self.heard.append(name)


def ingest_of(desk: Desk) -> Ingest:
    """With the desk in the place of the reception."""
    return Ingest(desk, Me(id=123456, username="it0_bot"))  # type: ignore[arg-type]


def update(number: int, text: str, chat: int = 1) -> dict[str, Any]:
    """A message in a chat."""
    raw = payload("private_text")
    raw["update_id"] = number
    raw["message"] |= {"message_id": number, "text": text, "entities": []}
    raw["message"]["chat"] = raw["message"]["chat"] | {"id": chat}
    return raw


async def finish(*tasks: asyncio.Task[None] | None) -> list[BaseException | None]:
    """Wait for all; what each raised."""
    return await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)


async def test_a_slow_chat_holds_up_itself_alone() -> None:
    """Its second message waits for the first; another chat's does not."""
    desk = Desk(hold={"a1": asyncio.Event()})
    ingest = ingest_of(desk)
    slow = [ingest.take(update(1, "a1")), ingest.take(update(2, "a2"))]
    await finish(ingest.take(update(3, "b1", chat=2)))
    assert desk.heard == ["b1"]
    desk.hold["a1"].set()
    await finish(*slow)
    assert desk.heard == ["b1", "a1", "a2"]


async def test_what_is_behind_a_failure_fails_with_it() -> None:
    """So that the platform brings both again, in their order; then they are taken."""
    desk = Desk(broken={"a1": StorageBusy("busy")})
    ingest = ingest_of(desk)
    first, second = await finish(ingest.take(update(1, "a1")), ingest.take(update(2, "a2")))
    assert isinstance(first, StorageBusy)
    assert isinstance(second, Behind)
    assert desk.heard == []
    desk.broken.clear()
    await finish(ingest.take(update(1, "a1")), ingest.take(update(2, "a2")))
    assert desk.heard == ["a1", "a2"]


async def test_what_follows_in_a_moved_group_waits_for_the_move() -> None:
    """A message under the new id is not heard before the link has moved there."""
    desk = Desk(hold={"Moved": asyncio.Event()})
    ingest = ingest_of(desk)
    moving = ingest.take(payload("migrate_to_chat_id"))
    next_one = ingest.take(update(918273100, "a1", chat=-1002155009871))
    await asyncio.sleep(0)
    assert desk.heard == []
    desk.hold["Moved"].set()
    await finish(moving, next_one)
    assert desk.heard == ["Moved", "a1"]


async def test_an_update_is_taken_once() -> None:
    """A second delivery joins the first while it runs, and is nothing afterwards."""
    desk = Desk(hold={"a1": asyncio.Event()})
    ingest = ingest_of(desk)
    task = ingest.take(update(1, "a1"))
    assert ingest.take(update(1, "a1")) is task
    desk.hold["a1"].set()
    await finish(task)
    assert ingest.take(update(1, "a1")) is None
    assert desk.heard == ["a1"]


async def test_poison_is_given_up_after_a_while_and_said() -> None:
    """A bug of ours must not hold up a chat for ever; a full disk may. The chat is told."""
    desk = Desk(broken={"a1": RuntimeError("a bug"), "b1": StorageBusy("busy")})
    ingest = ingest_of(desk)
    clock = [0.0]
    ingest.now = lambda: clock[0]
    for _ in range(MAX_TRIES + 2):
        assert await finish(ingest.take(update(1, "a1"))) != [None]
    clock[0] = GIVE_UP_S
    assert await finish(ingest.take(update(1, "a1"))) == [None]
    assert desk.lost_messages == ["a1"]
    for _ in range(MAX_TRIES + 2):
        assert await finish(ingest.take(update(2, "b1"))) != [None]


async def test_the_end_of_the_process_waits_for_what_is_being_stored() -> None:
    """So that the platform need not bring it again."""
    desk = Desk(hold={"a1": asyncio.Event()})
    ingest = ingest_of(desk)
    ingest.take(update(1, "a1"))
    closing = asyncio.create_task(ingest.close())
    await asyncio.sleep(0)
    desk.hold["a1"].set()
    await closing
    assert desk.heard == ["a1"]


async def test_the_parts_of_an_album_are_stored_one_by_one() -> None:
    """Nothing of them is kept here: each is done when it is stored."""
    desk = Desk()
    ingest = ingest_of(desk)
    for name in ("album_first", "album_second"):
        await finish(ingest.take(payload(name)))
    assert desk.heard == ["Before and after", ""]


async def test_memory_is_bounded_whoever_writes() -> None:
    """Of 20,000 chats that were heard nothing stays but a few thousand numbers."""
    desk = Desk(broken={"poison": RuntimeError("a bug")})
    ingest, raw = ingest_of(desk), update(0, "")
    with structlog.testing.capture_logs():
        for number in range(1, 20_001):
            raw["update_id"], raw["message"]["chat"]["id"] = number, number
            raw["message"]["text"] = "fine" if number % 3 else "poison"
            await finish(ingest.take(raw))
    assert (len(ingest._open), len(ingest._tails)) == (0, 0)
    assert len(ingest._done) == len(ingest._failures) == MAX_DONE
