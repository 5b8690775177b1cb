"""IT0 is killed in the middle of an answer, and whoever looks at the page loses nothing."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chat import Chat
from tests.browser.test_chat import OFFLINE
from tests.browser.watch import Watch
from tests.fakes.anthropic import FakeAnthropic
from tests.support.processes import Process, free_port

LONG_MS = 60_000
"""A killed worker's lease ends after some 15 s; then the turn goes on."""


@pytest.mark.timeout(180)
async def test_a_killed_server_loses_no_word_and_no_message(
    browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    """After the restart the answer goes on, what was written meanwhile arrives, all of it once."""
    watch.allow(OFFLINE)
    context = await browser.new_context(locale="en-US")
    watch.follow(context)
    async with FakeAnthropic() as provider:
        environment = {
            "IT0_DATA_DIR": str(tmp_path / "data"),
            "IT0_HTTP_PORT": str(free_port()),
            "ANTHROPIC_API_KEY": "sk-test",
            "ANTHROPIC_BASE_URL": provider.url,
        }

        async def up() -> tuple[Process, str]:
            process = Process([sys.executable, "-m", "cli", "up"], env=environment)
            link = await asyncio.to_thread(process.wait_for, r"http\S+/sign-in#\S+")
            return process, link[0]

        process, link = await up()
        try:
            page = await context.new_page()
            await page.goto(link)
            chat = Chat(page)
            await chat.say("Count [[text 60]] [[word w]] [[chunk 80]]")
            await chat.reads("w19")
            process.kill()
            await expect(page.get_by_text("The connection is lost.")).to_be_visible(timeout=LONG_MS)
            await chat.say("And now?")
            await expect(page.get_by_text("Not sent yet.")).to_be_visible(timeout=LONG_MS)
        finally:
            process.stop()
        process, _ = await up()
        with process:
            await expect(page.get_by_text("You said: And now?")).to_be_visible(timeout=LONG_MS)
            await expect(chat.questions).to_have_count(2)
            await expect(chat.answers).to_have_count(2)
            text = await chat.answers.first.locator(".markdown").inner_text()
            assert re.findall(r"w\d+", text) == [f"w{number}" for number in range(60)]
    await context.close()
    assert watch.unexpected() == []
