"""Exact usage, however a call ends; and a stream that is passed on as it comes."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.engines.claude_stream import ClaudeAnswer
from core.engines.gateway import CallBegan, CallFinished, GatewayEvent, RouteTurn
from core.engines.gateway_stream import MeteredCall, WholeEvents
from core.engines.gateway_turn import RunningTurn
from core.metering import Usage
from tests.contracts.engine_kit import RecordingMeter
from tests.core.engines.gateway_kit import MODEL, body_of, child_to, provider, until
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.anthropic_answer import Answer, Seen
from tests.fakes.anthropic_script import plan_for

CACHED = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]


async def test_every_bucket_of_a_streamed_answer_is_metered() -> None:
    """Input, output, cache reads and both ages of cache writes are the provider's figures."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("[[text 7]] " + "long " * 50, system=CACHED)
        (seen,) = fake.seen
    assert answer.ended
    assert min(seen.usage.cache_read_tokens, seen.usage.cache_write_1h_tokens) > 0
    assert child.meter.seen == {"call-1": seen.usage}
    began, finished = child.told
    assert isinstance(began, CallBegan)
    assert finished == CallFinished(call_id="call-1", message_id=began.message_id, usage=seen.usage)


async def test_a_call_is_found_by_the_providers_message_id() -> None:
    """The engine joins the CLI's messages to our calls by the id they both carry."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        await child.ask("one")
        await child.ask("two")
        ids = [event.message_id for event in child.told if isinstance(event, CallBegan)]
        second = child.route.call(ids[1])
        assert child.route.call("msg_unknown") is None
        await child.route.end()
        assert child.route.call(ids[0]) is not None
        child.begin()
        assert child.route.call(ids[0]) is None
    assert second is not None
    assert second.call_id == "call-2"
    assert second.finished
    assert second.usage == fake.seen[1].usage


async def test_an_answer_without_a_stream_is_metered_from_its_json() -> None:
    """The CLI's second request after a failure does not stream; its usage is as exact."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("[[text 9]]", stream=False, system=CACHED)
        (seen,) = fake.seen
    message = json.loads(answer.raw)
    assert message["usage"]["output_tokens"] == 12
    assert child.meter.seen == {"call-1": seen.usage}
    call = child.route.call(message["id"])
    assert call is not None
    assert call.finished
    assert [type(event) for event in child.told] == [CallBegan, CallFinished]


async def test_a_child_that_hangs_up_is_metered_and_ends_the_providers_work() -> None:
    """The input is known; the output is counted from what was streamed; upstream is closed."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        async with child.post("[[text 500]] [[chunk 5]]", system=CACHED) as answer:
            while b"w9 " not in await answer.content.readany():
                pass
            answer.close()
        await until(lambda: fake.seen[0].closed_early)
        await until(lambda: not child.route.running.work)  # type: ignore[union-attr]
        (seen,) = fake.seen
    usage = child.meter.seen["call-1"]
    assert usage.input_tokens == seen.usage.input_tokens
    assert usage.cache_read_tokens == seen.usage.cache_read_tokens
    assert usage.cache_write_1h_tokens == seen.usage.cache_write_1h_tokens
    assert 9 <= usage.output_tokens < 500
    assert [type(event) for event in child.told] == [CallBegan]
    (call,) = (child.route.call(e.message_id) for e in child.told if isinstance(e, CallBegan))
    assert call is not None
    assert call.usage == usage
    assert not call.finished


async def test_ending_a_turn_meters_and_cuts_what_is_in_flight() -> None:
    """After ``end`` the figures are complete and nothing of the turn is left upstream."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        async with child.post("[[text 500]] [[chunk 5]]") as answer:
            await answer.content.readany()
            await child.route.end()
            noted = dict(child.meter.seen)
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        await until(lambda: fake.seen[0].closed_early)
    assert noted == child.meter.seen
    assert noted["call-1"].input_tokens == fake.seen[0].usage.input_tokens


async def test_ending_a_turn_does_not_wait_for_a_silent_provider() -> None:
    """A request without an answer is given up; its input stays as it was estimated."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        asking = asyncio.create_task(child.ask("[[hang]]"))
        await until(lambda: fake.count)
        await child.route.end()
        with pytest.raises(aiohttp.ClientError):
            await asking
    assert child.meter.seen == {}
    assert list(child.meter.reserved) == ["call-1"]


async def test_a_dropped_answer_keeps_its_figures_and_the_next_one_has_its_own() -> None:
    """Both tries are metered: the broken one as far as it came, the whole one exactly."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        broken = await child.ask("[[drop 4]] [[times 1]] and more", system=CACHED)
        whole = await child.ask("[[drop 4]] [[times 1]] and more", system=CACHED)
        first, second = fake.seen
    assert broken.cut
    assert whole.ended
    assert child.meter.seen["call-1"].cache_read_tokens == first.usage.cache_read_tokens
    assert child.meter.seen["call-1"].output_tokens > 1
    assert child.meter.seen["call-2"] == second.usage
    assert child.faults == [("dropped", False)]


