"""Streams: what is heard live, resumed anywhere, or read from the log is the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import turn as turn_module
from core.errors import NotFound
from core.steps import ToolCall
from core.streams import START, EventId, LiveTurn, StreamEvent, Streams, StreamState
from tests.fakes.scripted_engine import Move, Pause, Say, ScriptedEngine, Signal, Until
from tests.support.core_kit import House, Probe, Site

LOOK = ToolCall(id="t1", name="look")
STORY: list[Move] = [
    Say("one two three four", tools=(LOOK,), pause_s=0.01, thinking="hm"),
    Pause(0.05),
    Say("five six seven eight", pause_s=0.01),
]


@asynccontextmanager
async def flushing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Commit live events every few milliseconds, so that the log holds several batches."""
    monkeypatch.setattr(turn_module, "FLUSH_S", 0.02)
    yield


def _said(events: list[StreamEvent]) -> str:
    """What a client that shows deltas and obeys resets ends up with."""
    text = ""
    for event in events:
        data = json.loads(event.data)
        match event.name:
            case "text_delta":
                text += data["text"]
            case "text_reset":
                text = data["text"]
            case _:
                pass
    return text


def _plain(events: list[StreamEvent]) -> list[tuple[str, str]]:
    return [(event.name, event.data) for event in events]


