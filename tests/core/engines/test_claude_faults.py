"""Every way in which the provider can fail, and what the user and the meter see of it."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from core.engines.claude_api import ClaudeApiEngine
from core.engines.claude_client import retry_after_s
from core.engines.claude_endings import Retries
from core.engines.claude_faults import OVERLOADED, RATE_LIMITED, Fault, fault_of_status
from core.errors import EngineFailure
from core.events import Notice, StopReason, TextReset
from core.metering import Usage
from tests.contracts.engine_kit import Turn, claude_config
from tests.fakes.anthropic import SECRET_WORD, FakeAnthropic

SILENT = [
    ("[[status 500]]", "server_error"),
    ("[[status 503]]", "server_error"),
    ("[[status 529]]", "overloaded"),
    ("[[status 429]]", "rate_limited"),
    ("[[hang]]", "stalled"),
    ("[[stall 0]]", "stalled"),
    ("[[drop 0]]", "dropped"),
    ("[[eof 0]]", "cut"),
    ("[[malformed 0]]", "malformed"),
    ("[[overload 0]]", "overloaded"),
]
VISIBLE = [
    ("[[stall 2]]", "stalled"),
    ("[[drop 2]]", "dropped"),
    ("[[eof 2]]", "cut"),
    ("[[malformed 2]]", "malformed"),
    ("[[overload 2]]", "overloaded"),
]
FINAL = [
    ("[[status 400]]", "rejected", "/new"),
    ("[[status 401]]", "bad_key", "ANTHROPIC_API_KEY"),
    ("[[status 402]]", "no_credit", "Add credit"),
    ("[[status 403]]", "forbidden", "IT0_MODEL"),
    ("[[status 404]]", "unknown_model", "IT0_MODEL"),
    ("[[status 413]]", "too_large", "smaller files"),
    ("[[status 429 retry-after=120]]", "rate_limited", "2 minutes"),
    ("[[status 429 retry-after=86400]]", "rate_limited", "24 hours"),
    ("[[status 529 retry-after=60]]", "overloaded", "1 minute"),
]


@pytest.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    """The provider."""
    async with FakeAnthropic() as server:
        yield server


@pytest.fixture
async def engine(
    fake: FakeAnthropic, request: pytest.FixtureRequest
) -> AsyncIterator[ClaudeApiEngine]:
    """An engine that waits 0.15 s for a byte where none comes, and long enough elsewhere."""
    silent = "stalled" in request.node.name
    started = ClaudeApiEngine(claude_config(fake.url, stall_timeout_s=0.15 if silent else 10.0))
    yield started
    await started.aclose()


async def failure_of(engine: ClaudeApiEngine, turn: Turn, prompt: str) -> EngineFailure:
    """Play a turn that must fail; its sentence must be fit for a user.

    Where no model will answer for a while, it says once what works without one.
    """
    with pytest.raises(EngineFailure) as failure:
        await turn.play(engine, turn.request(prompt))
    sentence = failure.value.sentence
    assert sentence.endswith(".")
    assert SECRET_WORD not in sentence
    assert "127.0.0.1" not in sentence
    down = {"unreachable", "stalled", "overloaded", "rate_limited", "bad_key"}
    assert sentence.count("--engine runbook") == (failure.value.reason in down)
    return failure.value


@pytest.mark.parametrize(("prompt", "reason"), SILENT)
async def test_a_fault_before_any_text_is_retried_within_bounds(
    engine: ClaudeApiEngine, fake: FakeAnthropic, prompt: str, reason: str
) -> None:
    """Three tries, each admitted by the meter, two notices, then one sentence."""
    turn = Turn()
    failure = await failure_of(engine, turn, prompt)
    assert failure.reason == reason
    assert len(fake.seen) == len(turn.meter.reserved) == 3
    assert len(turn.of(Notice)) == 2
    assert turn.shown == ""


@pytest.mark.parametrize(("prompt", "reason"), SILENT)
async def test_a_passing_fault_before_any_text_is_survived(
    engine: ClaudeApiEngine, fake: FakeAnthropic, prompt: str, reason: str
) -> None:
    """The second try answers; the user got a notice and one text."""
    turn = Turn()
    end = await turn.play(engine, turn.request(f"{prompt} [[times 1]] {reason}"))
    assert end.stop_reason is StopReason.END
    assert len(turn.of(Notice)) == 1
    assert turn.shown == fake.seen[-1].text


@pytest.mark.parametrize(("prompt", "reason"), VISIBLE)
async def test_a_fault_after_text_starts_the_answer_again_twice_at_most(
    engine: ClaudeApiEngine, fake: FakeAnthropic, prompt: str, reason: str
) -> None:
    """Visible text is taken back with a reason before each retry."""
    turn = Turn()
    failure = await failure_of(engine, turn, prompt)
    assert failure.reason == reason
    assert len(turn.of(TextReset)) == 2
    assert len(fake.seen) == 3


@pytest.mark.parametrize(("prompt", "reason"), VISIBLE)
async def test_a_passing_fault_after_text_leaves_one_text(
    engine: ClaudeApiEngine, fake: FakeAnthropic, prompt: str, reason: str
) -> None:
    """A fault in the second model call takes back only that call's text."""
    turn = Turn()
    prompt = f"[[text 2]] [[tool look {{}}]] [[then]] {prompt} [[times 1]] {reason}"
    await turn.play(engine, turn.request(prompt))
    (reset,) = turn.of(TextReset)
    assert reset.text == "w0 w1 "
    assert turn.shown == f"w0 w1 \n\n{fake.seen[-1].text}"
    assert turn.ran == {"look": 1}


