"""A person chats: answers stream, stop, survive reloads and cut connections, in any tab."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.house import House
from tests.browser.provider import Script
from tests.browser.visitors import Visitors
from tests.browser.watch import Watch
from tests.browser.wire import Wire

WORDS = [f"word{number}" for number in range(60)]
OFFLINE = r"ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|ERR_SOCKET|ERR_EMPTY_RESPONSE|ERR_NETWORK|ERR_INCOMPLETE"


def slow_answer(home: House, key: str = "disks", *, hold_at: int | None = 30) -> Script:
    """Sixty words at 20 a second; waits in the middle until it is told to go on."""
    return home.provider.script(key, [f"{word} " for word in WORDS], hold_at=hold_at)


async def test_an_answer_streams_word_by_word(home: House, page: Page, visitors: Visitors) -> None:
    """The first half is on the screen while the model still writes; then all, exactly once."""
    script = slow_answer(home)
    chat = Chat(page)
    await chat.say("How full are the disks?")
    await expect(chat.questions.last).to_contain_text("How full are the disks?")
    await script.held.wait()
    await chat.reads("word29")
    assert "word30" not in await chat.body().inner_text()
    await expect(chat.stop).to_be_visible()
    await visitors.picture(page, "streaming")
    script.go.set()
    await chat.reads_exactly(WORDS)
    await expect(chat.box).to_be_focused()
    await chat.opened()
    await expect(chat.conversations.get_by_role("link")).to_have_count(1)
    await visitors.picture(page, "answered")


async def test_stop_ends_the_answer_and_the_spending(home: House, page: Page) -> None:
    """What was written stays, the provider's connection is closed, and the next message works."""
    script = slow_answer(home)
    chat = Chat(page)
    await chat.say("How full are the disks?")
    await script.held.wait()
    await chat.reads("word29")
    await chat.stop.click()
    await chat.rests()
    await script.ended.wait()
    assert script.cut
    assert "word29" in await chat.body().inner_text()
    await chat.say("And now?")
    await chat.reads("You said: And now?")


async def test_a_reload_in_the_middle_of_an_answer_loses_nothing(home: House, page: Page) -> None:
    """After the reload the half that was written is there, and the rest streams in behind it."""
    script = slow_answer(home)
    chat = Chat(page)
    await chat.say("How full are the disks?")
    await script.held.wait()
    await chat.reads("word29")
    await chat.opened()
    await page.reload()
    await chat.reads("word29")
    await expect(chat.stop).to_be_visible()
    script.go.set()
    await chat.reads_exactly(WORDS)
    await expect(chat.questions).to_have_count(1)
    await page.reload()
    await chat.reads_exactly(WORDS)
    assert await home.rows("SELECT COUNT(*) FROM turns") == [(1,)]


@pytest.mark.parametrize("how", ["cut", "broken", "offline"])
async def test_a_network_drop_in_the_middle_loses_and_doubles_no_word(
    home: House, visitors: Visitors, watch: Watch, how: str
) -> None:
    """A reset connection, a dead network and a browser offline: the answer goes on behind them."""
    watch.allow(OFFLINE)
    script = slow_answer(home)
    async with Wire(home.url) as wire:
        page = await visitors.signed_in(base=wire.url)
        chat = Chat(page)
        await chat.say("How full are the disks?")
        await script.held.wait()
        await chat.reads("word29")
        match how:
            case "cut":
                wire.cut()
                script.go.set()
            case "broken":
                wire.break_off()
                script.go.set()
                await script.ended.wait()
                wire.mend()
            case _:
                await page.context.set_offline(True)
                wire.cut()
                script.go.set()
                await script.ended.wait()
                await page.context.set_offline(False)
        await chat.reads_exactly(WORDS)
        await expect(chat.questions).to_have_count(1)
        await chat.say("And now?")
        await chat.reads("You said: And now?")
    assert await home.rows("SELECT COUNT(*) FROM turns") == [(2,)]


async def test_a_message_sent_into_a_dead_network_arrives_once(
    home: House, visitors: Visitors, watch: Watch
) -> None:
    """What was written is not lost and not sent twice when the connection comes back."""
    watch.allow(OFFLINE)
    async with Wire(home.url) as wire:
        page = await visitors.signed_in(base=wire.url)
        chat = Chat(page)
        wire.break_off()
        await chat.say("Are you there?")
        await expect(page.get_by_text("Are you there?").first).to_be_visible()
        wire.mend()
        again = page.get_by_role("button", name="Send again")
        await expect(again.or_(chat.answers).first).to_be_visible()
        if await again.count():
            await again.click()
        await chat.reads("You said: Are you there?")
        await expect(chat.questions).to_have_count(1)
    assert await home.rows("SELECT COUNT(*) FROM turns") == [(1,)]


