"""The Web API's front door: token, weather, rate limit, scope, then the method."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass

from aiohttp import web

from tests.fakes import slack_agents, slack_chat, slack_files, slack_reads, slack_streams
from tests.fakes.slack_calls import ApiCall, Method, Switches
from tests.fakes.slack_install import Installs
from tests.fakes.slack_limits import SPECIAL, TIER_1, TIER_3, TIER_4, RateLimits
from tests.fakes.slack_model import App, Call, Json, SlackError
from tests.fakes.slack_sockets import Sockets
from tests.fakes.slack_team import Team

METHODS: dict[str, Method] = {
    **slack_agents.METHODS,
    **slack_chat.METHODS,
    **slack_files.METHODS,
    **slack_reads.METHODS,
    **slack_streams.METHODS,
}
_TIERS = {
    "apps.connections.open": TIER_1 * 30,
    "oauth.v2.access": SPECIAL,
    "apps.uninstall": TIER_3,
}
"""The methods that this module carries out itself."""


@dataclass(slots=True, kw_only=True)
class Api:
    """Answers ``/api/METHOD``."""

    app: App
    teams: dict[str, Team]
    limits: RateLimits
    switches: Switches
    installs: Installs
    sockets: Sockets
    random: random.Random

    async def handle(self, request: web.Request) -> web.Response:
        """One call, from the request to the answer."""
        name = request.match_info["method"]
        try:
            args, body_token = await _arguments(request)
        except ValueError:
            self._note(name, {}, None, 200, "invalid_json")
            return web.json_response({"ok": False, "error": "invalid_json"})
        header = request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ") if header.startswith("Bearer ") else body_token
        team = next((item for item in self.teams.values() if token in item.tokens), None)
        covered = self._covered(name)
        if covered:
            await self._pause()
        status, retry = self._refusal(name, args, team) if covered else (200, 0)
        if status == 200:
            retry = self._too_fast(name, args, team)
            status = 429 if retry else 200
        if status != 200:
            return self._refused(name, args, team, status, retry)
        answer, error = self._answer(name, args, team, token, header, covered=covered)
        self._note(name, args, team, 200, error)
        if covered:
            await self._pause()
            if self.app.weather.lost_answers and not error:
                self.app.weather.lost_answers -= 1
                return web.Response(status=502, text="bad gateway")
        scopes = ",".join(sorted(team.scopes)) if team is not None else ""
        return web.json_response(answer, headers={"X-OAuth-Scopes": scopes})

    def _answer(
        self, name: str, args: Json, team: Team | None, token: str, header: str, *, covered: bool
    ) -> tuple[Json, str]:
        if covered and self.app.weather.errors:
            code = self.app.weather.errors.pop(0)
            return {"ok": False, "error": code}, code
        try:
            result = self._run(name, args, team, token, header)
        except SlackError as refusal:
            return {"ok": False, "error": refusal.code, **refusal.extra}, refusal.code
        return {"ok": True, **result}, ""

    def _run(self, name: str, args: Json, team: Team | None, token: str, header: str) -> Json:
        method = METHODS.get(name)
        if method is not None and method.switch and not getattr(self.switches, method.switch):
            method = None
        if method is None and name not in _TIERS:
            raise SlackError("unknown_method", req_method=name)
        if name == "oauth.v2.access":
            return self.installs.access(args, header)
        if name == "apps.connections.open":
            return self._connections_open(token, team)
        known = self._authorized(token, team)
        call = ApiCall(app=self.app, team=known, args=args, switches=self.switches)
        if method is None:
            return self._uninstall(call)
        needed = method.scope.split("|")
        if method.scope and known.scopes.isdisjoint(needed):
            provided = ",".join(sorted(known.scopes))
            raise SlackError("missing_scope", needed=needed[0], provided=provided)
        return method.run(call)

    def _authorized(self, token: str, team: Team | None) -> Team:
        if not token:
            raise SlackError("not_authed")
        if token == self.app.app_token:
            raise SlackError("not_allowed_token_type")
        if team is None:
            raise SlackError("invalid_auth")
        if team.tokens[token]:
            raise SlackError(team.tokens[token])
        return team

    def _connections_open(self, token: str, team: Team | None) -> Json:
        if team is not None:
            raise SlackError("not_allowed_token_type")
        if token != self.app.app_token:
            raise SlackError("invalid_auth" if token else "not_authed")
        return {"url": self.sockets.ticket()}

    def _uninstall(self, call: ApiCall) -> Json:
        if call.text("client_id") != self.app.client_id:
            raise SlackError("invalid_client_id")
        if call.text("client_secret") != self.app.client_secret:
            raise SlackError("bad_client_secret")
        call.team.uninstall()
        return {}

    def _covered(self, name: str) -> bool:
        chosen = self.app.weather.methods
        return chosen is None or name in chosen

    def _refusal(self, name: str, args: Json, team: Team | None) -> tuple[int, int]:
        weather = self.app.weather
        if weather.down:
            return 503, 0
        share = weather.limited_share
        if weather.limited or (share and self.random.random() < share):
            weather.limited = max(0, weather.limited - 1)
            return 429, weather.retry_after_s
        return 200, 0

    def _too_fast(self, name: str, args: Json, team: Team | None) -> int:
        method = METHODS.get(name)
        tier = method.tier if method is not None else _TIERS.get(name, TIER_4)
        channel = str(args.get("channel", ""))
        return self.limits.wait_s(name, team.id if team else "", channel, tier)

    def _refused(
        self, name: str, args: Json, team: Team | None, status: int, retry: int
    ) -> web.Response:
        if status == 503:
            self._note(name, args, team, 503, "service_unavailable")
            return web.Response(status=503, text="service unavailable")
        self._note(name, args, team, 429, "ratelimited")
        return web.json_response(
            {"ok": False, "error": "ratelimited"},
            status=429,
            headers={"Retry-After": str(retry)},
        )

    def _note(self, name: str, args: Json, team: Team | None, status: int, error: str) -> None:
        self.app.calls.append(
            Call(
                at=time.monotonic(),
                method=name,
                team=team.id if team is not None else "",
                status=status,
                error=error,
                args=args,
            )
        )
        self.app.watch.changed()

    async def _pause(self) -> None:
        if self.app.weather.max_delay_s:
            await asyncio.sleep(self.random.uniform(0, self.app.weather.max_delay_s))


async def _arguments(request: web.Request) -> tuple[Json, str]:
    """The arguments and the token, where the body may carry one: in a form, not in JSON."""
    args: Json = dict(request.query)
    args.pop("token", None)
    if request.content_type == "application/json":
        data = json.loads(await request.text() or "{}")
        args |= {key: value for key, value in data.items() if key != "token"}
        return args, ""
    form: Json = dict(await request.post()) if request.method == "POST" else {}
    token = str(form.pop("token", ""))
    return args | form, token
