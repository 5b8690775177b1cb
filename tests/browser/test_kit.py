"""The kit itself: what it sees, what it cannot reach, and what it can cut."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, expect

from tests.browser.axe import violations
from tests.browser.house import House
from tests.browser.sites import served
from tests.browser.visitors import Visitors
from tests.browser.watch import Watch
from tests.browser.wire import Wire
from tests.support.core_kit import eventually

_STRICT = "default-src 'none'; script-src 'self'; connect-src 'self'"
_PAGE = """<!doctype html><html lang="en"><title>A page</title>
<main><h1>A page</h1><p id="said">nothing</p></main><script src="/page.js"></script>"""


@pytest_asyncio.fixture(loop_scope="session")
async def stub() -> AsyncGenerator[str]:
    """A page of the test's own, with a policy."""
    documents = {"/": _PAGE, "/page.js": ""}
    async with served(documents, Content_Security_Policy=_STRICT) as url:
        yield url


@pytest.mark.parametrize(
    ("deed", "complaint"),
    [
        ("console.error('broken')", "console error: broken"),
        ("console.warn('odd')", "console warning: odd"),
        ("setTimeout(() => { throw new Error('thrown') })", "page error: .*thrown"),
        ("Promise.reject(new Error('rejected')) && 0", "page error: .*rejected"),
        ("console.log('fine')", ""),
        (
            "document.body.append(Object.assign(new Image(), {src: '/x.png'}))",
            "Content Security|: csp$",
        ),
        ("fetch('/missing').then(() => 0)", "404"),
        ("fetch('http://it0.example/').catch(() => 0)", "Content Security|: csp$"),
    ],
)
async def test_nothing_that_goes_wrong_is_missed(
    browser: Browser, stub: str, deed: str, complaint: str
) -> None:
    """Console, page errors, policy and answers: each is seen, and only what is wrong."""
    watch = Watch()
    context = await browser.new_context()
    watch.follow(context)
    page = await context.new_page()
    await page.goto(stub)
    await page.evaluate(f"() => {{ {deed} }}")
    if complaint:
        await eventually(lambda: watch.unexpected() != [])
        watch.allow(complaint)
    await page.evaluate("() => console.log('all was said')")
    await eventually(lambda: any("all was said" in said for said in watch.messages))
    await context.close()
    assert watch.unexpected() == []


async def test_the_browser_reaches_only_this_machine(browser: Browser, stub: str) -> None:
    """Neither a name nor an address leads outside."""
    context = await browser.new_context()
    for outside in ("http://example.com/", "http://192.0.2.1/"):
        page = await context.new_page()
        with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
            await page.goto(outside)
    page = await context.new_page()
    await page.goto(stub)
    await expect(page.get_by_role("heading", name="A page")).to_be_visible()
    await context.close()


async def test_axe_finds_what_is_wrong_and_only_that(browser: Browser, stub: str) -> None:
    """A sound page has no violation; a nameless button is one, with its place, despite the policy."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(stub)
    assert await violations(page) == []
    await page.evaluate(
        "() => document.querySelector('main').append(document.createElement('button'))"
    )
    (found,) = await violations(page)
    assert found.startswith("button-name (critical)")
    assert "<button></button>" in found
    await context.close()


async def test_a_wire_is_cut_and_mended(browser: Browser, stub: str) -> None:
    """Over the wire the page is the same; cut off, requests fail; mended, they succeed."""
    context = await browser.new_context()
    page = await context.new_page()
    async with Wire(stub) as wire:
        await page.goto(wire.url)
        asking = "() => fetch('/').then((answer) => answer.status, () => 0)"
        assert await page.evaluate(asking) == 200
        wire.break_off()
        assert await page.evaluate(asking) == 0
        wire.mend()
        assert await page.evaluate(asking) == 200
        assert wire.opened >= 2
    await context.close()


async def test_a_house_serves_the_page_to_a_stranger(home: House, visitors: Visitors) -> None:
    """IT0 runs beside the browser, and its shell arrives."""
    context = await visitors.browser()
    page = await context.new_page()
    answer = await page.goto(f"{home.url}/healthz")
    assert answer is not None
    assert answer.status == 200
