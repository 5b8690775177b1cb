"""W15: fifty tenants at once, crashes in between, hostile neighbours: no byte reaches another.

Each tenant plants a canary in its messages (so in its titles), files and tool outputs. Every
byte that leaves is searched: requests to the model provider, posts and edits on a chat
platform, HTTP answers and event streams.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp
import pytest

import app
from bots.web.auth import Authenticator
from bots.web.server import listening
from core.errors import NotFound
from core.inbox import Accepted
from core.messages import Attachment
from core.risk import Assessment, Level
from core.sinks import Destination, SinkLimits, View
from core.tenants import User
from core.tools import Arguments, Tool, ToolContext, ToolResult, ToolSpec
from tests.fakes.anthropic import FakeAnthropic
from tests.support.core_kit import House, Site, copy_sqlite

TENANTS = 50
CANARY = re.compile(r"canary(\d{3})x")


@dataclass
class Neighbour:
    """One tenant, and what its neighbours may want of it."""

    number: int
    user: User
    canary: str
    conversations: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)


@dataclass
class Watch:
    """Everything that left, by the tenant that may see it."""

    owners: dict[str, int] = field(default_factory=dict)
    """Number of each tenant id."""
    leaks: list[str] = field(default_factory=list)
    searched: int = 0
    own: int = 0
    """Texts that held the canary of their own tenant: the search does find."""

    def saw(self, what: str, number: int, text: str) -> None:
        """Search a text that a tenant gets."""
        self.searched += 1
        found = {int(digits) for digits in CANARY.findall(text)}
        self.own += number in found
        if found - {number}:
            self.leaks.append(f"{what} of {number}: {sorted(found - {number})}")


@dataclass
class WatchedSink:
    """A chat platform that shows every byte to the watch."""

    watch: Watch
    ids: count[int] = field(default_factory=count)
    limits: SinkLimits = field(
        default_factory=lambda: SinkLimits(max_chars=500, edit_interval_s=0.01)
    )

    async def draft(self, to: Destination, view: View) -> bool:
        """This platform has no drafts."""
        return False

    async def post(self, to: Destination, part: int, view: View) -> str:
        """A new message."""
        self.watch.saw("post", self.watch.owners[to.tenant_id], view.text)
        return f"m{next(self.ids)}"

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """A changed one."""
        self.watch.saw("edit", self.watch.owners[to.tenant_id], view.text)

    async def find(self, to: Destination, part: int) -> str | None:
        """This platform cannot be asked."""
        return None


def _secret_tool(watch: Watch) -> Tool:
    """A tool whose output is the canary of whoever calls it."""

    async def assess(_context: ToolContext, _arguments: Arguments) -> Assessment:
        return Assessment(level=Level.L0)

    async def run(context: ToolContext, _arguments: Arguments) -> ToolResult:
        return ToolResult(output=f"canary{watch.owners[context.tenant_id]:03d}x found")

    spec = ToolSpec(name="secret_of", description="Tells a secret.")
    return Tool(spec=spec, assess=assess, run=run, mutates=False)


@dataclass
class Town:
    """A running core with its HTTP edge, and the neighbours."""

    house: House
    url: str
    http: aiohttp.ClientSession
    watch: Watch
    neighbours: list[Neighbour]
    tokens: dict[int, str]
    random: random.Random

    async def call(self, who: Neighbour, method: str, path: str, **more: object) -> str:
        """An HTTP request of a neighbour; its whole answer, searched."""
        headers = {"Authorization": f"Bearer {self.tokens[who.number]}"}
        headers.update(more.pop("headers", {}))  # type: ignore[call-overload]
        async with self.http.request(
            method,
            self.url + path,
            headers=headers,
            **more,  # type: ignore[arg-type]
        ) as response:
            text = await response.text()
            text += str(response.headers)
        self.watch.saw(f"{method} {path}", who.number, text)
        return text


async def _asks(town: Town, who: Neighbour) -> None:
    """A message with a file and a tool call over HTTP, streamed."""
    file = base64.b64encode(f"{who.canary} in a file".encode()).decode()
    body = {
        "text": f"{who.canary} asks [[tool secret_of {{}}]]",
        "engine": "claude_api",
        "attachments": [{"name": f"{who.canary}.txt", "media_type": "text/plain", "data": file}],
        **({"conversation_id": who.conversations[-1]} if who.conversations else {}),
    }
    await town.call(who, "POST", "/api/v1/agent/turns", json=body)


async def _chats(town: Town, who: Neighbour) -> None:
    """A message on the chat platform, with a file."""
    file = Attachment(name="a.txt", media_type="text/plain", data=f"{who.canary} file".encode())
    accepted = await town.house.accepted(
        f"{who.canary} says [[tool secret_of {{}}]]",
        who.user,
        platform="chat",
        place=f"room{town.random.randrange(2)}",
        engine="claude_api",
        files=[file],
    )
    who.conversations.append(accepted.conversation_id)
    who.turns.append(accepted.turn_id)


async def _lists(town: Town, who: Neighbour) -> None:
    """Every list that one may see."""
    for path in ("conversations", "users", "servers"):
        await town.call(who, "GET", f"/api/v1/{path}")
    for conversation in who.conversations[-2:]:
        await town.call(who, "GET", f"/api/v1/conversations/{conversation}/messages")
    await town.house.accepted("/sessions", who.user, platform="chat")


async def _attacks(town: Town, who: Neighbour) -> None:
    """Another tenant's ids, in every place that takes one."""
    victim = town.random.choice([other for other in town.neighbours if other is not who])
    if not victim.conversations:
        return
    target, turn = town.random.choice(victim.conversations), town.random.choice(victim.turns)
    for rest in (target, target[-8:]):
        for word in ("resume", "delete"):
            said = await town.house.accepted(f"/{word} {rest}", who.user, platform="chat")
            assert said.tenant_id == who.user.tenant_id
    await town.call(who, "GET", f"/api/v1/conversations/{target}/messages")
    await town.call(who, "DELETE", f"/api/v1/conversations/{target}")
    await town.call(who, "GET", f"/api/v1/agent/turns/{turn}/events")
    body = {"text": "what did they say?", "engine": "claude_api", "conversation_id": target}
    await town.call(who, "POST", "/api/v1/agent/turns", json=body)
    refused = await town.house.say("hello", who.user, conversation=target)
    assert not isinstance(refused, Accepted)
    with pytest.raises(NotFound):
        await town.house.listen(who.user.tenant_id, turn)


