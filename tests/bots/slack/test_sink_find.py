"""A reply that was posted just before a crash is found again, and never another turn's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bots.slack.errors import Refused, Unclear
from core.sinks import View
from tests.bots.slack.sink_kit import Desk, desk
from tests.fakes.slack import SlackFake

PLACEHOLDER = View(text="…")


@pytest.fixture
async def place(fake: SlackFake) -> AsyncIterator[Desk]:
    """A workspace."""
    async with desk(fake) as found:
        yield found


def _final(text: str) -> View:
    return View(text=text, final=True)


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_placeholder_is_found(place: Desk, *, streaming: bool) -> None:
    """By another process, in the thread of the question; streams carry no tag yet."""
    place.fake.switches.streaming = streaming
    asked = place.ask()
    to = place.to(asked)
    ref = await place.sink().post(to, 1, PLACEHOLDER)
    assert await place.sink().find(to, 1) == ref
    assert await place.sink().find(to, 2) is None


@pytest.mark.parametrize("method", ["chat.startStream", "chat.postMessage"])
async def test_a_post_whose_answer_was_lost_is_found(place: Desk, method: str) -> None:
    """So it is not posted twice."""
    place.fake.switches.streaming = method == "chat.startStream"
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    place.fake.weather.methods, place.fake.weather.lost_answers = frozenset({method}), 1
    with pytest.raises(Unclear):
        await sink.post(to, 1, PLACEHOLDER)
    ref = await sink.find(to, 1)
    assert ref is not None
    await sink.edit(to, ref, _final("One."))
    assert place.fake.texts(place.channel, asked.ts) == ["One."]


async def test_direct_messages_are_searched_after_the_question(place: Desk) -> None:
    """Outside of threads, too."""
    asked = place.ask_directly()
    to = place.to(asked)
    ref = await place.sink().post(to, 1, PLACEHOLDER)
    assert await place.sink().find(to, 1) == ref
    assert await place.sink().find(place.to(place.ask_directly(), turn="turn_2"), 1) is None


async def test_another_turns_reply_is_never_taken(place: Desk) -> None:
    """A finished reply is tagged with its turn, even when it came after the next question."""
    sink, first = place.sink(), place.ask()
    second = place.ask("and?", thread_ts=first.ts)
    to = place.to(first)
    ref = await sink.post(to, 1, PLACEHOLDER)
    await sink.edit(to, ref, _final("One."))
    assert await place.sink().find(place.to(second, turn="turn_2"), 1) is None
    later = await sink.post(place.to(second, turn="turn_2"), 1, PLACEHOLDER)
    assert await place.sink().find(place.to(second, turn="turn_2"), 1) == later


async def test_the_unfinished_stream_of_another_turn_is_not_taken(place: Desk) -> None:
    """After an outage both answers are due, and the question before is not answered twice."""
    sink, first = place.sink(), place.ask()
    second = place.ask("and?", thread_ts=first.ts)
    await sink.post(place.to(first), 1, PLACEHOLDER)
    assert await sink.find(place.to(second, turn="turn_2"), 1) is None


async def test_the_parts_of_a_long_reply_are_told_apart(place: Desk) -> None:
    """Streams in the order in which they were begun, finished ones by their tag."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    refs = [await sink.post(to, part, PLACEHOLDER) for part in (1, 2, 3)]
    assert [await place.sink().find(to, part) for part in (1, 2, 3)] == refs
    await sink.edit(to, refs[0], _final("One."))
    found = [await place.sink().find(to, part) for part in (2, 3)]
    assert found == refs[1:]


async def test_what_was_said_before_the_question_is_not_looked_at(place: Desk) -> None:
    """A stream that was left open there by an earlier process answers something else."""
    first = place.ask()
    await place.sink().post(place.to(first), 1, PLACEHOLDER)
    later = place.ask("and?", thread_ts=first.ts)
    assert await place.sink().find(place.to(later, turn="turn_2"), 1) is None


async def test_a_search_that_was_too_fast_waits(place: Desk) -> None:
    """The core is told for how long, and no other search is sent before."""
    sink, to = place.sink(), place.to(place.ask())
    weather = place.fake.weather
    weather.methods, weather.limited = frozenset({"conversations.replies"}), 1
    weather.retry_after_s = 30
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await sink.find(to, 1)
        assert not caught.value.permanent
        assert 20 < (caught.value.retry_after_s or 0) <= 30
    assert len(place.fake.calls("conversations.replies")) == 1


async def test_other_peoples_messages_are_never_taken(place: Desk) -> None:
    """Nor those of other bots."""
    asked = place.ask()
    place.user.say(place.channel, "…", thread_ts=asked.ts)
    place.team.user("robot", is_bot=True).say(place.channel, "…", thread_ts=asked.ts)
    assert await place.sink().find(place.to(asked), 1) is None


async def test_answers_without_previews_are_posted_once(place: Desk) -> None:
    """Where edits run short nothing is shown before the end; the answer can be found."""
    sink = place.sink()
    while not await sink.draft(place.to(place.ask_directly()), View(text="")):
        pass
    to = place.to(place.ask_directly(), turn="turn_2")
    assert await sink.draft(to, View(text=""))
    ref = await sink.post(to, 1, _final("One."))
    assert await sink.find(to, 1) == ref
