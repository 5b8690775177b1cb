"""Getting in and out, in a real browser, and what other people's pages cannot do."""

from __future__ import annotations

import asyncio
import json
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.browser.house import House
from tests.browser.sites import served
from tests.browser.visitors import Visitors
from tests.browser.watch import Watch

UNAUTHORIZED: Final = r"status of 401"


async def asked_for_a_link(page: Page) -> None:
    """The page says how to get in."""
    await expect(page.get_by_role("heading", name="Sign in to IT0")).to_be_visible()


async def inside(page: Page) -> None:
    """The page of somebody who is signed in."""
    await expect(page.get_by_role("link", name="New chat", exact=True)).to_be_visible()


async def session_cookie(context: BrowserContext) -> dict[str, object]:
    """The one cookie of IT0."""
    (cookie,) = await context.cookies()
    return dict(cookie)


async def test_a_stranger_reads_how_to_get_in(home: House, visitors: Visitors) -> None:
    """Every path of the page shows a stranger the three ways to a link, without an error."""
    page = await (await visitors.browser()).new_page()
    for path in ("/", "/audit", "/c/anything"):
        await page.goto(home.url + path)
        await asked_for_a_link(page)
        await expect(page.get_by_text("it0 login")).to_be_visible()
    await visitors.picture(page, "signed-out")


async def test_a_link_opens_it0_once(home: House, visitors: Visitors, watch: Watch) -> None:
    """The code leaves the address and the history; used again anywhere, it opens nothing."""
    link = await home.sign_in_link()
    context = await visitors.browser()
    page = await context.new_page()
    await page.goto(link)
    await inside(page)
    assert urlsplit(page.url).path == "/"
    code = link.partition("#")[2]
    cookie = await session_cookie(context)
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Strict"
    assert await page.evaluate("() => document.cookie") == ""
    assert code not in str(await context.storage_state())
    await page.go_back()
    assert page.url == "about:blank"

    watch.allow(UNAUTHORIZED)
    thief = await (await visitors.browser()).new_page()
    await thief.goto(link)
    await expect(thief.get_by_role("heading", name="This link does not open IT0")).to_be_visible()
    await expect(thief.get_by_role("alert")).to_contain_text("link")
    await thief.goto(home.url)
    await asked_for_a_link(thief)
    await page.goto(home.url)
    await inside(page)


async def test_a_wrong_code_opens_nothing(home: House, visitors: Visitors, watch: Watch) -> None:
    """Codes that never were, hostile ones too, end with a sentence and leave no session."""
    watch.allow(UNAUTHORIZED, r"status of 4\d\d")
    context = await visitors.browser()
    page = await context.new_page()
    for code in ("nothing", "%3Cscript%3Ealert(1)%3C/script%3E", "a" * 5000, "%E4%BD%A0"):
        await page.goto("about:blank")
        await page.goto(f"{home.url}/sign-in#{code}")
        await expect(page.get_by_role("heading", name="This link does not open")).to_be_visible()
        assert await context.cookies() == []


async def test_whoever_is_in_is_asked_before_a_link_changes_who_they_are(
    home: House, visitors: Visitors
) -> None:
    """Somebody else's link does not sign a person over: they are asked, and may stay."""
    other = await home.member("mallory")
    link = await home.sign_in_link(other)
    page = await visitors.signed_in()
    await page.goto(link)
    await expect(page.get_by_role("heading", name="Use this sign-in link?")).to_be_visible()
    await page.get_by_role("button", name="Stay signed in as I am").click()
    await inside(page)
    me = await page.evaluate("() => fetch('/api/v1/session').then((answer) => answer.json())")
    assert me["user"]["email"] == home.admin.email

    theirs = await (await visitors.browser()).new_page()
    await theirs.goto(link)
    await inside(theirs)


async def test_signing_out_ends_the_session_for_good(
    home: House, visitors: Visitors, page: Page
) -> None:
    """The page forgets who it was, and a copy of the cookie opens nothing any more."""
    copied = await page.context.storage_state()
    await page.goto(f"{home.url}/settings")
    await page.get_by_role("button", name="Sign out here").click()
    await asked_for_a_link(page)
    assert await page.context.cookies() == []
    await page.reload()
    await asked_for_a_link(page)

    thief = await (await visitors.browser(storage_state=copied)).new_page()
    await thief.goto(home.url)
    await asked_for_a_link(thief)


async def test_another_browser_can_be_signed_out(
    home: House, visitors: Visitors, watch: Watch
) -> None:
    """Settings lists the browsers; the one that is ended is at the door with its next step."""
    watch.allow(UNAUTHORIZED)
    here = await visitors.signed_in()
    there = await visitors.signed_in(phone=True)
    await here.goto(f"{home.url}/settings")
    rows = here.get_by_role("listitem").filter(has_text="Signed in")
    await expect(rows).to_have_count(2)
    await expect(rows.filter(has_text="this one")).to_have_count(1)
    await rows.get_by_role("button", name="Sign out", exact=True).click()
    await expect(rows).to_have_count(1)
    await there.goto(f"{home.url}/settings")
    await asked_for_a_link(there)
    await here.reload()
    await expect(here.get_by_role("button", name="Sign out here")).to_be_visible()


