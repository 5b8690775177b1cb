"""The conversations at the side: found, renamed, deleted, and kept up to date."""

from __future__ import annotations

import re
from typing import Final

from playwright.async_api import Locator, Page, expect

from tests.browser.axe import violations
from tests.browser.chat import Chat
from tests.browser.house import House
from tests.browser.shelf import asked, asking, put, write
from tests.browser.visitors import PATIENCE_MS, Visitors
from tests.browser.watch import Watch

HOSTILE: Final = '<img src=x onerror="window.__hacked=1">'
_HIDE: Final = """(hidden) => {
  Object.defineProperty(document, "visibilityState",
    { configurable: true, get: () => (hidden ? "hidden" : "visible") });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def side(page: Page) -> Locator:
    """The list."""
    return page.get_by_role("navigation", name="Conversations")


def search(page: Page) -> Locator:
    """The field over the list."""
    return page.get_by_role("searchbox", name="Search the conversations")


async def titles(page: Page) -> list[str]:
    """What the list has, from above; also what is scrolled out of sight and therefore not drawn."""
    return await side(page).locator(".conversation-title").all_text_contents()


async def choose(page: Page, title: str, deed: str) -> None:
    """Open a row's menu and choose."""
    await side(page).get_by_role("link", name=title).hover()
    await side(page).get_by_role("button", name=f"More for {title}").click()
    await page.get_by_role("menuitem", name=deed).click()


async def test_it_is_grouped_by_date_and_says_where_each_is_from(
    home: House, page: Page, visitors: Visitors
) -> None:
    """The newest first, under the day they were used; Slack and Telegram are named."""
    await put(home, "Old", days_ago=400)
    await put(home, "Yesterday's", days_ago=1, platform="slack")
    await put(home, "One", "Two", platform="telegram")
    await put(home, HOSTILE, days_ago=3)
    await page.reload()
    await expect(side(page).get_by_role("link")).to_have_count(5)
    assert await titles(page) == ["One", "Two", "Yesterday's", HOSTILE, "Old"]
    groups = await side(page).get_by_role("heading").all_inner_texts()
    assert [groups[0], groups[1]] == ["Today", "Yesterday"]
    assert re.fullmatch(r"\w+ 20\d\d", groups[-1])
    for name in (r"^Yesterday's\W+Slack$", r"^One\W+Telegram$"):
        await expect(side(page).get_by_role("link", name=re.compile(name))).to_be_visible()
    assert await page.evaluate("() => window.__hacked") is None
    assert await violations(page) == []
    await visitors.picture(page, "list")


async def test_what_happens_elsewhere_is_seen_without_a_reload(home: House, page: Page) -> None:
    """Asked through the API: the row comes, is being answered, is new, and is read when opened."""
    script = home.provider.script("disks", ["full"], hold_at=0)
    answer = asking(home, "How full are the disks?")
    await script.held.wait()
    row = side(page).get_by_role("link", name="How full are the disks?")
    await expect(row).to_have_accessible_name(re.compile("being answered"), timeout=PATIENCE_MS)
    script.go.set()
    conversation = await answer
    await expect(row).to_have_accessible_name(re.compile(", new$"))
    await page.reload()
    await expect(row).to_have_accessible_name(re.compile(", new$"))
    await row.click()
    await page.wait_for_url(f"**/c/{conversation}")
    await expect(row).to_have_attribute("aria-current", "page")
    await expect(row).not_to_have_accessible_name(re.compile(", new$"))


async def test_a_conversation_that_waits_for_a_human_says_so(home: House, page: Page) -> None:
    """In words for who sees no colour."""
    (conversation,) = await put(home, "Restart it")
    await write(
        home,
        "UPDATE conversations SET last_seq = 1, parked_until = {now} + 600000 WHERE id = :id",
        id=conversation,
    )
    row = side(page).get_by_role("link", name="Restart it")
    await expect(row).to_have_accessible_name(re.compile("waiting for an approval"))


