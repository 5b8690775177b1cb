"""Files in the chat: picked, pasted and dropped, shown before and after they are sent."""

from __future__ import annotations

import base64
import json
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


_COUNT: Final = """window.held = new Set();
const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
URL.createObjectURL = (blob) => { const url = create.call(URL, blob); held.add(url); return url; };
URL.revokeObjectURL = (url) => { held.delete(url); revoke.call(URL, url); };"""


async def test_photos_are_made_fit_and_what_cannot_go_says_why(home: House, page: Page) -> None:
    """A huge photo is made smaller, equal names are told apart, previews leave no memory behind."""
    await page.add_init_script(_COUNT)
    await page.reload()
    chat = Chat(page)
    refused = {
        "photo.tiff": (b"II*\0" + bytes(200), "Save it as JPEG"),
        "logs.zip": (b"PK\x03\x04" + bytes(200), "is an archive or an Office document"),
        "broken.png": (b"\x89PNG\r\n\x1a\n" + bytes(200), "is damaged or too large"),
        "empty.txt": (b"", "is empty"),
        "program": (bytes(range(256)), "cannot be attached"),
    }
    bad = [
        FilePayload(name=name, mimeType="application/octet-stream", buffer=body)
        for name, (body, _) in refused.items()
    ]
    await pick(chat, *bad)
    for name, (_, sentence) in refused.items():
        said = page.get_by_role("alert").locator("p").filter(has_text=name)
        await expect(said).to_contain_text(sentence)
    await pick(chat, picture("wall.png", size=4_200), picture(), picture())
    for name in ("wall.jpg", "disk.png", "disk-2.png"):
        await expect(page.get_by_role("button", name=f"Remove {name}")).to_be_visible()
    await expect(page.get_by_text("made smaller")).to_be_visible()
    await expect(page.get_by_text("is an archive")).to_have_count(0)
    assert await page.evaluate("() => held.size") == 3
    await chat.say("What is this?")
    await chat.reads("You said: What is this?")
    assert blocks(home) == ["image", "image", "image"]
    await chat.rests()
    await page.wait_for_function("() => held.size === 0")


async def test_a_long_text_can_become_a_file(home: House, page: Page) -> None:
    """What was pasted leaves the message for a file when one wants; beyond the limit at once."""
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat = Chat(page)
    write = "(text) => navigator.clipboard.writeText(text)"
    await chat.box.fill("Look at this: ")
    await page.evaluate(write, "line of a log\n" * 800)
    await page.keyboard.press("Control+v")
    await page.get_by_role("button", name="Attach it as a file instead").click()
    await expect(page.get_by_role("button", name="Remove pasted.txt")).to_be_visible()
    await expect(chat.box).to_have_value("Look at this: ")
    await page.evaluate(write, "line of a log\n" * 8_000)
    await chat.box.press("Control+v")
    await expect(page.get_by_role("button", name="Remove pasted-2.txt")).to_be_visible()
    await expect(chat.box).to_have_value("Look at this: ")
    await chat.box.press("Enter")
    await chat.reads("You said: Look at this:")
    sent = json.dumps(home.provider.seen[-1].body["messages"][-1])
    assert sent.count("line of a log") == 8_800


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
