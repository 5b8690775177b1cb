"""The bytes of files that people attach."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp

from bots.slack.fields import text
from bots.slack.workspaces import Installation, Workspaces
from core.commands_text import code
from core.intake import FetchFailed
from core.messages import RemoteFile
from core.sinks import DeliveryFailed
from core.words import sentence

FETCH_S = 40
_CHUNK = 64 * 1024
_HTTP_OK = 200
_SERVER_ERROR = 500
_TOO_MANY = 429
_PORTS = {"http": 80, "https": 443}


class SlackFiles:
    """Implements ``core.intake.FileSource``."""

    def __init__(self, workspaces: Workspaces) -> None:
        """Files are fetched with the workspace's token."""
        self._workspaces = workspaces
        self._own = _origin(workspaces.api.base_url) if workspaces.api.custom else None

    async def fetch(self, workspace: str, file: RemoteFile, limit: int) -> bytes:
        """See the port. The token is sent to Slack's own hosts only, or the configured one."""
        try:
            installation = await self._workspaces.need(workspace)
            url = file.ref if "://" in file.ref else await _url_of(installation, file)
        except DeliveryFailed as failure:
            raise FetchFailed(failure.sentence, permanent=failure.permanent) from None
        origin = _origin(url)
        if origin is None or not (_is_slack(origin) or origin == self._own):
            said = sentence(
                "{name} is not stored in Slack. Upload the file itself.", name=_name(file)
            )
            raise FetchFailed(said, permanent=True)
        try:
            return await self._download(installation, url, file, limit)
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise _later(file) from None

    async def _download(
        self, installation: Installation, url: str, file: RemoteFile, limit: int
    ) -> bytes:
        async with installation.api.session.get(
            url,
            headers={"Authorization": f"Bearer {installation.token}"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=FETCH_S),
        ) as answer:
            if answer.status >= _SERVER_ERROR or answer.status == _TOO_MANY:
                raise _later(file)
            login = answer.content_type == "text/html" and file.media_type != "text/html"
            if answer.status != _HTTP_OK or login:
                raise _not_allowed(file)
            data = bytearray()
            async for chunk in answer.content.iter_chunked(_CHUNK):
                data += chunk
                if len(data) > limit:
                    said = sentence("{name} is too large.", name=_name(file))
                    raise FetchFailed(said, permanent=True)
            return bytes(data)


_Origin = tuple[str, str, int]


def _origin(url: str) -> _Origin | None:
    """Scheme, host and port of an address; None for one that no browser would open."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return parts.scheme, (parts.hostname or "").rstrip("."), port


def _is_slack(origin: _Origin) -> bool:
    scheme, host, port = origin
    secure = scheme == "https" and port == _PORTS["https"]
    return secure and (host == "slack.com" or host.endswith(".slack.com"))


def _name(file: RemoteFile) -> str:
    """What somebody called it, so that nothing in it becomes a link."""
    return code(" ".join(file.name.split()))


async def _url_of(installation: Installation, file: RemoteFile) -> str:
    """Files of shared channels come as an id alone."""
    try:
        answer = await installation.call("files.info", file=file.ref)
    except DeliveryFailed as failure:
        raise (_not_allowed(file) if failure.permanent else _later(file)) from None
    return text(answer, "file", "url_private_download") or text(answer, "file", "url_private")


def _later(file: RemoteFile) -> FetchFailed:
    said = sentence("Slack does not hand out {name} just now.", name=_name(file))
    return FetchFailed(said, permanent=False)


def _not_allowed(file: RemoteFile) -> FetchFailed:
    said = sentence(
        "Slack does not let me read {name}: it was deleted, or the app lacks the scope files:read.",
        name=_name(file),
    )
    return FetchFailed(said, permanent=True)
