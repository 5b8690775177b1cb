"""One person on both platforms, many tenants in one installation: what is carried, what is not."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import app
from core.messages import Actor, ConversationAddress, InboundMessage
from core.tenants import Role
from core.tenants import User as Member
from settings import Settings
from storage.access import SqlGate
from storage.installs import SqlInstalls
from tests.e2e.chat_kit import Product, answer, environment, product, question, shows_output
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.slack import Channel, SlackFake, Team, User, plain_text
from tests.fakes.telegram import Chat, TelegramFake
from tests.support.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PATIENCE_S = 90.0
TENANTS = 10
MESSAGES = 4


@dataclass(slots=True, kw_only=True)
class Person:
    """Somebody with an account on each platform, and what they are to the product."""

    name: str
    chat: Chat
    team: Team
    slack: User

    @property
    def direct(self) -> Channel:
        """Their direct messages with the bot in Slack."""
        return self.team.dm(self.slack)

    def say_in_telegram(self, text: str) -> None:
        """Write in the private chat."""
        self.chat.say(self.chat.user, text)

    def say_in_slack(self, text: str) -> None:
        """Write in the direct messages."""
        self.slack.say(self.direct, text)

    def in_telegram(self) -> list[str]:
        """What the bot shows them there."""
        return [item.text.strip() for item in self.chat.shown() if item.by_bot]


@dataclass(slots=True, kw_only=True)
class World:
    """The product with both platforms, and everybody's place in it."""

    telegram: TelegramFake
    slack: SlackFake
    model: FakeAnthropic
    it0: Product
    people: list[Person] = field(default_factory=list)

    def person(self, name: str, workspace: str) -> Person:
        """Somebody new; nobody knows them yet."""
        team = self.slack.team(workspace, installed=True)
        chat = self.telegram.private(8001 + len(self.people), first_name=name)
        made = Person(name=name, chat=chat, team=team, slack=team.user(name))
        self.people.append(made)
        return made

    async def telegram_shows(self, person: Person, pattern: str) -> re.Match[str]:
        """Wait for the newest text of the bot that matches."""
        found: re.Match[str] | None = None

        def look() -> bool:
            nonlocal found
            texts = reversed(person.in_telegram())
            found = next((match for text in texts if (match := re.search(pattern, text))), None)
            return found is not None

        await self.telegram.wait_for(look, PATIENCE_S)
        assert found is not None
        return found

    async def slack_shows(self, person: Person, part: str) -> None:
        """Wait for a text of the bot in somebody's direct messages."""
        await self.slack.wait_for(
            lambda: any(part in text for text in self.slack.texts(person.direct)), PATIENCE_S
        )

    def seen_with(self, marker: str) -> str:
        """All that the model saw with a question."""
        (seen,) = [seen for seen in self.model.seen if marker in seen.prompt]
        return json.dumps(seen.body)


@asynccontextmanager
async def world(directory: Path) -> AsyncIterator[World]:
    """Everything but the process, which a test starts when everybody is known."""
    port = free_port()
    async with TelegramFake() as telegram, SlackFake() as slack, FakeAnthropic() as model:
        environ = environment(model, port) | {
            "TELEGRAM_BOT_TOKEN": telegram.token,
            "IT0_TELEGRAM_API_URL": telegram.url,
            "IT0_SLACK_API_URL": slack.api_url,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_CLIENT_ID": slack.app.client_id,
            "SLACK_CLIENT_SECRET": slack.app.client_secret,
        }
        async with product(directory, environ, port) as it0:
            yield World(telegram=telegram, slack=slack, model=model, it0=it0)


@asynccontextmanager
async def desk(w: World) -> AsyncIterator[Clerk]:
    """The storage, while the product does not run."""
    environ = {**w.it0.environ, "IT0_DATA_DIR": str(w.it0.directory / "data")}
    settings = Settings.from_environment(environ, None)
    async with app.open_storage(settings) as storage:
        admin = await storage.people.install(tenant_name="Operators", admin_email="a@example.org")
        yield Clerk(
            storage=storage,
            admin=admin,
            gate=SqlGate(storage.db, storage.keys.derive("audit")),
            installs=SqlInstalls(storage.db, storage.keys.derive("installs")),
        )


