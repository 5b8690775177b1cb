"""Workspaces install the app by themselves, lose it, and get it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from bots.slack.install import STATE_TTL_S, States
from tests.bots.slack.kit import PUBLIC_URL, SlackHouse, slack_house
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
async def world(fake: SlackFake, place: Site) -> AsyncIterator[SlackHouse]:
    """The adapter without a token of its own."""
    async with slack_house(place, fake, http=True, oauth=True) as house:
        fake.installs.installer = house.admin
        yield house


class Browser:
    """Follows no redirect by itself; keeps cookies as a browser does."""

    def __init__(self, world: SlackHouse, session: aiohttp.ClientSession) -> None:
        """No cookies yet."""
        self.world = world
        self.session = session
        self.cookies: dict[str, str] = {}

    async def begin(self) -> str:
        """Open the install page; where Slack's page is."""
        async with self.session.get(
            f"{self.world.url}/slack/install", allow_redirects=False
        ) as answer:
            assert answer.status == 302
            self.cookies = {name: item.value for name, item in answer.cookies.items()}
            cookie = answer.cookies["it0_slack_install"]
            assert cookie["httponly"]
            assert cookie["secure"]
            return answer.headers["Location"]

    async def agree(self, page: str) -> dict[str, str]:
        """Agree on Slack's page; what it sends back."""
        async with self.session.get(page, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            location = answer.headers["Location"]
        assert location.startswith(f"{PUBLIC_URL}/slack/oauth_redirect?")
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    async def come_back(self, query: dict[str, str]) -> int:
        """Go where Slack's page sends the browser."""
        url = f"{self.world.url}/slack/oauth_redirect?{urlencode(query)}"
        async with self.session.get(url, cookies=self.cookies) as answer:
            return answer.status


@pytest.fixture
async def browser(world: SlackHouse) -> AsyncIterator[Browser]:
    """Of whoever installs the app."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Browser(world, session)


async def test_a_workspace_installs_the_app_and_is_answered(
    world: SlackHouse, browser: Browser
) -> None:
    """With the scopes that are needed; its token is stored sealed."""
    back = await browser.agree(await browser.begin())
    assert await browser.come_back(back) == 200
    asked = world.mention("hello")
    await world.answer(world.channel, asked.ts, "Fine.")
    assert world.team.bot_token not in await world.house.dump()


async def test_a_removed_app_is_silent_until_it_is_installed_again(
    world: SlackHouse, browser: Browser
) -> None:
    """The token is erased; a new installation needs no new link."""
    assert await browser.come_back(await browser.agree(await browser.begin())) == 200
    world.team.uninstall()
    await world.fake.settled()
    rows = await world.house.rows("SELECT sealed, revoked_at IS NULL FROM installs")
    assert [(sealed, bool(live)) for sealed, live in rows] == [("", False)]
    assert await browser.come_back(await browser.agree(await browser.begin())) == 200
    asked = world.mention("hello")
    await world.answer(world.channel, asked.ts, "Fine.")


async def test_a_forged_or_stolen_state_installs_nothing(
    world: SlackHouse, browser: Browser
) -> None:
    """The state is signed, and bound to the browser that began."""
    back = await browser.agree(await browser.begin())
    assert await browser.come_back({**back, "state": "9999999999.x.forged"}) == 400
    assert await browser.come_back({"code": back["code"]}) == 400
    mine, browser.cookies = browser.cookies, {}
    assert await browser.come_back(back) == 400
    browser.cookies = {"it0_slack_install": "somebody else's"}
    assert await browser.come_back(back) == 400
    assert await world.house.rows("SELECT COUNT(*) FROM installs") == [(0,)]
    browser.cookies = mine
    assert await browser.come_back(back) == 200


async def test_a_state_is_used_once(world: SlackHouse, browser: Browser) -> None:
    """A link that is opened again from the history does nothing."""
    back = await browser.agree(await browser.begin())
    assert await browser.come_back(back) == 200
    assert await browser.come_back({**back, "code": world.fake.installs.code(world.admin)}) == 400


async def test_a_refused_or_failed_installation_says_so(
    world: SlackHouse, browser: Browser
) -> None:
    """Whoever says no on Slack's page, and a code that Slack does not know."""
    world.fake.installs.denies = True
    assert await browser.come_back(await browser.agree(await browser.begin())) == 403
    world.fake.installs.denies = False
    back = await browser.agree(await browser.begin())
    assert await browser.come_back({**back, "code": "made-up"}) == 502
    assert await world.house.rows("SELECT COUNT(*) FROM installs") == [(0,)]


def test_a_state_expires() -> None:
    """After ten minutes, by the clock of the server."""
    now = [1_000.0]
    states = States(KEY, lambda: now[0])
    state = states.make("cookie")
    now[0] += STATE_TTL_S
    assert not states.take(state, "cookie")
    now[0] -= 1
    assert states.take(state, "cookie")


@pytest.mark.parametrize("state", ["", ".", "..", "x", "1.2.3", "é.é.é"])
def test_a_senseless_state_is_refused(state: str) -> None:
    """Whatever somebody types."""
    assert not States(KEY).take(state, "cookie")
