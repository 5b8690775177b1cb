from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import cast

import aiohttp
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import RequestParamsMeta

from core.engines.agent_tools import CALL_ID, Asked, ToolDesk, tool_server
from core.engines.mcp_endpoint import McpEndpoint, McpEndpointConfig, McpRoute
from core.tools import Param, ToolResult, ToolSpec
from tests.core.engines.gateway_kit import until

SPEC = ToolSpec(
    name="look",
    description="Look at a server.",
    params=(Param(name="where", kind="string", description="Which one"),),
)
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "a test", "version": "1"},
}
CALL = {"name": "look", "arguments": {"where": "db"}, "_meta": {CALL_ID: "toolu_1"}}


@dataclass
class Site:
    """An endpoint with one process's route, and what its turn was asked."""

    endpoint: McpEndpoint
    desk: ToolDesk
    route: McpRoute
    http: aiohttp.ClientSession
    asked: list[Asked] = field(default_factory=list)

    def post(
        self, method: str, params: object, *, number: int | None = 1, **headers: str
    ) -> aiohttp.client._RequestContextManager:
        """Send one message as the process does; ``headers`` replace its own."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        given = {
            "Authorization": self.route.authorization,
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }
        return self.http.post(
            self.route.url, data=BytesIO(json.dumps(message).encode()), headers=given | headers
        )

    async def greet(self) -> None:
        """The handshake of the protocol."""
        async with self.post("initialize", HELLO, number=0) as answer:
            assert answer.status == 200
            await answer.read()
        async with self.post("notifications/initialized", {}, number=None) as answer:
            assert answer.status == 202


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A turn is running; its tools do not answer by themselves."""
    endpoint = McpEndpoint(McpEndpointConfig(keep_alive_s=0.02))
    desk = ToolDesk(specs=(SPEC,))
    route = await endpoint.open(tool_server(desk))
    async with aiohttp.ClientSession() as http:
        made = Site(endpoint, desk, route, http)
        desk.take = made.asked.append
        yield made
    await route.close()
    assert not endpoint.listening


def meta_of(call_id: str) -> RequestParamsMeta:
    """What Claude Code sends along with a call."""
    return cast("RequestParamsMeta", {CALL_ID: call_id})


@asynccontextmanager
async def client_of(route: McpRoute, mode: str) -> AsyncIterator[Client]:
    """The library's own client."""
    async with httpx2.AsyncClient(headers={"Authorization": route.authorization}) as http:
        transport = streamable_http_client(route.url, http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_of_the_protocol_finds_and_calls_the_tools(site: Site, mode: str) -> None:
    """With the handshake of old and without it; the model's id of the call comes along."""
    site.desk.take = lambda asked: asked.answer(ToolResult(output=f"saw {asked.call}"))
    async with client_of(site.route, mode) as client:
        (tool,) = (await client.list_tools()).tools
        result = await client.call_tool("look", {"where": "db"}, meta=meta_of("toolu_7"))
    assert tool.name == "look"
    assert tool.input_schema == SPEC.json_schema()
    assert "toolu_7" in str(result.content)
    assert "'where': 'db'" in str(result.content)
    assert not result.is_error


async def test_without_a_turn_nothing_runs(site: Site) -> None:
    """The process may look around, but a call is answered with a refusal."""
    site.desk.take = None
    async with client_of(site.route, "auto") as client:
        result = await client.call_tool("look", {"where": "db"}, meta=meta_of("toolu_1"))
    assert result.is_error
    assert "No turn is running" in str(result.content)


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "Bearer \u00e4"])
async def test_a_wrong_secret_is_refused(site: Site, given: str) -> None:
    """The address alone opens nothing."""
    async with site.post("initialize", HELLO, Authorization=given) as answer:
        assert answer.status == 403
        assert not await answer.read()


async def test_a_secret_that_is_no_text_is_refused(site: Site) -> None:
    """A header of arbitrary bytes is compared like any other."""
    port = int(site.route.url.split(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /{site.route.id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n"
    writer.write(head.encode() + b"Authorization: Bearer \xe4\xff\r\n\r\n")
    assert b" 403 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_the_secret_of_another_process_is_refused(site: Site) -> None:
    """Each secret fits one address; the other process is not disturbed when one ends."""
    other = await site.endpoint.open(tool_server(ToolDesk()))
    async with site.post("initialize", HELLO, Authorization=other.authorization) as answer:
        assert answer.status == 403
    await other.close()
    await site.greet()


async def test_an_unknown_address_is_refused(site: Site) -> None:
    """A guessed path is answered as a wrong secret is."""
    headers = {"Authorization": site.route.authorization}
    async with site.http.post(site.route.url + "x", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("host", ["localhost", "evil.example", "127.0.0.1", "127.0.0.1:1"])
async def test_a_foreign_host_is_refused(site: Site, host: str) -> None:
    """A name that was rebound to this machine does not reach the tools."""
    async with site.post("initialize", HELLO, Host=host) as answer:
        assert answer.status == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1", "null"])
async def test_a_web_page_is_refused(site: Site, origin: str) -> None:
    """Whatever sends an Origin is a browser; the CLI is none."""
    async with site.post("initialize", HELLO, Origin=origin) as answer:
        assert answer.status == 403


async def test_a_body_is_bounded_and_must_be_a_message(site: Site) -> None:
    """Neither gets as far as the server."""
    async with site.post("initialize", "x" * 9 * 1024 * 1024) as answer:
        assert answer.status == 413
    headers = {"Authorization": site.route.authorization}
    for body in (b"", b"{", b"[]", b'{"jsonrpc": "2.0"}'):
        async with site.http.post(site.route.url, data=body, headers=headers) as answer:
            assert answer.status == 400
    async with site.http.get(site.route.url, headers=headers) as answer:
        assert answer.status == 405


async def test_a_slow_tool_keeps_its_connection(site: Site) -> None:
    """Comments go over the wire until the answer does: an approval may take its time."""
    await site.greet()
    async with site.post("tools/call", CALL) as answer:
        assert answer.content_type == "text/event-stream"
        assert (await answer.content.readline()).startswith(b":")
        site.asked[0].answer(ToolResult(output="fine"))
        rest = await answer.read()
    (line,) = (line for line in rest.splitlines() if line.startswith(b"data: "))
    told = json.loads(line.removeprefix(b"data: "))
    assert told["id"] == 1
    assert told["result"]["content"] == [{"type": "text", "text": "fine"}]


async def test_calls_of_one_process_do_not_wait_for_each_other(site: Site) -> None:
    """The second is answered while the first still runs; an id in use is refused."""
    await site.greet()
    async with site.post("tools/call", CALL), site.post("tools/call", CALL, number=2) as second:
        await until(lambda: len(site.asked) == 2)
        async with site.post("tools/call", CALL, number=2) as third:
            assert third.status == 409
        site.asked[1].answer(ToolResult(output="the second"))
        assert b"the second" in await second.read()
        assert not site.asked[0].result.done()


async def test_hanging_up_cancels_the_call(site: Site) -> None:
    """Nobody waits any more: the turn's answer would go nowhere."""
    await site.greet()
    async with site.post("tools/call", CALL):
        await until(lambda: site.asked)
    await until(site.asked[0].result.cancelled)


async def test_cancelling_a_request_cancels_the_call(site: Site) -> None:
    """The notification of the protocol ends the stream without an answer."""
    await site.greet()
    async with site.post("tools/call", CALL) as answer:
        await until(lambda: site.asked)
        cancelled = {"requestId": 1, "reason": "the user stopped it"}
        async with site.post("notifications/cancelled", cancelled, number=None) as noted:
            assert noted.status == 202
        assert b"data:" not in await answer.read()
    await until(site.asked[0].result.cancelled)


async def test_the_end_of_a_process_cancels_what_waits(site: Site) -> None:
    """Its address and secret are void, and the stream ends; others go on."""
    other = await site.endpoint.open(tool_server(ToolDesk()))
    await site.greet()
    async with site.post("tools/call", CALL) as answer:
        await until(lambda: site.asked)
        await site.route.close()
        assert b"data:" not in await answer.read()
    assert site.asked[0].result.cancelled()
    async with site.post("initialize", HELLO) as answer:
        assert answer.status == 403
    await other.close()


async def test_a_server_that_fails_leaves_nobody_waiting(site: Site) -> None:
    """The open request ends without an answer, later ones are refused."""
    await site.greet()
    async with site.post("tools/call", CALL) as answer:
        await until(lambda: site.asked)
        site.route._running.cancel()
        await asyncio.wait([site.route._running])
        assert b"data:" not in await answer.read()
    async with site.post("tools/call", CALL) as answer:
        assert answer.status == 410


async def test_there_is_a_listener_only_while_there_are_processes() -> None:
    """It comes with the first and goes with the last, and may come again."""
    endpoint = McpEndpoint()
    seen = [endpoint.listening]
    for _ in range(2):
        first, second = [await endpoint.open(tool_server(ToolDesk())) for _ in range(2)]
        for route in (first, second):
            await route.close()
            seen.append(endpoint.listening)
    assert seen == [False, True, False, True, False]


async def test_secrets_do_not_show(site: Site) -> None:
    """A route in a log line or a traceback tells nothing."""
    assert site.route.id not in repr(site.route)
    assert site.route.authorization not in repr(site.route)
