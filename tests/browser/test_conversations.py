"""The list of conversations: found by day, title and words; renamed and deleted."""

from __future__ import annotations

import re
from typing import Final

from playwright.async_api import Locator, Page, expect

from tests.browser.chat import Chat
from tests.browser.house import House
from tests.browser.visitors import Visitors

HOSTILE: Final = '<img src=x onerror=window.__hacked=1> & "quotes" 标题'
DAY_MS: Final = 86_400_000


async def told(chat: Chat, *texts: str) -> None:
    """One conversation for each text."""
    for text in texts:
        await chat.page.get_by_role("link", name="New chat", exact=True).click()
        await chat.say(text)
        await chat.reads(text)
        await chat.opened()


def row(chat: Chat, title: str) -> Locator:
    """The line of a conversation in the list."""
    return chat.conversations.get_by_role("link", name=re.compile(re.escape(title)))


async def menu(chat: Chat, title: str, item: str) -> None:
    """Choose something for a conversation of the list."""
    link = chat.page.get_by_role("link", name=re.compile(re.escape(title)))
    line = chat.conversations.get_by_role("listitem").filter(has=link)
    await line.hover()
    await line.get_by_role("button", name="More for").click()
    await chat.page.get_by_role("menuitem", name=item).click()


async def test_conversations_are_grouped_by_day(
    home: House, page: Page, visitors: Visitors
) -> None:
    """Today's stand before older ones, each under its day."""
    chat = Chat(page)
    await told(chat, "How full are the disks?")
    conversation = await chat.opened()
    await home.write(
        "UPDATE conversations SET updated_at = updated_at - :age WHERE id = :id",
        age=40 * DAY_MS,
        id=conversation,
    )
    await told(chat, "Who is on call?")
    await page.reload()
    await expect(chat.conversations.get_by_role("link")).to_have_count(2)
    await expect(chat.conversations.get_by_text("Today", exact=True)).to_be_visible()
    titles = await chat.conversations.get_by_role("link").all_inner_texts()
    assert "on call" in titles[0]
    assert "disks" in titles[1]
    await visitors.picture(page, "grouped")


async def test_search_finds_what_was_said(home: House, page: Page) -> None:
    """A word of a question or an answer finds its conversation, and only that."""
    chat = Chat(page)
    await told(chat, "How full are the disks?", "Who is on call?")
    search = page.get_by_role("searchbox")
    await search.fill("CALL")
    await expect(chat.conversations.get_by_role("link")).to_have_count(1)
    await expect(row(chat, "on call")).to_be_visible()
    await search.fill("nothing like it")
    await expect(chat.conversations.get_by_role("link")).to_have_count(0)
    await search.fill("")
    await expect(chat.conversations.get_by_role("link")).to_have_count(2)


async def test_a_conversation_is_renamed(home: House, page: Page) -> None:
    """The new title is there at once and after a reload; one that looks like HTML is text."""
    chat = Chat(page)
    await told(chat, "How full are the disks?")
    await menu(chat, "disks", "Rename")
    field = page.get_by_role("textbox", name="Title of the conversation")
    await field.fill(HOSTILE)
    await field.press("Enter")
    await expect(row(chat, HOSTILE)).to_be_visible()
    await page.reload()
    await expect(row(chat, HOSTILE)).to_be_visible()
    assert await page.evaluate("() => window.__hacked") is None


async def test_a_conversation_is_deleted_after_a_question(home: House, page: Page) -> None:
    """Cancelled, nothing happens; confirmed, it is gone from the list and from the server."""
    chat = Chat(page)
    await told(chat, "How full are the disks?", "Who is on call?")
    await menu(chat, "disks", "Delete")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(row(chat, "disks")).to_be_visible()
    await menu(chat, "disks", "Delete")
    await dialog.get_by_role("button", name="Delete for good").click()
    await expect(row(chat, "disks")).to_have_count(0)
    await page.reload()
    await expect(chat.conversations.get_by_role("link")).to_have_count(1)


async def test_another_persons_conversation_is_not_there(
    home: House, page: Page, visitors: Visitors
) -> None:
    """Its address says that there is nothing, and no list shows it."""
    chat = Chat(page)
    await told(chat, "How full are the disks?")
    address = page.url
    visitors.watch.allow("status of 404")
    user = await home.member("bob")
    other = Chat(await visitors.signed_in(user))
    await other.page.goto(address)
    await expect(other.page.get_by_text("How full are the disks?")).to_have_count(0)
    await expect(other.conversations.get_by_role("link")).to_have_count(0)
