"""``it0 up`` as a process, and the strict fakes of Slack and Telegram around it.

A ``Line`` is one platform with its first admin: whatever a test does, it does in the words of
both platforms. Each question has a marker, which only its answer contains.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.slack import Channel, SlackFake, Team, User, plain_text
from tests.fakes.telegram import Chat, TelegramFake
from tests.support.processes import Process, free_port

ROOT = Path(__file__).parents[2]
START_S = 60.0
ANSWER_S = 60.0
ADMIN = 5001
"""The Telegram id of the first admin."""


def question(marker: str, words: int = 5, pause_ms: int = 0) -> str:
    """What makes the fake model say ``answer(marker, words)``."""
    return f"[[word {marker}]][[text {words}]][[chunk {pause_ms}]] tell me of {marker}"


def answer(marker: str, words: int = 5) -> str:
    """What the model says then."""
    return " ".join(f"{marker}{number}" for number in range(words))


@dataclass(slots=True, kw_only=True)
class Product:
    """``it0 up``, one process after another."""

    directory: Path
    environ: Mapping[str, str]
    port: int
    processes: list[Process] = field(default_factory=list)

    @property
    def process(self) -> Process:
        """The newest one."""
        return self.processes[-1]

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Run it until it says that it is ready."""
        env = {
            "IT0_DATA_DIR": str(self.directory / "data"),
            "IT0_HTTP_PORT": str(self.port),
            "IT0_SHUTDOWN_GRACE_S": "1",
            "PYTHONPATH": str(ROOT),
            **self.environ,
        }
        command = [sys.executable, "-m", "cli", "up"]
        self.processes.append(Process(command, env=env, cwd=self.directory))
        await self.printed(r"IT0 is ready")

    async def printed(self, pattern: str) -> str:
        """Wait for a line; its first group, else all of it."""
        match = await asyncio.to_thread(self.process.wait_for, pattern, timeout_s=START_S)
        return str(match[match.re.groups and 1])

    async def first_code(self) -> str:
        """What the first start prints for the first admin."""
        return await self.printed(r"First code: (\S+)")

    async def stop(self) -> None:
        """End them all."""
        for process in self.processes:
            await asyncio.to_thread(process.stop)


@asynccontextmanager
async def product(
    directory: Path, environ: Mapping[str, str], port: int
) -> AsyncGenerator[Product]:
    """Make one that is not started yet; it is stopped at the end."""
    made = Product(directory=directory, environ=environ, port=port)
    try:
        yield made
    finally:
        await made.stop()


class Line(Protocol):
    """A platform, and its first admin on it."""

    @property
    def environ(self) -> Mapping[str, str]:
        """What the product needs to reach it."""

    def serve(self, url: str) -> None:
        """The product listens there now."""

    async def link(self, code: str) -> None:
        """Send the code and wait for the welcome."""

    def ask(self, text: str) -> Callable[[], None]:
        """Write; what is returned delivers it a second time."""

    def send_file(self, name: str, data: bytes, text: str) -> None:
        """Write with a file."""

    def stop(self, marker: str) -> None:
        """Stop the answer that is being written, by its button where it has one."""

    def command(self, word: str) -> None:
        """Give a command, the platform's way."""

    def backwards(self, texts: Sequence[str]) -> None:
        """Write these; the last one reaches the product first."""

    def refuse(self, calls: int) -> None:
        """Answer the next posts and edits with "too many requests"."""

    def shown(self) -> list[str]:
        """What every message of the bot shows now."""

    def unfinished(self) -> int:
        """How many messages of the bot still say that more comes."""

    def previewed(self, marker: str) -> bool:
        """Whether the beginning of an answer was ever seen."""

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float = ...) -> None:
        """Wait until it holds."""


