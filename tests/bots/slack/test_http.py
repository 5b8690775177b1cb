"""Signed requests: who may speak to the events endpoint."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.bots.slack.kit import SlackHouse, slack_house
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site

TURNS = "SELECT COUNT(*) FROM turns"


@pytest.fixture
async def world(fake: SlackFake, place: Site) -> AsyncIterator[SlackHouse]:
    """The adapter over HTTP."""
    async with slack_house(place, fake, http=True) as house:
        yield house


def _event(world: SlackHouse, workspace: str | None = None) -> str:
    event = {
        "type": "app_mention",
        "user": world.admin.id,
        "text": f"{world.team.mention} hello",
        "ts": "1700000000.000100",
        "channel": world.channel.id,
    }
    team = workspace or world.team.id
    body = {
        "type": "event_callback",
        "team_id": team,
        "event_id": "Ev1",
        "event": event,
        "authorizations": [{"team_id": team, "user_id": world.team.bot_user_id, "is_bot": True}],
    }
    return json.dumps(body)


def _headers(body: str, secret: str, at: float) -> dict[str, str]:
    stamp = str(int(at))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }


async def _send(world: SlackHouse, body: str, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.url}/slack/events", data=body, headers=headers) as answer,
    ):
        return answer.status


async def test_unsigned_and_wrongly_signed_requests_are_refused(world: SlackHouse) -> None:
    """Whoever does not know the signing secret starts nothing."""
    body = _event(world)
    good = _headers(body, world.fake.signing_secret, time.time())
    assert await _send(world, body, {"Content-Type": "application/json"}) == 401
    assert await _send(world, body, _headers(body, "guessed", time.time())) == 401
    assert await _send(world, body.replace("hello", "erase all"), good) == 401
    assert await world.house.rows(TURNS) == [(0,)]


async def test_an_old_request_is_not_replayed(world: SlackHouse) -> None:
    """A request that was recorded more than five minutes ago is refused."""
    body = _event(world)
    old = _headers(body, world.fake.signing_secret, time.time() - 310)
    assert await _send(world, body, old) == 401
    assert await world.house.rows(TURNS) == [(0,)]


async def test_a_request_replayed_at_once_changes_nothing(world: SlackHouse) -> None:
    """Inside the five minutes the event's id protects."""
    body = _event(world)
    good = _headers(body, world.fake.signing_secret, time.time())
    assert [await _send(world, body, good) for _ in range(3)] == [200, 200, 200]
    assert await world.house.rows(TURNS) == [(1,)]


async def test_a_workspace_that_did_not_install_the_app_is_ignored(world: SlackHouse) -> None:
    """It is acknowledged, so that Slack does not repeat it, and nothing is stored."""
    body = _event(world, "T0UNKNOWN")
    assert await _send(world, body, _headers(body, world.fake.signing_secret, time.time())) == 200
    assert await world.house.rows(TURNS) == [(0,)]


async def test_slack_can_verify_the_address(world: SlackHouse) -> None:
    """The challenge of the app's settings page is answered."""
    assert await world.fake.outbox.verify_url()
