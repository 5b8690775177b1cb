"""A turn's stream survives drops and restarts, and errors are sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bots.console_client import (
    ConsoleClient,
    ConsoleError,
    ConversationSummary,
    PastMessage,
    Refused,
    Unreachable,
)
from bots.console_events import Outcome, Reconnecting, ServerEvent, TurnAccepted, TurnCompleted
from core.events import TextDelta
from core.messages import Attachment, Overlap
from tests.bots.console_api import ConsoleApi, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def api() -> AsyncIterator[ConsoleApi]:
    """A running server."""
    server = ConsoleApi()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(api: ConsoleApi) -> AsyncIterator[ConsoleClient]:
    """A client of that server that retries without long waits."""
    async with ConsoleClient(api.url, lambda: "secret", first_wait_s=0.001) as connected:
        yield connected


async def ask(client: ConsoleClient, text: str = "hello") -> list[ServerEvent]:
    """All events of one turn."""
    return [event async for event in client.turn(text)]


def streamed(events: list[ServerEvent]) -> str:
    """The text as it was streamed."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_a_turn_is_accepted_streamed_and_completed(client: ConsoleClient) -> None:
    """The events arrive in order and typed."""
    events = await ask(client)
    assert events[0] == TurnAccepted(turn_id="turn_1", conversation_id="conv_1", engine="runbook")
    assert streamed(events) == "You said: hello"
    assert isinstance(events[-1], TurnCompleted)
    assert events[-1].outcome is Outcome.ANSWERED


async def test_all_that_was_given_is_sent(api: ConsoleApi, client: ConsoleClient) -> None:
    """Conversation, engine, overlap, files and the token reach the server."""
    file = Attachment(name="a.txt", media_type="text/plain", data=b"hi")
    turn = client.turn(
        "x", conversation_id="c", engine="runbook", overlap=Overlap.STEER, attachments=[file]
    )
    assert [event async for event in turn]
    assert api.posts == [
        {
            "text": "x",
            "conversation_id": "c",
            "engine": "runbook",
            "overlap": "steer",
            "attachments": [{"name": "a.txt", "media_type": "text/plain", "data": "aGk="}],
        }
    ]
    assert api.tokens == ["Bearer secret"]


@pytest.mark.parametrize("drops", [[-1], [0], [1], [2], [3], [-1, 0, 1, 1, 1], [2, 0, 0, 1]])
async def test_text_arrives_once_whatever_drops(
    api: ConsoleApi, client: ConsoleClient, drops: list[int]
) -> None:
    """Before the answer, before the first event, between events: one turn, its text once."""
    api.drops = list(drops)
    await client.conversations()
    events = await ask(client)
    assert len(api.posts) == 1
    assert streamed(events) == "You said: hello"
    assert isinstance(events[-1], TurnCompleted)
    assert sum(isinstance(event, Reconnecting) for event in events) == len(drops)


async def test_a_resumed_stream_names_the_last_event(
    api: ConsoleApi, client: ConsoleClient
) -> None:
    """The server is told where to go on."""
    api.drops = [2]
    await ask(client)
    assert api.resumed == ["1-1"]


async def test_a_repeated_event_is_dropped(api: ConsoleApi, client: ConsoleClient) -> None:
    """A server that replays too much does not double the text."""
    api.scripts["again"] = [("text_delta", {"text": "one"}), *answer("")]
    seen = await ask(client, "again")
    assert streamed(seen) == "one"


async def test_an_unknown_event_is_ignored(api: ConsoleApi, client: ConsoleClient) -> None:
    """A newer server may say more."""
    api.scripts["new"] = [("sparkle", {"x": 1}), *answer("fine")]
    assert streamed(await ask(client, "new")) == "fine"


async def test_a_restarting_server_is_waited_for(api: ConsoleApi, client: ConsoleClient) -> None:
    """The server stops in the middle of an answer, comes back, and the answer goes on."""
    api.drops = [2]
    events = []
    async for event in client.turn("hello"):
        events.append(event)
        if isinstance(event, TextDelta) and len(events) == 2:
            await api.stop()
        if isinstance(event, Reconnecting) and event.attempt == 2:
            await api.start()
    assert streamed(events) == "You said: hello"
    assert len(api.posts) == 1


async def test_a_server_that_stays_away_is_given_up(api: ConsoleApi) -> None:
    """Retries are bounded, and the sentence says that the message is not lost."""
    api.scripts["long"] = [("hold", {}), *answer("late")]
    async with ConsoleClient(api.url, lambda: "t", first_wait_s=0.0001) as client:
        turn = client.turn("long")
        assert isinstance(await anext(turn), TurnAccepted)
        await api.stop()
        with pytest.raises(Unreachable, match="Your message is stored"):
            assert [event async for event in turn if isinstance(event, TextDelta)] == []


async def test_no_server_is_one_sentence() -> None:
    """Nothing is retried when there never was a server."""
    async with ConsoleClient("http://127.0.0.1:9", lambda: "t") as client:
        with pytest.raises(Unreachable, match=r"^No IT0 server answers at http://127\.0\.0\.1:9\."):
            await ask(client)
        with pytest.raises(Unreachable, match="it0 up"):
            await client.conversations()


@pytest.mark.parametrize("status", [401, 403, 404, 409, 413, 422, 429, 503])
async def test_a_refusal_is_the_servers_sentence(
    api: ConsoleApi, client: ConsoleClient, status: int
) -> None:
    """A problem document becomes one sentence with the server's code."""
    problem = {"title": "No", "detail": "That is not possible", "code": "nope"}
    api.refusals = [(status, {"Retry-After": "90"} if status == 429 else {}, problem)]
    with pytest.raises(Refused, match="That is not possible") as caught:
        await ask(client)
    assert (caught.value.status, caught.value.code) == (status, "nope")
    assert caught.value.retry_after_s == (90.0 if status == 429 else None)
    assert api.posts == []


async def test_conversations_and_messages(api: ConsoleApi, client: ConsoleClient) -> None:
    """History comes back typed; an unknown conversation is refused."""
    api.past["c"] = [("user", "hi"), ("assistant", "ho")]
    assert await client.conversations() == (
        ConversationSummary(id="c", title="About c", updated_at="2026-01-01", platform="cli"),
    )
    assert await client.messages("c") == (
        PastMessage(role="user", text="hi"),
        PastMessage(role="assistant", text="ho"),
    )
    with pytest.raises(Refused, match="no conversation x"):
        await client.messages("x")


async def test_what_is_typed_as_a_conversation_stays_one_path_segment(
    api: ConsoleApi, client: ConsoleClient
) -> None:
    """An id with slashes cannot reach another route."""
    api.past["a/../b?x"] = [("user", "hi")]
    assert len(await client.messages("a/../b?x")) == 1


@pytest.mark.parametrize("status", [200, 302, 404])
async def test_another_server_is_called_one(
    api: ConsoleApi, client: ConsoleClient, status: int
) -> None:
    """Something else on the port gives one sentence; a redirect is not followed with a token."""
    api.refusals = [(status, {"Location": api.url + "/elsewhere"}, {})]
    with pytest.raises(ConsoleError, match="IT0 server"):
        await ask(client)
    assert len(api.tokens) == 1
