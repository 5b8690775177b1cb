"""Markdown in a real browser: nothing executes, nothing jumps, everything can be reached."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from bots.web.pages import PageRoutes
from bots.web.server import build
from tests.bots.web.page.test_markdown_tail import PIECES, SCRAPS
from tests.browser.axe import violations
from tests.browser.markdown_vectors import VECTORS
from tests.browser.watch import Watch
from tests.support.core_kit import PATIENCE_S

_STAGE: Final = Path(__file__).with_name("markdown_stage.js").read_text()
_DRAW: Final = """(text) => {
    window.shown?.end();
    window.shown = window.stage.place();
    window.shown.draw(text, false);
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def address() -> AsyncGenerator[str]:
    """The page's files and policy, without anything behind them."""

    async def nobody(_request: web.Request) -> web.Response:
        return web.json_response({"user": None})

    hooks = [*PageRoutes().routes(), web.get("/api/v1/session", nobody)]
    runner = web.AppRunner(build([], hooks=hooks, version="0"), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def _prepared(page: Page, address: str) -> Page:
    """The page with ``window.stage``, which waits until an answer can be drawn."""
    await page.goto(address)
    await page.locator(".card").wait_for()
    base = await page.evaluate("document.querySelector('script[src]').src.replace(/theme.js$/, '')")
    await page.evaluate(_STAGE, base)
    return page


async def _until(page: Page, condition: str) -> None:
    """Wait for a condition of the page; the driver's own way needs eval, which the policy forbids."""
    async with asyncio.timeout(PATIENCE_S):
        while not await page.evaluate(condition):  # noqa: ASYNC110  # only the page knows
            await asyncio.sleep(0.02)


@pytest.fixture
def asked() -> list[str]:
    """Every address that the page asked for."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def stage(
    browser: Browser, address: str, watch: Watch, asked: list[str]
) -> AsyncGenerator[Page]:
    """An empty page under the real policy, with ``window.stage``; nothing may go wrong in it."""
    context = await browser.new_context(locale="en-US", reduced_motion="reduce")
    watch.follow(context)
    page = await _prepared(await context.new_page(), address)
    context.on("request", lambda request: asked.append(request.url))
    yield page
    await page.close()
    await context.close()
    assert watch.unexpected() == []


@pytest.mark.timeout(300)
async def test_hostile_answers_do_nothing(stage: Page, asked: list[str]) -> None:
    """Sign by sign and at once: no script, no request, and no element that is not allowed."""
    found = await stage.evaluate(
        "(texts) => texts.map((text) => [text, window.stage.hostile(text)])", list(VECTORS)
    )
    await stage.wait_for_timeout(200)  # what a broken picture would do comes later
    assert {text[:200]: strange for text, strange in found if strange} == {}
    assert await stage.evaluate("window.stage.count") == {"violations": 0, "dialogs": 0}
    assert await stage.evaluate("'__hacked' in window") is False
    assert asked == []
    assert len(stage.context.pages) == 1


@pytest.mark.parametrize(
    ("deed", "complaint"),
    [
        ("Object.assign(document.createElement('a'), {href: 'javascript:x'})", "leads to"),
        ("Object.assign(document.createElement('a'), {href: '/x'})", "A leads"),
        ("document.createElement('form')", "<FORM>"),
        ("Object.assign(document.createElement('p'), {id: 'app'})", "P id=app"),
        ("Object.assign(document.createElement('p'), {className: 'dialog'})", "dialog"),
    ],
)
async def test_the_audit_sees_what_may_not_be_there(stage: Page, deed: str, complaint: str) -> None:
    """Each would be found if an answer could bring it."""
    found = await stage.evaluate(
        f"() => {{ window.stage.main.append({deed}); return window.stage.strange(document.body); }}"
    )
    assert any(complaint in one for one in found)


async def test_the_watch_sees_a_foreign_picture(
    stage: Page, asked: list[str], watch: Watch
) -> None:
    """A picture from elsewhere would be counted as a violation of the policy."""
    await stage.evaluate(
        "() => { const image = new Image(); image.src = 'https://evil.example/p.png'; }"
    )
    await _until(stage, "window.stage.count.violations === 1")
    assert watch.unexpected() != []
    watch.allow("Content Security Policy", "evil.example")


async def test_closed_blocks_are_not_touched_again(stage: Page) -> None:
    """However an answer is cut, closed blocks keep their nodes, and it ends as drawn at once."""
    chance = random.Random(5)
    texts = ["\n".join(chance.sample(PIECES, 6)) for _ in range(30)]
    texts += ["".join(chance.choices(SCRAPS, k=30)) for _ in range(120)]
    for text in texts:
        cuts = sorted(chance.sample(range(1, len(text)), min(len(text) - 1, 40)))
        said = await stage.evaluate(
            "([text, cuts]) => window.stage.pieces(text, cuts)", [text, cuts]
        )
        assert said == {"touched": [], "same": True}, text


async def test_huge_answers_leave_the_page_alive(stage: Page) -> None:
    """Too long, too deep, too wide: all of it is there, in few elements."""
    for text in (
        "word **x** " * 90_000 + "\n\nthe end",
        "line\n\n" * 10_000 + "the end",
        "> " * 5_000 + "the end",
        "".join(f"{'  ' * n}- {n}\n" for n in range(300)) + "the end",
        "[" * 50_000 + " the end",
        "```\n" + "x\n" * 50_000 + "```\nthe end",
    ):
        await stage.evaluate(_DRAW, text)
        await expect(stage.locator(".markdown").get_by_text("the end")).to_have_count(1)
        assert await stage.locator(".markdown *").count() < 7_000


async def test_code_is_labelled_copied_and_collapsed(stage: Page) -> None:
    """A long block shows its beginning, and all of it to who asks; the button copies all of it."""
    await stage.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = "\n".join(f"line {n}" for n in range(60))
    await stage.evaluate(_DRAW, f"```sh\n{code}\n```")
    block = stage.locator(".code-block")
    await expect(block.locator(".language")).to_have_text("sh")
    await expect(block.locator("code")).not_to_contain_text("line 40")
    await block.get_by_role("button", name="Copy code").click()
    assert await stage.evaluate("navigator.clipboard.readText()") == code
    await block.get_by_role("button", name="Show all 60 lines").press("Enter")
    await expect(block.locator("code")).to_contain_text("line 59")
    await expect(block.get_by_role("button", name="Show less")).to_be_focused()


async def test_only_what_does_not_fit_is_a_stop_of_the_keyboard(stage: Page) -> None:
    """Wide code and tables are regions with a name that arrow keys scroll; narrow ones are not."""
    narrow = "```\nx\n```\n\n| a |\n|---|\n| b |\n"
    await stage.evaluate(_DRAW, narrow)
    await expect(stage.locator("table")).to_be_visible()
    await expect(stage.locator(".scrolling[tabindex]")).to_have_count(0)
    wide = "```sh\n" + "x" * 400 + "\n```\n\n|" + "a long head |" * 30 + "\n|" + "---|" * 30 + "\n"
    await stage.evaluate(_DRAW, wide)
    code = stage.get_by_role("region", name="Code, sh")
    await expect(code).to_have_attribute("tabindex", "0")
    await expect(stage.get_by_role("region", name="Table")).to_have_attribute("tabindex", "0")
    await code.focus()
    await code.press("ArrowRight")
    await _until(stage, "document.activeElement.scrollLeft > 0")


async def test_links_show_where_they_lead(stage: Page) -> None:
    """A false text gets the real host beside it; what may not be followed is text."""
    await stage.evaluate(
        _DRAW,
        "[https://bank.example](https://evil.example/x) [notes](docs/x.md) ![graph](https://p.example/g)",
    )
    links = stage.locator(".markdown a")
    await expect(links).to_have_text(["https://bank.example", "graph"])
    await expect(stage.locator(".address")).to_have_text(
        ["(evil.example)", "(docs/x.md)", "(p.example)"]
    )


async def test_without_its_parser_an_answer_is_plain_text(
    browser: Browser, address: str, watch: Watch
) -> None:
    """Where a file cannot be loaded, nothing of the answer is missing."""
    context = await browser.new_context(locale="en-US")
    watch.follow(context)
    watch.allow("markdown-it")
    page = await context.new_page()
    await page.route("**/markdown-it.js", lambda route: route.abort())
    await _prepared(page, address)
    await page.evaluate(_DRAW, "# A **title**\n\ntext")
    await expect(page.locator(".plain-text")).to_have_text("# A **title** text")
    await context.close()
    assert watch.unexpected() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_stands_in_the_way_of_assistive_technology(stage: Page, scheme: str) -> None:
    """Axe finds nothing in an answer that has everything, in light and in dark."""
    await stage.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    diff = "```diff\n--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n```\n"
    await stage.evaluate(_DRAW, "\n".join([*PIECES, diff, "`a\u202eb` [x](y) https://a.example"]))
    await expect(stage.locator("table").first).to_be_visible()
    assert await violations(stage) == []