async def test_resuming_anywhere_gives_exactly_the_rest(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every position the live stream, its resumption and the log agree to the byte."""
    async with (
        flushing(monkeypatch),
        site.open(ScriptedEngine(STORY), tools=[Probe("look").tool()]) as house,
    ):
        accepted = await house.accepted("go")
        tenant, turn = accepted.tenant_id, accepted.turn_id
        live = await house.listen(tenant, turn)
        batches = await house.rows("SELECT COUNT(*) FROM turn_events")
        assert batches[0][0] > 1
        assert [event.id.number for event in live] == list(range(1, len(live) + 1))
        assert _said(live) == json.loads(live[-1].data)["reply"]
        assert _plain(await house.listen(tenant, turn)) == _plain(live)
        for position, event in enumerate(live[:-1], start=1):
            rest = await house.listen(tenant, turn, event.id)
            assert _plain(rest) == _plain(live[position:])
        for strange in (EventId(1, 10**6), live[-1].id, EventId(0, 5), EventId(7, 3)):
            rest = await house.listen(tenant, turn, strange)
            assert rest[-1].name == "completed"
            assert rest[-1].data == live[-1].data
        await house.settled()


async def test_a_listener_that_comes_and_goes_misses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after every event and resumed at once, while the turn runs: nothing twice or lost."""
    async with (
        flushing(monkeypatch),
        site.open(ScriptedEngine(STORY), tools=[Probe("look").tool()]) as house,
    ):
        accepted = await house.accepted("go")
        whole = asyncio.create_task(house.final(accepted))
        heard: list[StreamEvent] = []
        while not heard or heard[-1].name != "completed":
            after = heard[-1].id if heard else START
            stream = house.core.streams.listen(accepted.tenant_id, accepted.turn_id, after)
            async with aclosing(stream) as events:
                heard.append(await anext(events))
        assert _plain(heard) == _plain(list((await whole).events))
        assert house.core.streams._live == {}


async def test_another_process_hears_the_same(
    postgres_place: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener where the turn does not run gets every event, in order, to its end."""
    async with (
        flushing(monkeypatch),
        postgres_place.open(ScriptedEngine(STORY), tools=[Probe("look").tool()]) as worker,
        postgres_place.open(run_turns=False) as edge,
    ):
        accepted = await edge.accepted("go")
        far = await edge.listen(accepted.tenant_id, accepted.turn_id)
        near = await worker.listen(accepted.tenant_id, accepted.turn_id)
        assert _plain(far) == _plain(near)
        assert _said(far) == json.loads(far[-1].data)["reply"]


async def test_a_listener_survives_the_death_of_the_worker(postgres_place: Site) -> None:
    """The stream goes on with the next attempt; the client's text ends as the stored reply."""
    reached, never = asyncio.Event(), asyncio.Event()
    moves: list[Move] = [
        Say("kept", tools=(LOOK,)),
        Signal(reached),
        Until(never),
        Say("new words"),
    ]
    engine, look = ScriptedEngine(moves), Probe("look")
    async with (
        postgres_place.open(engine, tools=[look.tool()]) as worker,
        postgres_place.open(engine, tools=[look.tool()]) as second,
    ):
        accepted = await worker.accepted("go")
        listening = asyncio.create_task(second.listen(accepted.tenant_id, accepted.turn_id))
        await reached.wait()
        await worker.crash()
        never.set()
        me = second.core.scheduler.worker
        await second.write("UPDATE workers SET expires_at = 0 WHERE id <> :me", me=me)
        events = await listening
        assert _said(events) == "kept\n\nnew words"
        assert json.loads(events[-1].data)["reply"] == "kept\n\nnew words"
        await second.settled()


async def test_a_stream_is_its_tenants_alone(site: Site) -> None:
    """W15: live and finished, another tenant's turn does not exist, nor does a colleague's."""
    reached, opened = asyncio.Event(), asyncio.Event()
    moves: list[Move] = [Signal(reached), Until(opened), Say("Done.")]
    async with site.open(ScriptedEngine(moves)) as house:
        other = await house.tenant("other")
        colleague = await house.user(house.admin.tenant_id, "b@example.com")
        accepted = await house.accepted("go")
        await reached.wait()
        await _hidden(house, other.tenant_id, accepted.turn_id)
        for person in (other, colleague):
            with pytest.raises(NotFound):
                await house.core.streams.check(person.tenant_id, person.id, accepted.turn_id)
        opened.set()
        await house.final(accepted)
        await _hidden(house, other.tenant_id, accepted.turn_id)
        await _hidden(house, house.admin.tenant_id, "turn_none")


async def _hidden(house: House, tenant_id: str, turn_id: str) -> None:
    with pytest.raises(NotFound):
        await house.listen(tenant_id, turn_id)


async def test_a_strange_position_in_a_live_stream_still_ends(site: Site) -> None:
    """A client that claims to have heard more than there is still gets the end."""
    reached, opened = asyncio.Event(), asyncio.Event()
    moves: list[Move] = [Signal(reached), Until(opened), Say("Done.")]
    async with site.open(ScriptedEngine(moves)) as house:
        accepted = await house.accepted("go")
        await reached.wait()
        hearing = asyncio.create_task(
            house.listen(accepted.tenant_id, accepted.turn_id, EventId(1, 999))
        )
        await asyncio.sleep(0.02)
        opened.set()
        events = await hearing
        assert events[-1].name == "completed"
        assert _said(events) == "Done."


@given(st.text(max_size=30))
def test_a_last_event_id_is_read_or_ignored(text: str) -> None:
    """Whatever a client sends as Last-Event-ID is a position or nothing, and never an error."""
    parsed = EventId.parse(text)
    assert parsed is None or EventId.parse(str(parsed)) == parsed


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
def test_an_event_id_survives_the_wire(attempt: int, number: int) -> None:
    """What is written is what is read back."""
    assert EventId.parse(str(EventId(attempt, number))) == EventId(attempt, number)


class OneTurn:
    """A log of one finished turn."""

    def __init__(self, events: list[StreamEvent]) -> None:
        """Keep its events, the last of which is the end."""
        self._events = events

    async def read_stream(self, tenant_id: str, turn_id: str, after: EventId) -> StreamState:
        """The rest."""
        start = after.number if after.attempt == 1 else 0
        rest = tuple(event for event in self._events[:-1] if event.id.number > start)
        return StreamState(attempt=1, events=rest, final=self._events[-1])

    async def check_reader(self, tenant_id: str, user_id: str, turn_id: str) -> None:
        """Everybody may."""


@given(
    texts=st.lists(st.text(max_size=5), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    closes_at=st.integers(0, 12),
)
def test_any_cuts_of_a_live_stream_add_up(
    texts: list[str], cuts: list[int], closes_at: int
) -> None:
    """However often a listener reconnects while events come, it hears each event once."""
    asyncio.run(_add_up(texts, cuts, closes_at))


async def _add_up(texts: list[str], cuts: list[int], closes_at: int) -> None:
    source = LiveTurn("ten", "turn", 1)
    for text in texts:
        source.emit("text_delta", json.dumps({"text": text}))
    source.emit("completed", "{}")
    expected = list(source.events)
    streams = Streams(OneTurn(expected))
    live = streams.open("ten", "turn", 1)
    heard: list[StreamEvent] = []

    async def feed() -> None:
        for number, event in enumerate(expected):
            if number == closes_at:
                streams.close(live)  # as when the process drops the turn: the log goes on
                return
            live.emit(event.name, event.data)
            await asyncio.sleep(0)
        streams.close(live)

    feeding = asyncio.create_task(feed())
    for length in [*cuts, 1000]:
        after = heard[-1].id if heard else START
        if heard and heard[-1].name == "completed":
            break
        async with aclosing(streams.listen("ten", "turn", after)) as events:
            taken = 0
            async for event in events:
                heard.append(event)
                taken += 1
                if taken > length:
                    break
    await feeding
    assert heard == expected