async def test_two_tabs_show_the_same_answer(home: House, page: Page) -> None:
    """A second tab on the conversation sees the answer come, and what either of them sends."""
    script = slow_answer(home)
    first = Chat(page)
    await first.say("How full are the disks?")
    await script.held.wait()
    await first.reads("word29")
    await first.opened()
    second = Chat(await page.context.new_page())
    await second.page.goto(page.url)
    await second.reads("word29")
    script.go.set()
    for tab in (first, second):
        await tab.page.bring_to_front()
        await tab.reads_exactly(WORDS)
    await second.say("And now?")
    for tab in (second, first):
        await tab.page.bring_to_front()
        await tab.reads("You said: And now?")
        await expect(tab.questions).to_have_count(2)


async def test_two_tabs_with_two_conversations_do_not_mix(home: House, page: Page) -> None:
    """Each tab shows its own conversation's words alone; both lists know both conversations."""
    one, two = slow_answer(home, "disks"), slow_answer(home, "memory")
    two.deltas = [f"memory{number} " for number in range(60)]
    first, second = Chat(page), Chat(await page.context.new_page())
    await second.page.goto(home.url)
    await first.page.bring_to_front()
    await first.say("How full are the disks?")
    await one.held.wait()
    await second.page.bring_to_front()
    await second.say("How full is the memory?")
    await two.held.wait()
    one.go.set()
    two.go.set()
    await second.reads_exactly([f"memory{number}" for number in range(60)])
    await expect(second.conversations.get_by_role("link")).to_have_count(2)
    await first.page.bring_to_front()
    await first.reads_exactly(WORDS)
    await expect(first.conversations.get_by_role("link")).to_have_count(2)


async def test_what_is_sent_while_it_answers_waits_for_its_turn(home: House, page: Page) -> None:
    """A second message during an answer is shown at once, and answered after the first."""
    script = slow_answer(home)
    chat = Chat(page)
    await chat.say("How full are the disks?")
    await script.held.wait()
    await chat.reads("word29")
    await chat.say("And now?")
    await expect(chat.questions).to_have_count(2)
    script.go.set()
    await chat.reads("You said: And now?")
    await expect(chat.answers).to_have_count(2)
    first = await chat.answers.first.locator(".markdown").inner_text()
    assert first.split() == WORDS


async def test_it_works_on_a_phone(home: House, visitors: Visitors) -> None:
    """At 360 by 740 nothing is wider than the screen; the menu has the conversations."""
    page = await visitors.signed_in(phone=True)
    chat = Chat(page)
    script = home.provider.script("table", _wide_answer())
    await chat.say("Show me a table")
    await script.ended.wait()
    await chat.reads("The end.")
    await chat.rests()
    await chat.fits()
    await visitors.picture(page, "phone")
    await page.get_by_role("button", name="Menu").click()
    await expect(chat.conversations.get_by_role("link")).to_have_count(1)
    await chat.fits()
    await visitors.picture(page, "phone-menu")
    await page.get_by_role("link", name="New chat", exact=True).click()
    await expect(chat.box).to_be_visible()


def _wide_answer() -> str:
    columns = " | ".join(f"column {number}" for number in range(12))
    rule = " | ".join("---" for _ in range(12))
    row = " | ".join(f"a value of {number}" for number in range(12))
    return (
        f"| {columns} |\n| {rule} |\n| {row} |\n\n```sh\n{'x' * 300}\n```\n\n"
        f"A long address: https://example.com/{'a' * 200}\n\nThe end."
    )


async def test_it_speaks_chinese(home: House, visitors: Visitors) -> None:
    """A Chinese browser sees a Chinese page; Chinese text goes there and back unharmed."""
    page = await visitors.signed_in(locale="zh-CN")
    chat = Chat(page)
    assert await page.evaluate("() => document.documentElement.lang") == "zh-Hans"
    box = page.get_by_role("textbox").last
    home.provider.script("磁盘", ["磁盘", "还有", " **42%** ", "可用。"])
    await box.fill("磁盘还有多少空间")
    await box.press("Enter")
    await chat.reads("磁盘还有 42% 可用。")
    english = page.get_by_text("New chat")
    assert await english.count() == 0
    await visitors.picture(page, "chinese")


async def test_enter_that_ends_a_composition_sends_nothing(home: House, page: Page) -> None:
    """Who picks a word in an input method with Enter is not done with the message yet."""
    chat = Chat(page)
    await chat.box.focus()
    devtools = await page.context.new_cdp_session(page)
    await devtools.send(
        "Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2}
    )
    await chat.box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "keyCode": 229})
    assert await home.rows("SELECT COUNT(*) FROM turns") == [(0,)]
    await devtools.send("Input.insertText", {"text": "你好"})
    await chat.box.press("Enter")
    await chat.reads("You said: 你好")
