"""What goes wrong: told to the engine, bounded, and never in the provider's own words."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from core.engines import gateway_relay
from core.engines.gateway import CallBegan, CallFailed, CallFinished, CallRefused
from core.errors import StorageUnreachable
from core.metering import Grant, QuotaRefusal, Usage
from tests.contracts.engine_kit import RecordingMeter
from tests.core.engines.gateway_kit import (
    KEY,
    Child,
    child_of,
    child_to,
    gateway_to,
    provider,
    until,
)
from tests.fakes.anthropic import SECRET_WORD, FakeAnthropic

ENDINGS_OF_THE_CLI = {401, 402, 403, 429, 500, 529}
"""Statuses after which the real CLI sends nothing more, with ``x-should-retry: false``."""


def told_nothing_secret(child: Child, raw: bytes) -> bool:
    """Whether neither the provider's text nor the key can be read."""
    said = raw.decode() + repr(child.told)
    return SECRET_WORD not in said and KEY not in said


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "rejected"),
        (401, "bad_key"),
        (402, "no_credit"),
        (403, "forbidden"),
        (404, "unknown_model"),
        (413, "too_large"),
    ],
)
async def test_what_no_retry_helps_is_final_for_the_turn(status: int, reason: str) -> None:
    """One request upstream; later ones of the turn get the same answer without another."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        first = await child.ask(f"[[status {status}]]")
        second = await child.ask("hello")
        assert fake.count == 1
        await child.route.end()
        child.begin()
        assert (await child.ask("hello")).ended, "the next turn begins anew"
    assert first.status == second.status
    assert first.status in ENDINGS_OF_THE_CLI
    assert first.headers["x-should-retry"] == "false"
    assert child.faults == [(reason, True)]
    assert child.meter.seen["call-1"] == Usage()
    assert told_nothing_secret(child, first.raw + second.raw)
    assert json.loads(first.raw)["type"] == "error"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("[[status 429]]", "rate_limited"),
        ("[[status 529]]", "overloaded"),
        ("[[status 500]]", "server_error"),
        ("[[hang]]", "stalled"),
    ],
)
async def test_tries_before_the_first_byte_are_bounded(fault: str, reason: str) -> None:
    """Three tries, each reserved and told; then the child gets an error that ends it."""
    stall_s = 0.1 if reason == "stalled" else 10
    async with FakeAnthropic() as fake, child_to(fake.url, stall_timeout_s=stall_s) as child:
        answer = await child.ask(fault)
        assert (await child.ask("hello")).status == answer.status
        assert fake.count == 3
    assert child.faults == [(reason, False), (reason, False), (reason, True)]
    assert len(child.meter.reserved) == 3
    assert answer.status in ENDINGS_OF_THE_CLI
    assert answer.headers["x-should-retry"] == "false"
    assert told_nothing_secret(child, answer.raw)


async def test_a_drop_before_the_first_byte_is_retried_unseen() -> None:
    """As long as the child has got nothing, it need not know."""
    tries = 0

    async def drop(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        tries += 1
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        if tries == 1:
            assert request.transport is not None
            request.transport.abort()
            return answer
        await answer.write(
            b'data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":5}}}\n\n'
            b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
            b'"usage":{"output_tokens":7}}\n\n'
        )
        return answer

    async with provider(drop) as url, child_to(url) as child:
        answer = await child.ask("hello")
    assert answer.status == 200
    assert not answer.cut
    assert child.faults == [("dropped", False)]
    assert child.meter.seen["call-2"] == Usage(input_tokens=5, output_tokens=7)


async def test_an_unreachable_provider_costs_nothing() -> None:
    """Nobody listens: bounded tries, none of them spent."""
    async with child_to("http://127.0.0.1:9", max_tries=2) as child:
        answer = await child.ask("hello")
    assert answer.status == 500
    assert child.faults == [("unreachable", False), ("unreachable", True)]
    assert set(child.meter.seen.values()) == {Usage()}


async def test_a_provider_that_asks_for_too_long_a_wait_is_given_up() -> None:
    """A retry-after above the cap is not waited for, and the sentence says how long it is."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        answer = await child.ask("[[status 429 retry-after=600]]")
        assert fake.count == 1
    assert answer.status == 429
    (failed,) = child.told
    assert isinstance(failed, CallFailed)
    assert failed.final
    assert "10 minutes" in failed.fault.sentence


