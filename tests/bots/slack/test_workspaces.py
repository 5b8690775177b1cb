"""Whose token is used for which workspace, and what is said when it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bots.slack.app import SlackConfig
from bots.slack.errors import Refused, Unclear
from bots.slack.workspaces import Api, Workspaces
from tests.bots.slack.sink_kit import Memory
from tests.fakes.slack import SlackFake

SECRETS = ("xoxb-secret", "xapp-secret", "signing-secret", "client-secret")


@pytest.fixture
async def api(fake: SlackFake) -> AsyncIterator[Api]:
    """The Web API of the fake."""
    async with aiohttp.ClientSession() as session:
        yield Api(session, fake.api_url)


async def test_the_configured_token_serves_its_own_workspace(fake: SlackFake, api: Api) -> None:
    """Slack is asked once whose it is; another workspace gets nothing from it."""
    team = fake.team("acme")
    workspaces = Workspaces(api, Memory(), team.bot_token)
    for _ in range(3):
        found = await workspaces.of(team.id)
        assert found is not None
        assert found.bot_user == team.bot_user_id
    assert await workspaces.of("T0OTHER") is None
    assert fake.count("auth.test") == 1
    with pytest.raises(Refused) as caught:
        await workspaces.need("T0OTHER")
    assert caught.value.permanent


async def test_an_installation_goes_before_the_configured_token(fake: SlackFake, api: Api) -> None:
    """And is gone at once when the workspace removes the app."""
    first, second = fake.team("acme"), fake.team("other")
    workspaces = Workspaces(api, Memory(), first.bot_token)
    await workspaces.save(second.id, second.bot_user_id, second.bot_token)
    found = await workspaces.need(second.id)
    assert (await found.call("auth.test"))["team_id"] == second.id
    second.revoke_token()
    await workspaces.remove(second.id)
    assert await workspaces.of(second.id) is None


async def test_a_late_removal_does_not_cost_a_new_installation(fake: SlackFake, api: Api) -> None:
    """Slack repeats the event for minutes; by then the app may have been installed again."""
    team = fake.team("acme")
    workspaces = Workspaces(api, Memory(), None)
    await workspaces.save(team.id, team.bot_user_id, team.bot_token)
    await workspaces.remove(team.id)
    assert (await workspaces.need(team.id)).token == team.bot_token


async def test_the_sdk_never_repeats_a_call_by_itself(fake: SlackFake, api: Api) -> None:
    """A repeated post would be a second one; its own handlers would do that after lost calls."""
    assert api.client(None).retry_handlers == []
    fake.weather.down = True
    with pytest.raises(Unclear):
        await api.call(fake.team("acme").bot_token, "auth.test", {})
    assert len(fake.calls("auth.test")) == 1


@pytest.mark.parametrize(
    ("code", "permanent"),
    [("invalid_auth", False), ("token_revoked", False), ("account_inactive", True)],
)
async def test_a_refused_token_of_the_settings_can_be_replaced(
    fake: SlackFake, api: Api, code: str, *, permanent: bool
) -> None:
    """Unless the workspace removed the app; a workspace that installed it has to do so again."""
    own, other = fake.team("acme"), fake.team("other")
    workspaces = Workspaces(api, Memory(), own.bot_token)
    await workspaces.save(other.id, other.bot_user_id, other.bot_token)
    fake.weather.errors = [code]
    with pytest.raises(Refused) as caught:
        await workspaces.need(own.id)
    assert caught.value.permanent == permanent
    for team, expected in ((own, permanent), (other, True)):
        installation = await workspaces.need(team.id)
        fake.weather.errors = [code]
        with pytest.raises(Refused) as caught:
            await installation.call("auth.test")
        assert caught.value.permanent == expected


@pytest.mark.parametrize("token", ["xoxb-wrong", "xapp"])
async def test_a_wrong_bot_token_is_named(fake: SlackFake, api: Api, token: str) -> None:
    """The operator reads which variable to change."""
    wrong = fake.app_token if token == "xapp" else token
    problem = await Workspaces(api, Memory(), wrong).check()
    assert problem is not None
    assert "SLACK_BOT_TOKEN" in problem


async def test_a_good_token_and_a_slack_that_is_down_are_no_problem(
    fake: SlackFake, api: Api
) -> None:
    """Only what the operator can change is called wrong."""
    workspaces = Workspaces(api, Memory(), fake.team("acme").bot_token)
    fake.weather.down = True
    assert await workspaces.check() is None
    fake.weather.down = False
    assert await workspaces.check() is None


def test_no_secret_is_shown_by_the_configuration() -> None:
    """It may end up in a traceback or a log."""
    bot, app, signing, client = SECRETS
    config = SlackConfig(
        bot_token=bot,
        app_token=app,
        signing_secret=signing,
        client_id="1.2",
        client_secret=client,
        api_url=None,
        public_url=None,
    )
    assert not any(secret in repr(config) for secret in SECRETS)


def test_the_sdk_is_not_loaded_where_slack_is_not_configured() -> None:
    """It costs memory and start-up time."""
    code = (
        "import json, sys, app, cli\n"
        "print(json.dumps([n for n in sys.modules if n.partition('.')[0].startswith('slack_')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == []
