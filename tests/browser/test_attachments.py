"""Files in the chat: picked, pasted and dropped, shown before and after they are sent."""

from __future__ import annotations

import base64
from typing import Final

import pytest
from playwright.async_api import FilePayload, Page, expect

from tests.browser.chat import Chat, document, picture
from tests.browser.house import House
from tests.browser.visitors import Visitors
from tests.browser.watch import Watch

HOSTILE: Final = '<img src=x onerror="window.__hacked=1">\u202egnp.exe".png'

_GIVE: Final = """([target, kind, files]) => {
  const data = new DataTransfer();
  for (const { name, type, body } of files) {
    const bytes = Uint8Array.from(atob(body), (char) => char.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  const fire = (name) => target.dispatchEvent(
    name === "paste"
      ? new ClipboardEvent(name, { clipboardData: data, bubbles: true, cancelable: true })
      : new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
  if (kind === "paste") fire("paste");
  else ["dragenter", "dragover", "drop"].forEach(fire);
}"""


def blocks(home: House) -> list[str]:
    """The kinds of content that the provider got with the last message."""
    content = home.provider.seen[-1].body["messages"][-1]["content"]
    return sorted(block["type"] for block in content if block["type"] != "text")


async def pick(chat: Chat, *files: FilePayload) -> None:
    """Choose files in the browser's own dialog."""
    await chat.page.locator("input[type=file]:not([capture])").first.set_input_files([*files])


async def give(chat: Chat, how: str, *files: FilePayload) -> None:
    """Paste files into the box, or drop them on it."""
    given = [
        {
            "name": one["name"],
            "type": one["mimeType"],
            "body": base64.b64encode(one["buffer"]).decode(),
        }
        for one in files
    ]
    await chat.page.evaluate(_GIVE, [await chat.box.element_handle(), how, given])


async def test_an_image_and_a_pdf_go_with_a_message(
    home: House, page: Page, visitors: Visitors
) -> None:
    """Both are previewed, reach the model as what they are, and are there after a reload."""
    chat = Chat(page)
    await pick(chat, picture(), document())
    await expect(page.get_by_role("button", name="Remove disk.png")).to_be_visible()
    await expect(page.get_by_role("button", name="Remove report.pdf")).to_be_visible()
    await visitors.picture(page, "attached")
    await chat.say("What is this?")
    await chat.reads("You said: What is this?")
    assert blocks(home) == ["document", "image"]
    await expect(page.get_by_role("button", name="Remove disk.png")).to_have_count(0)
    await chat.opened()
    await page.reload()
    await expect(chat.questions.last.get_by_role("img", name="disk.png")).to_be_visible()
    await expect(chat.questions.last.get_by_text("report.pdf")).to_be_visible()
    await visitors.picture(page, "attachments-sent")


@pytest.mark.parametrize("how", ["paste", "drop"])
async def test_files_are_pasted_and_dropped(home: House, page: Page, how: str) -> None:
    """A pasted or dropped picture is attached like a chosen one."""
    chat = Chat(page)
    await give(chat, how, picture("screen.png"))
    await expect(page.get_by_role("button", name="Remove screen.png")).to_be_visible()
    await chat.say("What is this?")
    await chat.reads("You said: What is this?")
    assert blocks(home) == ["image"]


async def test_a_file_can_be_taken_away_again(home: House, page: Page) -> None:
    """What was removed before sending does not go out."""
    chat = Chat(page)
    await pick(chat, picture(), document())
    await page.get_by_role("button", name="Remove disk.png").click()
    await chat.say("What is this?")
    await chat.reads("You said: What is this?")
    assert blocks(home) == ["document"]


async def test_limits_are_told_before_anything_is_sent(home: House, page: Page) -> None:
    """Too many and too large files are refused with a sentence; the message still goes."""
    chat = Chat(page)
    await pick(chat, *(picture(f"{number}.png") for number in range(7)))
    await expect(page.get_by_role("button", name="Remove 4.png")).to_be_visible()
    await expect(page.get_by_role("button", name="Remove 5.png")).to_have_count(0)
    large = FilePayload(name="large.log", mimeType="text/plain", buffer=b"x" * 11_000_000)
    await page.reload()
    await pick(chat, large)
    await expect(page.get_by_role("button", name="Remove large.log")).to_have_count(0)
    await expect(page.get_by_text("10 MB").first).to_be_visible()
    assert await home.rows("SELECT COUNT(*) FROM turns") == [(0,)]


async def test_hostile_names_are_text(home: House, page: Page, watch: Watch) -> None:
    """A file's name and a message that look like HTML are shown as what they are."""
    chat = Chat(page)
    await pick(chat, picture(HOSTILE))
    await chat.say('<script>window.__hacked=1</script><img src=x onerror="window.__hacked=1">')
    await chat.reads("You said")
    await expect(chat.questions.last).to_contain_text("<script>window.__hacked=1</script>")
    await chat.opened()
    await page.reload()
    await expect(chat.questions.last).to_contain_text("<script>")
    assert await page.evaluate("() => window.__hacked") is None
    assert await page.locator("img[src=x]").count() == 0
    assert "\u202e" not in await page.locator("body").inner_text()