async def test_a_retry_after_within_the_cap_is_the_pause() -> None:
    """It is waited for when there is time for it, and the call given up when there is not."""
    fault = "[[status 429 retry-after=1]] [[times 1]]"
    async with FakeAnthropic() as fake, child_to(fake.url, give_up_after_s=0.9) as child:
        assert (await child.ask(fault)).status == 429
        assert fake.count == 1
    assert child.faults == [("rate_limited", True)]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("[[drop 2]]", "dropped"),
        ("[[eof 2]]", "cut"),
        ("[[stall 2]]", "stalled"),
        ("[[malformed 2]]", "malformed"),
        ("[[overload 2]]", "overloaded"),
    ],
)
async def test_a_broken_answer_is_cut_and_may_start_again_twice(fault: str, reason: str) -> None:
    """The child must not take a part for the whole; the third break is final for the turn."""
    stall_s = 0.6 if reason == "stalled" else 10
    async with FakeAnthropic() as fake, child_to(fake.url, stall_timeout_s=stall_s) as child:
        answers = [await child.ask(fault) for _ in range(4)]
        assert fake.count == 3
    assert [answer.cut for answer in answers] == [True, True, True, False]
    assert answers[3].status in ENDINGS_OF_THE_CLI
    assert child.faults == [(reason, False), (reason, False), (reason, True)]
    assert told_nothing_secret(child, b"".join(answer.raw for answer in answers))
    assert all(b"content_block_delta" in answer.raw for answer in answers[:3])
    assert all(usage.output_tokens > 1 for usage in child.meter.seen.values())


async def test_an_answer_that_recovers_does_not_use_up_the_next_ones_patience() -> None:
    """The bound is one of each call, not of the whole turn."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        for number in range(3):
            text = f"[[drop 2]] [[times 2]] {number}"
            assert [(await child.ask(text)).ended for _ in range(3)] == [False, False, True]
        assert fake.count == 9
    assert child.faults == [("dropped", False)] * 6


async def test_a_provider_that_does_not_speak_the_api_is_reported() -> None:
    """A web page instead of an answer, and a redirect, are faults; neither is followed."""
    asked = 0

    async def page(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if "redirect" in await request.text():
            return web.Response(status=307, headers={"location": "/v1/messages"})
        return web.Response(text="<html>", content_type="text/html")

    async with provider(page) as url, child_to(url, max_tries=1) as child:
        assert (await child.ask("hello")).status == 500
        await child.route.end()
        child.begin()
        assert (await child.ask("hello", stream=False)).status == 500
        await child.route.end()
        child.begin()
        await child.ask("redirect")
    assert child.faults == [("malformed", True), ("malformed", True), ("wrong_address", True)]
    assert asked == 3


async def test_a_refusal_ends_the_turn_without_asking_the_meter_again() -> None:
    """The engine is told once; the CLI's further requests are refused at once."""
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        child.begin()
        child.meter._allowed = 1
        assert (await child.ask("admitted")).ended
        answers = [await child.ask("refused") for _ in range(3)]
        child.meter._allowed = 5
        assert (await child.ask("still refused")).status == 402
        assert fake.count == 1
    assert [answer.status for answer in answers] == [402] * 3
    assert answers[0].headers["x-should-retry"] == "false"
    assert b"monthly" not in answers[0].raw
    refusals = [event for event in child.told if isinstance(event, CallRefused)]
    assert [event.refusal.sentence for event in refusals] == ["The monthly limit is reached."]


class BrokenMeter(RecordingMeter):
    """A meter whose database is gone."""

    async def reserve(
        self, *, engine: str, model: str, estimated_input: int, max_output: int
    ) -> Grant | QuotaRefusal:
        """Fail."""
        self.reserved[f"call-{len(self.reserved)}"] = estimated_input
        raise StorageUnreachable("gone")