@dataclass(slots=True)
class TelegramLine:
    """A private chat; by webhook the server has no drafts."""

    fake: TelegramFake
    webhook: bool
    admin: Chat = field(init=False)

    def __post_init__(self) -> None:
        """Let the first admin open the chat."""
        self.admin = self.fake.private(ADMIN, first_name="Ada")

    @property
    def environ(self) -> Mapping[str, str]:
        """See there."""
        found = {"TELEGRAM_BOT_TOKEN": self.fake.token, "IT0_TELEGRAM_API_URL": self.fake.url}
        return found | ({"TELEGRAM_WEBHOOK_SECRET": "a-secret-of-tests"} if self.webhook else {})

    def serve(self, url: str) -> None:
        """The product says where itself."""

    async def link(self, code: str) -> None:
        """See there."""
        self.ask(f"/start {code}")
        await self.wait_for(self.shown)

    def ask(self, text: str) -> Callable[[], None]:
        """See there."""
        message = self.admin.say(self.admin.user, text)

        def again() -> None:
            assert message.update_id is not None
            self.fake.redeliver(message.update_id)

        return again

    def send_file(self, name: str, data: bytes, text: str) -> None:
        """See there."""
        self.admin.document(self.admin.user, name, data, caption=text)

    def stop(self, marker: str) -> None:
        """A draft has no button; there it is a command."""
        for message in self.admin.shown():
            if message.by_bot and marker in message.text:
                self.admin.press(self.admin.user, message, "Stop")
                return
        self.ask("/stop")

    def command(self, word: str) -> None:
        """See there."""
        self.ask(f"/{word}")

    def backwards(self, texts: Sequence[str]) -> None:
        """See there."""
        self.fake.updates.hold()
        for text in texts:
            self.ask(text)
        self.fake.updates.release(backwards=True)

    def refuse(self, calls: int) -> None:
        """See there."""
        self.fake.weather.only = frozenset({"sendMessage", "editMessageText"})
        self.fake.weather.limited = calls

    def shown(self) -> list[str]:
        """See there."""
        return [
            message.text
            for chat in self.fake.hub.chats.values()
            for message in chat.shown()
            if message.by_bot
        ]

    def unfinished(self) -> int:
        """See there."""
        messages = [item for chat in self.fake.hub.chats.values() for item in chat.shown()]
        return sum(item.by_bot and bool(item.markup or item.text == "…") for item in messages)

    def previewed(self, marker: str) -> bool:
        """See there."""
        calls = self.fake.calls_of("sendMessageDraft", "sendMessage", "editMessageText")
        return any(f"{marker}0" in call.params.get("text", "") for call in calls)

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float = ANSWER_S) -> None:
        """See there."""
        await self.fake.wait_for(predicate, timeout_s)


@dataclass(slots=True)
class SlackLine:
    """A channel, where each question begins a thread; over HTTP this Slack does not stream."""

    fake: SlackFake
    http: bool
    team: Team = field(init=False)
    admin: User = field(init=False)
    channel: Channel = field(init=False)

    def __post_init__(self) -> None:
        """Make the workspace."""
        self.team = self.fake.team("acme")
        self.admin = self.team.user("ada")
        self.channel = self.team.channel("ops")

    @property
    def environ(self) -> Mapping[str, str]:
        """See there."""
        found = {"SLACK_BOT_TOKEN": self.team.bot_token, "IT0_SLACK_API_URL": self.fake.api_url}
        if self.http:
            return found | {"SLACK_SIGNING_SECRET": self.fake.signing_secret}
        return found | {"SLACK_APP_TOKEN": self.fake.app_token}

    def serve(self, url: str) -> None:
        """See there."""
        if self.http:
            self.fake.events_url = f"{url}/slack/events"

    async def link(self, code: str) -> None:
        """See there."""
        if not self.http:
            await self.wait_for(lambda: self.fake.outbox.sockets.open)
        self.command(f"link {code}")
        await self.wait_for(lambda: any(len(text) > 1 for text in self.shown()))

    def ask(self, text: str) -> Callable[[], None]:
        """See there."""
        before = len(self.fake.outbox.deliveries)
        self.admin.say(self.channel, f"{self.team.mention} {text}")
        told = self.fake.outbox.deliveries[before:]

        def again() -> None:
            for delivery in told:
                self.fake.outbox.redeliver(delivery)

        return again

    def send_file(self, name: str, data: bytes, text: str) -> None:
        """See there."""
        file = self.admin.file(name, "text/plain", data)
        self.admin.say(self.channel, f"{self.team.mention} {text}", files=[file])

    def stop(self, marker: str) -> None:
        """By the button; a stream has Slack's own."""
        (message,) = (
            item for item in self.fake.bot_messages(self.channel) if marker in plain_text(item)
        )
        assert message.thread_ts is not None
        if message.streaming:
            self.admin.stops(self.channel, message.thread_ts)
        else:
            self.admin.press(message, "it0_stop")

    def command(self, word: str) -> None:
        """See there."""
        self.admin.slash("/it0", word, self.team.dm(self.admin))

    def backwards(self, texts: Sequence[str]) -> None:
        """See there."""
        with self.fake.backwards():
            for text in texts:
                self.ask(text)

    def refuse(self, calls: int) -> None:
        """See there."""
        self.fake.weather.methods = frozenset(
            {f"chat.{name}" for name in ("postMessage", "update", "startStream", "stopStream")}
        )
        self.fake.weather.limited = calls

    def shown(self) -> list[str]:
        """See there."""
        return [
            plain_text(message)
            for channel in self.team.channels.values()
            for message in self.fake.bot_messages(channel)
        ]

    def unfinished(self) -> int:
        """See there."""
        messages = [
            item
            for channel in self.team.channels.values()
            for item in self.fake.bot_messages(channel)
        ]
        stop = '"it0_stop"'
        return sum(
            item.streaming or stop in json.dumps(item.blocks) or plain_text(item) in {"", "…"}
            for item in messages
        )

    def previewed(self, marker: str) -> bool:
        """See there."""
        return any(f"{marker}0" in text for text in self.shown())

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float = ANSWER_S) -> None:
        """See there."""
        await self.fake.wait_for(predicate, timeout_s)