async def test_a_refused_try_costs_nothing_and_its_retry_is_exact() -> None:
    """A try that the provider refused before any work says so; each is its own reservation."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("[[status 529]] [[times 2]]")
        last = fake.seen[-1]
    assert answer.ended
    assert child.meter.seen == {"call-1": Usage(), "call-2": Usage(), "call-3": last.usage}
    assert child.faults == [("overloaded", False)] * 2


async def test_each_event_reaches_the_child_before_the_next_is_sent() -> None:
    """Nothing is buffered: the provider sends an event only after the child has the last."""
    received = asyncio.Semaphore(0)
    head, deltas, tail = _events("[[text 12]]")
    events = [*head, *deltas, *tail]

    async def lockstep(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for event in events:
            await answer.write(event)
            await received.acquire()
        return answer

    async with (
        provider(lockstep) as url,
        child_to(url, stall_timeout_s=5) as child,
        child.post("hello") as answer,
    ):
        got = b""
        for event in events:
            got += await answer.content.readexactly(len(event))
            assert child.meter.seen, "metered before it was passed on"
            received.release()
        assert await answer.content.read() == b""
    assert got == b"".join(events)
    assert [type(event) for event in child.told] == [CallBegan, CallFinished]


async def test_a_child_that_does_not_read_holds_up_the_provider() -> None:
    """Backpressure: a slow child costs bounded memory, the provider has to wait."""
    head, deltas, tail = _events("[[text 1]]")
    filler = b": " + b"x" * 100_000 + b"\n\n"
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"".join(head))
        for _ in range(400):
            await answer.write(filler)
            sent += 1
        await answer.write(b"".join((*deltas, *tail)))
        return answer

    async with (
        provider(flood) as url,
        child_to(url, stall_timeout_s=5) as child,
        child.post("hello") as answer,
    ):
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.15)
        assert sent < 300
        size = len(await answer.read())
    assert size > 400 * len(filler)
    assert isinstance(child.told[-1], CallFinished)


def _events(text: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
    body = {"model": MODEL, "system": CACHED, "messages": [{"role": "user", "content": text}]}
    seen = Seen({}, {}, body, 4_000, prompt=text)
    return Answer(1, plan_for(text, 0), seen, []).frames()


@given(
    cuts=st.lists(st.integers(min_value=0, max_value=4_000), max_size=40),
    crlf=st.booleans(),
    text=st.sampled_from(
        ["[[text 12]]", '[[thinking]] [[tool look {"a": "\u00e4\u4e2d"}]] hm', "[[empty]]"]
    ),
)
def test_however_the_bytes_are_cut_the_usage_is_the_same(
    *, cuts: list[int], crlf: bool, text: str
) -> None:
    """Network reads may end anywhere, even within a character or a line end."""
    stream = b"".join(part for parts in _events(text) for part in parts)
    if crlf:
        stream = stream.replace(b"\n", b"\r\n")
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    meter, told = RecordingMeter(), list[GatewayEvent]()
    given_ = RouteTurn(meter=meter, engine="e", model=MODEL, max_output_tokens=9, tell=told.append)
    meter.reserved["call-1"] = 1
    call, events, passed = MeteredCall(RunningTurn(given=given_), "call-1"), WholeEvents(), b""
    for start, end in pairwise(edges):
        if whole := events.take(stream[start:end]):
            call.read_events(whole)
            passed += whole
    call.close()
    alone = ClaudeAnswer("")
    alone.feed(stream)
    assert passed == stream
    assert call.finished
    assert meter.seen == {"call-1": alone.usage}
    assert [type(event) for event in told] == [CallBegan, CallFinished]


async def test_a_large_body_is_passed_on_unchanged() -> None:
    """It is parsed in a thread, so that it does not hold up the other streams."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("x" * 300_000)
        (seen,) = fake.seen
    assert answer.ended
    assert seen.size == len(body_of("x" * 300_000))
    assert child.meter.reserved["call-1"] == -(-seen.size // 3)
    assert child.meter.seen == {"call-1": seen.usage}