async def test_a_failing_meter_ends_the_turn_and_the_engine_gets_its_error() -> None:
    """No call is made unrecorded; the engine raises what the meter raised (a lost lease, say)."""
    meter = BrokenMeter()
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        child.begin(meter=meter)
        answers = [await child.ask("hello") for _ in range(2)]
        assert fake.count == 0
        await child.route.end()
        raised = child.route.error
        child.begin()
        assert child.route.error is None
    assert isinstance(raised, StorageUnreachable)
    assert [answer.status for answer in answers] == [500, 500]
    assert child.faults == [("not_admitted", True)]
    assert len(meter.reserved) == 1


async def test_no_more_requests_than_allowed_are_in_flight() -> None:
    """Further ones wait, unreserved, and go on as soon as there is room."""
    async with (
        FakeAnthropic() as fake,
        gateway_to(fake.url, max_in_flight=2, stall_timeout_s=5) as gateway,
        child_of(gateway) as one,
        child_of(gateway) as two,
    ):
        one.begin()
        two.begin()
        busy = [asyncio.create_task(one.ask(text)) for text in ("[[hang]]", "[[stall 3]]")]
        await until(lambda: fake.count == 2)
        waiting = asyncio.create_task(two.ask("hello"))
        await until(lambda: two.route.running and two.route.running.work)
        await asyncio.sleep(0.05)
        assert not two.meter.reserved
        assert fake.count == 2
        await one.route.end()
        assert (await waiting).ended
        assert len(await asyncio.gather(*busy, return_exceptions=True)) == 2


async def test_a_hung_up_child_is_not_retried_for() -> None:
    """Nobody waits for the answer any more: no further try is made."""
    async with FakeAnthropic() as fake, child_to(fake.url, backoff_s=30) as child:
        asking = asyncio.create_task(child.ask("[[status 529]]"))
        await until(lambda: child.faults)
        asking.cancel()
        await until(lambda: not child.route.running.work)  # type: ignore[union-attr]
        assert fake.count == 1


async def test_a_refusing_meter_and_a_failing_provider_do_not_hide_each_other() -> None:
    """A retry needs its own reservation; when that is refused, the turn ends as refused."""
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        child.begin(meter=RecordingMeter(allowed=1))
        answer = await child.ask("[[status 529]]")
        assert fake.count == 1
    assert answer.status == 402
    assert child.faults == [("overloaded", False)]
    assert isinstance(child.told[-1], CallRefused)


async def test_an_error_event_split_in_two_never_leaves_in_part() -> None:
    """The provider's own text names its hosts: not even half of it reaches the child."""

    async def leak(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        start = b'{"type":"message_start","message":{"id":"m","usage":{"input_tokens":5}}}'
        await answer.write(b"data: " + start + b"\n\n")
        await answer.write(b'data: {"type":"error","error":{"type":"api_error",')
        await asyncio.sleep(0.05)
        await answer.write(b'"message":"' + SECRET_WORD.encode())
        await asyncio.sleep(0.05)
        await answer.write(b'"}}\n\n')
        return answer

    async with provider(leak) as url, child_to(url) as child:
        answer = await child.ask("hello")
    assert answer.cut
    assert b"message_start" in answer.raw
    assert b"error" not in answer.raw
    assert child.faults == [("server_error", False)]


async def test_the_last_events_are_told_before_the_child_reads_its_end() -> None:
    """The engine can settle a call as soon as the CLI says that it is over."""
    async with (
        FakeAnthropic() as fake,
        child_to(fake.url) as child,
        child.post("hello [[linger 60]]") as answer,
    ):
        while b"message_stop" not in await answer.content.readany():
            pass
        assert [type(event) for event in child.told] == [CallBegan, CallFinished]


async def test_a_child_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs: the provider is not paid for what nobody reads, and the call is metered."""
    monkeypatch.setattr(gateway_relay, "_UNREAD_S", 0.1)
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        async with child.post("[[text 60000]][[chunk 0]]"):
            await until(lambda: not child.route.active)
        await until(lambda: fake.seen[-1].closed_early or fake.seen[-1].finished)
    assert child.meter.seen["call-1"].input_tokens > 0
    assert not any(isinstance(event, CallFinished) for event in child.told)
