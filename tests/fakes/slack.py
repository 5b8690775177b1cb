"""A strict fake of Slack on loopback: Web API, Events API, Socket Mode, OAuth, files.

``async with SlackFake() as slack`` runs in the test's own process, so it survives the workers
that are killed around it. ``slack.team("acme")`` is an installed workspace; its users act
(``team.user("ann").say(...)``) and the app under test hears of it, over signed HTTP when
``slack.events_url`` is set, otherwise over Socket Mode. Every message keeps all the texts it
ever showed, and every call its outcome. ``slack.weather`` makes it fail, ``slack.limits``
makes it slow, ``slack.switches`` takes streaming and the agent methods away.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar

from aiohttp import web

from tests.fakes.slack_api import Api
from tests.fakes.slack_blocks import pings, plain_text
from tests.fakes.slack_calls import Switches
from tests.fakes.slack_delivery import Delivery, Outbox
from tests.fakes.slack_files import download, receive
from tests.fakes.slack_install import Installs
from tests.fakes.slack_limits import RateLimits
from tests.fakes.slack_model import (
    ALL_SCOPES,
    App,
    Call,
    Channel,
    File,
    Message,
    SlackError,
    Violation,
    Weather,
)
from tests.fakes.slack_responses import ResponseUrl, respond
from tests.fakes.slack_team import Team
from tests.fakes.slack_user import Interaction, User

__all__ = [
    "Call",
    "Channel",
    "Delivery",
    "File",
    "Interaction",
    "Message",
    "ResponseUrl",
    "SlackFake",
    "Team",
    "User",
    "Violation",
    "Weather",
    "pings",
    "plain_text",
]
T = TypeVar("T")


class SlackFake:
    """The server and everything a test asks of it."""

    def __init__(
        self,
        *,
        streaming: bool = True,
        agents: bool = True,
        rate_limits: bool = False,
        max_delay_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        """``max_delay_s`` is the longest random pause before, and after, an effect."""
        self.app = App()
        self.app.weather.max_delay_s = max_delay_s
        self.switches = Switches(streaming=streaming, agents=agents)
        self.limits = RateLimits(enabled=rate_limits)
        self.teams: dict[str, Team] = {}
        self.outbox = Outbox(self.app, seed=seed)
        self.installs = Installs(self.app, self.teams)
        self._api = Api(
            app=self.app,
            teams=self.teams,
            limits=self.limits,
            switches=self.switches,
            installs=self.installs,
            sockets=self.outbox.sockets,
            random=random.Random(seed),
        )
        server = web.Application(client_max_size=64 * 2**20)
        add = server.router.add_route
        add("*", "/api/{method}", self._api.handle)
        add("GET", "/link/", self.outbox.sockets.handle)
        add("POST", "/upload/v1/{file}", self._upload)
        add("GET", "/files-pri/{key}/download/{name}", self._download)
        add("GET", "/files-pri/{key}/{name}", self._download)
        add("POST", "/responses/{team}/{key}", self._respond)
        add("GET", "/oauth/v2/authorize", self.installs.authorize)
        self._runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=512).start()
        self.app.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop delivering, then listening."""
        await self.outbox.close()
        await self._runner.cleanup()

    # -- what the app under test needs --------------------------------------------------

    @property
    def url(self) -> str:
        """Where Slack itself is (``/oauth/v2/authorize``)."""
        return self.app.base_url

    @property
    def api_url(self) -> str:
        """The base URL for the SDK."""
        return f"{self.app.base_url}/api/"

    @property
    def app_token(self) -> str:
        """The ``xapp-`` token for Socket Mode."""
        return self.app.app_token

    @property
    def signing_secret(self) -> str:
        """What requests are signed with."""
        return self.app.signing_secret

    # -- what a test controls -----------------------------------------------------------

    @property
    def weather(self) -> Weather:
        """What goes wrong."""
        return self.app.weather

    @property
    def events_url(self) -> str | None:
        """Where events, interactions and commands are posted; None: Socket Mode."""
        return self.outbox.url

    @events_url.setter
    def events_url(self, url: str | None) -> None:
        self.outbox.url = url

    def team(self, name: str, *, installed: bool = True, scopes: str = ALL_SCOPES) -> Team:
        """The workspace of this name; made when new."""
        for team in self.teams.values():
            if team.name == name:
                return team
        team = Team(self.app, self.outbox, self.teams, name, scopes)
        if installed:
            team.install()
        return team

    def backwards(self) -> AbstractContextManager[None]:
        """What users do inside reaches the app afterwards, last first."""
        return self.outbox.backwards()

    # -- what a test asks ---------------------------------------------------------------

    def calls(self, method: str | None = None) -> list[Call]:
        """The calls of a method, or all."""
        return [call for call in self.app.calls if method in {None, call.method}]

    def count(self, method: str) -> int:
        """How many calls of a method took effect."""
        return sum(call.method == method and call.error == "" for call in self.app.calls)

    def deliveries(self, event_type: str | None = None) -> list[Delivery]:
        """The events of a type, or everything the app was told."""
        return [item for item in self.outbox.deliveries if event_type in {None, item.event_type}]

    def messages(self, channel: Channel, thread_ts: str | None = None) -> list[Message]:
        """What a channel or a thread shows now, oldest first; deleted messages are gone."""
        if thread_ts is not None:
            return channel.thread(thread_ts)
        return [item for item in channel.messages.values() if item.deleted_at is None]

    def bot_messages(self, channel: Channel, thread_ts: str | None = None) -> list[Message]:
        """The same, of this app's bot only, without the invisible root of an assistant thread."""
        return [
            item
            for item in self.messages(channel, thread_ts)
            if item.app_id == self.app.id and item.subtype != "assistant_app_thread"
        ]

    def texts(self, channel: Channel, thread_ts: str | None = None) -> list[str]:
        """The visible texts of the bot's messages."""
        return [plain_text(item) for item in self.bot_messages(channel, thread_ts)]

    async def wait_for(self, predicate: Callable[[], T], timeout_s: float = 10.0) -> T:
        """Return the first true value of ``predicate``. Raises ``TimeoutError``."""
        return await self.app.watch.until(predicate, timeout_s)

    async def settled(self) -> None:
        """Wait until every event was accepted or given up."""
        await self.outbox.settled()

    # -- the other routes ---------------------------------------------------------------

    async def _upload(self, request: web.Request) -> web.Response:
        return await receive(self.app, self.teams, request)

    async def _download(self, request: web.Request) -> web.Response:
        return download(self.app, self.teams, request)

    async def _respond(self, request: web.Request) -> web.Response:
        team = self.teams.get(request.match_info["team"])
        found = team.response_urls.get(request.match_info["key"]) if team else None
        if team is None or found is None:
            return web.json_response({"ok": False, "error": "invalid_url"}, status=404)
        if found.used_up:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        try:
            respond(team, found, json.loads(await request.text()))
        except SlackError as refusal:
            return web.json_response({"ok": False, "error": refusal.code}, status=400)
        except ValueError:
            return web.json_response({"ok": False, "error": "invalid_payload"}, status=400)
        return web.Response(text="ok")