async def test_a_search_finds_what_was_asked_and_answered(home: House, page: Page) -> None:
    """Found words are marked in their place; Escape brings all back; nothing found is said."""
    home.provider.script("backup", ["The tape is in the ", "vault of the ", "bank."])
    await asked(home, "Where is the backup?")
    await put(home, "The vault's keys", "Printers")
    await page.reload()
    await expect(side(page).get_by_role("link")).to_have_count(3)
    await search(page).fill("VAULT")
    await expect(side(page).get_by_role("link")).to_have_count(2)
    marks = await side(page).locator("mark").all_inner_texts()
    assert sorted(marks) == ["vault", "vault"]
    await expect(side(page).get_by_text("The tape is in the vault")).to_be_visible()
    await expect(page.locator("#announcer")).to_have_text("2 conversations found")
    await search(page).fill("nowhere")
    await expect(side(page).get_by_text("Nothing is found for “nowhere”.")).to_be_visible()
    await search(page).press("Escape")
    await expect(search(page)).to_have_value("")
    await expect(search(page)).to_be_focused()
    await expect(side(page).get_by_role("link")).to_have_count(3)


async def test_signs_in_a_search_are_signs(home: House, page: Page) -> None:
    """Neither SQL's wildcards nor those of regular expressions mean anything."""
    await put(home, "100% full (really?)", "Something else")
    await page.reload()
    for text in ("%", "(really?)", "100% full ("):
        await search(page).fill(text)
        await expect(side(page).locator("mark").first).to_have_text(text)
        await expect(side(page).get_by_role("link")).to_have_count(1)


async def test_renaming_in_place(home: House, page: Page) -> None:
    """Escape leaves the title, Enter saves it, for every tab; the focus comes back to the row."""
    (conversation,) = await put(home, "Printers")
    other = await page.context.new_page()
    await other.goto(home.url)
    await page.bring_to_front()
    await page.reload()
    await choose(page, "Printers", "Rename")
    field = page.get_by_role("textbox", name="Title of the conversation")
    await expect(field).to_be_focused()
    await field.fill("Nothing")
    await field.press("Escape")
    row = side(page).get_by_role("link", name="Printers")
    await expect(row).to_be_focused()
    await choose(page, "Printers", "Rename")
    await field.fill(f"  {HOSTILE}  ")
    await field.press("Enter")
    renamed = side(page).get_by_role("link", name=HOSTILE)
    await expect(renamed).to_be_focused()
    await expect(side(other).get_by_role("link", name=HOSTILE)).to_be_visible()
    sql = "SELECT title FROM conversations WHERE id = :id"
    assert await home.rows(sql, id=conversation) == [(HOSTILE,)]
    assert await page.evaluate("() => window.__hacked") is None


async def test_a_title_that_cannot_be_saved_comes_back(
    home: House, page: Page, watch: Watch
) -> None:
    """Without a connection the old title is shown again, and a note says why."""
    watch.allow("ERR_INTERNET_DISCONNECTED")
    await put(home, "Printers")
    await page.reload()
    await choose(page, "Printers", "Rename")
    await page.context.set_offline(True)
    field = page.get_by_role("textbox", name="Title of the conversation")
    await field.fill("Scanners")
    await field.press("Enter")
    await expect(page.get_by_text("IT0 cannot be reached.").first).to_be_visible()
    assert await titles(page) == ["Printers"]
    await page.context.set_offline(False)


async def test_deleting_asks_first_and_is_for_good(home: House, page: Page) -> None:
    """Cancelled, nothing happens; confirmed, it goes from every tab, and the open one is left."""
    await put(home, "Printers", "Scanners")
    other = await page.context.new_page()
    await other.goto(home.url)
    await expect(side(other).get_by_role("link")).to_have_count(2)
    await page.bring_to_front()
    await page.reload()
    await side(page).get_by_role("link", name="Printers").click()
    await choose(page, "Printers", "Delete")
    dialog = page.get_by_role("dialog", name="Delete this conversation?")
    await expect(dialog.get_by_text("for good").first).to_be_visible()
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(side(page).get_by_role("link")).to_have_count(2)
    await choose(page, "Printers", "Delete")
    await dialog.get_by_role("button", name="Delete for good").click()
    await page.wait_for_url(lambda url: url.endswith("/"))
    await expect(side(page).get_by_role("link")).to_have_count(1)
    await expect(side(other).get_by_role("link")).to_have_count(1)
    assert await titles(page) == await titles(other) == ["Scanners"]
    await page.reload()
    await expect(side(page).get_by_role("link")).to_have_count(1)


async def test_a_link_to_a_conversation_is_copied(home: House, page: Page) -> None:
    """It is the address of the conversation; the focus comes back to the menu's button."""
    (conversation,) = await put(home, "Printers")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.reload()
    await choose(page, "Printers", "Copy link")
    await expect(page.get_by_text("The link is copied.")).to_be_visible()
    copied = await page.evaluate("() => navigator.clipboard.readText()")
    assert copied == f"{home.url}/c/{conversation}"