@dataclass(slots=True, kw_only=True)
class Clerk:
    """Writes people into the books."""

    storage: app.Storage
    admin: Member
    gate: SqlGate
    installs: SqlInstalls

    async def know(self, person: Person, user: Member) -> None:
        """Both accounts are this user from now on, and the workspace is their team's."""
        team = person.team
        secret = json.dumps({"token": team.bot_token, "bot_user": team.bot_user_id})
        await self.installs.save("slack", team.id, secret)
        accounts = (
            ("telegram", "", str(person.chat.id), str(person.chat.id), None),
            ("slack", team.id, person.slack.id, person.direct.id, team.id),
        )
        for platform, workspace, account, channel, group in accounts:
            message = InboundMessage(
                event_id=f"test:{platform}:{account}",
                address=ConversationAddress(
                    platform=platform, workspace=workspace, channel=channel, thread=""
                ),
                actor=Actor(platform=platform, workspace=workspace, external_id=account),
                text="",
                group=group,
            )
            code = await self.gate.link_code(user)
            problem = await self.gate.redeem(message, code.replace("-", ""))
            assert problem is None, problem

    async def member(self, tenant_id: str, name: str, role: Role = Role.OPERATOR) -> Member:
        """A user of a tenant."""
        email = f"{name}@example.org"
        added = await self.storage.people.add_user(tenant_id, email=email, name=name, role=role)
        assert isinstance(added, Member), added
        return added


async def start(w: World) -> None:
    """Run the product until both platforms reach it."""
    await w.it0.start()
    await w.telegram.wait_for(lambda: w.telegram.updates.polled, PATIENCE_S)
    await w.slack.wait_for(lambda: w.slack.outbox.sockets.open, PATIENCE_S)


async def test_a_conversation_is_carried_from_slack_to_telegram(tmp_path: Path) -> None:
    """Linked by hand with codes; the list says where it began; the engine sees its history."""
    async with world(tmp_path) as w:
        ada = w.person("ada", "acme")
        async with desk(w) as clerk:
            team = ada.team
            secret = json.dumps({"token": team.bot_token, "bot_user": team.bot_user_id})
            await clerk.installs.save("slack", team.id, secret)
        await start(w)
        with shows_output(w.it0):
            ada.say_in_telegram(f"/start {await w.it0.first_code()}")
            await w.telegram_shows(ada, r"\w+")
            ada.say_in_telegram("/link")
            code = await w.telegram_shows(ada, r"/it0 link ([\w-]+)")
            ada.slack.slash("/it0", f"link {code[1]}", ada.direct)
            await w.slack.wait_for(lambda: w.slack.texts(ada.direct), PATIENCE_S)
            ada.say_in_slack(question("alpha"))
            await w.slack_shows(ada, answer("alpha"))
            ada.say_in_telegram("/sessions")
            line = await w.telegram_shows(ada, r"(\d+)\. [^\n]*alpha[^\n]*")
            assert "Slack, direct message" in line[0]
            ada.say_in_telegram(f"/resume {line[1]}")
            await w.telegram_shows(ada, r"We go on with")
            ada.say_in_telegram(question("beta"))
            await w.telegram_shows(ada, re.escape(answer("beta")))
            assert answer("alpha") in w.seen_with("beta")
            ada.say_in_slack(question("gamma"))
            await w.slack_shows(ada, answer("gamma"))
            assert answer("beta") in w.seen_with("gamma")


async def test_nobody_else_resumes_it_without_consent(tmp_path: Path) -> None:
    """A colleague needs ``/share``; another tenant is told the same as for what is not there."""
    async with world(tmp_path) as w:
        ada, bob, eve = (
            w.person("ada", "acme"),
            w.person("bob", "acme"),
            w.person("eve", "rivals"),
        )
        async with desk(w) as clerk:
            await clerk.know(ada, clerk.admin)
            await clerk.know(bob, await clerk.member(clerk.admin.tenant_id, "bob"))
            rivals = await clerk.storage.people.add_tenant("Rivals")
            await clerk.know(eve, await clerk.member(rivals.id, "eve", Role.ADMIN))
        await start(w)
        with shows_output(w.it0):
            ada.say_in_slack(question("alpha"))
            await w.slack_shows(ada, answer("alpha"))
            ada.say_in_telegram("/sessions")
            (number,) = (await w.telegram_shows(ada, r"\n[^\n]*alpha[^\n]* (\w{8}) ·")).groups()
            for other in (bob, eve):
                other.say_in_telegram(f"/resume {number}")
                await w.telegram_shows(other, rf"You have no conversation {number}")
            ada.say_in_telegram(f"/share {number} bob@example.org")
            await w.telegram_shows(ada, r"can go on with it now")
            ada.say_in_telegram(f"/share {number} eve@example.org")
            await w.telegram_shows(ada, r"no colleague eve@example.org")
            bob.say_in_telegram(f"/resume {number}")
            await w.telegram_shows(bob, r"We go on with")
            bob.say_in_telegram(question("beta"))
            await w.telegram_shows(bob, re.escape(answer("beta")))
            assert answer("alpha") in w.seen_with("beta")
            refused = len(eve.in_telegram())
            eve.say_in_telegram(f"/resume {number}")
            await w.telegram.wait_for(lambda: len(eve.in_telegram()) > refused, PATIENCE_S)
            eve.say_in_telegram(question("gamma"))
            await w.telegram_shows(eve, re.escape(answer("gamma")))
            assert "alpha" not in w.seen_with("gamma")
            assert "alpha" not in " ".join(eve.in_telegram())


