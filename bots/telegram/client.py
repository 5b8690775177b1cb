"""The connection to the Bot API: python-telegram-bot's requests over one aiohttp session.

Connections are kept and never counted, so that no call waits for another one's connection:
how many calls there are at once is what ``pace`` decides.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
from telegram import Bot
from telegram.error import NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

CLOUD = "https://api.telegram.org"
CALL_S = 20.0
"""How long one call may take; long polls and downloads bring their own limit."""
CONNECT_S = 10.0
_KEEP_ALIVE_S = 60.0
_UNSAID_WAIT_S = 5.0


class FloodWait(TelegramError):
    """429. Raised instead of ``RetryAfter``, which warns about its own future when made."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: nothing may be sent to the chat before they have passed."""
        super().__init__("Too Many Requests")
        self.seconds = seconds


class UnknownMethod(TelegramError):
    """404: this server does not know the method, or the token is no token at all."""


class NotConnected(NetworkError):
    """No connection was made: the call had no effect."""


class AiohttpRequest(BaseRequest):
    """``BaseRequest`` over a session that somebody else closes."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Use the session."""
        self._session = session

    @property
    def read_timeout(self) -> float:
        """Seconds."""
        return CALL_S

    async def initialize(self) -> None:
        """Nothing to do: the session is open."""

    async def shutdown(self) -> None:
        """Nothing to do: whoever opened the session closes it."""

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = None,
        write_timeout: object = None,  # noqa: ARG002  # one limit covers the whole call
        connect_timeout: object = None,  # noqa: ARG002  # as the base class has it
        pool_timeout: object = None,  # noqa: ARG002  # there is no pool to wait for
    ) -> tuple[int, bytes]:
        """Make one call. No error repeats the address, which holds the token."""
        if request_data is not None and request_data.contains_files:
            raise TelegramError("This client uploads no files.")
        fields = None if request_data is None else request_data.json_parameters
        seconds = read_timeout if isinstance(read_timeout, int | float) else CALL_S
        limit = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_S)
        try:
            async with self._session.request(method, url, data=fields, timeout=limit) as answer:
                status, body = answer.status, await answer.read()
        except aiohttp.ClientConnectorError as error:
            raise NotConnected("The Bot API cannot be reached.") from error
        except TimeoutError as error:
            raise TimedOut("The Bot API did not answer in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError("The connection to the Bot API broke.") from error
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise FloodWait(_seconds(body))
        if status == HTTPStatus.NOT_FOUND:
            raise UnknownMethod("Not Found")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NetworkError(f"The Bot API answered with status {status}.")
        return status, body


def _seconds(body: bytes) -> float:
    """``parameters.retry_after`` of a refusal; a proxy in between may not say it."""
    try:
        return max(1.0, float(json.loads(body)["parameters"]["retry_after"]))
    except (ValueError, LookupError, TypeError):
        return _UNSAID_WAIT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The bot of one token, and the ways python-telegram-bot has no word for."""

    bot: Bot
    request: AiohttpRequest
    session: aiohttp.ClientSession

    @property
    def bot_id(self) -> str:
        """The number before the colon of a token."""
        return self.bot.token.partition(":")[0]

    async def updates(self, offset: int, wait_s: int, kinds: list[str]) -> list[Mapping[str, Any]]:
        """Updates as they came: one that cannot be read must not hide the others.

        Raises ``TelegramError``.
        """
        asked = {"offset": offset, "timeout": wait_s, "allowed_updates": json.dumps(kinds)}
        found = await self.request.post(
            f"{self.bot.base_url}/getUpdates?{urlencode(asked)}", read_timeout=wait_s + CALL_S
        )
        return list(found) if isinstance(found, list) else []


@asynccontextmanager
async def open_client(
    token: str, api_url: str | None, file_url: str | None
) -> AsyncGenerator[Client]:
    """Make a client; nothing is sent. It is closed at the end."""
    root = (api_url or CLOUD).rstrip("/")
    files = (file_url or root).rstrip("/")
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    # The usual proxy variables hold: in some countries there is no other way to Telegram.
    async with aiohttp.ClientSession(connector=connector, trust_env=True) as session:
        request = AiohttpRequest(session)
        bot = Bot(
            token,
            base_url=f"{root}/bot",
            base_file_url=f"{files}/file/bot",
            request=request,
            get_updates_request=request,
        )
        yield Client(bot=bot, request=request, session=session)
        await asyncio.sleep(0)  # let transports that closed just now say goodbye
