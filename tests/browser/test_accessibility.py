"""Everybody can use the page: axe finds nothing, and no mouse is needed."""

from __future__ import annotations

from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from core.risk import Level
from tests.browser.axe import violations
from tests.browser.chat import Chat, document, picture
from tests.browser.house import House
from tests.browser.views import VIEWS, shown
from tests.browser.visitors import Visitors
from tests.support.core_kit import Probe

ANSWER: Final = """# Disks

All **well**, see [the manual](https://example.com/manual).

| server | used |
| --- | ---: |
| web-1 | 42 % |

1. one
2. two

> quoted `code`

```sh
df -h
```
"""
_STOPS: Final = """() => {
  const now = document.activeElement;
  const box = now.getBoundingClientRect();
  // The composer draws the ring of the field that fills it.
  const ringed = now.matches(".composer textarea") ? now.closest("form") : now;
  const style = getComputedStyle(ringed);
  return {
    tag: now.tagName,
    name: now.getAttribute("aria-label") ?? now.labels?.[0]?.textContent ?? now.textContent.trim(),
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight
      && box.right > 0 && box.left < innerWidth,
    ring: style.outlineStyle !== "none" || style.boxShadow !== "none",
    text: now.outerHTML.slice(0, 200),
  };
}"""

_TO_THE_TOP: Final = """() => {
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute("tabindex");
}"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_any_view(
    home: House, visitors: Visitors, probe: Probe, scheme: str, phone: bool
) -> None:
    """Signed out, an empty chat, a rich answer, a card that asks, and every other view."""
    device = f"{'phone' if phone else 'desktop'}-{scheme}"
    stranger = await (await visitors.browser(phone=phone, color_scheme=scheme)).new_page()
    await stranger.goto(home.url)
    await expect(stranger.get_by_role("heading", name="Sign in to IT0")).to_be_visible()
    found = {"signed out": await violations(stranger)}

    page = await visitors.signed_in(phone=phone, color_scheme=scheme)
    chat = Chat(page)
    await chat.box.wait_for()
    found["empty"] = await violations(page)
    await visitors.picture(page, f"{device}-empty")
    home.provider.script("disks", ANSWER, pause_s=0)
    await page.locator("input[type=file]:not([capture])").first.set_input_files(
        [picture(), document()]
    )
    await chat.say("How full are the disks?")
    await chat.reads("df -h")
    await chat.rests()
    found["answer"] = await violations(page)
    await visitors.picture(page, f"{device}-answer")
    probe.level = Level.L2
    await chat.say("Please [[tool probe {}]]")
    await expect(page.get_by_role("button", name="Approve")).to_be_visible()
    found["asked"] = await violations(page)
    await visitors.picture(page, f"{device}-asked")
    for view in VIEWS:
        await page.goto(home.url + view)
        await shown(page)
        found[view] = await violations(page)
        await visitors.picture(page, f"{device}-{view.strip('/')}")
        await chat.fits()
    assert {where: said for where, said in found.items() if said} == {}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("width", [320, 640])
async def test_everything_fits_into_narrow_and_zoomed_windows(
    home: House, visitors: Visitors, width: int
) -> None:
    """320 pixels (WCAG 1.4.10), and a desk at 200 %: nothing scrolls sideways in any view."""
    page = await visitors.signed_in(viewport={"width": width, "height": 512})
    chat = Chat(page)
    home.provider.script("disks", ANSWER, pause_s=0)
    await chat.say("How full are the disks?")
    await chat.reads("df -h")
    await chat.fits()
    for view in VIEWS:
        await page.goto(home.url + view)
        await shown(page)
        await chat.fits()


async def test_every_stop_of_the_keyboard_is_seen_and_has_a_name(home: House, page: Page) -> None:
    """Tab goes round the page and back; what has the focus is visible, ringed and named."""
    home.provider.script("disks", ANSWER, pause_s=0)
    chat = Chat(page)
    await chat.say("How full are the disks?")
    await chat.reads("df -h")
    await chat.rests()
    await page.reload()
    await chat.reads("df -h")
    await page.evaluate(_TO_THE_TOP)
    stops: list[dict[str, Any]] = []
    for _ in range(80):
        await page.keyboard.press("Tab")
        stop = await page.evaluate(_STOPS)
        if stop["tag"] == "BODY":
            break
        stops.append(stop)
    assert len(stops) > 10
    assert [stop for stop in stops if not stop["seen"]] == []
    assert [stop for stop in stops if not stop["ring"]] == []
    assert [stop for stop in stops if not stop["name"]] == []
    assert stops[0]["name"] == "Skip to the content"


async def test_a_conversation_without_a_mouse(home: House, page: Page) -> None:
    """Write, stop, open another view and come back, by keys alone; the focus is never lost."""
    script = home.provider.script("disks", [f"word{n} " for n in range(60)], hold_at=30)
    chat = Chat(page)
    await expect(chat.box).to_be_focused()
    await page.keyboard.type("How full are the disks?")
    await page.keyboard.press("Enter")
    await script.held.wait()
    await chat.reads("word29")
    await expect(chat.box).to_be_focused()
    await _tab_to(page, "Stop")
    await page.keyboard.press("Enter")
    await chat.rests()
    await script.ended.wait()
    await expect(page.locator("body")).not_to_be_focused()
    await _tab_to(page, "Engines")
    await page.keyboard.press("Enter")
    await shown(page)
    await expect(page.locator("main h1")).to_be_focused()
    await _tab_to(page, "New chat")
    await page.keyboard.press("Enter")
    await expect(chat.box).to_be_visible()


async def test_a_screen_reader_hears_the_end_of_an_answer(home: House, page: Page) -> None:
    """The log is no live region that reads every word; a sentence tells when the answer is there."""
    chat = Chat(page)
    await chat.say("Hello")
    await chat.reads("You said: Hello")
    await chat.rests()
    await expect(page.locator("#announcer")).not_to_be_empty()
    tree = await page.locator("body").aria_snapshot()
    assert 'log "' in tree
    assert 'textbox "Message"' in tree


async def _tab_to(page: Page, name: str) -> None:
    """Press Tab, at most once around, until what is named so has the focus."""
    for _ in range(80):
        await page.keyboard.press("Tab")
        if (await page.evaluate(_STOPS))["name"].startswith(name):
            return
    raise AssertionError(f"Tab never comes to {name}")
