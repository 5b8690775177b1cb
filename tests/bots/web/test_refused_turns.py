"""A turn over quota over HTTP: 429 when nothing was shown, else told in the last event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app import Parts
from core.clock import SystemClock
from core.engines.engine import EngineRequest
from core.events import Notice, TextDelta, TurnEvent, refused
from core.metering import QuotaRefusal, RefusalCode
from tests.bots.api_kit import Api, events_of, open_api

SENTENCE = "The 100,000 tokens of this month are used up."
RETRY_AT_MS = SystemClock().now_ms() + 7_200_000
RETRY_AT = datetime.fromtimestamp(RETRY_AT_MS / 1000, UTC)
OVER = QuotaRefusal(sentence=SENTENCE, retry_at_ms=RETRY_AT_MS)
EVENTS = "text/event-stream"
BOTH = pytest.mark.parametrize("accept", ["application/json", EVENTS])


@dataclass
class OverQuota:
    """An engine whose model calls are refused, after what it says before."""

    name: str = "claude_api"
    has_model: bool = True
    refusal: QuotaRefusal = OVER
    before: list[TurnEvent] = field(default_factory=list)
    pause_s: float = 0.0

    async def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """As every engine ends when the meter says no."""
        assert request.text
        for event in self.before:
            yield event
        await asyncio.sleep(self.pause_s)
        yield refused(self.refusal)


@pytest.fixture
def engine() -> OverQuota:
    """What refuses."""
    return OverQuota()


@pytest.fixture
async def api(data_dir: Path, engine: OverQuota) -> AsyncIterator[Api]:
    """The product with it."""
    parts = Parts(engines={engine.name: engine})
    async with open_api(data_dir, {"ANTHROPIC_API_KEY": "sk-ant-test"}, parts) as api:
        yield api


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    document: dict[str, Any]
    """The problem, or the last event."""
    names: list[str] = field(default_factory=list)


async def post(api: Api, accept: str, key: str = "", **body: object) -> Answer:
    """Send a message."""
    headers = api.auth(Accept=accept, **({"Idempotency-Key": key} if key else {}))
    async with api.session.post(
        f"{api.url}/api/v1/agent/turns",
        json={"text": "write me a poem", **body},
        headers=headers,
    ) as response:
        if response.content_type == EVENTS:
            events = [event async for event in events_of(response)]
            names, document = [event.event for event in events], json.loads(events[-1].data)
        else:
            names, document = [], await response.json(content_type=None)
        return Answer(response.status, dict(response.headers), document, names)


@BOTH
async def test_a_refused_first_call_is_a_429(api: Api, engine: OverQuota, accept: str) -> None:
    """A problem document with the refusal's code, its sentence and when to come again."""
    for code in RefusalCode:
        engine.refusal = QuotaRefusal(sentence=SENTENCE, retry_at_ms=RETRY_AT_MS, code=code)
        answer = await post(api, accept)
        assert answer.status == 429
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert (answer.document["code"], answer.document["detail"]) == (str(code), SENTENCE)
        left_s = (RETRY_AT_MS - SystemClock().now_ms()) / 1000
        assert left_s <= int(answer.headers["Retry-After"]) <= left_s + 60


@BOTH
async def test_retry_after_is_always_a_wait(api: Api, engine: OverQuota, accept: str) -> None:
    """An hour when no date ends it; a second when the date has passed."""
    for at_ms, retry_after in ((None, "3600"), (1_000, "1")):
        engine.refusal = QuotaRefusal(sentence=SENTENCE, retry_at_ms=at_ms)
        assert (await post(api, accept)).headers["Retry-After"] == retry_after


@BOTH
async def test_the_same_key_gets_the_same_answer(api: Api, accept: str) -> None:
    """A repeated request makes no second turn."""
    first = await post(api, accept, key="k1")
    again = await post(api, accept, key="k1")
    assert (again.status, again.document) == (first.status, first.document)
    assert again.status == 429
    _, listed = await api.call("GET", "/api/v1/conversations")
    assert len(listed["conversations"]) == 1


@BOTH
async def test_a_refusal_in_the_middle_is_told_at_the_end(
    api: Api, engine: OverQuota, accept: str
) -> None:
    """The text so far stays, the sentence follows it, and the last event says until when."""
    engine.before = [TextDelta(text="Let me look.")]
    answer = await post(api, accept)
    end = answer.document
    assert answer.status == 200
    assert (end["reply"], end["notice"], end["outcome"]) == ("Let me look.", SENTENCE, "refused")
    assert end["failure"] == "quota_exceeded"
    assert datetime.fromisoformat(end["retry_at"]) == RETRY_AT


async def test_a_stream_begins_after_a_second_at_the_latest(api: Api, engine: OverQuota) -> None:
    """What is refused later than that is refused in the stream; every event is there, once."""
    engine.pause_s = 1.5
    answer = await post(api, EVENTS)
    assert answer.status == 200
    assert answer.names == ["turn", "refused", "completed"]
    assert answer.document["failure"] == "quota_exceeded"


async def test_a_notice_begins_the_stream(api: Api, engine: OverQuota) -> None:
    """Something was shown: the status is sent, the refusal comes as the last event."""
    engine.before = [Notice(text="About 40k tokens.")]
    answer = await post(api, EVENTS)
    assert (answer.status, answer.names) == (200, ["turn", "notice", "refused", "completed"])


async def test_a_refused_turn_can_be_read_again(api: Api) -> None:
    """Its stream is a record: 200, with everything that a client needs to know."""
    assert (await post(api, EVENTS)).status == 429
    turn_id = await _newest_turn(api)
    events = await api.resume(turn_id)
    assert [event.event for event in events] == ["turn", "refused", "completed"]
    end = json.loads(events[-1].data)
    assert (end["notice"], end["failure"]) == (SENTENCE, "quota_exceeded")
    assert datetime.fromisoformat(end["retry_at"]) == RETRY_AT


@BOTH
async def test_what_needs_no_model_is_answered(api: Api, accept: str) -> None:
    """The offline engine answers a routine over quota, and the notice says so."""
    end = (await post(api, accept, text="how full is the disk?")).document
    assert (end["outcome"], end["engine"], end["failure"]) == ("answered", "runbook", "")
    assert end["notice"].startswith(SENTENCE)
    assert "runbook" in end["notice"]
    assert end["retry_at"] is None


@BOTH
async def test_who_names_the_engine_is_refused(api: Api, accept: str) -> None:
    """The message asked for this engine or none."""
    answer = await post(api, accept, text="how full is the disk?", engine="claude_api")
    assert (answer.status, answer.document["code"]) == (429, "quota_exceeded")


async def test_the_429_is_documented(api: Api) -> None:
    """In the operation's responses."""
    _, document = await api.call("GET", "/openapi.json")
    assert "429" in document["paths"]["/api/v1/agent/turns"]["post"]["responses"]


async def _newest_turn(api: Api) -> str:
    import sqlalchemy as sa  # this test alone

    def newest(conn: sa.Connection) -> str:
        return str(conn.execute(sa.text("SELECT MAX(id) FROM turns")).scalar_one())

    return await api.core.storage.db.read(newest)
