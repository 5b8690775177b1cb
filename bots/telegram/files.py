"""The files of Telegram messages: the ``FileSource`` of the core."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError

from bots.telegram.client import Client, UnknownMethod
from core.intake import FetchFailed
from core.markdown import plain
from core.messages import RemoteFile
from core.words import sentence

DOWNLOAD_S = 45.0
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class TelegramFiles:
    """Fetches files by their id."""

    client: Client

    async def fetch(self, workspace: str, file: RemoteFile, limit: int) -> bytes:  # noqa: ARG002  # the port's signature
        """The bytes of a file, at most ``limit``. Raises ``FetchFailed``."""
        try:
            found = await self.client.bot.get_file(file.ref)
        except BadRequest as error:
            if "too big" in error.message.lower():
                raise _too_large(file) from error
            raise _failed(file, permanent=False) from error
        except (Forbidden, InvalidToken, UnknownMethod) as error:
            raise _failed(file, permanent=True) from error
        except TelegramError as error:
            raise _failed(file, permanent=False) from error
        if not found.file_path:
            raise _failed(file, permanent=True)
        return await self._download(found.file_path, file, limit)

    async def _download(self, url: str, file: RemoteFile, limit: int) -> bytes:
        seconds = aiohttp.ClientTimeout(total=DOWNLOAD_S)
        data = bytearray()
        try:
            async with self.client.session.get(url, timeout=seconds) as answer:
                if answer.status != HTTPStatus.OK:
                    gone = answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
                    raise _failed(file, permanent=gone)
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    data += chunk
                    if len(data) > limit:
                        raise _too_large(file)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise _failed(file, permanent=False) from None  # the error names the token
        return bytes(data)


def _failed(file: RemoteFile, *, permanent: bool) -> FetchFailed:
    name = plain(file.name)
    said = sentence("{name} could not be fetched from Telegram. Send it again.", name=name)
    return FetchFailed(said, permanent=permanent)


def _too_large(file: RemoteFile) -> FetchFailed:
    name = plain(file.name)
    said = sentence("{name} is too large. Send a smaller file, or a part of it.", name=name)
    return FetchFailed(said, permanent=True)
