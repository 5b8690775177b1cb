"""A strict fake of Telegram's Bot API on loopback: ``async with TelegramFake() as telegram``.

It runs in the test's own process, so it survives the workers that are killed around it. What
it refuses, and in which words, follows the source of the real server (tdlib/telegram-bot-api
and tdlib/td); where that repairs a bot's mistake in silence (entities outside of the text) this
fake refuses, because the product promises never to send such a thing. People and chats are
made with ``private``, ``group``, ``supergroup`` and ``channel``; what they do is in
``tests.fakes.telegram_chat``, what went wrong on the way in ``telegram.weather``.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.fakes.telegram_account import AccountMethods
from tests.fakes.telegram_chat import Chat
from tests.fakes.telegram_errors import ApiError, not_found, too_many
from tests.fakes.telegram_flood import FloodLimits, FloodModel, Penalty
from tests.fakes.telegram_hub import Hub
from tests.fakes.telegram_methods import MAX_UPLOAD, MessageMethods
from tests.fakes.telegram_params import Params, read_params
from tests.fakes.telegram_records import ANONYMOUS_ADMIN, Call, Message, Person, Weather
from tests.fakes.telegram_updates import Updates

__all__ = ["ANONYMOUS_ADMIN", "Chat", "FloodLimits", "Message", "Person", "TelegramFake"]

_BOT_ID = 123456
_PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
_Method = Callable[[Params], object]


class TelegramFake:
    """The server. Without ``flood`` limits it lets everything pass; ``drafts=False`` is old."""

    def __init__(
        self,
        *,
        token: str = f"{_BOT_ID}:TEST",
        username: str = "it0_bot",
        flood: FloodLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        drafts: bool = True,
        privacy: bool = False,
        max_delay_s: float = 0.0,
        seed: int = 0,
        callback_life_s: float = 30.0,
    ) -> None:
        """``max_delay_s`` is the longest random pause before, and after, an effect."""
        bot = Person(
            id=int(token.partition(":")[0]), first_name="IT0", username=username, is_bot=True
        )
        self.token = token
        self.bot = bot
        self.drafts = drafts
        self.weather = Weather()
        self.calls: list[Call] = []
        self.hub = Hub(bot=bot, clock=clock, privacy=privacy)
        self.hub.flood = None if flood is None else FloodModel(limits=flood, clock=clock)
        self.account = AccountMethods(self.hub)
        self.url = ""
        self._max_delay_s = max_delay_s
        self._random = random.Random(seed)
        self._by_method: dict[str, list[Call]] = defaultdict(list)
        messages = MessageMethods(self.hub, callback_life_s=callback_life_s)
        self._methods = {**_methods_of(self.account), **_methods_of(messages)}
        app = web.Application(client_max_size=MAX_UPLOAD + (1 << 20))
        app.router.add_route("*", "/bot{token}/{method}", self._call)
        app.router.add_get("/file/bot{token}/{path:.+}", self._download)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=512).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and posting."""
        await self.hub.updates.close()
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """What python-telegram-bot calls ``base_url``."""
        return f"{self.url}/bot"

    @property
    def base_file_url(self) -> str:
        """What python-telegram-bot calls ``base_file_url``."""
        return f"{self.url}/file/bot"

    # -- people and chats ---------------------------------------------------------------

    def person(
        self,
        user_id: int,
        *,
        first_name: str = "Ann",
        language_code: str = "en",
        username: str = "",
        is_bot: bool = False,
    ) -> Person:
        """Someone who has not started the bot."""
        return self.hub.person(
            Person(
                id=user_id,
                first_name=first_name,
                language_code=language_code,
                username=username,
                is_bot=is_bot,
            )
        )

    def private(
        self,
        user_id: int,
        *,
        first_name: str = "Ann",
        language_code: str = "en",
        username: str = "",
    ) -> Chat:
        """Someone who has started the bot, and their chat with it; the same one if asked again."""
        if user_id in self.hub.chats:
            return self.hub.chats[user_id]
        person = self.person(
            user_id, first_name=first_name, language_code=language_code, username=username
        )
        return Chat(self.hub, chat_id=user_id, kind="private", members=[person])

    def group(self, title: str, members: list[Person]) -> Chat:
        """A basic group with the bot in it."""
        number = -4_000_000_000 - self.hub.number()
        return Chat(self.hub, chat_id=number, kind="group", title=title, members=members)

    def supergroup(
        self,
        title: str = "Ops",
        members: list[Person] | None = None,
        *,
        forum: bool = False,
        username: str = "",
    ) -> Chat:
        """A supergroup with the bot in it; as a forum it has topics."""
        number = -1_001_000_000_000 - self.hub.number()
        chat = Chat(
            self.hub,
            chat_id=number,
            kind="supergroup",
            title=title,
            username=username,
            members=members,
        )
        chat.forum = forum
        return chat

    def channel(self, title: str = "News", *, username: str = "") -> Chat:
        """A channel with the bot as an administrator."""
        number = -1_002_000_000_000 - self.hub.number()
        return Chat(self.hub, chat_id=number, kind="channel", title=title, username=username)

    # -- what a test asks and steers ----------------------------------------------------

    @property
    def updates(self) -> Updates:
        """The queue of updates: ``hold``, ``release``, ``redeliver``, ``deliveries``."""
        return self.hub.updates

    @property
    def penalties(self) -> Mapping[int, list[Penalty]]:
        """Flood violations by chat; those over all chats together under 0."""
        return {} if self.hub.flood is None else self.hub.flood.penalties

    def redeliver(self, update_id: int) -> None:
        """Deliver an update a second time."""
        self.hub.updates.redeliver(update_id)

    def calls_of(self, *methods: str) -> list[Call]:
        """The calls of these methods, in the order of their arrival; of one, without a search."""
        if len(methods) == 1:
            return self._by_method[methods[0]]
        return [call for call in self.calls if call.method in methods]

    def count(self, method: str, chat_id: int | None = None) -> int:
        """How many calls of a method had an effect."""
        return sum(
            call.status == 200 and chat_id in {None, call.chat_id}
            for call in self._by_method[method]
        )

    def seen_by(self, user_id: int) -> list[Message]:
        """Every message that stands where this person can read it."""
        return [
            message
            for chat in self.hub.chats.values()
            if user_id in chat.members
            for message in chat.messages.values()
            if message.deleted_at is None
        ]

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait until the predicate holds. Raises TimeoutError."""
        await self.hub.wait_for(predicate, timeout_s)

    # -- the API ------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        name, method = self._methods.get(request.match_info["method"].lower(), ("", None))
        name = name or request.match_info["method"]
        try:
            params = await read_params(request)
        except ApiError as error:
            return self._answer(name, Params(values={}), error)
        await self._pause(name)
        if self.weather.down:
            self._note(name, params, 502, _PAGE)
            return web.Response(status=502, text=_PAGE, content_type="text/html")
        if self.weather.hits(name) and self.weather.dropped:
            self.weather.dropped -= 1
            self._note(name, params, 0, "connection dropped", lost=True)
            return _cut(request)
        try:
            self._check(request.match_info["token"], name)
            result = await self._run(method, params)
        except ApiError as error:
            return self._answer(name, params, error)
        lost = self.weather.hits(name) and self.weather.lost_answers > 0
        self.weather.lost_answers -= lost
        self._note(name, params, 200, "", lost=lost)
        await self._pause(name)
        return _cut(request) if lost else web.json_response({"ok": True, "result": result})

    async def _run(self, method: _Method | None, params: Params) -> object:
        if method is None:
            raise not_found()
        result = method(params)
        return await result if inspect.isawaitable(result) else result

    def _check(self, token: str, name: str) -> None:
        """Refuse a wrong token, a draft on an old server, and who comes in bad weather."""
        if token != self.token:
            raise ApiError(401, "Unauthorized")
        if name == "sendMessageDraft" and not self.drafts:
            raise not_found()
        weather = self.weather
        share = weather.limited_share
        if weather.hits(name) and (weather.limited or (share and self._random.random() < share)):
            weather.limited = max(0, weather.limited - 1)
            raise too_many(weather.retry_after_s)

    def _answer(self, name: str, params: Params, error: ApiError) -> web.Response:
        self._note(name, params, error.code, error.description)
        return web.json_response(error.body(), status=error.code)

    def _note(
        self, name: str, params: Params, status: int, description: str, *, lost: bool = False
    ) -> None:
        call = Call(
            at=self.hub.clock(),
            method=name,
            chat_id=params.integer("chat_id") or 0,
            status=status,
            description=description,
            params=params.values,
            lost=lost,
        )
        self.calls.append(call)
        self._by_method[name].append(call)
        self.hub.changed()

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file = self.hub.paths.get(request.match_info["path"])
        if request.match_info["token"] != self.token or file is None:
            return web.json_response(not_found().body(), status=404)
        if self.weather.down:
            return web.Response(status=502, text=_PAGE, content_type="text/html")
        return web.Response(body=file.data, content_type="application/octet-stream")

    async def _pause(self, name: str) -> None:
        if self._max_delay_s and name != "getUpdates":
            await asyncio.sleep(self._random.uniform(0, self._max_delay_s))


def _cut(request: web.Request) -> web.Response:
    """Close the connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _methods_of(owner: object) -> dict[str, tuple[str, _Method]]:
    """The API's methods by their name in small letters, which it does not tell apart."""
    found: dict[str, tuple[str, _Method]] = {}
    for name, method in inspect.getmembers(owner, inspect.ismethod):
        if not name.startswith("_"):
            words = name.split("_")
            camel = words[0] + "".join(word.title() for word in words[1:])
            found[camel.lower()] = (camel, method)
    return found
