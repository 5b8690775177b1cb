"""The chat as a person sees it: what they press, and what they read."""

from __future__ import annotations

import io
import re
from typing import Final

from fpdf import FPDF
from PIL import Image
from playwright.async_api import FilePayload, Locator, Page, expect

from tests.browser.visitors import PATIENCE_MS

_FITS: Final = """() => [document.documentElement, ...document.querySelectorAll("main, .thread")]
  .every((one) => one.scrollWidth <= Math.min(one.clientWidth, innerWidth))"""


class Chat:
    """One tab with the chat open; names are those of the English page."""

    def __init__(self, page: Page) -> None:
        """Nothing is pressed."""
        self.page = page
        self.box = page.get_by_role("textbox", name="Message")
        self.stop = page.get_by_role("button", name="Stop", exact=True)
        self.send = page.get_by_role("button", name="Send", exact=True)
        self.log = page.get_by_role("log")
        self.answers = self.log.locator("[data-from=it0]")
        self.questions = self.log.locator("[data-from=person]")
        self.conversations = page.get_by_role("navigation", name="Conversations")

    async def say(self, text: str) -> None:
        """Write a message and press Enter."""
        await self.box.fill(text)
        await self.box.press("Enter")

    async def reads(self, text: str) -> None:
        """Wait until the newest answer has this in it."""
        await expect(self.answers.last).to_contain_text(text, timeout=PATIENCE_MS)

    async def reads_exactly(self, words: list[str]) -> None:
        """Wait until the newest answer is over and has these words of it once and in order."""
        await self.reads(words[-1])
        await self.rests()
        text = await self.body().inner_text()
        assert text.split() == words

    def body(self) -> Locator:
        """The text of the newest answer, without what stands around it."""
        return self.answers.last.locator(".markdown")

    async def rests(self) -> None:
        """Wait until nothing is being answered."""
        await expect(self.stop).to_have_count(0, timeout=PATIENCE_MS)

    async def opened(self) -> str:
        """Wait until the tab shows a conversation; its id."""
        await self.page.wait_for_url(re.compile(r"/c/[\w-]+$"))
        return self.page.url.rpartition("/")[2]

    async def fits(self) -> None:
        """Nothing is wider than the window."""
        assert await self.page.evaluate(_FITS), self.page.url


def picture(name: str = "disk.png", size: int = 64) -> FilePayload:
    """A PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), "#2f6fde").save(buffer, "PNG")
    return FilePayload(name=name, mimeType="image/png", buffer=buffer.getvalue())


def document(name: str = "report.pdf") -> FilePayload:
    """A PDF of one page."""
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=12)
    pdf.cell(text="All disks are well.")
    return FilePayload(name=name, mimeType="application/pdf", buffer=bytes(pdf.output()))
