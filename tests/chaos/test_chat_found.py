"""What the chat chaos runs found, each as the smallest test that shows it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from core.delivery import Deliverer, DueReply
from core.inbox import Accepted
from core.messages import Actor, ConversationAddress, InboundMessage
from core.replies import Part
from core.scheduling import Scheduler
from core.sinks import DeliveryFailed, Destination, View, destination
from core.turns import Ending, Outcome, Turn
from storage.access import SqlGate
from storage.deliveries import SqlDeliveries
from storage.leases import SqlLeases
from storage.turnlog import SqlTurnLog
from tests.core.test_delivery import Sink, delivered
from tests.core.test_scheduling import SlowLeases, WaitingRunner, _a_turn
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_gate import Gate
from tests.support.core_kit import PACE, Probe, Site, eventually


class Drafts(Sink):
    """A platform with drafts: the only post of a reply is the reply."""

    def __init__(self) -> None:
        """It takes everything."""
        super().__init__()
        self.refused: set[str] = set()
        """The replies to these turns are refused for now."""
        self.frozen = asyncio.Event()
        """Set: whoever posts from now on never hears back."""

    async def draft(self, to: Destination, view: View) -> bool:
        """Drafts are no messages."""
        return True

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Post, unless it is refused or frozen."""
        if self.frozen.is_set():
            await asyncio.Event().wait()
        if to.turn_id in self.refused:
            raise DeliveryFailed("Not now.", retry_after_s=None, permanent=False)
        return await super().post(to, part, view)

    @property
    def answers(self) -> list[str]:
        """What it shows, in its order."""
        return list(self.shown.values())


ECHO = ScriptedEngine(lambda request: [Say(f"about {request.text}")])


async def test_an_answer_that_is_refused_for_now_is_not_overtaken(site: Site) -> None:
    """The next turn of the conversation waits until the platform took the answer before it."""
    sink, gate = Drafts(), Gate()
    async with site.open(gate.engine(), sink=sink, tools=[Probe("look").tool()]) as house:
        first = await house.accepted("hold", platform="chat")
        await gate.reached.wait()
        sink.refused = {first.turn_id}
        gate.opened.set()
        await house.until("SELECT COUNT(*) FROM turns WHERE deliverer IS NULL AND status = 'done'")
        second = await house.accepted("two", platform="chat")
        assert second.leased is None
        await house.accepted("elsewhere", platform="chat", place="other")
        await delivered(house)
        assert sink.answers == ["Answer to elsewhere."]
        sink.refused.clear()
        await house.write("UPDATE turns SET deliver_until = 0 WHERE delivered_at IS NULL")
        await delivered(house, 3)
        await house.settled()
    assert sink.answers == ["Answer to elsewhere.", "Shown.\n\nDone.", "Answer to two."]


async def test_an_answer_that_a_crash_left_behind_is_not_overtaken(site: Site) -> None:
    """A worker dies between the end of a turn and its delivery, while the next message waits."""
    sink = Drafts()
    sink.frozen.set()
    async with site.open(ECHO, sink=sink) as house:
        await house.accepted("one", platform="chat")
        await house.until("SELECT COUNT(*) FROM turns WHERE status = 'done'")
        await house.accepted("two", platform="chat")
        await house.crash()
    sink.frozen.clear()
    async with site.open(ECHO, sink=sink) as house:
        await delivered(house, 2)
        await house.settled()
    assert sink.answers == ["about one", "about two"]


async def test_an_answer_of_a_worker_that_was_thought_dead_lets_the_next_turn_begin(
    site: Site,
) -> None:
    """A frozen worker delivers after its lease was taken; nothing waits for that answer then."""
    async with site.open(run_turns=False) as house:
        db = house.core.storage.db
        leases, deliveries = SqlLeases(db), SqlDeliveries(db)
        await leases.beat("w_frozen", 60_000, ())
        await house.accepted("one", platform="chat")
        (turn,) = await leases.claim("w_frozen", 1, 1)
        log = SqlTurnLog(db, b"k" * 32, "w_frozen")
        ending = Ending(outcome=Outcome.ANSWERED, reply="x")
        await log.finish(turn, ending, events=(), settlements=(), deliver=True)
        await house.accepted("two", platform="chat")
        await house.write("UPDATE workers SET expires_at = 0 WHERE id = 'w_frozen'")
        await leases.beat("w_other", 60_000, ())
        assert await leases.claim("w_other", 1, 1) == ()
        await deliveries.delivered(destination(turn), epoch=turn.epoch, problem="")
        (second,) = await leases.claim("w_other", 1, 1)
        assert second.text == "two"
        await house.crash()


