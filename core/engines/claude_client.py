"""The thin client: one shared SDK client, opened late, and its failures in our words.

The SDK brings authentication, API versions, connection pooling and TLS. Its HTTP transport
is the aiohttp one that it ships, which takes half the CPU per streamed chunk of the default
one (the default spends a timeout scope and several generators on each read). The SDK is
imported on first use: it costs 0.9 CPU-seconds and 50 MB.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.engines.claude_faults import (
    BAD_CA_FILE,
    DROPPED,
    MALFORMED,
    NO_KEY,
    STALLED,
    UNREACHABLE,
    UNTRUSTED,
    CallFailed,
    Fault,
    fault_of_status,
)

if TYPE_CHECKING:
    import anthropic

_DEFAULT_URL = "https://api.anthropic.com"
_SLOWEST_UPLOAD_BYTES_S = 50_000
_KEEP_IDLE_S = 55.0
"""How long an idle connection is kept: a person's next message often comes within it."""
_MAX_CONNECTIONS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeApiConfig:
    """How to reach the Messages API, and how patient to be. All times are in seconds."""

    api_key: str | None = field(default=None, repr=False)
    """The installation's; None when each tenant brings its own."""
    base_url: str | None = None
    ca_file: Path | None = None
    """Certificates to trust in addition to the usual ones; verification is never off."""
    stall_timeout_s: float = 60
    """Longest silence: before the first byte, and between any two."""
    connect_timeout_s: float = 5
    max_tries: int = 3
    """Calls without visible text, the first one included."""
    retry_after_cap_s: float = 20
    """A provider that asks for a longer wait is given up at once."""
    give_up_after_s: float = 90
    """No new try of a model call is begun later than this after its first."""
    backoff_s: float = 0.5
    """Pause before the first retry; doubles, with jitter."""


class ClaudeClient:
    """Sends one body, yields the bytes of the answer. Safe to share between turns."""

    def __init__(self, config: ClaudeApiConfig) -> None:
        """Keep the configuration; nothing is imported or opened yet."""
        self._config = config
        self._lock = threading.Lock()
        self._sdk: anthropic.AsyncAnthropic | None = None

    def warm(self) -> None:
        """Import the SDK and build the client; for a background thread at the start.

        Raises ``EngineFailure`` when the CA file cannot be used.
        """
        with self._lock:
            if self._sdk is None:
                self._sdk = self._build()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._sdk is not None:
            await self._sdk.close()

    @asynccontextmanager
    async def open(
        self, body: dict[str, object], *, model: str, size: int, api_key: str | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Post a body and give the answer's bytes as they come; leaving closes the stream.

        ``api_key`` is the tenant's own, None for the installation's. ``size`` is about how
        many bytes the body has: a slow line gets time to send them.
        Raises ``CallFailed``, also out of the iterator.
        """
        if self._sdk is None:
            await asyncio.to_thread(self.warm)
        response = await self._post(body, model, size, api_key)
        try:
            kind = response.response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                raise CallFailed(MALFORMED)
            async with aclosing(_bytes_of(response)) as chunks:
                yield chunks
        finally:
            await response.close()

    async def _post(
        self, body: dict[str, object], model: str, size: int, api_key: str | None
    ) -> anthropic.AsyncStream[object]:
        import anthropic  # noqa: PLC0415  # late on purpose, see the module's docstring

        patience = self._config.stall_timeout_s + size / _SLOWEST_UPLOAD_BYTES_S
        try:
            async with asyncio.timeout(patience):
                return await self._account(api_key).post(
                    "/v1/messages",
                    cast_to=object,
                    body=body,
                    stream=True,
                    stream_cls=anthropic.AsyncStream[object],
                )
        except (TimeoutError, anthropic.APITimeoutError) as error:
            raise CallFailed(_timed_out(error)) from error
        except anthropic.APIConnectionError as error:
            raise CallFailed(fault_of_connection(error)) from error
        except anthropic.APIStatusError as error:
            raise CallFailed(_refused(error, model)) from error
        except anthropic.APIError as error:
            raise CallFailed(MALFORMED) from error

    def _account(self, api_key: str | None) -> anthropic.AsyncAnthropic:
        """The client with the tenant's own key, on the same connections. Raises ``CallFailed``."""
        assert self._sdk is not None  # noqa: S101  # open() built it
        if api_key is not None:
            return self._sdk.copy(api_key=api_key)
        if self._config.api_key is None:
            raise CallFailed(NO_KEY)
        return self._sdk

    def _build(self) -> anthropic.AsyncAnthropic:
        import anthropic  # noqa: PLC0415  # late on purpose, see the module's docstring
        import httpx2  # noqa: PLC0415  # comes with the SDK

        config = self._config
        limits = httpx2.Limits(max_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEEP_IDLE_S)
        timeout = anthropic.Timeout(
            config.stall_timeout_s, connect=config.connect_timeout_s, pool=config.stall_timeout_s
        )
        verify: ssl.SSLContext | bool = True
        if config.ca_file is not None:
            verify = trust(config.ca_file)
        return anthropic.AsyncAnthropic(
            api_key=config.api_key or "none",
            base_url=config.base_url or _DEFAULT_URL,
            timeout=timeout,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultAioHttpClient(
                verify=verify, timeout=timeout, limits=limits
            ),
        )


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Verify with the usual authorities, and with those of a file. Raises ``EngineFailure``."""
    import httpx2  # noqa: PLC0415  # comes with the SDK

    context = httpx2.create_ssl_context()
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BAD_CA_FILE.failure() from error
    return context


async def _bytes_of(stream: anthropic.AsyncStream[object]) -> AsyncGenerator[bytes]:
    """The answer's bytes; what breaks on the way is a ``CallFailed``."""
    import httpx2  # noqa: PLC0415  # comes with the SDK

    try:
        async with aclosing(stream.response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                yield chunk
    except httpx2.TimeoutException as error:
        raise CallFailed(STALLED) from error
    except httpx2.DecodingError as error:
        raise CallFailed(MALFORMED) from error
    except (httpx2.HTTPError, OSError) as error:
        raise CallFailed(DROPPED) from error


def _timed_out(error: BaseException) -> Fault:
    import httpx2  # noqa: PLC0415  # comes with the SDK

    connecting = isinstance(error.__cause__, httpx2.ConnectTimeout)
    return UNREACHABLE if connecting else STALLED


def fault_of_connection(error: BaseException) -> Fault:
    """Tell an untrusted certificate, which no retry heals, from a dead line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UNTRUSTED
        cause = cause.__cause__ or cause.__context__
    return UNREACHABLE


def _refused(error: anthropic.APIStatusError, model: str) -> Fault:
    told = (error.api_message or "").lower()
    return replace(
        fault_of_status(error.status_code, error.type, model=model, told=told),
        retry_after_s=retry_after_s(error.response.headers.get("retry-after")),
        request_id=error.request_id,
    )


def retry_after_s(header: str | None) -> float | None:
    """Seconds from a ``retry-after`` header, which is a number or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())
