"""The workspaces that the app is installed in, and calls of Slack's Web API on their behalf."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.errors import (
    DEAD_TOKEN,
    Refused,
    Unclear,
    limited,
    not_installed,
    refused,
    replaceable,
)
from bots.slack.fields import Json, node, text
from bots.slack.ports import Installs

PLATFORM = "slack"
CALL_S = 15
_REREAD_S = 300.0
"""How long a worker believes in a token that another process may have replaced."""
_MOST_KNOWN = 1_000
_READS = frozenset({"conversations.history", "conversations.replies", "users.info", "files.info"})
"""Methods that take no JSON body (docs.slack.dev/apis/web-api, "Methods supporting JSON")."""
_FORMS = frozenset({"oauth.v2.access"})

_log = structlog.get_logger()


class Api:
    """Slack's Web API; one HTTP session for all workspaces."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str | None) -> None:
        """``base_url`` ends in ``/api/``; None for Slack itself."""
        self.session = session
        self.base_url = base_url or AsyncWebClient.BASE_URL
        self.custom = base_url is not None
        """A server of one's own, not Slack's."""
        self._client = self.client(None)

    def client(self, token: str | None) -> AsyncWebClient:
        """A client that never repeats a call by itself: a repeated post would be a second one."""
        client = AsyncWebClient(
            token=token,
            base_url=self.base_url,
            timeout=CALL_S,
            session=self.session,
            retry_handlers=[],
        )
        if self.custom:  # it is not reached through the proxy
            client.proxy = None
        return client

    async def call(self, token: str, method: str, arguments: Mapping[str, object]) -> Json:
        """Call a method with JSON, or with a query where JSON is not taken.

        Raises ``Refused`` when Slack says no and ``Unclear`` when it cannot be known.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        read, form = method in _READS, method in _FORMS
        try:
            async with asyncio.timeout(CALL_S):
                answer = await self._client.api_call(
                    method,
                    http_verb="GET" if read else "POST",
                    params=given if read else None,
                    data=given if form else None,
                    json=None if read or form else given,
                    headers={"Authorization": f"Bearer {token}"} if token else {},
                )
        except SlackApiError as error:
            raise _failure(error) from None
        except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError, ValueError):
            raise Unclear from None
        return node(answer.data)


def _failure(error: SlackApiError) -> Exception:
    response = error.response
    status = getattr(response, "status_code", None) or getattr(response, "status", 0)
    if status == 429:  # noqa: PLR2004  # Too Many Requests
        headers = {str(k).lower(): v for k, v in dict(response.headers or {}).items()}
        return limited(_seconds(headers.get("retry-after")))
    data = getattr(response, "data", None)
    reason = text(data, "error")
    if not reason:
        return Unclear()
    return refused(reason, text(data, "needed"))


def _seconds(value: object) -> float:
    try:
        return max(0.5, float(str(value)))
    except ValueError:
        return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The app in one workspace."""

    workspace: str
    bot_user: str
    token: str = field(repr=False)
    api: Api = field(repr=False)
    configured: bool = False
    """The token is ``SLACK_BOT_TOKEN``, which its operator can replace."""

    async def call(self, method: str, **arguments: object) -> Json:
        """Call a method as the bot. Raises ``DeliveryFailed``."""
        try:
            return await self.api.call(self.token, method, arguments)
        except Refused as failure:
            raise (replaceable(failure) if self.configured else failure) from None


class Workspaces:
    """Finds the installation of a workspace: an installed one, or the configured token's."""

    def __init__(self, api: Api, installs: Installs, bot_token: str | None) -> None:
        """``bot_token`` is that of the only workspace, where there is one."""
        self.api = api
        self._installs = installs
        self._bot_token = bot_token
        self._own: Installation | None = None
        self._known: OrderedDict[str, tuple[float, Installation]] = OrderedDict()
        self._lock = asyncio.Lock()

    async def of(self, workspace: str) -> Installation | None:
        """The installation, or None. Raises ``DeliveryFailed`` or ``StorageFailure``."""
        known = self._known.get(workspace)
        if known is not None and time.monotonic() - known[0] < _REREAD_S:
            return known[1]
        secret = await self._installs.find(PLATFORM, workspace)
        if secret is not None:
            return self._remember(_read(workspace, secret, self.api))
        self._known.pop(workspace, None)
        own = await self.own()
        return own if own is not None and own.workspace == workspace else None

    async def need(self, workspace: str) -> Installation:
        """The installation, to reply with. Raises ``DeliveryFailed``."""
        found = await self.of(workspace)
        if found is None:
            raise not_installed()
        return found

    async def own(self) -> Installation | None:
        """Whose ``SLACK_BOT_TOKEN`` is; asked once."""
        if self._bot_token is None or self._own is not None:
            return self._own
        async with self._lock:
            if self._own is None:
                try:
                    answer = await self.api.call(self._bot_token, "auth.test", {})
                except Refused as failure:
                    raise replaceable(failure) from None
                self._own = Installation(
                    workspace=text(answer, "team_id"),
                    bot_user=text(answer, "user_id"),
                    token=self._bot_token,
                    api=self.api,
                    configured=True,
                )
        return self._own

    async def save(self, workspace: str, bot_user: str, token: str) -> None:
        """Keep a new installation."""
        secret = json.dumps({"token": token, "bot_user": bot_user})
        await self._installs.save(PLATFORM, workspace, secret)
        self._known.pop(workspace, None)

    async def remove(self, workspace: str) -> None:
        """The workspace took its token back; a late word of that must not cost a newer one."""
        self._known.pop(workspace, None)
        found = await self.of(workspace)
        if found is None or await self._works(found):
            return
        await self._installs.revoke(PLATFORM, workspace)
        self._known.pop(workspace, None)
        if self._own is not None and self._own.workspace == workspace:
            self._own = None
            _log.error("slack.token_revoked", variable="SLACK_BOT_TOKEN")

    async def _works(self, installation: Installation) -> bool:
        """Whether Slack takes the token. Raises ``DeliveryFailed`` where that is not known."""
        try:
            await installation.call("auth.test")
        except Refused as refusal:
            if refusal.reason in DEAD_TOKEN:
                return False
            raise
        return True

    async def check(self) -> str | None:
        """What is wrong with the configured token, in a sentence; None when it is good."""
        try:
            await self.own()
        except Refused as refusal:
            if refusal.reason in DEAD_TOKEN:
                return (
                    f"Slack refuses SLACK_BOT_TOKEN ({refusal.reason}). Copy the Bot User OAuth"
                    " Token (xoxb-...) from the app's page OAuth & Permissions."
                )
            return f"SLACK_BOT_TOKEN: {refusal.sentence}"
        except Unclear:
            return None
        return None

    def _remember(self, found: Installation) -> Installation:
        self._known[found.workspace] = (time.monotonic(), found)
        self._known.move_to_end(found.workspace)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return found


def _read(workspace: str, secret: str, api: Api) -> Installation:
    stored = json.loads(secret)
    return Installation(
        workspace=workspace,
        bot_user=text(stored, "bot_user"),
        token=text(stored, "token"),
        api=api,
    )