async def test_a_message_that_was_edited_may_be_delivered_again(site: Site) -> None:
    """The platform repeats the old text after the edit was stored: nothing is refused."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()], grace_s=0) as house:
        storage = house.core.storage
        door = SqlGate(storage.db, storage.keys.derive("audit"))
        code = await door.link_code(house.admin)
        assert await door.redeem(_message(0, ""), code.replace("-", "")) is None
        await house.core.inbox.accept(_message(1, "hold"))
        await gate.reached.wait()
        stored = await house.core.inbox.accept(_message(2, "old"))
        assert isinstance(stored, Accepted)
        assert await house.core.inbox.edit(_message(2, "new")) is None
        again = await house.core.inbox.accept(_message(2, "old"))
        assert again == replace(stored, duplicate=True)
        assert await house.rows("SELECT text FROM turns WHERE seq = 2") == [("new",)]
        await house.crash()


def _message(number: int, text: str) -> InboundMessage:
    return InboundMessage(
        event_id=f"telegram:1:7:{number}",
        address=ConversationAddress(platform="telegram", workspace="1", channel="7", thread=""),
        actor=Actor(platform="telegram", workspace="", external_id="7"),
        text=text,
        engine="scripted",
    )


TO = Destination(
    tenant_id="t",
    turn_id="slow",
    event_id="e",
    address=ConversationAddress(platform="chat", workspace="", channel="c", thread=""),
)


class Due:
    """Two replies, of which the second comes due after the first was claimed. Keeps no parts."""

    def __init__(self) -> None:
        """Both wait."""
        self.waiting = ["slow", "quick"]
        self.arrived: list[str] = []

    async def claim_undelivered(
        self, worker: str, *, platforms: tuple[str, ...], hold_ms: int, limit: int
    ) -> tuple[DueReply, ...]:
        """One at a time."""
        due = self.waiting[:1]
        del self.waiting[:1]
        return tuple(
            DueReply(to=replace(TO, turn_id=name), text=name, finished_ms_ago=0) for name in due
        )

    async def renew(self, to: Destination, worker: str, hold_ms: int) -> bool:
        """Ours."""
        return True

    async def put_off(self, to: Destination, worker: str, pause_ms: int) -> None:
        """Nothing is put off here."""
        raise AssertionError(to)

    async def parts(self, tenant_id: str, turn_id: str) -> tuple[Part, ...]:
        """None yet."""
        return ()

    async def save_part(self, to: Destination, part: Part, epoch: int | None) -> None:
        """Taken."""

    async def redeliver(self, to: Destination) -> None:
        """Nobody comes too late here."""
        raise AssertionError(to)

    async def release(self, turn: Turn) -> None:
        """The sweeper has no turn."""
        raise AssertionError(turn)

    async def delivered(self, to: Destination, *, epoch: int | None, problem: str) -> None:
        """Note it."""
        self.arrived.append(to.turn_id)


class Slow(Sink):
    """Keeps one reply waiting, as a platform's pace does."""

    def __init__(self) -> None:
        """It waits."""
        super().__init__()
        self.go = asyncio.Event()

    async def post(self, to: Destination, part: int, view: View) -> str:
        """The slow one waits."""
        if to.turn_id == "slow":
            await self.go.wait()
        return await super().post(to, part, view)


async def test_a_slow_reply_does_not_hold_up_what_comes_due_later() -> None:
    """While the sweeper waits for one chat's pace, it delivers what else is due."""
    due, sink = Due(), Slow()
    sweep = asyncio.create_task(
        Deliverer(due=due, log=due, parts=due, sinks={"chat": sink}).sweep("w")
    )
    await eventually(lambda: due.arrived == ["quick"])
    sink.go.set()
    assert await sweep == 2
    assert due.arrived == ["quick", "slow"]


async def test_a_shutdown_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that does not end in time gets no second grace when it is asked again."""
    leases, runner = SlowLeases(), WaitingRunner()

    async def sweep(_worker: str) -> int:
        return 0

    scheduler = Scheduler(
        leases=leases, sweep=sweep, slots=1, tenant_slots=1, pace=PACE, runner=runner
    )
    assert scheduler.reserve()
    scheduler.start(_a_turn(2))
    await eventually(lambda: 2 in runner.controls)
    runner.controls[2].settled = True
    monkeypatch.setattr("core.scheduling.HAND_BACK_S", 0.01)
    await scheduler.drain(0)
    monkeypatch.setattr("core.scheduling.HAND_BACK_S", 3600)
    async with asyncio.timeout(5):
        await scheduler.drain(3600)
    assert scheduler.running
    runner.end.set()
    await eventually(lambda: not scheduler.running)
