"""One request of a child on its way to the provider and back, metered.

Imported when the gateway starts, because aiohttp is not needed by ``it0`` at rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

import aiohttp
import structlog
from aiohttp import web

from core.engines.claude_endings import Patience, Retries
from core.engines.claude_faults import CUT, MALFORMED, CallFailed, Fault, fault_of_status
from core.engines.gateway_body import Asked, BadBody, read_body
from core.engines.gateway_stream import MeteredCall, WholeEvents
from core.engines.gateway_turn import RunningTurn
from core.engines.gateway_upstream import Outgoing, Upstream
from core.metering import Grant, QuotaRefusal

_PASSED = ("anthropic-version", "anthropic-beta", "content-type", "accept")
_UNREAD_S = 60.0
"""How long a child may leave what it got unread."""
_LARGE_BODY = 262_144
"""Bytes from which parsing would hold up the other streams."""
_MAX_ANSWER = 32 * 1024 * 1024
_DRAIN_S = 0.5
_OVERLOADED = 529
_FINAL = {"x-should-retry": "false"}
_STATUS_OF = {
    "rate_limited": (429, "rate_limit_error"),
    "overloaded": (_OVERLOADED, "overloaded_error"),
    "bad_key": (401, "authentication_error"),
    "no_credit": (402, "billing_error"),
    "forbidden": (403, "permission_error"),
    "rejected": (403, "permission_error"),
    "too_large": (403, "permission_error"),
    "unknown_model": (403, "permission_error"),
    "wrong_address": (403, "permission_error"),
}
"""What a child is told of a fault. Statuses that the CLI (2.1.330) takes as the end of the
matter: after a 400 or 422 it sends reduced requests, after a 404 one without a stream."""
_OTHER = (500, "api_error")
_log = structlog.get_logger()


class Relay:
    """Passes requests on. One instance serves all routes."""

    def __init__(
        self, upstream: Upstream, patience: Patience, *, api_key: str | None, max_in_flight: int
    ) -> None:
        """``api_key`` is the installation's; a turn's own goes before it."""
        self._upstream = upstream
        self._patience = patience
        self._api_key = api_key
        self._slots = asyncio.Semaphore(max_in_flight)

    async def messages(self, request: web.Request, turn: RunningTurn) -> web.StreamResponse:
        """``POST /v1/messages``: metered, with retries until the child has got a byte."""
        try:
            asked = await _asked(request, turn)
            wanted = min(asked.max_tokens, turn.given.max_output_tokens)
        except BadBody as error:
            return _bad(turn, error)
        key = self._key_of(turn)
        exchange = _Exchange(request, asked, turn.retries(self._patience))
        while True:
            async with self._slots:
                if key is None or turn.ending is not None:
                    return _over(turn)
                pause_s = await self._call(exchange, turn, key, wanted)
            if exchange.answer is not None:
                return exchange.answer
            if turn.ending is None:
                await asyncio.sleep(pause_s)

    async def count_tokens(self, request: web.Request, turn: RunningTurn) -> web.StreamResponse:
        """``POST /v1/messages/count_tokens``: costs nothing, so it is passed on as it is."""
        try:
            asked = await _asked(request, turn)
        except BadBody as error:
            return _bad(turn, error)
        key = self._key_of(turn)
        if key is None or turn.ending is not None:
            return _over(turn)
        try:
            async with (
                self._slots,
                self._upstream.open(_outgoing(request, asked, asked.raw, key)) as response,
            ):
                raw = await self._upstream.read_all(response, limit=_MAX_ANSWER)
        except CallFailed as failed:
            return _faulty(failed.fault)
        return web.Response(body=raw, content_type="application/json")

    def _key_of(self, turn: RunningTurn) -> str | None:
        """The provider's key; without one the turn is over."""
        key = turn.given.api_key or self._api_key
        if key is None and turn.ending is None:
            turn.give_up(fault_of_status(401, None, model=turn.given.model))
        return key

    async def _call(self, exchange: _Exchange, turn: RunningTurn, key: str, wanted: int) -> float:
        """One admitted call; seconds to wait before the next one, if there is one."""
        asked, given = exchange.asked, turn.given
        try:
            grant = await given.meter.reserve(
                engine=given.engine,
                model=given.model,
                estimated_input=asked.estimated_input,
                max_output=wanted,
            )
        except Exception as error:  # noqa: BLE001  # the engine raises it, in the turn's task
            turn.abandon(error)
            return 0.0
        if isinstance(grant, QuotaRefusal):
            turn.refuse(grant)
            return 0.0
        call = MeteredCall(turn, grant.call_id)
        try:
            await self._pass(exchange, call, key, min(wanted, grant.max_output))
        except CallFailed as failed:
            return _failed(exchange, turn, call, grant, failed.fault)
        except ConnectionError:  # the child hung up
            exchange.cut()
        finally:
            call.close()
        return 0.0

    async def _pass(self, exchange: _Exchange, call: MeteredCall, key: str, limit: int) -> None:
        """Send the request, and its answer to the child."""
        asked = exchange.asked
        sent = _outgoing(exchange.request, asked, asked.within(limit), key, limit=limit)
        async with self._upstream.open(sent) as response:
            if not asked.streams:
                raw = await self._upstream.read_all(response, limit=_MAX_ANSWER, whole_tokens=limit)
                call.read_json(raw)
                exchange.answer = web.Response(body=raw, content_type="application/json")
                return
            if response.content_type != "text/event-stream":
                raise CallFailed(MALFORMED)
            await self._stream(exchange, call, response)

    async def _stream(
        self, exchange: _Exchange, call: MeteredCall, response: aiohttp.ClientResponse
    ) -> None:
        """Write each event to the child as soon as it is read and metered."""
        events = WholeEvents()
        while not call.finished:
            chunk = await self._upstream.read(response)
            if not chunk and not call.read_end():
                raise CallFailed(CUT)
            if whole := events.take(chunk):
                call.read_events(whole)
                await exchange.write(whole, response.headers)
        await exchange.end()
        with suppress(CallFailed, TimeoutError):  # so that the connection can be used again
            async with asyncio.timeout(_DRAIN_S):
                while await self._upstream.read(response):
                    pass


