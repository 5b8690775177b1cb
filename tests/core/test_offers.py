"""The button under a reply: kept with its turn, told on the stream, shown by whoever delivers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from core.delivery import Deliverer
from core.endings import presentable
from core.messages import ConversationAddress
from core.replies import Part, Reply
from core.sinks import Destination, SinkLimits, View
from core.streams import START
from core.turns import Ending, Offer, Outcome, Turn
from core.words import sentence
from storage.deliveries import SqlDeliveries
from storage.leases import SqlLeases
from storage.turnlog import SqlTurnLog
from tests.support.core_kit import House, Site

ADDRESS = ConversationAddress(platform="chat", workspace="w", channel="c", thread="")
OFFER = Offer(label="Upgrade to pro", command="/upgrade confirm quo_1")
ENDING = Ending(outcome=Outcome.ANSWERED, reply="That costs $49.99.", offer=OFFER)


@dataclass
class Window:
    """A sink that keeps what each message shows."""

    max_chars: int = 100
    shown: dict[str, View] = field(default_factory=dict)
    edits: int = 0
    limits: SinkLimits = field(init=False)

    def __post_init__(self) -> None:
        """Short messages make long replies."""
        self.limits = SinkLimits(max_chars=self.max_chars, edit_interval_s=0.01)

    async def draft(self, to: Destination, view: View) -> bool:
        """There are none."""
        assert not view.offer, to
        return False

    async def post(self, to: Destination, part: int, view: View) -> str:
        """A message."""
        ref = f"{to.turn_id}/{part}"
        self.shown[ref] = view
        return ref

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Another text."""
        assert ref.startswith(to.turn_id)
        self.edits += 1
        self.shown[ref] = view

    async def find(self, to: Destination, part: int) -> str | None:
        """It cannot be asked."""


@dataclass
class Parts:
    """Posted parts in memory."""

    saved: dict[int, Part] = field(default_factory=dict)

    async def parts(self, _tenant_id: str, _turn_id: str) -> tuple[Part, ...]:
        """In order."""
        return tuple(self.saved.values())

    async def save_part(self, _to: Destination, part: Part, _epoch: int | None) -> None:
        """Keep it."""
        self.saved[part.number] = part

    async def redeliver(self, to: Destination) -> None:
        """Not in these tests."""


async def ended(house: House, ending: Ending = ENDING) -> Turn:
    """A turn on a chat whose worker died before it delivered."""
    leases = SqlLeases(house.core.storage.db)
    await leases.beat("w_dead", 60_000, ())
    await house.accepted("/upgrade pro", platform="chat")
    (turn,) = await leases.claim("w_dead", 1, 1)
    log = SqlTurnLog(house.core.storage.db, b"k" * 32, "w_dead")
    await log.finish(turn, ending, events=(), settlements=(), deliver=True)
    await house.write("DELETE FROM workers WHERE id = 'w_dead'")
    return turn


async def test_another_worker_delivers_the_button_too(site: Site) -> None:
    """What the dead worker's turn offered is under the reply that the sweeper brings."""
    async with site.open(run_turns=False) as house:
        await ended(house)
        due, window = SqlDeliveries(house.core.storage.db), Window()
        sweeper = Deliverer(due=due, log=due, parts=due, sinks={"chat": window})
        assert await sweeper.sweep("w_2") == 1
        (view,) = window.shown.values()
        assert (view.text, view.offer, view.final) == (ENDING.text, OFFER, True)


@pytest.mark.parametrize("offer", [OFFER, None])
async def test_the_last_event_of_the_stream_has_the_button(site: Site, offer: Offer | None) -> None:
    """Label and command, or null; also for who listens later."""
    async with site.open(run_turns=False) as house:
        turn = await ended(house, Ending(outcome=Outcome.ANSWERED, reply="Hm.", offer=offer))
        listening = house.core.streams.listen(turn.tenant_id, turn.id, START)
        (event,) = [event async for event in listening]
        expected = offer and {"label": offer.label, "command": offer.command}
        assert json.loads(event.data)["offer"] == expected


async def test_only_the_last_part_has_the_button() -> None:
    """A reply of many messages carries it once, under its end."""
    window, to = Window(), Destination(turn_id="t", tenant_id="x", event_id="e", address=ADDRESS)
    await Reply(window, Parts(), to, None).deliver("word " * 60, offer=OFFER)
    offers = [view.offer for view in window.shown.values()]
    assert len(offers) > 2
    assert offers == [None] * (len(offers) - 1) + [OFFER]


async def test_a_button_that_is_missing_is_brought() -> None:
    """The same text without its button is another message; with it, nothing is edited again."""
    window, parts = Window(), Parts()
    to = Destination(turn_id="t", tenant_id="x", event_id="e", address=ADDRESS)
    reply = Reply(window, parts, to, None)
    await reply.open(first_attempt=True)
    await reply.deliver("Yes.")
    before = window.edits
    await reply.deliver("Yes.", offer=OFFER)
    await reply.deliver("Yes.", offer=OFFER)
    assert window.edits == before + 1
    assert window.shown["t/1"].offer == OFFER


def test_the_label_is_in_the_readers_language() -> None:
    """The command stays what it is."""
    offer = Offer(label=sentence("Stopped."), command="/stop")
    told = presentable(Ending(outcome=Outcome.ANSWERED, reply="", offer=offer), "zh")
    assert told.offer is not None
    assert told.offer.label != "Stopped."
    assert told.offer.command == "/stop"
