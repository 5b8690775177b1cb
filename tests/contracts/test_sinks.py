"""What every platform's sink must do together with ``core.replies.Reply``, on each database.

The generic platforms run on each database, the real ones on SQLite.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.errors import Fenced, StorageFailure
from core.replies import Reply
from core.sinks import DeliveryFailed, Destination, ReplySink, destination
from core.turns import Ending, Outcome, Turn
from storage.deliveries import SqlDeliveries
from storage.leases import SqlLeases
from storage.turnlog import SqlTurnLog
from tests.contracts.sink_kit import HTTP_KITS, Hooked, SinkKit, Stage
from tests.contracts.sinks_slack import SLACK_KITS
from tests.contracts.sinks_telegram import TELEGRAM_KITS
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import House, Site, copy_sqlite

KITS = (*HTTP_KITS, *TELEGRAM_KITS, *SLACK_KITS)
WORKER = "w_contract"
ANSWER = "The disk of web-3 is 91 % full."
LONG = "\n\n".join(
    f"Paragraph {number}: " + " ".join(f"p{number}w{word}" for word in range(40))
    for number in range(8)
)


def grounds(*kits: SinkKit) -> list[Any]:
    """Each platform on SQLite, and the generic ones on PostgreSQL."""
    postgres = pytest.mark.postgres
    return [
        *(pytest.param(("sqlite", kit), id=f"sqlite-{kit.name}") for kit in kits),
        *(
            pytest.param(("postgres", kit), id=f"postgres-{kit.name}", marks=postgres)
            for kit in kits
            if kit.everywhere
        ),
    ]


previews_are_messages = pytest.mark.parametrize(
    "ground", grounds(*(kit for kit in KITS if not kit.drafts)), indirect=True
)
"""For what is said of messages that stand there before the answer."""


@pytest.fixture(params=grounds(*KITS))
def ground(request: pytest.FixtureRequest) -> tuple[str, SinkKit]:
    """A database and a platform."""
    chosen: tuple[str, SinkKit] = request.param
    return chosen


@pytest.fixture
def kit(ground: tuple[str, SinkKit]) -> SinkKit:
    """The platform."""
    return ground[1]


@pytest.fixture
def site(ground: tuple[str, SinkKit], request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site of the test's own on the database."""
    if ground[0] == "postgres":
        place: Site = request.getfixturevalue("postgres_place")
        return place
    return copy_sqlite(request.getfixturevalue("sqlite_template"), tmp_path / "data")


@dataclass
class Bed:
    """A leased turn whose reply goes to a platform."""

    house: House
    kit: SinkKit
    sink: ReplySink
    stage: Stage
    log: SqlDeliveries
    turn: Turn

    @property
    def to(self) -> Destination:
        """Where its reply goes."""
        return destination(self.turn)

    def reply(self, sink: ReplySink | None = None, *, owner: bool = True) -> Reply:
        """A view of the reply; not an owner's when the turn is over."""
        return Reply(sink or self.sink, self.log, self.to, self.turn.epoch if owner else None)

    def another(self, *, owner: bool = True) -> Reply:
        """Another process's view of the reply."""
        return self.reply(self.stage.another(), owner=owner)

    async def finish(self, text: str) -> None:
        """End the turn; delivery remains."""
        await SqlTurnLog(self.house.core.storage.db, b"k" * 32, WORKER).finish(
            self.turn,
            Ending(outcome=Outcome.ANSWERED, reply=text),
            events=(),
            settlements=(),
            deliver=True,
        )

    async def delivered(self) -> None:
        """Wait until the sweeper has delivered."""
        await self.house.until(
            "SELECT COUNT(*) FROM turns WHERE id = :id AND delivered_at IS NOT NULL",
            id=self.turn.id,
        )

    async def parts(self) -> list[str]:
        """The committed message ids, in order."""
        saved = await self.log.parts(self.turn.tenant_id, self.turn.id)
        return [self.kit.message_of(part.ref) for part in saved]

    def texts(self) -> list[str]:
        """What the user sees."""
        return self.stage.texts(self.turn.id)


@asynccontextmanager
async def bed(site: Site, kit: SinkKit) -> AsyncGenerator[Bed]:
    """A platform, a core that runs no turns itself, and one leased turn."""
    async with kit.start() as (sink, stage), site.open(sink=sink, run_turns=False) as house:
        leases = SqlLeases(house.core.storage.db)
        await leases.beat(WORKER, 60_000, ())
        await house.accepted("How full is web-3?", platform="chat")
        (turn,) = await leases.claim(WORKER, 1, 1)
        yield Bed(house, kit, sink, stage, SqlDeliveries(house.core.storage.db), turn)


@previews_are_messages
async def test_the_placeholder_is_committed_before_any_content(site: Site, kit: SinkKit) -> None:
    """While the placeholder's id cannot be committed, nothing of the answer is shown."""
    async with bed(site, kit) as b:
        b.house.faults.refuse = lambda name: name == "_save_part"
        reply = b.reply()
        with pytest.raises(StorageFailure):
            await reply.open(first_attempt=True)
        reply.show(ANSWER)
        await reply.close()
        assert b.texts() == [kit.placeholder]
        assert await b.parts() == []


