"""What a visit costs: bytes of the first and the second load, and nothing from elsewhere."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from playwright.async_api import Page

from tests.browser.chat import Chat
from tests.browser.house import House
from tests.browser.views import VIEWS, shown
from tests.browser.visitors import Visitors
from tests.browser.weight import Traffic, load

FIRST_PAINT_BYTES: Final = 100_000
AGAIN_BYTES: Final = 12_000
"""The shell is asked for anew, and the API; every file comes from the browser's cache."""


async def test_a_first_visit_costs_under_100_kb(
    home: House, page: Page, visitors: Visitors
) -> None:
    """Signed in, with an empty cache, until one can write: everything that arrives is counted."""
    fresh = await visitors.browser(storage_state=await page.context.storage_state())
    tab = await fresh.new_page()
    traffic = await load(tab, home.url, Chat(tab).box.wait_for)
    assert len(traffic.urls()) > 5
    assert traffic.total < FIRST_PAINT_BYTES, traffic.urls()


async def test_a_second_visit_takes_its_files_from_the_cache(home: House, page: Page) -> None:
    """Nothing under ``/static/`` is transferred again."""
    await page.goto(home.url)
    await Chat(page).box.wait_for()
    again = await page.context.new_page()
    traffic = await load(again, home.url, Chat(again).box.wait_for)
    static = {key for key, url in traffic.asked.items() if "/static/" in url}
    assert len(static) > 5
    assert static <= traffic.cached
    assert traffic.total < AGAIN_BYTES


async def test_nothing_is_asked_from_elsewhere(home: House, page: Page) -> None:
    """Through every view and a whole answer, each request goes to IT0's own address."""
    traffic = await Traffic.of(page)
    home.provider.script("links", "See ![x](https://example.com/x.png) and <https://example.com>.")
    await page.goto(home.url)
    chat = Chat(page)
    await chat.say("Show me links")
    await chat.reads("and")
    await chat.rests()
    for view in VIEWS:
        await page.goto(home.url + view)
        await shown(page)
    here = urlsplit(home.url).netloc
    assert {urlsplit(url).netloc for url in traffic.urls()} == {here}
