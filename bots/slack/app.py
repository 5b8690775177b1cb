"""The Slack adapter: Bolt with one set of listeners for HTTP and Socket Mode."""

from __future__ import annotations

import json
import logging
import os
import re
from asyncio import Event
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bots.slack.fields import Json, node, text
from bots.slack.files import SlackFiles
from bots.slack.handlers import Handlers
from bots.slack.install import Install
from bots.slack.manifest import EVENTS_PATH
from bots.slack.notices import Notices
from bots.slack.pace import Pace
from bots.slack.people import People
from bots.slack.ports import Installs, NoSummary, Recent, Summary
from bots.slack.seldom import Seldom
from bots.slack.sink import DirectMessages, SlackSink
from bots.slack.sockets import SocketMode
from bots.slack.workspaces import Api, Workspaces
from core.buttons import Buttons
from core.errors import It0Error
from core.inbox import Inbox
from core.intake import FileSource
from core.sinks import ReplySink

_OK = 200
_ANY = re.compile("")
_READ_BY_BOLT = (
    "SLACK_BOT_TOKEN",
    "SLACK_CLIENT_ID",
    "SLACK_CLIENT_SECRET",
    "SLACK_VERIFICATION_TOKEN",
)

_log = structlog.get_logger()
_bolt_log = logging.getLogger("slack_bolt")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackConfig:
    """How Slack is reached."""

    bot_token: str | None = field(repr=False)
    """Of the only workspace (``SLACK_BOT_TOKEN``); None where workspaces install the app."""
    app_token: str | None = field(repr=False)
    """For Socket Mode (``SLACK_APP_TOKEN``)."""
    signing_secret: str | None = field(repr=False)
    """For events over HTTP (``SLACK_SIGNING_SECRET``)."""
    client_id: str | None
    client_secret: str | None = field(repr=False)
    api_url: str | None
    """Ends in ``/api/``; None for Slack itself."""
    public_url: str | None
    """Where Slack and browsers reach this installation."""


class Slack:
    """Slack, as the composition root sees it."""

    def __init__(
        self,
        config: SlackConfig,
        workspaces: Workspaces,
        buttons: Buttons,
        recent: Recent,
        summary: Summary,
        notices: Notices,
        state_key: bytes,
    ) -> None:
        """Use ``open``."""
        self._config = config
        self._workspaces = workspaces
        self._buttons = buttons
        self._recent = recent
        self._summary = summary
        self._notices = notices
        self._state_key = state_key
        pace = Pace()
        self._people = People(pace)
        self._direct = DirectMessages()
        self._seldom = Seldom()
        self.sink: ReplySink = SlackSink(workspaces, buttons, self._direct, pace)
        self.files: FileSource = SlackFiles(workspaces)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: SlackConfig,
        buttons: Buttons,
        installs: Installs,
        recent: Recent,
        state_key: bytes,
        summary: Summary | None = None,
    ) -> AsyncGenerator[Slack]:
        """Build the adapter; nothing is sent yet. ``summary`` is shown on the Home tab."""
        base = config.api_url and config.api_url.rstrip("/") + "/"
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100))
            )
            notices = await stack.enter_async_context(Notices.open())
            workspaces = Workspaces(Api(session, base), installs, config.bot_token)
            shown = summary or NoSummary()
            yield cls(config, workspaces, buttons, recent, shown, notices, state_key)

    def routes(self, inbox: Inbox) -> list[web.RouteDef]:
        """What Slack and whoever installs the app call."""
        config, routes = self._config, list[web.RouteDef]()
        if config.signing_secret:
            bolt = self._bolt(inbox)

            async def events(request: web.Request) -> web.Response:
                answer = await bolt.async_dispatch(await to_bolt_request(request))
                return await to_aiohttp_response(answer)

            routes.append(web.post(EVENTS_PATH, events))
        if config.client_id and config.client_secret and config.public_url:
            install = Install(
                workspaces=self._workspaces,
                client_id=config.client_id,
                client_secret=config.client_secret,
                public_url=config.public_url,
                state_key=self._state_key,
            )
            routes += install.routes()
        return routes

    async def listen(self, inbox: Inbox) -> None:
        """Hear from Slack until cancelled: Socket Mode, or nothing where events come by HTTP."""
        problem = await self._workspaces.check()
        if problem:
            _log.error("slack.wrong_token", problem=problem)
        if self._config.app_token is None:
            await Event().wait()
            return
        bolt = self._bolt(inbox)

        async def handle(envelope: Json) -> Mapping[str, object] | None:
            payload = dict(node(envelope, "payload"))
            answer = await bolt.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=payload))
            return None if answer.status != _OK else _payload(answer)

        await SocketMode(self._workspaces.api, self._config.app_token, handle).run()

    def _bolt(self, inbox: Inbox) -> AsyncApp:
        handlers = Handlers(
            inbox=inbox,
            workspaces=self._workspaces,
            people=self._people,
            direct=self._direct,
            buttons=self._buttons,
            recent=self._recent,
            summary=self._summary,
            notices=self._notices,
            seldom=self._seldom,
        )
        with _unread_environment():
            bolt = AsyncApp(
                name="it0",
                logger=_bolt_log,
                client=self._workspaces.api.client(None),
                authorize=_authorize,
                signing_secret=self._config.signing_secret or "",
                process_before_response=True,
                ignoring_self_events_enabled=False,
                attaching_function_token_enabled=False,
                attaching_conversation_kwargs_enabled=False,
            )
        _listen(bolt, handlers)
        return bolt


@contextmanager
def _unread_environment() -> Iterator[None]:
    """Keep Bolt from reading tokens and OAuth settings by itself: it was given all that it needs.

    With ``SLACK_BOT_TOKEN`` it warns of two tokens; with ``SLACK_CLIENT_ID`` it sets up an
    installation flow of its own.
    """
    hidden = {name: os.environ.pop(name) for name in _READ_BY_BOLT if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


async def _authorize(team_id: str | None, enterprise_id: str | None) -> AuthorizeResult:
    """Let everything that is signed pass: the handlers look the installation up themselves."""
    return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id)


def _listen(bolt: AsyncApp, handlers: Handlers) -> None:
    """One listener for each kind; Bolt acknowledges after they return, and not if they raise."""

    async def event(body: dict[str, object]) -> None:
        await handlers.event(body)

    async def action(body: dict[str, object], ack: AsyncAck) -> None:
        await handlers.press(body)
        await ack()

    async def command(body: dict[str, object], ack: AsyncAck) -> None:
        await ack(await handlers.command(body))

    async def failed(error: Exception, body: dict[str, object]) -> BoltResponse:
        kind = text(body, "event", "type") or text(body, "type") or "command"
        if isinstance(error, It0Error):
            _log.warning("slack.not_acknowledged", kind=kind, code=error.code)
        else:
            _log.error("slack.handler_crashed", kind=kind, exc_info=error)
        return BoltResponse(status=500, body="")

    bolt.event(_ANY)(event)
    bolt.action(_ANY)(action)
    bolt.command(_ANY)(command)
    bolt.error(failed)


def _payload(answer: BoltResponse) -> Mapping[str, object]:
    """What an acknowledgement says, in the form that Socket Mode wants."""
    if not answer.body:
        return {}
    try:
        return node(json.loads(answer.body))
    except ValueError:
        return {"text": answer.body}
