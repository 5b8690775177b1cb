"""What a client gets that is slow, hostile or particular."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from bots.web import requests, server
from bots.web.openapi import operation
from bots.web.requests import prefers_json, read_body
from bots.web.server import build, listening
from tests.bots.api_kit import Api, attached, open_api


@pytest.fixture
async def api(data_dir: Path) -> AsyncIterator[Api]:
    """The product."""
    async with open_api(data_dir) as api:
        yield api


async def exchange(url: str, data: bytes) -> bytes:
    """Send bytes and read until the server closes."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


async def test_what_cannot_be_parsed_names_no_version(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken request gets 400 from ``it0``; its bytes are in no log."""
    capsys.readouterr()
    answer = await exchange(api.url, b"GET / HTTP/1.1\r\nAuthorization\x00: Bearer canary\r\n\r\n")
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"Server: it0\r\n" in answer
    assert b"aiohttp" not in answer
    assert "canary" not in capsys.readouterr().err
    async with api.session.get(f"{api.url}/healthz") as response:
        assert response.headers["Server"] == "it0"


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await read_body(request))


async def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a head does not hold a connection; nor does half a body."""
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    monkeypatch.setattr(requests, "BODY_S", 0.3)
    routes = [web.post("/", operation(public=True)(_echo))]
    async with listening(build(routes, version="0"), "127.0.0.1", 0) as url:
        async with asyncio.timeout(20):
            assert await exchange(url, b"POST / HTTP/1.1\r\nHost: x\r\n") == b""
            assert await exchange(url, b"") == b""
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
            answer = await exchange(url, head)
    assert b" 408 " in answer
    assert b"request_timeout" in answer


async def test_a_compressed_body_is_415(api: Api) -> None:
    """A small request cannot become a large one here."""
    for path in ("agent/turns", "users", "tokens"):
        async with api.session.post(
            f"{api.url}/api/v1/{path}",
            data=b"\x1f\x8b\x08\x00",
            headers=api.auth(**{"Content-Encoding": "gzip", "Content-Type": "application/json"}),
            skip_auto_headers=["Content-Encoding"],
        ) as response:
            assert response.status == 415
            assert (await response.json())["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("text/event-stream", False),
        ("application/json", True),
        ("application/json, */*", True),
        ("application/json, text/plain, */*;q=0.5", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/*", True),
        ("text/event-stream, application/json", False),
        ("application/json;q=0.5, text/event-stream", False),
        ("application/json, text/event-stream;q=0.9", True),
        ("application/json;q=0, */*", False),
        ("application/json;q=nonsense", False),
    ],
)
def test_accept_chooses_the_form(accept: str, *, json: bool) -> None:
    """Quality first, then the more exact name; who does not care gets the stream."""
    assert prefers_json(accept) is json


async def test_a_usual_accept_header_gets_json(api: Api) -> None:
    """What HTTP libraries send for JSON is understood."""
    status, answer = await api.call(
        "POST", "/api/v1/agent/turns", {"text": "/whoami"}, Accept="application/json, */*"
    )
    assert (status, answer["outcome"]) == (200, "answered")


async def test_a_key_belongs_to_its_message(api: Api) -> None:
    """The same key with other words, files or another conversation is 409, not a wrong answer."""
    same: dict[str, object] = {"text": "load?", "attachments": [attached("a.txt", b"one")]}
    others: list[dict[str, object]] = [
        {**same, "text": "disks?"},
        {**same, "attachments": [attached("a.txt", b"two")]},
        {"text": "load?"},
        {**same, "conversation_id": (await api.ask("/whoami"))["conversation_id"]},
    ]
    headers = {"Accept": "application/json", "Idempotency-Key": "k1"}
    _, first = await api.call("POST", "/api/v1/agent/turns", same, **headers)
    for body in others:
        status, problem = await api.call("POST", "/api/v1/agent/turns", body, **headers)
        assert (status, problem["code"]) == (409, "idempotency_key_reused")
    for again in (same, {**same, "conversation_id": first["conversation_id"]}):
        status, answer = await api.call("POST", "/api/v1/agent/turns", again, **headers)
        assert (status, answer) == (200, first)


async def test_a_long_idempotency_key_is_refused(api: Api) -> None:
    """Two long keys that begin alike are not one: 200 characters are taken, 201 are not."""
    for length, status in ((200, 200), (201, 422)):
        got, answer = await api.call(
            "POST",
            "/api/v1/agent/turns",
            {"text": "/whoami"},
            **{"Accept": "application/json", "Idempotency-Key": "k" * length},
        )
        assert got == status
    assert answer["code"] == "idempotency_key_too_long"