@previews_are_messages
async def test_a_reply_is_one_message_that_is_edited(site: Site, kit: SinkKit) -> None:
    """Placeholder, previews and final text are one message, whose id is committed."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        assert b.texts() == [kit.placeholder]
        assert await b.parts() == b.stage.refs(b.turn.id)
        reply.show(ANSWER[:10])
        await reply.deliver(ANSWER)
        assert b.texts() == [ANSWER]
        assert await b.parts() == b.stage.refs(b.turn.id)


@previews_are_messages
async def test_previews_keep_the_platforms_pace(site: Site, kit: SinkKit) -> None:
    """However fast text comes, there is at most one preview an interval."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        began = time.monotonic()
        for length in range(1, 60):
            reply.show("x" * length)
            await asyncio.sleep(0.005)
        await reply.close()
        intervals = (time.monotonic() - began) / b.sink.limits.edit_interval_s
        assert b.stage.calls(b.turn.id) <= 1 + intervals + 2
        assert b.texts()[0].startswith("x")


async def test_the_final_edit_may_be_repeated(site: Site, kit: SinkKit) -> None:
    """Delivering again, from any process, shows the same and posts nothing."""
    async with bed(site, kit) as b:
        first = b.reply()
        await first.open(first_attempt=True)
        await first.deliver(ANSWER)
        refs = b.stage.refs(b.turn.id)
        await b.finish(ANSWER)
        for again in (b.reply(owner=False), b.another(owner=False)):
            await again.deliver(ANSWER)
        assert b.texts() == [ANSWER]
        assert b.stage.refs(b.turn.id) == refs


async def test_a_long_reply_is_tracked_in_parts(site: Site, kit: SinkKit) -> None:
    """Every part fits, is committed, is there once, also after a redelivery; nothing is lost."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        await reply.deliver(LONG)
        await b.finish(LONG)
        await b.another(owner=False).deliver(LONG)
        limits = b.sink.limits
        assert len(b.texts()) > 2
        assert all(limits.measure(text) <= limits.max_chars for text in b.texts())
        assert " ".join(b.texts()).split() == LONG.split()
        assert await b.parts() == b.stage.refs(b.turn.id)


@previews_are_messages
async def test_a_preview_longer_than_the_answer_leaves_no_stale_text(
    site: Site, kit: SinkKit
) -> None:
    """A part that the final text does not need says so instead of showing old text."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        reply.show(LONG)
        while len(b.texts()) < 2:  # noqa: ASYNC110  # the platform tells nobody
            await asyncio.sleep(0.01)
        await reply.deliver(ANSWER)
        assert b.texts()[0] == ANSWER
        assert set(b.texts()[1:]) == {"(see above)"}


@pytest.mark.parametrize("part", [1, 2])
async def test_a_crash_between_post_and_commit(site: Site, kit: SinkKit, part: int) -> None:
    """The next attempt adopts the post where it can be found; else an orphan, never two answers."""
    async with bed(site, kit) as b:
        reply = b.reply()
        if part == 2:
            await reply.open(first_attempt=True)
        b.house.faults.refuse = lambda name: name == "_save_part" and len(b.texts()) == part
        late = part == 2 or kit.drafts
        with pytest.raises(StorageFailure):
            await (reply.deliver(LONG) if late else reply.open(first_attempt=True))
        b.house.faults.refuse = lambda _name: False
        second = b.another()
        await second.open(first_attempt=False)
        await second.deliver(LONG)
        refs = await b.parts()
        shown = dict(zip(b.stage.refs(b.turn.id), b.texts(), strict=True))
        assert " ".join(shown[ref] for ref in refs).split() == LONG.split()
        orphans = [shown[ref] for ref in shown if ref not in refs]
        assert len(orphans) == (0 if kit.can_find else 1)
        if part == 1:
            assert set(orphans) <= {kit.placeholder}


async def test_a_late_placeholder_comes_before_content_too(site: Site, kit: SinkKit) -> None:
    """A reply that could not be opened in time is still never at risk of being said twice."""
    async with bed(site, kit) as b:
        b.house.faults.refuse = lambda name: name == "_save_part"
        await b.finish(ANSWER)
        with pytest.raises(StorageFailure):
            await b.reply(owner=False).deliver(ANSWER)
        b.house.faults.refuse = lambda _name: False
        await b.another(owner=False).deliver(ANSWER)
        assert b.texts() == ([ANSWER] if kit.can_find else [kit.placeholder, ANSWER])


async def test_a_post_whose_answer_is_lost(site: Site, kit: SinkKit) -> None:
    """Before it posts again, the core looks whether the first post is there."""
    async with bed(site, kit) as b:
        b.stage.lose_answer()
        reply = b.reply()
        with suppress(DeliveryFailed):  # the previews go on trying
            await reply.open(first_attempt=True)
        await reply.deliver(ANSWER)
        assert b.texts() == ([ANSWER] if kit.can_find else [kit.placeholder, ANSWER])


