"""``/api/v1/session`` on a running product: in by a link, out for good, and what thieves get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import ClientSession, DummyCookieJar

from bots.web.cookies import cookie_name
from core.streams import EventId, StreamEvent
from storage.database import execute
from tests.bots.api_kit import Api, open_api

OWN = {"Sec-Fetch-Site": "same-origin"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(kw_only=True)
class Browser:
    """Sends cookies as a browser does, and the header that tells whose page asks."""

    api: Api
    http: ClientSession
    cookie: str = ""
    tells: dict[str, str] = field(default_factory=OWN.copy)
    """What it tells of the page that asks; an old browser tells nothing."""
    answered: dict[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """One request of IT0's own page, or of another when ``headers`` say so."""
        sent = {
            **self.tells,
            "User-Agent": AGENT,
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
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


def name_of(api: Api) -> str:
    """The cookie's name, which has the port."""
    return cookie_name(api.url.partition("//")[2], secure=False)


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


NOBODY = {
    "user": None,
    "team": None,
    "operator_team": False,
    "language": "",
    "version": None,
    "features": None,
    "limits": None,
    "session": None,
}


async def test_nobody_is_no_error_and_learns_nothing(api: Api, browser: Browser) -> None:
    """No cookie, an unknown one or a dead one: 200 and nulls; a wrong token stays a 401."""
    assert await browser.call("GET", "/session") == (200, NOBODY)
    assert browser.answered["Cache-Control"] == "no-store"
    browser.cookie = f"{name_of(api)}=nobody.nothing"
    assert await browser.call("GET", "/session") == (200, NOBODY)
    browser.cookie = ""
    await browser.sign_in()
    await browser.call("DELETE", "/sessions", Authorization=f"Bearer {api.token}")
    assert await browser.call("GET", "/session") == (200, NOBODY)
    status, problem = await browser.call("GET", "/session", Authorization="Bearer nothing")
    assert (status, problem["code"]) == (401, "unauthorized")


async def test_a_link_signs_in_and_tells_who_one_is(api: Api, browser: Browser) -> None:
    """The answer and ``GET /session`` tell the person, the team and what the page needs."""
    status, nobody = await browser.call("GET", "/session")
    assert (status, nobody["user"], nobody["session"]) == (200, None, None)
    me = await browser.sign_in()
    assert me["user"]["role"] == "admin"
    assert me["operator_team"] is True
    assert me["limits"] == {"files": 5, "bytes": 10 * 1024 * 1024, "chars": 100_000}
    assert browser.answered["Set-Cookie"].startswith(f"{name_of(api)}=")
    assert "HttpOnly; SameSite=Strict" in browser.answered["Set-Cookie"]
    assert browser.answered["Cache-Control"] == "no-store"
    assert (await browser.call("GET", "/session"))[1] == me
    assert (await browser.call("GET", "/servers"))[0] == 200


async def test_a_link_works_once(api: Api, browser: Browser) -> None:
    """Used again, by whomever, it opens nothing and says how to get another; two at once: one."""
    code = await link(api)
    await browser.sign_in(code)
    async with browser_of(api) as thief:
        status, problem = await thief.call("POST", "/session", {"code": code})
        assert (status, problem["code"]) == (401, "sign_in_code_invalid")
        assert "`/login`" in problem["detail"]
        assert thief.cookie == ""
        fresh = await link(api)
        both = await asyncio.gather(
            *(one.call("POST", "/session", {"code": fresh}) for one in (browser, thief))
        )
        assert sorted(status for status, _ in both) == [201, 401]
        for wrong in ("nothing", "a" * 200, "您好", "'; DROP TABLE users"):
            status, problem = await thief.call("POST", "/session", {"code": wrong})
            assert (status, problem["code"]) == (401, "sign_in_code_invalid")
        status, problem = await thief.call("POST", "/session", {"code": "a" * 5000})
        assert (status, problem["code"]) == (413, "content_too_large")


CROSS = (
    {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.test"},
    {"Sec_Fetch_Site": "same-site", "Origin": "http://127.0.0.1:1"},  # another port of this host
    {"Sec_Fetch_Site": "none"},
)
OLD: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "https://evil.test"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
)


async def test_another_page_does_nothing_with_the_cookie(api: Api, browser: Browser) -> None:
    """Whatever its browser tells of it: nothing changes, nobody is signed in or out."""
    await browser.sign_in()
    code = await link(api)
    deeds: tuple[tuple[str, str, object], ...] = (
        ("POST", "/agent/turns", {"text": "delete everything"}),
        ("POST", "/session", {"code": code}),
        ("PATCH", "/session", {"language": "zh"}),
        ("DELETE", "/session", None),
        ("DELETE", "/sessions", None),
        ("POST", "/sign-in-links", {}),
        ("POST", "/tokens", {}),
        ("POST", "/users", {"email": "eve@example.com"}),
    )
    for headers in CROSS:
        for method, path, body in deeds:
            status, problem = await browser.call(method, path, body, **headers)
            assert (status, problem["code"]) == (403, "cross_site"), (path, headers)
            assert "Set-Cookie" not in browser.answered
    async with browser_of(api) as old:  # tells nothing of sites: `Origin` alone decides
        old.cookie, old.tells = browser.cookie, {}
        for headers in OLD:
            for method, path, body in deeds:
                status, problem = await old.call(method, path, body, **headers)
                assert (status, problem["code"]) == (403, "cross_site"), (path, headers)
        own = {"Origin": api.url}
        status, me = await old.call("PATCH", "/session", {"language": "en"}, **own)
        assert (status, me["language"]) == (200, "en")
        assert (await old.call("GET", "/session"))[1]["user"] is not None
    assert (await browser.call("GET", "/session", Sec_Fetch_Site="same-site"))[0] == 403
    assert (await browser.call("GET", "/session", Sec_Fetch_Site="none"))[0] == 200
    await browser.sign_in(code)


async def test_a_cookie_from_elsewhere_is_never_taken_over(api: Api, browser: Browser) -> None:
    """Fixation: whatever cookie a browser has before, signing in makes another; the old one ends."""
    planted = f"{name_of(api)}={'x' * 43}.{'y' * 43}"
    browser.cookie = planted
    assert (await browser.call("GET", "/servers"))[0] == 401
    assert browser.cookie == planted  # it may belong to another IT0 of the same host
    await browser.sign_in()
    first = browser.cookie
    assert not set(first.partition("=")[2].split(".")) & set("xy" * 43)
    assert first != planted
    await browser.sign_in()
    assert browser.cookie != first
    async with browser_of(api) as thief:
        thief.cookie = first
        assert (await thief.call("GET", "/servers"))[0] == 401
    _, listed = await browser.call("GET", "/sessions")
    assert [(one["current"], one["browser"]) for one in listed["sessions"]] == [
        (True, "Firefox on Linux")
    ]


async def test_signing_out_is_for_good(api: Api, browser: Browser) -> None:
    """The cookie goes, a copy of it opens nothing, tokens made in the session stop."""
    await browser.sign_in()
    copied = browser.cookie
    _, made = await browser.call("POST", "/tokens", {"days": 3650})
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert (await api.call("GET", "/api/v1/servers", **bearer))[0] == 200
    _, me = await browser.call("GET", "/session")
    assert made["expires_at"] > me["session"]["expires_at"]  # thirty days, not ten years
    assert made["expires_at"][:4] <= str(int(me["session"]["expires_at"][:4]) + 1)
    assert (await browser.call("DELETE", "/session"))[0] == 204
    assert browser.answered["Set-Cookie"].startswith(f"{name_of(api)}=; Max-Age=0;")
    assert browser.cookie == ""
    browser.cookie = copied
    assert (await browser.call("GET", "/session"))[1]["user"] is None
    status, problem = await browser.call("GET", "/servers")
    assert (status, problem["code"]) == (401, "unauthorized")
    assert "`it0 login`" in problem["detail"]
    assert (await api.call("GET", "/api/v1/servers", **bearer))[0] == 401
    assert (await browser.call("DELETE", "/session"))[0] == 204  # signed out already: no error


async def test_authorization_alone_counts_where_it_is_sent(api: Api, browser: Browser) -> None:
    """A good cookie does not help a wrong token, and another page's cookie harms no good one."""
    await browser.sign_in()
    for wrong in ("Bearer nothing", "Basic eDp5", "Bearer", ""):
        status, _ = await browser.call("GET", "/servers", Authorization=wrong)
        assert status == 401
    good = f"Bearer {api.token}"
    status, _ = await browser.call(
        "GET", "/servers", Authorization=good, Sec_Fetch_Site="cross-site"
    )
    assert status == 200
    assert (await browser.call("DELETE", "/session", Authorization=good))[0] == 404
    _, me = await browser.call("GET", "/session", Authorization=good)
    assert (me["session"], me["user"]["role"]) == (None, "admin")
    assert (await browser.call("GET", "/session"))[1]["user"] is not None


async def test_admins_let_people_in_and_nobody_else(api: Api, browser: Browser) -> None:
    """A member makes links for themselves alone; an admin for anybody of the team."""
    _, ann = await api.call("POST", "/api/v1/users", {"email": "ann@example.com"})
    await browser.sign_in(await link(api, "ann@example.com"))
    assert (await browser.call("GET", "/session"))[1]["user"]["id"] == ann["id"]
    for path in ("/audit", "/users"):
        assert (await browser.call("GET", path))[0] == 403
    status, _ = await browser.call("POST", "/sign-in-links", {"email": "admin@localhost"})
    assert status == 403
    status, made = await browser.call("POST", "/sign-in-links", {"email": "ann@example.com"})
    assert (status, made["expires_in_s"]) == (201, 1800)
    assert made["url"].startswith(f"{api.url}/sign-in#")
    status, problem = await api.call("POST", "/api/v1/sign-in-links", {"email": "no@example.com"})
    assert (status, problem["code"]) == (404, "unknown_user")
    await api.call("PATCH", f"/api/v1/users/{ann['id']}", {"role": "admin"})
    assert (await browser.call("GET", "/users"))[0] == 200
    assert (await api.call("DELETE", f"/api/v1/users/{ann['id']}"))[0] == 204
    assert (await browser.call("GET", "/session"))[1]["user"] is None


async def test_sessions_are_listed_and_ended_by_their_owner(api: Api, browser: Browser) -> None:
    """One by one, or all others; nobody else's; the audit log tells of each."""
    await browser.sign_in()
    async with browser_of(api) as phone, browser_of(api) as ann:
        await phone.sign_in()
        await api.call("POST", "/api/v1/users", {"email": "ann@example.com"})
        await ann.sign_in(await link(api, "ann@example.com"))
        _, hers = await ann.call("GET", "/sessions")
        _, mine = await browser.call("GET", "/sessions")
        assert sorted(one["current"] for one in mine["sessions"]) == [False, True]
        foreign = hers["sessions"][0]["id"]
        assert (await browser.call("DELETE", f"/sessions/{foreign}"))[0] == 404
        other = next(one["id"] for one in mine["sessions"] if not one["current"])
        assert (await browser.call("DELETE", f"/sessions/{other}"))[0] == 204
        assert (await phone.call("GET", "/servers"))[0] == 401
        await phone.sign_in()
        assert (await browser.call("DELETE", "/sessions"))[0] == 204
        assert (await phone.call("GET", "/servers"))[0] == 401
        assert (await ann.call("GET", "/servers"))[0] == 200
    _, log = await browser.call("GET", "/audit")
    actions = [row["action"] for row in log["entries"]]
    assert actions.count("session.opened") == 4
    assert actions.count("session.ended") == 2


async def aged(api: Api, seconds: int) -> None:
    """As if the sessions had begun earlier."""

    def work(conn: sa.Connection) -> None:
        moved = ", ".join(f"{name} = {name} - :ms" for name in ("rotated_at", "offered_at"))
        execute(conn, f"UPDATE web_sessions SET {moved}", ms=seconds * 1000)

    await api.core.storage.db.transaction(work)


async def test_a_stolen_old_cookie_ends_the_session(api: Api, browser: Browser) -> None:
    """The cookie changes after an hour; whoever comes with the one before is out, with its owner."""
    await browser.sign_in()
    stolen = browser.cookie
    await aged(api, 3600)
    assert (await browser.call("GET", "/servers"))[0] == 200
    assert browser.cookie != stolen
    assert browser.cookie.partition(".")[0] == stolen.partition(".")[0]
    assert (await browser.call("GET", "/servers"))[0] == 200
    assert "Set-Cookie" not in browser.answered
    async with browser_of(api) as thief:
        thief.cookie = stolen
        assert (await thief.call("GET", "/servers"))[0] == 200  # a request that was under way
        assert "Set-Cookie" not in thief.answered
        await aged(api, 121)
        assert (await browser.call("GET", "/servers"))[0] == 200
        assert (await thief.call("GET", "/servers"))[0] == 401
    assert (await browser.call("GET", "/servers"))[0] == 401


async def test_a_stream_brings_the_new_cookie_and_ends_with_the_session(
    api: Api, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its headers come before its first event; signed out elsewhere, it ends within a beat."""
    await browser.sign_in()
    await aged(api, 3600)
    before = browser.cookie
    status, _ = await browser.call("POST", "/agent/turns", {"text": "/whoami"})
    assert status == 200
    assert browser.cookie != before
    monkeypatch.setattr("bots.web.streaming.KEEP_ALIVE_S", 0.05)
    silent = asyncio.Event()

    async def waits(*_: object) -> AsyncGenerator[StreamEvent, None]:
        yield StreamEvent(EventId(1, 1), "turn", "{}")
        await silent.wait()

    monkeypatch.setattr(api.core.streams.__class__, "listen", waits)
    url = f"{api.url}/api/v1/agent/turns"
    headers = {**OWN, "Cookie": browser.cookie}
    async with browser.http.post(url, json={"text": "/whoami"}, headers=headers) as stream:
        assert b"event: turn" in await stream.content.readuntil(b"\n\n")
        assert (await browser.call("DELETE", "/session"))[0] == 204
        async with asyncio.timeout(10):
            rest = await stream.content.read()
        assert b"completed" not in rest


async def test_over_tls_the_cookie_is_the_hosts_own(data_dir: Path) -> None:
    """Behind a proxy with an https address: ``__Host-``, ``Secure``, and links with that address."""
    public = "https://it0.example.com"
    async with open_api(data_dir, {"IT0_PUBLIC_URL": public}) as api, browser_of(api) as browser:
        _, made = await api.call("POST", "/api/v1/sign-in-links", {})
        assert made["url"].startswith(f"{public}/sign-in#")
        await browser.sign_in()
        assert browser.cookie.startswith(f"__Host-{name_of(api)}=")
        assert browser.answered["Set-Cookie"].endswith("; Secure")
        assert (await browser.call("GET", "/servers"))[0] == 200
        sent = {"Cookie": browser.cookie, "Origin": public}
        path = f"{api.url}/api/v1/session"
        async with browser.http.patch(path, json={"language": ""}, headers=sent) as answer:
            assert answer.status == 200
        browser.cookie = browser.cookie.removeprefix("__Host-")
        assert (await browser.call("GET", "/servers"))[0] == 401


async def test_what_a_token_lets_in_ends_with_it(api: Api, browser: Browser) -> None:
    """A stolen token does not live on as a session, nor longer than itself."""
    _, made = await api.call("POST", "/api/v1/tokens", {"days": 1})
    bearer = {"Authorization": f"Bearer {made['token']}"}
    _, letter = await api.call("POST", "/api/v1/sign-in-links", {}, **bearer)
    me = await browser.sign_in(letter["url"].partition("#")[2])
    assert me["session"]["expires_at"] <= made["expires_at"]
    assert (await browser.call("POST", "/sign-in-links", {}))[0] == 201
    assert (await api.call("DELETE", f"/api/v1/tokens/{made['id']}"))[0] == 204
    assert (await browser.call("GET", "/servers"))[0] == 401
