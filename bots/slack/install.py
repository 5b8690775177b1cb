"""Workspaces install the app by themselves: OAuth 2 (docs.slack.dev/authentication/oauth-v2).

The ``state`` is signed, expires, is bound to the browser by a cookie, and is used once in this
process; Slack's own codes are used once anyway.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import structlog
from aiohttp import web

from bots.slack.errors import Refused
from bots.slack.fields import Json, text
from bots.slack.manifest import BOT_SCOPES, COMMAND, REDIRECT_PATH
from bots.slack.workspaces import Workspaces
from core.sinks import DeliveryFailed

INSTALL_PATH = "/slack/install"
COOKIE = "it0_slack_install"
STATE_TTL_S = 600

_log = structlog.get_logger()


@dataclass(slots=True)
class States:
    """Makes and checks the ``state`` of an installation."""

    key: bytes
    now: Callable[[], float] = time.time
    _used: dict[str, int] = field(default_factory=dict)

    def make(self, cookie: str) -> str:
        """A state for the browser that has this cookie."""
        expires = int(self.now()) + STATE_TTL_S
        head = f"{expires}.{secrets.token_urlsafe(16)}"
        return f"{head}.{self._mac(head, cookie)}"

    def take(self, state: str, cookie: str) -> bool:
        """Whether it is ours, of this browser, not expired and not used; uses it."""
        head, _, mac = state.rpartition(".")
        expires = head.partition(".")[0]
        if not hmac.compare_digest(mac.encode(), self._mac(head, cookie).encode()):
            return False
        now = int(self.now())
        self._used = {used: until for used, until in self._used.items() if until > now}
        if int(expires) <= now or head in self._used:
            return False
        self._used[head] = int(expires)
        return True

    def _mac(self, head: str, cookie: str) -> str:
        return hmac.new(self.key, f"{head}\0{cookie}".encode(), hashlib.sha256).hexdigest()


class Install:
    """The two pages of an installation."""

    def __init__(
        self,
        *,
        workspaces: Workspaces,
        client_id: str,
        client_secret: str,
        public_url: str,
        state_key: bytes,
    ) -> None:
        """``public_url`` is where browsers reach this installation."""
        self._workspaces = workspaces
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect = public_url.rstrip("/") + REDIRECT_PATH
        self._secure = public_url.startswith("https://")
        self._states = States(state_key)

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.get(INSTALL_PATH, self.begin, allow_head=False),
            web.get(REDIRECT_PATH, self.finish, allow_head=False),
        ]

    async def begin(self, _request: web.Request) -> web.Response:
        """Send the browser to Slack."""
        cookie = secrets.token_urlsafe(16)
        query = {
            "client_id": self._client_id,
            "scope": ",".join(BOT_SCOPES),
            "redirect_uri": self._redirect,
            "state": self._states.make(cookie),
        }
        site = self._workspaces.api.base_url.removesuffix("/").removesuffix("/api")
        answer = web.Response(
            status=302, headers={"Location": f"{site}/oauth/v2/authorize?{urlencode(query)}"}
        )
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=STATE_TTL_S,
            path="/slack",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
        return answer

    async def finish(self, request: web.Request) -> web.Response:
        """Take the code, and the token for it."""
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or not self._states.take(request.query.get("state", ""), cookie):
            return _page(
                400, f"This link is not valid any more. Begin again at {INSTALL_PATH}, please."
            )
        if request.query.get("error"):
            return _page(403, "The app was not installed: Slack says that it was not allowed.")
        answer = await self._exchange(request.query.get("code", ""))
        if answer is None:
            return _page(
                502, f"Slack did not confirm the installation. Begin again: {INSTALL_PATH}"
            )
        workspace = text(answer, "team", "id")
        token, bot_user = text(answer, "access_token"), text(answer, "bot_user_id")
        if not workspace or not token or not bot_user or answer.get("is_enterprise_install"):
            return _page(400, "Install the app in one workspace, not in a whole organisation.")
        await self._workspaces.save(workspace, bot_user, token)
        _log.info("slack.installed", workspace=workspace)
        name = text(answer, "team", "name") or workspace
        page = _page(
            200,
            f"IT0 is installed in {name}. To let its people in, an admin writes"
            f" {COMMAND} link CODE there, with a code of `it0 link`.",
        )
        page.del_cookie(COOKIE, path="/slack")
        return page

    async def _exchange(self, code: str) -> Json | None:
        given = {
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "code": code,
            "redirect_uri": self._redirect,
        }
        try:
            return await self._workspaces.api.call("", "oauth.v2.access", given)
        except DeliveryFailed as failure:
            reason = failure.reason if isinstance(failure, Refused) else "unreachable"
            _log.warning("slack.install_failed", reason=reason)
            return None


def _page(status: int, sentence: str) -> web.Response:
    body = f"<!doctype html><meta charset=utf-8><title>IT0</title><p>{html.escape(sentence)}</p>"
    return web.Response(status=status, text=body, content_type="text/html")