class _Exchange:
    """A child's request, and what it was answered so far."""

    __slots__ = ("answer", "asked", "request", "retries")

    def __init__(self, request: web.Request, asked: Asked, retries: Retries) -> None:
        """Begin without an answer."""
        self.request = request
        self.asked = asked
        self.retries = retries
        self.answer: web.StreamResponse | None = None

    async def write(self, events: bytes, headers: Mapping[str, str]) -> None:
        """Send events; waits a while for a child that does not read.

        Raises ``ConnectionError`` when it is gone, or reads nothing for too long: it hangs,
        and the provider would be paid for what nobody reads.
        """
        if self.answer is None:
            passed = {"content-type": "text/event-stream", "cache-control": "no-cache"}
            if (request_id := headers.get("request-id")) is not None:
                passed["request-id"] = request_id
            answer = web.StreamResponse(headers=passed)
            await answer.prepare(self.request)
            self.answer = answer
        try:
            async with asyncio.timeout(_UNREAD_S):
                await self.answer.write(events)
        except TimeoutError:
            self.cut()
            raise ConnectionResetError("the child reads nothing") from None

    async def end(self) -> None:
        """End the answer cleanly."""
        if self.answer is not None:
            await self.answer.write_eof()

    def cut(self) -> None:
        """Break the connection, so that the child does not take what it got for an answer."""
        self.answer = cut(self.request, self.answer)


def cut(request: web.Request, answer: web.StreamResponse | None = None) -> web.StreamResponse:
    """Break the connection to the child; the result is for the server, nobody reads it."""
    if request.transport is not None:
        request.transport.abort()
    return answer or web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)


def error_answer(status: int, kind: str, message: str) -> web.Response:
    """An error in the provider's form that the CLI does not answer with another try."""
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return web.json_response(body, status=status, headers=_FINAL)


def _failed(
    exchange: _Exchange, turn: RunningTurn, call: MeteredCall, grant: Grant, fault: Fault
) -> float:
    """Log, meter and tell a failed call; seconds to wait before the next try."""
    _log.warning(
        "model_call_failed",
        engine=turn.given.engine,
        call_id=grant.call_id,
        reason=fault.reason,
        request_id=fault.request_id,
    )
    if not fault.spent:
        call.unspent()
    call.close()
    shown = exchange.answer is not None
    pause_s = turn.failed(fault, exchange.retries, shown=shown)
    if shown:
        exchange.cut()
    return pause_s


async def _asked(request: web.Request, turn: RunningTurn) -> Asked:
    """Read and check the body. Raises ``BadBody``."""
    raw = await request.read()
    model, hidden = turn.given.model, turn.given.hidden
    if len(raw) < _LARGE_BODY:
        return read_body(raw, model=model, hidden=hidden)
    return await asyncio.to_thread(read_body, raw, model=model, hidden=hidden)


def _outgoing(
    request: web.Request, asked: Asked, body: bytes, key: str, *, limit: int = 0
) -> Outgoing:
    headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
    query = request.rel_url.raw_query_string
    return Outgoing(
        path=f"{request.path}?{query}" if query else request.path,
        headers=headers,
        body=body,
        model=asked.model,
        api_key=key,
        whole_tokens=0 if asked.streams else limit,
    )


def _bad(turn: RunningTurn, error: BadBody) -> web.Response:
    _log.warning("gateway_request_refused", engine=turn.given.engine, why=str(error))
    return error_answer(HTTPStatus.BAD_REQUEST, "invalid_request_error", str(error))


def _over(turn: RunningTurn) -> web.Response:
    """No further call of this turn: the same answer each time."""
    if isinstance(turn.ending, Fault):
        return _faulty(turn.ending)
    status = HTTPStatus.PAYMENT_REQUIRED
    return error_answer(status, "billing_error", "IT0 admits no further model call in this turn.")


def _faulty(fault: Fault) -> web.Response:
    status, kind = _STATUS_OF.get(fault.reason, _OTHER)
    return error_answer(status, kind, f"The model call failed: {fault.reason}.")