@dataclass(slots=True, kw_only=True)
class Call:
    """A running product with one platform."""

    line: Line
    product: Product
    model: FakeAnthropic

    async def answered(self, marker: str, words: int = 5) -> None:
        """Wait until exactly this answer stands somewhere."""
        await self.line.wait_for(lambda: answer(marker, words) in self.finals())

    def finals(self) -> list[str]:
        """All that is shown, without the ends of lines."""
        return [text.strip() for text in self.line.shown()]

    def about(self, marker: str) -> list[str]:
        """Every message that has anything of an answer."""
        return [text for text in self.finals() if f"{marker}0" in text]

    def asked(self, marker: str) -> list[str]:
        """The bodies of the model calls for a question."""
        return [json.dumps(seen.body) for seen in self.model.seen if marker in seen.prompt]


MODES = ("telegram-polling", "telegram-webhook", "slack-socket", "slack-http")


@asynccontextmanager
async def open_line(mode: str) -> AsyncGenerator[Line]:
    """The platform of a mode."""
    async with AsyncExitStack() as stack:
        if mode.startswith("telegram"):
            webhook = mode.endswith("webhook")
            fake = await stack.enter_async_context(TelegramFake(drafts=not webhook))
            yield TelegramLine(fake, webhook)
        else:
            http = mode.endswith("http")
            slack = await stack.enter_async_context(SlackFake(streaming=not http))
            yield SlackLine(slack, http)


@asynccontextmanager
async def call(mode: str, directory: Path) -> AsyncGenerator[Call]:
    """The product with one platform and the model, started for the first time, admin linked."""
    port = free_port()
    async with (
        FakeAnthropic() as model,
        open_line(mode) as line,
        product(directory, environment(model, port, line), port) as it0,
    ):
        await it0.start()
        line.serve(it0.url)
        await line.link(await it0.first_code())
        yield Call(line=line, product=it0, model=model)


def environment(model: FakeAnthropic, port: int, *lines: Line) -> dict[str, str]:
    """The settings of a product with these platforms."""
    made = {
        "ANTHROPIC_API_KEY": "sk-test",
        "IT0_BILLING": "off",
        "ANTHROPIC_BASE_URL": model.url,
        "IT0_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    for line in lines:
        made |= line.environ
    return made


@contextmanager
def shows_output(it0: Product) -> Iterator[None]:
    """What the product printed belongs to every failure."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(it0.process.output()[-4000:])
        raise
