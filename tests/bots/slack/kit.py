"""The real core with the real Slack adapter, against the fake Slack: a workspace with an admin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import app
from bots.slack.app import Slack
from bots.web.server import listening
from core.messages import Actor, ConversationAddress, InboundMessage
from core.tenants import Role
from core.tenants import User as Member
from core.tools import Tool
from platforms import Platforms, open_platforms
from settings import Settings
from storage.access import SqlGate
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.slack import Channel, Message, SlackFake, Team, User
from tests.support.core_kit import PACE, Faults, House, Site

PUBLIC_URL = "https://it0.example.com"


@dataclass(kw_only=True)
class SlackHouse:
    """A running core that is reached through the fake Slack."""

    house: House
    fake: SlackFake
    slack: Slack
    team: Team
    channel: Channel
    admin: User
    """Linked to the installation's admin."""
    url: str | None
    """The adapter's own HTTP server; None in Socket Mode."""

    @property
    def dm(self) -> Channel:
        """The admin's direct messages with the bot."""
        return self.team.dm(self.admin)

    def mention(self, text: str, **more: object) -> Message:
        """The admin mentions the bot in the channel."""
        said = f"{self.team.mention} {text}"
        return self.admin.say(self.channel, said, **more)  # type: ignore[arg-type]

    async def answer(self, channel: Channel, thread_ts: str | None, text: str) -> Message:
        """Wait for a message of the bot that shows this text and is finished."""

        def shown() -> Message | None:
            for message in self.fake.bot_messages(channel, thread_ts):
                if text in message.shown[-1][1] and not message.streaming:
                    return message
            return None

        found = await self.fake.wait_for(shown)
        assert found is not None
        return found

    async def member(self, name: str, role: Role = Role.OPERATOR) -> User:
        """One more person of the workspace, linked to a user of the tenant."""
        person = self.team.user(name)
        member = await self.house.user(self.house.admin.tenant_id, f"{name}@example.com", role)
        await link(self.house, member, person)
        return person


async def link(house: House, member: Member, person: User) -> None:
    """Make a person of Slack a user; an admin's code links the workspace, too."""
    gate = SqlGate(house.core.storage.db, house.core.storage.keys.derive("audit"))
    code = await gate.link_code(member)
    team = person.team.id
    problem = await gate.redeem(
        InboundMessage(
            event_id=f"test:link:{person.id}",
            address=ConversationAddress(platform="slack", workspace=team, channel="D1", thread=""),
            actor=Actor(platform="slack", workspace=team, external_id=person.id),
            text="",
            group=team,
        ),
        code.replace("-", ""),
    )
    assert problem is None, problem


@asynccontextmanager
async def slack_house(
    site: Site,
    fake: SlackFake,
    *,
    http: bool = False,
    oauth: bool = False,
    engine: ScriptedEngine | None = None,
    linked: bool = True,
    tools: Sequence[Tool] = (),
) -> AsyncGenerator[SlackHouse]:
    """Run the core with Slack until left: Socket Mode, or signed HTTP.

    With ``oauth`` there is no token in the settings: workspaces install the app themselves.
    """
    team = fake.team("acme", installed=not oauth)
    engine = engine or ScriptedEngine([Say("Fine.")])
    settings = site.settings(**_environment(fake, team, http=http, oauth=oauth))
    async with (
        _core(settings, engine, tools) as (house, platforms),
        _reached(platforms, house.core, fake, http=http) as url,
    ):
        slack, admin = platforms.members["slack"], team.user("ann")
        assert isinstance(slack, Slack)
        if linked:
            await link(house, house.admin, admin)
        yield SlackHouse(
            house=house,
            fake=fake,
            slack=slack,
            team=team,
            channel=team.channel("ops"),
            admin=admin,
            url=url,
        )


@asynccontextmanager
async def _core(
    settings: Settings, engine: ScriptedEngine, tools: Sequence[Tool]
) -> AsyncGenerator[tuple[House, Platforms]]:
    """The core and the configured platforms, as the composition root wires them."""
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(app.open_storage(settings))
        member = await storage.people.install(
            tenant_name="My team", admin_email=settings.admin_email
        )
        faults = Faults(storage.db)
        faults.install()
        platforms = await stack.enter_async_context(
            open_platforms(settings, storage.db, storage.keys)
        )
        parts = app.Parts(
            engines={engine.name: engine},
            sinks=platforms.sinks,
            sources=platforms.sources,
            pace=PACE,
            tools=tuple(tools),
        )
        core = await stack.enter_async_context(app.open_core(settings, storage, parts))
        house = House(core, member, faults, engine)
        await house.write("UPDATE tenants SET engine = :name", name=engine.name)
        yield house, platforms
        if faults.dead and not house.crashed:
            await house.crash()


def _environment(fake: SlackFake, team: Team, *, http: bool, oauth: bool) -> dict[str, str]:
    made = {"IT0_SLACK_API_URL": fake.api_url, "IT0_PUBLIC_URL": PUBLIC_URL}
    if http:
        made["SLACK_SIGNING_SECRET"] = fake.signing_secret
    else:
        made["SLACK_APP_TOKEN"] = fake.app_token
    if oauth:
        made |= {
            "SLACK_CLIENT_ID": fake.app.client_id,
            "SLACK_CLIENT_SECRET": fake.app.client_secret,
        }
    else:
        made["SLACK_BOT_TOKEN"] = team.bot_token
    return made


@asynccontextmanager
async def _reached(
    platforms: Platforms, core: app.Core, fake: SlackFake, *, http: bool
) -> AsyncIterator[str | None]:
    """Connect the fake with the adapter."""
    if not http:
        async with platforms.listening(core.inbox, ("slack",)):
            await fake.wait_for(lambda: fake.outbox.sockets.open)
            yield None
        return
    application = app.build_web(core, platforms.routes(core.inbox))
    async with listening(application, "127.0.0.1", 0) as url:
        fake.events_url = f"{url}/slack/events"
        yield url