async def _live_in(town: Town, rounds: int) -> None:
    """Everybody does something, in an order that nobody planned, until it is enough."""
    actions = (_asks, _chats, _chats, _lists, _attacks)

    async def live(who: Neighbour) -> None:
        for _ in range(rounds):
            await town.random.choice(actions)(town, who)
            await asyncio.sleep(town.random.random() * 0.02)

    async with asyncio.TaskGroup() as group:
        for who in town.neighbours:
            group.create_task(live(who))


@asynccontextmanager
async def _town(
    site: Site, fake: FakeAnthropic, watch: Watch, neighbours: list[Neighbour], seed: int
) -> AsyncIterator[Town]:
    """A process of the installation."""
    more = {"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": fake.url}
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(
            site.open(sink=WatchedSink(watch), tools=[_secret_tool(watch)], slots=32, more=more)
        )
        me = house.core.scheduler.worker
        await house.write("UPDATE workers SET expires_at = 0 WHERE id <> :me", me=me)
        if not neighbours:
            for number in range(TENANTS):
                user = await house.tenant(f"tenant{number}")
                watch.owners[user.tenant_id] = number
                neighbours.append(Neighbour(number, user, f"canary{number:03d}x"))
        people = house.core.storage.people
        auth = Authenticator(key=house.core.storage.keys.derive("tokens"), store=people)
        tokens = {who.number: (await auth.issue(who.user, days=1)).token for who in neighbours}
        url = await stack.enter_async_context(listening(app.build_web(house.core), "127.0.0.1", 0))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Town(house, url, http, watch, neighbours, tokens, random.Random(seed))


async def _run(site: Site, *, rounds: int) -> None:
    watch, neighbours = Watch(), list[Neighbour]()
    async with FakeAnthropic(keep=1_000_000) as fake:
        for life in range(3):
            async with _town(site, fake, watch, neighbours, seed=life) as town:
                await _live_in(town, rounds)
                if life < 2:
                    await town.house.crash()
                else:
                    await town.house.settled()
                    for who in neighbours:
                        await _lists(town, who)
                    await town.house.settled()
                    await _nothing_was_lost(town)
        for seen in fake.seen:
            text = json.dumps(seen.body)
            files = re.findall(r'"data": "([A-Za-z0-9+/=]+)"', text)
            text += "".join(base64.b64decode(data).decode("latin-1") for data in files)
            found = {int(digits) for digits in CANARY.findall(text)}
            assert len(found) <= 1, f"one request to the provider with the canaries of {found}"
        assert len(fake.seen) > TENANTS
    assert watch.leaks == []
    assert watch.own > TENANTS
    assert watch.searched > 10 * TENANTS


async def _nothing_was_lost(town: Town) -> None:
    """Nobody deleted or moved what belongs to another."""
    strangers = await town.house.rows(
        "SELECT t.id FROM turns t JOIN conversations c ON c.id = t.conversation_id"
        " WHERE t.tenant_id <> c.tenant_id"
    )
    assert strangers == []
    places = await town.house.rows(
        "SELECT p.channel FROM places p JOIN conversations c ON c.id = p.conversation_id"
        " WHERE p.tenant_id <> c.tenant_id"
    )
    assert places == []
    for table in ("turn_steps", "turn_events", "deliveries", "model_calls"):
        mixed = await town.house.rows(
            f"SELECT x.turn_id FROM {table} x JOIN turns t ON t.id = x.turn_id"
            " WHERE x.tenant_id <> t.tenant_id"
        )
        assert mixed == [], table


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_no_byte_of_one_tenant_reaches_another(sqlite_template: Path, tmp_path: Path) -> None:
    """Fifty tenants on SQLite, two crashes, hostile requests: no canary leaves its tenant."""
    await _run(copy_sqlite(sqlite_template, tmp_path / "data"), rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.postgres
async def test_no_byte_of_one_tenant_reaches_another_on_postgres(postgres_place: Site) -> None:
    """The same on PostgreSQL, longer."""
    await _run(postgres_place, rounds=4)
