"""The gateway's way to the provider: one pooled client, and its failures in our words.

Imported when the gateway starts, because aiohttp is not needed by ``it0`` at rest.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from core.engines.claude_client import fault_of_connection, retry_after_s, trust
from core.engines.claude_faults import (
    DROPPED,
    MALFORMED,
    STALLED,
    UNREACHABLE,
    CallFailed,
    Fault,
    fault_of_status,
)

_DEFAULT_URL = "https://api.anthropic.com"
_SLOWEST_UPLOAD_BYTES_S = 50_000
_SLOWEST_OUTPUT_TOKENS_S = 30
"""Of an answer that comes in one piece: nothing is heard of it until it is complete."""
_KEEP_IDLE_S = 55.0
_CONNECT_TIMEOUT_S = 5
_MAX_ERROR_BYTES = 65_536
_OK, _REDIRECT, _BAD_REQUEST, _NOT_FOUND = 200, 300, 400, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One request to the provider."""

    path: str
    headers: dict[str, str]
    body: bytes
    model: str
    api_key: str = field(repr=False)
    whole_tokens: int = 0
    """How long an answer may be that comes in one piece; 0 for one that streams."""


class Upstream:
    """Sends requests to one provider address. Safe to share."""

    def __init__(
        self, *, base_url: str | None, ca_file: Path | None, stall_timeout_s: float
    ) -> None:
        """Keep the configuration; ``start`` opens the client."""
        self._base = (base_url or _DEFAULT_URL).rstrip("/")
        self._ca_file = ca_file
        self._stall_s = stall_timeout_s
        self._proxy = _proxy_of(self._base)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the client. Raises ``EngineFailure`` when the CA file cannot be used."""
        context = await asyncio.to_thread(trust, self._ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=_KEEP_IDLE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
            headers={"User-Agent": "IT0", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def open(self, sent: Outgoing) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Post; the answer is one with status 200. Leaving closes it.

        Raises ``CallFailed``.
        """
        response = await self._post(sent)
        try:
            if response.status != _OK:
                raise CallFailed(await self._refused(response, sent.model))
            yield response
        finally:
            response.close()

    async def read(self, response: aiohttp.ClientResponse, *, whole_tokens: int = 0) -> bytes:
        """The next bytes of an answer, empty at its end. Raises ``CallFailed``."""
        try:
            async with asyncio.timeout(self._stall_s + whole_tokens / _SLOWEST_OUTPUT_TOKENS_S):
                return await response.content.readany()
        except TimeoutError as error:
            raise CallFailed(STALLED) from error
        except aiohttp.ClientPayloadError as error:
            encoded = isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError)
            raise CallFailed(MALFORMED if encoded else DROPPED) from error
        except (aiohttp.ClientError, OSError) as error:
            raise CallFailed(DROPPED) from error

    async def read_all(
        self, response: aiohttp.ClientResponse, *, limit: int, whole_tokens: int = 0
    ) -> bytes:
        """A whole answer. Raises ``CallFailed``, also when it has more than ``limit`` bytes."""
        raw = bytearray()
        while chunk := await self.read(response, whole_tokens=whole_tokens):
            raw += chunk
            if len(raw) > limit:
                raise CallFailed(MALFORMED)
        return bytes(raw)

    async def _post(self, sent: Outgoing) -> aiohttp.ClientResponse:
        assert self._session is not None  # noqa: S101  # the gateway started it
        patience_s = self._stall_s + len(sent.body) / _SLOWEST_UPLOAD_BYTES_S
        patience_s += sent.whole_tokens / _SLOWEST_OUTPUT_TOKENS_S
        try:
            async with asyncio.timeout(patience_s):
                return await self._session.post(
                    self._base + sent.path,
                    data=io.BytesIO(sent.body),  # aiohttp warns of large bytes
                    headers={**sent.headers, "x-api-key": sent.api_key},
                    allow_redirects=False,
                    proxy=self._proxy,
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise CallFailed(UNREACHABLE) from error
        except TimeoutError as error:
            raise CallFailed(STALLED) from error
        except (aiohttp.ClientError, OSError) as error:
            raise CallFailed(fault_of_connection(error)) from error

    async def _refused(self, response: aiohttp.ClientResponse, model: str) -> Fault:
        kind, told = None, ""
        if response.status < _BAD_REQUEST:  # a redirect, or a success that has no answer
            status = _NOT_FOUND if response.status >= _REDIRECT else 502
        else:
            status = response.status
            kind, told = _error_of(await self._error_body(response))
        return replace(
            fault_of_status(status, kind, model=model, told=told),
            retry_after_s=retry_after_s(response.headers.get("retry-after")),
            request_id=response.headers.get("request-id"),
        )

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        """What is said of an error; one that cannot be read says nothing."""
        try:
            return await self.read_all(response, limit=_MAX_ERROR_BYTES)
        except CallFailed:
            return b""


def _error_of(raw: bytes) -> tuple[str | None, str]:
    """``error.type`` and the provider's own text, which is only searched, never shown."""
    try:
        error: Any = json.loads(raw)["error"]
        return str(error["type"]), str(error.get("message", "")).lower()
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, ""


def _proxy_of(base_url: str) -> str | None:
    """The proxy that the environment names for this address, as the other engines use it."""
    parts = urlsplit(base_url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or (parts.hostname and proxy_bypass(parts.netloc.rpartition("@")[2])):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
