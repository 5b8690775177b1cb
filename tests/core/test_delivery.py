"""Replies on platforms that misbehave: slow, broken, down, or served by a buggy adapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.control import Stop
from core.conversations import MAX_TURNS, Conversations, Memory, PastTurn
from core.delivery import Deliverer, DueReply
from core.errors import StorageUnreachable
from core.messages import ConversationAddress
from core.replies import Part
from core.sinks import DeliveryFailed, Destination, SinkLimits, View
from core.steps import Exchange
from core.turn import TurnRunner
from core.turnmeter import TurnMeter
from core.turns import Turn
from tests.core.test_turnmeter import TURN, Answers
from tests.fakes.scripted_engine import Pause, Say, ScriptedEngine
from tests.support.core_kit import House, Site, eventually


class Sink:
    """A platform in memory whose calls can be made to fail."""

    def __init__(self) -> None:
        """Nothing posted yet."""
        self.shown: dict[str, str] = {}
        self.calls: list[tuple[str, int | str, str]] = []
        self.on_post: Callable[[int], None] = lambda _part: None
        self.on_edit: Callable[[str], None] = lambda _text: None

    @property
    def limits(self) -> SinkLimits:
        """Small parts, quick edits."""
        return SinkLimits(max_chars=100, edit_interval_s=0.01)

    async def draft(self, to: Destination, view: View) -> bool:
        """This platform has no drafts."""
        return False

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Keep a message."""
        self.on_post(part)
        ref = f"{to.turn_id}/{part}/{len(self.calls)}"
        self.calls.append(("post", part, view.text))
        self.shown[ref] = view.text
        return ref

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Change a message."""
        self.on_edit(view.text)
        self.calls.append(("edit", ref, view.text))
        self.shown[ref] = view.text

    async def find(self, to: Destination, part: int) -> str | None:
        """This platform cannot tell."""
        return None


def _raise(error: Exception) -> None:
    raise error


async def delivered(house: House, count: int = 1) -> None:
    """Wait until so many replies are delivered."""
    await house.until("SELECT COUNT(*) FROM turns WHERE delivered_at IS NOT NULL", expected=count)


async def test_a_bug_in_a_preview_does_not_cost_the_answer(site: Site) -> None:
    """An adapter that raises while it previews: one attempt, the final text arrives."""
    sink = Sink()
    sink.on_edit = lambda text: _raise(KeyError("blocks")) if "Done" not in text else None
    engine = ScriptedEngine([Say("Fine."), Pause(0.1), Say(" Done.")])
    async with site.open(engine, sink=sink) as house:
        await house.accepted("hi", platform="chat")
        await delivered(house)
        assert await house.rows("SELECT attempt, outcome FROM turns") == [(1, "answered")]
    (shown,) = sink.shown.values()
    assert "Done" in shown


async def test_one_reply_that_raises_does_not_hold_up_the_others(site: Site) -> None:
    """The sweeper goes on after a reply that its adapter cannot show, and tries it again."""
    sink = Sink()
    broken = True

    def edit(text: str) -> None:
        if broken and "poison" in text:
            raise KeyError(text)

    sink.on_edit = edit
    engine = ScriptedEngine(lambda request: [Say(f"about {request.text}")])
    async with site.open(engine, sink=sink) as house:
        await house.accepted("poison", platform="chat", place="a")
        await house.until("SELECT COUNT(*) FROM turns WHERE status = 'done'")
        await house.accepted("bread", platform="chat", place="b")
        await delivered(house)
        assert "about bread" in sink.shown.values()
        broken = False
        await house.write("UPDATE turns SET deliver_until = 0, deliverer = NULL")
        await delivered(house, 2)
    assert "about poison" in sink.shown.values()


async def test_a_slow_platform_does_not_delay_the_end_of_a_turn(site: Site) -> None:
    """A placeholder that must wait for half a minute leaves the committed end alone."""
    sink = Sink()
    slow = True

    def post(_part: int) -> None:
        if slow:
            raise DeliveryFailed("Slow down.", retry_after_s=25, permanent=False)

    sink.on_post = post
    async with site.open(sink=sink) as house:
        began = time.monotonic()
        await house.accepted("hi", platform="chat")
        await house.until("SELECT COUNT(*) FROM turns WHERE status = 'done'")
        waited = time.monotonic() - began
        slow = False
        assert waited < 20  # the platform's pause is 25 s: this is order, not speed
        await house.crash()


async def test_previews_end_with_a_turn_that_loses_its_lease_twice(site: Site) -> None:
    """A thawed zombie finds out by itself and from its heartbeat in one moment: no task stays."""
    sink = Sink()
    async with site.open(ScriptedEngine([Pause(0.3), Say("x")]), sink=sink) as house:
        await house.accepted("hi", platform="chat")
        await eventually(lambda: bool(sink.calls))
        scheduler = house.core.scheduler
        (running,) = scheduler._running.values()

        def lost() -> bool:
            asyncio.get_running_loop().call_soon(running.control.stop, Stop.LOST)
            return False

        assert isinstance(scheduler.runner, TurnRunner)
        scheduler.runner.still_leased = lost
        await asyncio.wait([running.task], timeout=10)
        names = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()}
        assert "Reply._preview" not in names
        await house.crash()


async def test_a_turn_that_is_over_does_not_take_its_successor_off_the_list(site: Site) -> None:
    """The end of an attempt that lingered leaves the newer attempt reachable."""
    engine = ScriptedEngine([Say("x"), Pause(5)])
    async with site.open(engine, grace_s=0) as house:
        await house.accepted("hi")
        scheduler = house.core.scheduler
        await house.until("SELECT COUNT(*) FROM turns WHERE status = 'running'")
        (held,) = scheduler._running.values()
        scheduler._ended(replace(held.turn, attempt=held.turn.attempt - 1))
        assert scheduler.running == 1


async def test_many_short_turns_are_summarised_before_they_are_forgotten() -> None:
    """At the most turns that are read back, the older ones are summarised, not dropped."""
    kept: list[int] = []

    class Store:
        async def remember(self, *_: object, **__: object) -> Memory:
            raise AssertionError

        async def save_summary(self, *_: object, upto_seq: int, **__: object) -> None:
            kept.append(upto_seq)

    past = tuple(
        PastTurn(seq=n, exchange=Exchange(user_text=f"msg {n}", reply="ok"))
        for n in range(1, MAX_TURNS + 1)
    )
    memory = Memory(summary="", past=past, attachments=(), steps=())
    engine = ScriptedEngine([Say("They counted.")])
    compacted = await Conversations(Store()).compact(
        TURN, memory, engine, "m", TurnMeter(Answers(), TURN)
    )
    assert compacted.summary == "They counted."
    assert 50 <= len(compacted.past) < MAX_TURNS
    assert kept == [past[-len(compacted.past) - 1].seq]


class Due:
    """Replies that are due, and a database that goes away after the first claim."""

    def __init__(self, *due: DueReply) -> None:
        """Handed out at once."""
        self.due: tuple[DueReply, ...] = due
        self.claims = 0

    async def claim_undelivered(
        self, worker: str, *, platforms: tuple[str, ...], hold_ms: int, limit: int
    ) -> tuple[DueReply, ...]:
        """The first time all, then an outage."""
        self.claims += 1
        if self.claims > 1:
            raise StorageUnreachable("gone")
        return self.due

    async def renew(self, to: Destination, worker: str, hold_ms: int) -> bool:
        """Ours."""
        return True

    async def put_off(self, to: Destination, worker: str, pause_ms: int) -> None:
        """Later."""


class Kept:
    """Parts and deliveries in memory."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.done: list[str] = []
        self.saved: dict[tuple[str, int], Part] = {}

    async def parts(self, tenant_id: str, turn_id: str) -> tuple[Part, ...]:
        """Of a turn."""
        return tuple(part for (turn, _n), part in self.saved.items() if turn == turn_id)

    async def save_part(self, to: Destination, part: Part, epoch: int | None) -> None:
        """Keep."""
        self.saved[to.turn_id, part.number] = part

    async def redeliver(self, to: Destination) -> None:
        """Nobody asks."""

    async def delivered(self, to: Destination, *, epoch: int | None, problem: str) -> None:
        """Note."""
        self.done.append(to.turn_id)

    async def release(self, turn: Turn) -> None:
        """Nobody asks."""


