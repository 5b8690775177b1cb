"""Socket Mode: renewed and broken connections, lost acknowledgements, wrong tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest

from bots.slack import sockets
from bots.slack.errors import Refused
from bots.slack.fields import Json
from bots.slack.sockets import SocketMode, problem_of
from bots.slack.workspaces import Api
from tests.bots.slack.kit import slack_house
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site, eventually

TURNS = "SELECT COUNT(*) FROM turns"


@pytest.fixture
async def api(fake: SlackFake) -> AsyncIterator[Api]:
    """The Web API of the fake."""
    async with aiohttp.ClientSession() as session:
        yield Api(session, fake.api_url)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "FIRST_PAUSE_S", 0.01)


def _renewed(fake: SlackFake, before: set[int]) -> bool:
    return any(socket.number not in before for socket in fake.outbox.sockets.open)


async def test_a_renewed_connection_loses_nothing(fake: SlackFake, place: Site) -> None:
    """Slack asks for a new connection every few hours."""
    async with slack_house(place, fake) as world:
        for _ in range(2):
            before = {socket.number for socket in fake.outbox.sockets.open}
            await fake.outbox.sockets.refresh()
            asked = world.mention("hello")
            await world.answer(world.channel, asked.ts, "Fine.")
            await eventually(partial(_renewed, fake, before))


async def test_a_broken_connection_is_made_anew(fake: SlackFake, place: Site) -> None:
    """Also when Slack's API is down for a while."""
    async with slack_house(place, fake) as world:
        fake.weather.down = True
        fake.outbox.sockets.cut()
        asked = world.mention("hello")
        await fake.wait_for(lambda: len(fake.calls("apps.connections.open")) > 2)
        fake.weather.down = False
        await world.answer(world.channel, asked.ts, "Fine.")


async def test_a_lost_acknowledgement_is_no_second_message(fake: SlackFake, place: Site) -> None:
    """What Slack sends again on another connection is known."""
    fake.outbox.ack_timeout_s = 0.2
    async with slack_house(place, fake) as world:
        fake.outbox.sockets.mute = True
        asked = world.mention("hello")
        await world.answer(world.channel, asked.ts, "Fine.")
        fake.outbox.sockets.mute = False
        await fake.settled()
        assert all(item.accepted for item in fake.deliveries("app_mention"))
        assert await world.house.rows(TURNS) == [(1,)]


async def test_what_is_not_handled_is_not_acknowledged(fake: SlackFake, api: Api) -> None:
    """Slack sends it again; the other envelopes do not wait for it."""
    fake.outbox.ack_timeout_s = 0.2
    tries = list[str]()

    async def handle(envelope: Json) -> Json | None:
        tries.append(str(envelope["type"]))
        return None if len(tries) == 1 else {}

    task = asyncio.create_task(SocketMode(api, fake.app_token, handle).run())
    team = fake.team("acme")
    await fake.wait_for(lambda: fake.outbox.sockets.open)
    said = team.user("ann").say(team.dm(team.user("ann")), "hello")
    await fake.settled()
    assert said.ts
    assert tries == ["events_api", "events_api"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_wrong_token_is_not_hammered(fake: SlackFake, api: Api) -> None:
    """Only the operator can put it right; that takes longer than a pause."""

    async def handle(_envelope: Json) -> Json | None:
        raise AssertionError

    task = asyncio.create_task(SocketMode(api, "xapp-wrong", handle).run())
    await fake.wait_for(lambda: fake.calls("apps.connections.open"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(fake.calls("apps.connections.open")) == 1


@pytest.mark.parametrize(("token", "said"), [("xapp-x", "not a valid"), ("bot", "must be an app")])
async def test_a_wrong_token_is_named(fake: SlackFake, api: Api, token: str, said: str) -> None:
    """The sentence for the log names the variable and says what it must be."""
    wrong = fake.team("acme").bot_token if token == "bot" else token
    with pytest.raises(Refused) as caught:
        await api.call(wrong, "apps.connections.open", {})
    assert problem_of(caught.value).startswith("SLACK_APP_TOKEN")
    assert said in problem_of(caught.value)