_ASK: Final = """() => Promise.all(Array.from({ length: 6 }, () =>
  fetch("/api/v1/session").then((answer) => answer.json()).then((me) => me.user?.email ?? "")))"""
HOUR_MS: Final = 3_600_000


async def test_the_cookie_changes_under_two_busy_tabs(
    home: House, visitors: Visitors, watch: Watch, page: Page
) -> None:
    """After an hour both tabs go on with a new cookie; whoever then shows the old one ends it."""
    watch.allow(UNAUTHORIZED)
    other = await page.context.new_page()
    await other.goto(home.url)
    copied = await page.context.storage_state()
    before = await session_cookie(page.context)
    await home.write("UPDATE web_sessions SET rotated_at = rotated_at - :age", age=2 * HOUR_MS)
    for _ in range(3):
        answers = [*await asyncio.gather(page.evaluate(_ASK), other.evaluate(_ASK))]
        assert answers == [[home.admin.email] * 6] * 2
    after = await session_cookie(page.context)
    assert after["value"] != before["value"]

    await home.write("UPDATE web_sessions SET rotated_at = rotated_at - :age", age=HOUR_MS // 2)
    thief = await (await visitors.browser(storage_state=copied)).new_page()
    await thief.goto(home.url)
    await asked_for_a_link(thief)
    await page.goto(home.url)
    await asked_for_a_link(page)


async def test_who_leaves_the_team_is_out_at_once(
    home: House, visitors: Visitors, watch: Watch
) -> None:
    """A person who is removed is at the door with the next thing they do."""
    watch.allow(UNAUTHORIZED)
    bob = await home.member("bob")
    page = await visitors.signed_in(bob)
    await inside(page)
    await home.call("DELETE", f"/users/{bob.id}")
    await page.goto(f"{home.url}/settings")
    await asked_for_a_link(page)


_DEEDS = """
const IT0 = {target};
const send = (path, method, options) => fetch(IT0 + path, {{
  method, mode: "no-cors", credentials: "include", ...options }}).catch(() => "refused");
window.attack = async () => {{
  const message = JSON.stringify({{ text: "delete everything" }});
  await send("/api/v1/agent/turns", "POST", {{ body: message }});
  await send("/api/v1/agent/turns", "POST", {{ body: new Blob([message], {{ type: "text/plain" }}) }});
  await send("/api/v1/session", "POST", {{ body: '{{"code": "x"}}' }});
  await send("/api/v1/sign-in-links", "POST", {{ body: "{{}}" }});
  await send("/api/v1/session", "DELETE", {{ mode: "cors" }});
  await send("/api/v1/session", "PATCH", {{ mode: "cors", body: '{{"language": "zh"}}' }});
  const read = await fetch(IT0 + "/api/v1/session", {{ credentials: "include" }})
    .then((answer) => answer.text(), () => "refused");
  return read;
}};
window.submit = (path) => {{
  const form = document.createElement("form");
  form.method = "post";
  form.action = IT0 + path;
  form.enctype = "text/plain";
  const field = document.createElement("input");
  field.name = '{{"text": "delete everything", "x": "';
  field.value = '"}}';
  form.append(field);
  document.body.append(form);
  form.submit();
}};
"""
_EVIL = """<!doctype html><html lang="en"><title>Win a prize</title><h1>Win a prize</h1>
<a href={target}>Your prize</a><script src="/deeds.js"></script>"""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_another_site_changes_and_reads_nothing(
    home: House, page: Page, visitors: Visitors, watch: Watch, host: str
) -> None:
    """Neither scripts nor forms of another origin act as the reader, on the same site either."""
    watch.allow("CORS policy", r"status of 4\d\d", "ERR_FAILED", "ERR_BLOCKED")
    people = await home.rows("SELECT * FROM users")
    target = json.dumps(home.url)
    documents = {"/": _EVIL.format(target=target), "/deeds.js": _DEEDS.format(target=target)}
    async with served(documents) as site:
        evil = await page.context.new_page()
        await evil.goto(site.replace("127.0.0.1", host))
        assert await evil.evaluate("() => attack()") == "refused"
        for path in ("/api/v1/agent/turns", "/api/v1/session", "/api/v1/sign-in-links"):
            await evil.goto(site.replace("127.0.0.1", host))
            async with evil.expect_navigation():
                await evil.evaluate("(path) => submit(path)", path)
        assert await home.rows("SELECT COUNT(*) FROM turns") == [(0,)]
        assert await home.rows("SELECT * FROM users") == people
        await page.reload()
        await inside(page)

        await evil.goto(site.replace("127.0.0.1", host))
        await evil.get_by_role("link", name="Your prize").click()
        await inside(evil)


async def test_no_page_puts_it0_into_a_frame(home: House, page: Page, watch: Watch) -> None:
    """A frame around IT0 stays empty: nobody clicks on it unknowingly."""
    watch.allow("frame-ancestors", "X-Frame-Options", "ERR_BLOCKED_BY_RESPONSE", "chrome-error")
    documents = {"/": f'<!doctype html><title>f</title><iframe src="{home.url}/"></iframe>'}
    async with served(documents) as site:
        around = await page.context.new_page()
        await around.goto(site)
        (frame,) = around.frames[1:]
        assert await frame.get_by_role("link").count() == 0