class SlowSink(Sink):
    """A platform that takes its time for each call."""

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Edit, slowly."""
        await asyncio.sleep(0.05)
        await super().edit(to, ref, view)


def _due(turn: str) -> DueReply:
    address = ConversationAddress(platform="chat", workspace="", channel=turn, thread="")
    to = Destination(tenant_id="t", turn_id=turn, event_id=turn, address=address)
    return DueReply(to=to, text=f"about {turn}", finished_ms_ago=0)


async def test_an_outage_while_it_sweeps_cuts_no_delivery() -> None:
    """What was begun ends and is noted; only then the sweep fails."""
    due, kept, sink = Due(_due("a"), _due("b")), Kept(), SlowSink()
    deliverer = Deliverer(due=due, log=kept, parts=kept, sinks={"chat": sink})
    with pytest.raises(StorageUnreachable):
        await deliverer.sweep("w")
    assert sorted(kept.done) == ["a", "b"]
    assert sorted(sink.shown.values()) == ["about a", "about b"]


async def test_a_shutdown_lets_a_delivery_end() -> None:
    """A cancelled sweep finishes the calls that it began."""
    due, kept, sink = Due(_due("a")), Kept(), SlowSink()
    deliverer = Deliverer(due=due, log=kept, parts=kept, sinks={"chat": sink})
    sweep = asyncio.create_task(deliverer.sweep("w"))
    await eventually(lambda: due.claims == 1 and bool(sink.calls))
    sweep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    assert kept.done == ["a"]
