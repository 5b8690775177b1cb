"""A strict fake of the Messages API on loopback: ``async with FakeAnthropic() as fake``.

Answers are deterministic and scripted by directives in the user's last text
(``tests.fakes.anthropic_script``); requests are checked like the real API checks them
(``tests.fakes.anthropic_rules``) and recorded. It also runs as its own process, for chaos
runs and benchmarks: ``python -m tests.fakes.anthropic --port 8899 --chunk-ms 5``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
from collections import Counter
from itertools import count
from typing import Any, Self

from aiohttp import web

from tests.fakes.anthropic_answer import SECRET_WORD, Answer, Seen, error_body, frame, usage_of
from tests.fakes.anthropic_rules import VERSIONS, Json, blocks_of, problem_with
from tests.fakes.anthropic_script import Plan, plan_for

__all__ = ["SECRET_WORD", "FakeAnthropic", "Seen", "usage_of"]

_MAX_BODY = 32 * 1024 * 1024
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class FakeAnthropic:
    """The server. ``seen`` holds the requests in order, newest last, at most ``keep``."""

    def __init__(
        self,
        *,
        port: int = 0,
        chunk_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
        keep: int = 1000,
    ) -> None:
        """Prepare a server; ``chunk_s`` is the default pause between two deltas."""
        self.seen: list[Seen] = []
        self.count = 0
        self._keep = keep
        self._chunk_s = chunk_s
        self._port = port
        self._tls = tls
        self._ids = count(1)
        self._faults: Counter[tuple[str, int]] = Counter()
        app = web.Application(client_max_size=2 * _MAX_BODY)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_route("*", "/api/hello", _hello)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        port = self._runner.addresses[0][1]
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and cut what is open."""
        await self._runner.cleanup()

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.count += 1
        peer = request.transport.get_extra_info("peername") if request.transport else None
        seen = Seen(dict(request.headers), dict(request.query), {}, len(raw), peer)
        self.seen.append(seen)
        del self.seen[: -self._keep]
        refusal = self._refuse(seen, raw)
        if refusal is not None:
            return self._error(seen, *refusal)
        seen.prompt, seen.round, results = _situation(seen.body["messages"])
        plan = plan_for(seen.prompt, seen.round)
        plan = self._spend_fault(plan, seen)
        if plan.delay_s:
            await asyncio.sleep(plan.delay_s)
        if plan.hang:
            await asyncio.sleep(3600)
        if plan.status is not None:
            return self._error(seen, plan.status, "scripted", plan.retry_after)
        answer = Answer(next(self._ids), plan, seen, results)
        if not seen.body.get("stream"):
            return web.json_response(answer.message())
        return await self._stream(request, plan, answer, seen)

    def _refuse(self, seen: Seen, raw: bytes) -> tuple[int, str] | None:
        """Return status and text of a refusal, or None; fills ``seen.body``."""
        if len(raw) > _MAX_BODY:
            return 413, "Request exceeds the maximum size"
        try:
            seen.body = json.loads(raw)
        except ValueError:
            return 400, "The request body is not valid JSON"
        headers = seen.headers
        key = headers.get("x-api-key") or headers.get("Authorization", "").removeprefix("Bearer ")
        if not key or key.startswith("sk-wrong"):
            return 401, "invalid x-api-key"
        if key.startswith("sk-forbidden"):
            return 403, "Your API key does not have permission"
        version = headers.get("anthropic-version", "")
        if version not in VERSIONS:
            return 400, "anthropic-version: header is required"
        sentence = problem_with(seen.body, version)
        if sentence:
            return 400, sentence
        if "unknown" in seen.body["model"]:
            return 404, f"model: {seen.body['model']}"
        return None

    def _spend_fault(self, plan: Plan, seen: Seen) -> Plan:
        """Return the plan, without its fault if that was to happen only K times."""
        if not plan.faulty or plan.times is None:
            return plan
        key = (seen.prompt, seen.round)
        self._faults[key] += 1
        if self._faults[key] <= plan.times:
            return plan
        return Plan(words=plan.words, tools=plan.tools, thinking=plan.thinking, plain=plan.plain)

    def _error(
        self, seen: Seen, status: int, text: str, retry_after: str | None = None
    ) -> web.Response:
        seen.status = status
        body = error_body(_ERROR_TYPES.get(status, "api_error"), text)
        headers = {"request-id": f"req_{next(self._ids)}"}
        if retry_after is not None:
            headers["retry-after"] = retry_after
        return web.json_response(body, status=status, headers=headers)

    async def _stream(
        self, request: web.Request, plan: Plan, answer: Answer, seen: Seen
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "request-id": f"req_{next(self._ids)}"}
        )
        chunk_s = self._chunk_s if plan.chunk_s is None else plan.chunk_s
        await response.prepare(request)
        try:
            head, deltas, tail = answer.frames()
            if plan.breaks is None and not chunk_s:
                await response.write(b"".join((*head, *deltas, *tail)))
            else:
                await response.write(b"".join(head))
                shown = deltas if plan.breaks is None else deltas[: plan.break_after]
                for frame in shown:
                    await response.write(frame)
                    await asyncio.sleep(chunk_s)
                if plan.breaks is not None:
                    await self._break(request, response, plan.breaks)
                    return response
                await response.write(b"".join(tail))
            seen.finished = True
            await asyncio.sleep(plan.linger_s)
        except (ConnectionError, asyncio.CancelledError):
            seen.closed_early = True
            raise
        return response

    async def _break(self, request: web.Request, response: web.StreamResponse, how: str) -> None:
        await asyncio.sleep(0.02)  # so that what was written is on the wire
        match how:
            case "drop":
                if request.transport is not None:
                    request.transport.abort()
            case "overload":
                await response.write(frame(error_body("overloaded_error", "Overloaded")))
            case "stall":
                await asyncio.sleep(3600)
            case "malformed":
                await response.write(b'event: content_block_delta\ndata: {"type": nope\n\n')
            case _:
                pass


def _situation(messages: list[Json]) -> tuple[str, int, list[str]]:
    """The last prompt, how many answers came since, and the newest tool results and texts."""
    turns = [message for message in messages if message["role"] != "system"]
    answers = 0
    newest: list[str] = []
    for message in reversed(turns):
        blocks = blocks_of(message)
        if message["role"] == "assistant":
            answers += 1
        elif any(block["type"] == "tool_result" for block in blocks):
            if not answers:
                newest = [_result_text(block) for block in blocks if block["type"] != "image"]
        else:
            texts = [block["text"] for block in blocks if block["type"] == "text"]
            return (texts[-1] if texts else ""), answers, newest
    return "", answers, newest


def _result_text(block: Json) -> str:
    if block["type"] == "text":
        return f"steer: {block['text']}"
    content: Any = block.get("content", "")
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content)
    return f"failed: {content}" if block.get("is_error") else f"result: {content}"


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _serve(port: int, chunk_s: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with FakeAnthropic(port=port, chunk_s=chunk_s, keep=1) as fake:
        print(fake.url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunk-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.chunk_ms / 1000))
