"""A sink on the fake Slack, and replies to write with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from bots.slack.pace import Pace
from bots.slack.sink import DirectMessages, SlackSink
from bots.slack.workspaces import Api, Workspaces
from core.buttons import Buttons
from core.messages import ConversationAddress
from core.sinks import Destination
from tests.fakes.slack import Channel, Message, SlackFake, Team, User

KEY = b"0123456789abcdef0123456789abcdef"


@dataclass(slots=True)
class Memory:
    """Keeps the secrets of workspaces for a test."""

    secrets: dict[tuple[str, str], str] = field(default_factory=dict)

    async def save(self, platform: str, workspace: str, secret: str) -> None:
        """See the port."""
        self.secrets[platform, workspace] = secret

    async def find(self, platform: str, workspace: str) -> str | None:
        """See the port."""
        return self.secrets.get((platform, workspace))

    async def revoke(self, platform: str, workspace: str) -> None:
        """See the port."""
        self.secrets.pop((platform, workspace), None)


@dataclass(kw_only=True)
class Desk:
    """A workspace with somebody who asked something."""

    fake: SlackFake
    team: Team
    user: User
    channel: Channel
    session: aiohttp.ClientSession

    def sink(self) -> SlackSink:
        """A process's sink: it remembers nothing of others."""
        workspaces = Workspaces(Api(self.session, self.fake.api_url), Memory(), self.team.bot_token)
        return SlackSink(workspaces, Buttons(KEY), DirectMessages(), Pace())

    def to(self, asked: Message, *, turn: str = "turn_1", private: bool = False) -> Destination:
        """Where the answer to a message goes."""
        direct = asked.channel.startswith("D")
        return Destination(
            tenant_id="ten_1",
            turn_id=turn,
            event_id=f"slack:{self.team.id}:{asked.channel}:{asked.ts}",
            address=ConversationAddress(
                platform="slack",
                workspace=self.team.id,
                channel=asked.channel,
                thread=asked.thread_ts or ("" if direct else asked.ts),
            ),
            sender=asked.user,
            source_ref=asked.ts,
            private=private,
        )

    def ask(self, text: str = "hello", *, thread_ts: str | None = None) -> Message:
        """A mention in the channel."""
        return self.user.say(self.channel, f"{self.team.mention} {text}", thread_ts=thread_ts)

    def ask_directly(self) -> Message:
        """A direct message."""
        return self.user.say(self.team.dm(self.user), "hello")


@asynccontextmanager
async def desk(fake: SlackFake) -> AsyncGenerator[Desk]:
    """A workspace whose events nobody hears: only replies matter here."""
    fake.app.subscriptions = frozenset()
    team = fake.team("acme")
    async with aiohttp.ClientSession() as session:
        yield Desk(
            fake=fake,
            team=team,
            user=team.user("ann"),
            channel=team.channel("ops"),
            session=session,
        )