async def test_keys_move_through_the_list_and_its_menu(home: House, page: Page) -> None:
    """Arrows from the search to the rows and back; Enter opens; one stop of Tab for the list."""
    ids = await put(home, "One", "Two", "Three")
    await page.reload()
    await expect(side(page).get_by_role("link")).to_have_count(3)
    await search(page).focus()
    rows = [side(page).get_by_role("link", name=name) for name in ("One", "Two", "Three")]
    for key, row in (("ArrowDown", 0), ("ArrowDown", 1), ("End", 2), ("ArrowUp", 1), ("Home", 0)):
        await page.keyboard.press(key)
        await expect(rows[row]).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(search(page)).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(rows[0]).to_be_focused()
    await page.keyboard.press("Tab")
    button = side(page).get_by_role("button", name="More for One")
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("menu")).to_have_count(0)
    await expect(button).to_be_focused()
    await page.keyboard.press("Tab")
    assert await page.evaluate("() => document.activeElement.closest('.conversations')") is None
    await rows[1].focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/c/{ids[1]}")


async def test_older_ones_come_when_one_scrolls(home: House, page: Page) -> None:
    """Pages of fifty, without gap or repetition; the newest is still the first."""
    await put(home, *(f"Conversation {number}" for number in range(130)))
    await page.reload()
    await expect(side(page).get_by_role("link")).to_have_count(50)
    scroller = side(page).locator(".conversation-scroll")
    for count in (100, 130):
        await scroller.evaluate("(it) => it.scrollTo(0, it.scrollHeight)")
        await expect(side(page).get_by_role("link")).to_have_count(count)
    assert await titles(page) == [f"Conversation {number}" for number in range(130)]
    await expect(side(page).get_by_role("button", name="Show older ones")).to_have_count(0)


async def test_a_hidden_tab_asks_nothing_and_looks_when_it_is_seen(home: House, page: Page) -> None:
    """What happened meanwhile is there at once."""
    await expect(side(page).get_by_text("What you ask is kept here.")).to_be_visible()
    await page.evaluate(_HIDE, True)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await asked(home, "How full are the disks?")
    await page.wait_for_timeout(7_000)
    assert [url for url in requests if "/api/" in url] == []
    await page.evaluate(_HIDE, False)
    await expect(side(page).get_by_role("link")).to_have_count(1)


async def test_a_list_that_could_not_be_loaded_offers_to_try_again(
    home: House, page: Page, watch: Watch
) -> None:
    """A dead connection is told in the list; pressing the button loads it."""
    watch.allow("ERR_FAILED")
    await put(home, "Printers")
    await page.context.route("**/api/v1/conversations?*", lambda route: route.abort())
    await page.reload()
    await expect(side(page).get_by_role("alert")).to_be_visible()
    await page.context.unroute_all()
    await side(page).get_by_role("button", name="Try again").click()
    await expect(side(page).get_by_role("link")).to_have_count(1)


async def test_who_signs_out_leaves_nothing_in_the_list(home: House, page: Page) -> None:
    """Whoever signs in next in this browser sees their own conversations alone."""
    await put(home, "Printers")
    await page.reload()
    await expect(side(page).get_by_role("link")).to_have_count(1)
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("button", name="Sign out here").click()
    await expect(page.get_by_role("heading", name="Sign in to IT0")).to_be_visible()
    await expect(page.get_by_text("Printers")).to_have_count(0)


async def test_it_works_with_a_finger(home: House, visitors: Visitors) -> None:
    """On a phone the menu's button is always there, large enough, and nothing is too wide."""
    await put(home, "A rather long title of a conversation that does not fit into the column")
    page = await visitors.signed_in(phone=True)
    await page.get_by_role("button", name="Menu").click()
    button = side(page).get_by_role("button", name=re.compile("More for A rather long"))
    await expect(button).to_be_visible()
    box = await button.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 44  # pixels, WCAG 2.5.5
    await button.tap()
    await expect(page.get_by_role("menuitem", name="Rename")).to_be_visible()
    await visitors.picture(page, "list-phone-menu")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("menu")).to_have_count(0)
    await expect(side(page)).to_be_visible()
    await Chat(page).fits()
