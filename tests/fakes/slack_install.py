"""OAuth: the authorize page that redirects at once, and the exchange of its single-use code."""

from __future__ import annotations

import base64
import secrets
import time
import urllib.parse
from dataclasses import dataclass

from aiohttp import web

from tests.fakes.slack_model import App, Json, SlackError
from tests.fakes.slack_team import Team
from tests.fakes.slack_user import User

CODE_LIFE_S = 600.0


@dataclass(slots=True, kw_only=True)
class Code:
    """A temporary code."""

    team: Team
    user: User
    redirect_uri: str
    made_at: float
    used: bool = False


class Installs:
    """Who installs the app next, and the codes given out."""

    def __init__(self, app: App, teams: dict[str, Team]) -> None:
        """Nobody installs until ``installer`` is set."""
        self.installer: User | None = None
        """Whoever looks at the authorize page; they always agree, unless ``denies``."""
        self.denies = False
        self.redirect_uris: tuple[str, ...] = ()
        """The registered ones; empty: any."""
        self._app = app
        self._teams = teams
        self._codes: dict[str, Code] = {}

    async def authorize(self, request: web.Request) -> web.Response:
        """Redirect with ``code`` and ``state``, or with ``error=access_denied``."""
        query, user = request.query, self.installer
        if query.get("client_id") != self._app.client_id:
            return web.Response(text="Invalid client_id parameter", status=400)
        redirect = query.get("redirect_uri") or next(iter(self.redirect_uris), "")
        if self.redirect_uris and redirect not in self.redirect_uris:
            return web.Response(text="redirect_uri did not match any configured URIs", status=400)
        if not query.get("scope") or user is None:
            return web.Response(text="Invalid permissions requested", status=400)
        answer = {"state": query.get("state", "")}
        if self.denies:
            answer["error"] = "access_denied"
        else:
            user.team.scopes = frozenset(query["scope"].replace(",", " ").split())
            answer["code"] = self.code(user, query.get("redirect_uri", ""))
        raise web.HTTPFound(f"{redirect}?{urllib.parse.urlencode(answer)}")

    def code(self, user: User, redirect_uri: str = "") -> str:
        """A code as the authorize page gives it."""
        code = f"{user.team.id}.{secrets.token_hex(12)}"
        self._codes[code] = Code(
            team=user.team, user=user, redirect_uri=redirect_uri, made_at=time.monotonic()
        )
        return code

    def access(self, args: Json, authorization: str) -> Json:
        """``oauth.v2.access``. Raises ``SlackError``."""
        client_id, client_secret = args.get("client_id"), args.get("client_secret")
        if authorization.startswith("Basic "):
            plain = base64.b64decode(authorization[6:]).decode()
            client_id, _, client_secret = plain.partition(":")
        if client_id != self._app.client_id:
            raise SlackError("invalid_client_id")
        if client_secret != self._app.client_secret:
            raise SlackError("bad_client_secret")
        code = self._codes.get(str(args.get("code", "")))
        if code is None:
            raise SlackError("invalid_code")
        if code.used:
            raise SlackError("code_already_used")
        if time.monotonic() - code.made_at > CODE_LIFE_S:
            raise SlackError("code_expired")
        if (args.get("redirect_uri") or "") != code.redirect_uri:
            raise SlackError("bad_redirect_uri")
        code.used = True
        return self._installed(code)

    def _installed(self, code: Code) -> Json:
        team = code.team
        return {
            "app_id": self._app.id,
            "authed_user": {"id": code.user.id},
            "scope": ",".join(sorted(team.scopes)),
            "token_type": "bot",
            "access_token": team.install(),
            "bot_user_id": team.bot_user_id,
            "team": {"id": team.id, "name": team.name},
            "enterprise": None,
            "is_enterprise_install": False,
        }