async def test_a_rate_limit_is_waited_for(site: Site, kit: SinkKit) -> None:
    """A platform that asks for a pause gets it, and the answer comes once."""
    async with bed(site, kit) as b:
        b.stage.limit(2)
        reply = b.reply()
        with suppress(DeliveryFailed):
            await reply.open(first_attempt=True)
        b.stage.limit(2)
        await reply.deliver(ANSWER)
        assert b.texts() == [ANSWER]


@previews_are_messages
async def test_after_an_outage_the_sweeper_delivers(site: Site, kit: SinkKit) -> None:
    """A platform that is down when the turn ends gets the answer when it is back, once."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        b.stage.go_down()
        await b.finish(ANSWER)
        with pytest.raises(DeliveryFailed) as failure:
            await reply.deliver(ANSWER)
        assert not failure.value.permanent
        assert b.texts() == [kit.placeholder]
        await b.log.release(b.turn)
        b.stage.come_back()
        await b.house.write("UPDATE turns SET deliver_until = 0")
        await b.delivered()
        assert b.texts() == [ANSWER]


async def test_a_refusal_for_good_is_recorded(site: Site, kit: SinkKit) -> None:
    """A platform that threw us out ends the delivery, with the reason on record."""
    async with kit.start() as (sink, stage), site.open(sink=sink) as house:
        stage.refuse()
        final = await house.ask("Hello", platform="chat")
        await house.until(
            "SELECT COUNT(*) FROM turns WHERE id = :id AND delivered_at IS NOT NULL"
            " AND delivery_problem IS NOT NULL",
            id=final.turn_id,
        )
        assert final.reply == "Fine."
        assert stage.texts(final.turn_id) == []
        await house.settled()


async def test_the_calls_of_a_turn_are_bounded(site: Site, kit: SinkKit) -> None:
    """A turn costs a placeholder, a preview an interval and part, and one edit a part."""
    engine = ScriptedEngine([Say(LONG, pause_s=0.001)])
    async with kit.start() as (sink, stage), site.open(engine, sink=sink) as house:
        began = time.monotonic()
        final = await house.ask("Tell me all", platform="chat")
        await house.until(
            "SELECT COUNT(*) FROM turns WHERE id = :id AND delivered_at IS NOT NULL",
            id=final.turn_id,
        )
        intervals = (time.monotonic() - began) / sink.limits.edit_interval_s
        parts = len(stage.texts(final.turn_id))
        # While text grows, only its last two parts change, so a preview is at most two edits.
        assert stage.calls(final.turn_id) <= 1 + 2 * (intervals + 1) + 2 * parts
        assert " ".join(stage.texts(final.turn_id)).split() == LONG.split()


async def test_a_worker_that_lost_its_lease_is_silent(site: Site, kit: SinkKit) -> None:
    """Past its own deadline a worker makes no call; its commits are refused anyway."""
    async with bed(site, kit) as b:
        leased = True
        reply = Reply(b.sink, b.log, b.to, b.turn.epoch, leased=lambda: leased)
        await reply.open(first_attempt=True)
        leased = False
        before = b.stage.calls(b.turn.id)
        reply.show(ANSWER)
        with pytest.raises(Fenced):
            await reply.deliver(ANSWER)
        assert b.stage.calls(b.turn.id) == before


@previews_are_messages
async def test_a_fenced_worker_tracks_nothing(site: Site, kit: SinkKit) -> None:
    """After somebody else took the conversation, a late post is not committed as a part."""
    async with bed(site, kit) as b:
        await b.house.write("UPDATE conversations SET lease_epoch = lease_epoch + 1")
        with pytest.raises(Fenced):
            await b.reply().open(first_attempt=True)
        assert await b.parts() == []


@previews_are_messages
async def test_an_edit_that_comes_too_late_is_made_good(site: Site, kit: SinkKit) -> None:
    """A frozen worker that overwrites its successor's answer has it delivered again."""
    async with bed(site, kit) as b:
        leased = True
        hooked = Hooked(b.sink)
        zombie = Reply(hooked, b.log, b.to, b.turn.epoch, leased=lambda: leased)
        await zombie.open(first_attempt=True)
        await b.finish(ANSWER)
        await b.another(owner=False).deliver(ANSWER)
        await b.log.delivered(b.to, epoch=b.turn.epoch, problem="")
        await b.house.write("UPDATE conversations SET lease_epoch = lease_epoch + 1")

        late = asyncio.Event()

        def thaw(_text: str) -> None:
            nonlocal leased
            leased = False
            late.set()

        hooked.after_edit.append(thaw)
        zombie.show("The disk of")
        await late.wait()
        await zombie.close()
        await b.delivered()
        assert b.texts() == [ANSWER]
