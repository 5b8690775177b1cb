"""The fake Messages API is as strict as the real one, or the engines' tests prove nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.fakes.anthropic import FakeAnthropic

USER = {"role": "user", "content": "hello"}
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
CACHED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}


def image(kind: str, media_type: str, data: str) -> dict[str, Any]:
    """A media block."""
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": kind, "source": source}


@pytest.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    """The fake."""
    async with FakeAnthropic() as server:
        yield server


async def post(
    fake: FakeAnthropic, body: dict[str, Any], headers: dict[str, str] = HEADERS
) -> tuple[int, Any]:
    """Send a body; return status and answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{fake.url}/v1/messages?beta=true", json=body, headers=headers) as response,
    ):
        return response.status, json.loads(await response.text())


def body_with(*messages: Any, **more: Any) -> dict[str, Any]:
    """A body that is valid but for what is given."""
    return {"model": "m", "max_tokens": 5, "messages": list(messages or (USER,)), **more}


async def test_a_valid_request_is_answered(fake: FakeAnthropic) -> None:
    """With x-api-key, ?beta=true and a role:system message, as the CLI sends it."""
    system = {"role": "system", "content": "cwd is /"}
    status, answer = await post(fake, body_with(system, USER))
    assert status == 200
    assert answer["content"] == [{"type": "text", "text": "You said: hello"}]
    assert fake.seen[0].query == {"beta": "true"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"anthropic-version": "2023-06-01"}, 401),
        ({**HEADERS, "x-api-key": "sk-wrong-1"}, 401),
        ({**HEADERS, "x-api-key": "sk-forbidden"}, 403),
        ({"x-api-key": "sk-test"}, 400),
        ({"Authorization": "Bearer k", "anthropic-version": "2026-10-21"}, 200),
    ],
)
async def test_headers(fake: FakeAnthropic, headers: dict[str, str], status: int) -> None:
    """Both kinds of keys, and a version is demanded."""
    assert (await post(fake, body_with(), headers))[0] == status


@pytest.mark.parametrize(
    "body",
    [
        body_with(USER, USER),
        body_with({"role": "assistant", "content": "hi"}, USER),
        body_with(USER, {"role": "assistant", "content": "prefill"}),
        body_with({"role": "user", "content": []}),
        body_with({"role": "user", "content": " "}),
        body_with(USER, {"role": "assistant", "content": [CALL]}, USER),
        body_with({"role": "user", "content": [RESULT]}),
        body_with(
            USER,
            {"role": "assistant", "content": [CALL]},
            {"role": "user", "content": [{"type": "text", "text": "x"}, RESULT]},
        ),
        body_with(
            USER,
            {"role": "assistant", "content": [{**CALL, "id": "t:1"}]},
            {"role": "user", "content": [{**RESULT, "tool_use_id": "t:1"}]},
        ),
        body_with({"role": "user", "content": [CACHED] * 5}),
        body_with({"role": "user", "content": [image("image", "image/png", "????")]}),
        body_with({"role": "user", "content": [image("image", "image/png", "AAAA")]}),
        body_with({"role": "user", "content": [image("image", "image/tiff", "AAAA")]}),
        body_with({"role": "user", "content": [image("image", "application/pdf", "JVBERi0x")]}),
        body_with(max_tokens=0),
        body_with(model=""),
        body_with(flavour="mint"),
        body_with(tools=[{"name": "a b", "input_schema": {"type": "object"}}]),
        body_with(tools=[{"name": "a", "input_schema": {"type": "object"}}] * 2),
        body_with({"role": "user", "content": [{"type": "tool_use", "id": 1}]}),
        body_with("nonsense"),
    ],
)
async def test_invalid_bodies_are_refused(fake: FakeAnthropic, body: dict[str, Any]) -> None:
    """Each of these the real API answers with 400 (or would quietly repair)."""
    status, answer = await post(fake, body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"


async def test_sampling_parameters_depend_on_the_version(fake: FakeAnthropic) -> None:
    """The newest version of the API has no temperature."""
    body = body_with(temperature=0.5)
    assert (await post(fake, body))[0] == 200
    newest = {**HEADERS, "anthropic-version": "2026-10-21"}
    assert (await post(fake, body, newest))[0] == 400


async def test_an_unknown_model_is_not_found(fake: FakeAnthropic) -> None:
    """404, as for a mistyped IT0_MODEL."""
    assert (await post(fake, body_with(model="claude-unknown-9")))[0] == 404
