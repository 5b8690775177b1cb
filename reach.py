"""Where a command finds its server: the running process, or one embedded for the moment.

A token is sent only to a server that has proven that it holds this installation's key:
anybody on the machine can take a port that is free.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp

import app
from bots.operator import OperatorClient
from bots.web import operator_proof
from bots.web.auth import identity_proof, operator_token
from core.errors import It0Error
from core.keys import KEY_FILE, Keys
from settings import Settings
from storage.lock import DataDirectoryInUse, Holder, holder

PATIENCE_S: Final = 10.0
"""How long a holder of the data directory may take until it serves HTTP."""
_LOOK_AGAIN_S: Final = 0.1
_ASK_S: Final = 2.0


@asynccontextmanager
async def connected(settings: Settings) -> AsyncGenerator[Connection]:
    """The running process if there is one, else one that lives as long as the command."""
    async with Connection(settings) as connection:
        yield connection


class Connection:
    """A server to talk to, and the key that makes us its operator."""

    def __init__(self, settings: Settings) -> None:
        """Use it as an async context manager."""
        self._settings = settings
        self._stack = AsyncExitStack()
        self._finding = asyncio.Lock()
        self._embedded = ""
        self.url = ""

    async def __aenter__(self) -> Self:
        """Find the server. Raises ``It0Error`` with a sentence."""
        await self.find()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the embedded process, if there is one."""
        await self._stack.__aexit__(kind, error, trace)

    @property
    def embedded(self) -> bool:
        """Whether the server ends with this command."""
        return bool(self._embedded)

    def token(self, email: str | None = None) -> str:
        """A token for one request, acting as ``email``."""
        return operator_token(installation_keys(self._settings).derive("tokens"), email)

    def operator(self, email: str | None = None) -> OperatorClient:
        """A client for the operator's requests."""
        return OperatorClient(base_url=self.url, token_source=lambda: self.token(email))

    def proof(self, method: str, path: str) -> str:
        """What proves that one request comes from this installation's operator."""
        key = installation_keys(self._settings).derive(operator_proof.PURPOSE)
        return operator_proof.operator_proof(key, method, path)

    async def find(self) -> str:
        """The URL of the server now, also when the one before has gone. Raises ``It0Error``."""
        async with self._finding:
            if not self._embedded:
                self.url = await self._look()
            return self.url

    async def _look(self) -> str:
        """A starting process is waited for; of two that would embed, one uses the other's."""
        patience = time.monotonic() + PATIENCE_S
        while True:
            found = None
            if self._settings.database_path is not None:
                found = holder(self._settings.data_dir)
                url = None if found is None else await _held_url(self._settings, found)
            else:
                url = await _shared_url(self._settings)
            if url is not None:
                return url
            if found is None and self._awaits_restart():
                return self.url
            if found is None:
                try:
                    return await self._embed()
                except DataDirectoryInUse:  # somebody was faster
                    found = Holder(pid=0, url=None)
            if time.monotonic() > patience:
                raise It0Error(_silent(self._settings, found))
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _awaits_restart(self) -> bool:
        """Whether what went away was `it0 up`: taking its place would keep it from returning."""
        port = urlsplit(self.url).port if self.url else None
        return port is not None and port == self._settings.http.port

    async def _embed(self) -> str:
        local = replace(self._settings, http=replace(self._settings.http, host="127.0.0.1"))
        process = await self._stack.enter_async_context(app.running(local, app.Role.UP, port=0))
        self._embedded = str(process.url)
        return self._embedded


def installation_keys(settings: Settings) -> Keys:
    """The installation's keys. Raises ``It0Error`` when they are not readable."""
    if settings.secret_key:
        return Keys(settings.secret_key)
    try:
        return Keys((settings.data_dir / KEY_FILE).read_text(encoding="ascii").strip())
    except OSError as error:
        raise It0Error(
            f"The key of this installation cannot be read ({settings.data_dir / KEY_FILE}: "
            f"{error.strerror}). Run the command as the user that runs IT0."
        ) from error


async def _held_url(settings: Settings, found: Holder) -> str | None:
    """Where the holder serves; None while it does not, or when it has just gone."""
    if found.url is None:
        return None
    proven = await _proves_itself(settings, found.url)
    if proven is False:
        raise It0Error(
            f"What answers at {found.url} does not prove that it is this installation, so it "
            f"gets no token. Process {found.pid} holds {settings.data_dir}; is its "
            "IT0_SECRET_KEY another one?"
        )
    return found.url if proven else None


async def _shared_url(settings: Settings) -> str | None:
    """On PostgreSQL: the configured address, if this installation really answers there."""
    url = settings.http.url()
    return url if await _proves_itself(settings, url) else None


async def _proves_itself(settings: Settings, url: str) -> bool | None:
    """Whether the server holds our key; None when nobody answers."""
    nonce = secrets.token_hex(32)
    wanted = identity_proof(installation_keys(settings).derive("identity"), nonce)
    timeout = aiohttp.ClientTimeout(total=_ASK_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(
                f"{url}/healthz", params={"nonce": nonce}, allow_redirects=False
            ) as response,
        ):
            answer = await response.json(content_type=None)
    except ValueError:
        return False
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    proof = answer.get("proof") if isinstance(answer, dict) else None
    return isinstance(proof, str) and hmac.compare_digest(proof.encode(), wanted.encode())


def _silent(settings: Settings, found: Holder) -> str:
    who = f"Process {found.pid}" if found.pid else "Another process"
    return (
        f"{who} is using {settings.data_dir} and does not answer over HTTP (it may be another "
        "command, or hang). Try again when it has ended."
    )