@pytest.mark.parametrize(("prompt", "reason", "advice"), FINAL)
async def test_a_hopeless_fault_is_told_at_once(
    engine: ClaudeApiEngine, fake: FakeAnthropic, prompt: str, reason: str, advice: str
) -> None:
    """No retry where none can help; the sentence says what to do; nothing was spent."""
    turn = Turn()
    failure = await failure_of(engine, turn, prompt)
    assert failure.reason == reason
    assert advice in failure.sentence
    assert len(fake.seen) == 1
    assert list(turn.meter.seen.values()) == [Usage()]


@pytest.mark.parametrize(
    ("key", "model", "reason"),
    [
        ("sk-wrong", "claude-sonnet-5-5", "bad_key"),
        ("sk-forbidden", "claude-sonnet-5-5", "forbidden"),
        ("sk-test", "claude-unknown", "unknown_model"),
    ],
)
async def test_a_wrong_key_or_model(fake: FakeAnthropic, key: str, model: str, reason: str) -> None:
    """What the operator mistyped is named, the key itself is not."""
    engine = ClaudeApiEngine(claude_config(fake.url, api_key=key))
    turn = Turn()
    with pytest.raises(EngineFailure) as failure:
        await turn.play(engine, turn.request("hello", model=model))
    await engine.aclose()
    assert failure.value.reason == reason
    assert key not in failure.value.sentence


async def test_nobody_listens() -> None:
    """A refused connection is retried, then told; no tokens are counted for it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        engine = ClaudeApiEngine(claude_config(url))
        turn = Turn()
        failure = await failure_of(engine, turn, "hello")
        await engine.aclose()
    assert failure.reason == "unreachable"
    assert "cannot be reached" in failure.sentence
    assert list(turn.meter.seen.values()) == [Usage()] * 3


@pytest.mark.parametrize(
    ("status", "reason"), [(200, "malformed"), (404, "wrong_address"), (502, "server_error")]
)
async def test_something_else_answers(status: int, reason: str) -> None:
    """A web page of a proxy is no answer, and no crash."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>Hi</html>", content_type="text/html", status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    engine = ClaudeApiEngine(claude_config(f"http://127.0.0.1:{runner.addresses[0][1]}"))
    failure = await failure_of(engine, Turn(), "hello")
    await engine.aclose()
    await runner.cleanup()
    assert failure.reason == reason


async def test_someone_hangs_up_without_a_word() -> None:
    """A server that closes each connection at once is retried, then told."""

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = "http://{}:{}".format(*server.sockets[0].getsockname())
    engine = ClaudeApiEngine(claude_config(url))
    failure = await failure_of(engine, Turn(), "hello")
    await engine.aclose()
    server.close()
    await server.wait_closed()
    assert failure.reason == "unreachable"


def test_a_short_retry_after_is_obeyed() -> None:
    """The pause before a retry is at least what the provider asked for."""
    fault = Fault(reason="rate_limited", sentence="Busy.", retry=True, retry_after_s=7.0)
    assert Retries(claude_config("http://x")).pause_after(fault, shown=False) == 7.0


def test_the_pause_grows_and_varies() -> None:
    """Backoff doubles from its base, with jitter between half and all of it."""
    retries = Retries(claude_config("http://x", backoff_s=1.0, max_tries=9))
    pauses = [retries.pause_after(OVERLOADED, shown=False) for _ in range(6)]
    for pause, whole in zip(pauses, (1, 2, 4, 8, 8, 8), strict=True):
        assert whole / 2 <= pause <= whole


def test_a_retry_that_would_come_too_late_is_not_made() -> None:
    """give_up_after_s bounds one model call with all its tries."""
    retries = Retries(claude_config("http://x", give_up_after_s=0.0))
    with pytest.raises(EngineFailure):
        retries.pause_after(RATE_LIMITED, shown=False)


def test_retry_after_is_a_number_or_a_date() -> None:
    """Both forms of the header are understood, and nonsense is ignored."""
    assert retry_after_s("12") == 12.0
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None
    date = email.utils.formatdate(time.time() + 600, usegmt=True)
    seconds = retry_after_s(date)
    assert seconds is not None
    assert 500 < seconds <= 600
    assert retry_after_s(email.utils.formatdate(time.time() - 600, usegmt=True)) == 0.0


@pytest.mark.parametrize(
    ("status", "kind", "told", "reason"),
    [
        (400, "invalid_request_error", "prompt is too long: 250000 tokens", "too_large"),
        (400, "invalid_request_error", "your credit balance is too low", "no_credit"),
        (403, "billing_error", "", "forbidden"),
        (404, "not_found_error", "", "unknown_model"),
        (422, "billing_error", "", "no_credit"),
        (500, "overloaded_error", "", "overloaded"),
        (408, None, "", "server_error"),
        (418, None, "", "rejected"),
    ],
)
def test_causes_that_hide_behind_a_status(
    status: int, kind: str | None, told: str, reason: str
) -> None:
    """The error type and two well-known phrases refine what the status says."""
    fault = fault_of_status(status, kind, model="m", told=told)
    assert fault.reason == reason
    assert not fault.spent
