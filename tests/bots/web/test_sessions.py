"""``/api/v1/session`` on a running product: in by a link, out for good, and what thieves get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar

from tests.bots.api_kit import Api, open_api

OWN = {"Sec-Fetch-Site": "same-origin"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(kw_only=True)
class Browser:
    """Sends cookies as a browser does, and the header that tells whose page asks."""

    api: Api
    http: ClientSession
    cookie: str = ""
    answered: dict[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """One request of IT0's own page, or of another when ``headers`` say so."""
        sent = {**OWN, "User-Agent": AGENT, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.cookie:
            sent["Cookie"] = self.cookie
        url = f"{self.api.url}/api/v1{path}"
        async with self.http.request(method, url, json=body, headers=sent) as response:
            self.answered = dict(response.headers)
            if "Set-Cookie" in response.headers:
                pair, *_ = response.headers["Set-Cookie"].split(";")
                self.cookie = "" if pair.endswith("=") else pair
            text = await response.text()
            is_json = "json" in response.headers.get("Content-Type", "")
            return response.status, (await response.json(content_type=None)) if is_json else text

    async def sign_in(self, code: str | None = None) -> dict[str, Any]:
        """Use a link; who one is then."""
        code = code or await link(self.api)
        status, me = await self.call("POST", "/session", {"code": code})
        assert status == 201, me
        return dict(me)


async def link(api: Api, email: str | None = None) -> str:
    """The code of a new link, made with the token of the admin."""
    body = {} if email is None else {"email": email}
    status, made = await api.call("POST", "/api/v1/sign-in-links", body)
    assert status == 201, made
    return str(made["url"]).partition("#")[2]


@asynccontextmanager
async def browser_of(api: Api) -> AsyncIterator[Browser]:
    """A browser that nobody is signed in with."""
    async with ClientSession(cookie_jar=DummyCookieJar()) as http:
        yield Browser(api=api, http=http)


@pytest.fixture
async def api(data_dir: Path) -> AsyncIterator[Api]:
    """The product, spoken to as its admin."""
    async with open_api(data_dir) as api:
        yield api


@pytest.fixture
async def browser(api: Api) -> AsyncIterator[Browser]:
    """A browser that nobody is signed in with."""
    async with browser_of(api) as one:
        yield one


async def test_a_link_signs_in_and_tells_who_one_is(api: Api, browser: Browser) -> None:
    """The answer and ``GET /session`` tell the person, the team and what the page needs."""
    status, nobody = await browser.call("GET", "/session")
    assert (status, nobody["user"], nobody["session"]) == (200, None, None)
    me = await browser.sign_in()
    assert me["user"]["role"] == "admin"
    assert me["operator_team"] is True
    assert me["limits"] == {"files": 5, "bytes": 10 * 1024 * 1024, "chars": 100_000}
    assert browser.answered["Set-Cookie"].startswith("it0=")
    assert "HttpOnly; SameSite=Strict" in browser.answered["Set-Cookie"]
    assert browser.answered["Cache-Control"] == "no-store"
    assert (await browser.call("GET", "/session"))[1] == me
    assert (await browser.call("GET", "/servers"))[0] == 200