def canary(tenant: int, number: int) -> str:
    """A word that only one tenant ever writes or gets."""
    return f"canary{tenant:02}m{number}x"


def check_nothing_foreign(what: object, tenant: int) -> None:
    """No other tenant's canary is anywhere in it."""
    found = {int(number) for number in re.findall(r"canary(\d\d)m", json.dumps(what, default=str))}
    assert found <= {tenant}, (tenant, found)


def test_the_check_sees_a_foreign_word() -> None:
    """A search that finds nothing would prove nothing."""
    check_nothing_foreign({"text": [answer(canary(3, 1))]}, 3)
    with pytest.raises(AssertionError):
        check_nothing_foreign({"text": [answer(canary(3, 1))]}, 4)


async def chatter(w: World, rng: random.Random) -> None:
    """Everybody asks on both platforms and lists and resumes, in any order."""
    acts = [
        (person, tenant, number)
        for tenant, person in enumerate(w.people)
        for number in range(MESSAGES)
    ]
    rng.shuffle(acts)
    for person, tenant, number in acts:
        says = rng.choice([person.say_in_telegram, person.say_in_slack])
        says(question(canary(tenant, number), words=6, pause_ms=rng.choice([0, 20])))
        if rng.random() < 0.5:
            person.say_in_telegram(rng.choice(["/sessions", "/resume 1", "/whoami", "/new"]))
        await asyncio.sleep(rng.choice([0, 0, 0.05]))


def shown_to(w: World, person: Person) -> Sequence[str]:
    """All that a person can read."""
    slack = [plain_text(message) for message in w.slack.bot_messages(person.direct)]
    return [*person.in_telegram(), *(text.strip() for text in slack)]


async def test_no_tenant_ever_sees_another_ones_words(tmp_path: Path) -> None:
    """W15: ten tenants at once; every byte that leaves for a place is free of others' canaries."""
    async with world(tmp_path) as w:
        async with desk(w) as clerk:
            for at in range(TENANTS):
                person = w.person(f"p{at}", f"team-{at}")
                team = await clerk.storage.people.add_tenant(f"Tenant {at}")
                await clerk.know(person, await clerk.member(team.id, f"p{at}", Role.ADMIN))
        await start(w)
        with shows_output(w.it0):
            await chatter(w, random.Random(15))
            for tenant, person in enumerate(w.people):
                for number in range(MESSAGES):
                    await until_shown(w, person, answer(canary(tenant, number), 6))
        check_telegram(w)
        check_slack(w)
        assert len(w.model.seen) >= MESSAGES * TENANTS
        for seen in w.model.seen:
            (mine,) = re.findall(r"word canary(\d\d)m", seen.prompt)
            check_nothing_foreign(seen.body, int(mine))


async def until_shown(w: World, person: Person, text: str) -> None:
    """Wait until a person can read it, on either platform."""
    async with asyncio.timeout(PATIENCE_S):
        # Two fakes, each with its own bell.
        while not any(text in shown for shown in shown_to(w, person)):  # noqa: ASYNC110  # the fake signals nothing
            await asyncio.sleep(0.05)
    assert w.it0.process.returncode is None


def check_telegram(w: World) -> None:
    """Every call to a chat is free of the others' words, and there is something to find."""
    tenant_of = {person.chat.id: at for at, person in enumerate(w.people)}
    found = 0
    for call in w.telegram.calls:
        if call.chat_id:
            check_nothing_foreign(call.params, tenant_of[call.chat_id])
            found += "canary" in json.dumps(call.params)
        else:
            assert "canary" not in json.dumps(call.params)
    assert found > TENANTS


def check_slack(w: World) -> None:
    """The same for every call to a workspace."""
    tenant_of = {person.team.id: at for at, person in enumerate(w.people)}
    found = 0
    for call in w.slack.calls():
        if call.team:
            check_nothing_foreign(call.args, tenant_of[call.team])
            found += "canary" in json.dumps(call.args, default=str)
        else:
            assert "canary" not in json.dumps(call.args, default=str)
    assert found > TENANTS
