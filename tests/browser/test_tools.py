"""What the agent does is told quietly, opens to its output, and asks where it must."""

from __future__ import annotations

import asyncio

from playwright.async_api import Page, expect

from core.risk import Level
from tests.browser.chat import Chat
from tests.browser.house import House
from tests.browser.visitors import Visitors
from tests.support.core_kit import Probe


async def test_a_tool_is_one_line_that_opens(
    home: House, page: Page, visitors: Visitors, probe: Probe
) -> None:
    """While it runs it says so; then its line opens to the output; also after a reload."""
    probe.hold = asyncio.Event()
    probe.output = "42 % <b>used</b>"
    chat = Chat(page)
    await chat.say("Look [[tool probe {}]]")
    await probe.begun.wait()
    line = chat.answers.last.locator("details").filter(has_text="probe")
    await expect(line).to_be_visible()
    await visitors.picture(page, "tool-running")
    probe.hold.set()
    await chat.rests()
    await line.locator("summary").first.click()
    await expect(line).to_contain_text("42 % <b>used</b>")
    await visitors.picture(page, "tool-open")
    await page.reload()
    await line.locator("summary").first.click()
    await expect(line).to_contain_text("42 % <b>used</b>")


async def test_a_risky_call_is_approved_in_the_chat(
    home: House, page: Page, visitors: Visitors, probe: Probe
) -> None:
    """The card is there before anything runs; one press runs it once, and the answer goes on."""
    probe.level = Level.L2
    chat = Chat(page)
    await chat.say("Please [[tool probe {}]]")
    approve = page.get_by_role("button", name="Approve")
    await expect(approve).to_be_visible()
    assert probe.runs == []
    await visitors.picture(page, "approval")
    await approve.click()
    await chat.reads("result: probed")
    await chat.rests()
    assert len(probe.runs) == 1
    await expect(approve).to_have_count(0)


async def test_a_denied_call_never_runs(home: House, page: Page, probe: Probe) -> None:
    """Deny ends the question; the model is told, and says so."""
    probe.level = Level.L2
    chat = Chat(page)
    await chat.say("Please [[tool probe {}]]")
    await page.get_by_role("button", name="Deny").click()
    await chat.rests()
    assert probe.runs == []
    await expect(page.get_by_role("button", name="Approve")).to_have_count(0)


async def test_an_approval_survives_a_reload(home: House, page: Page, probe: Probe) -> None:
    """Whoever comes back finds the question again, in the chat and in its own view."""
    probe.level = Level.L2
    chat = Chat(page)
    await chat.say("Please [[tool probe {}]]")
    await expect(page.get_by_role("button", name="Approve")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Approve")).to_be_visible()
    await page.goto(f"{home.url}/approvals")
    await page.get_by_role("button", name="Approve").click()
    await page.go_back()
    await chat.reads("result: probed")
    assert len(probe.runs) == 1


async def test_engine_and_tokens_are_told_on_request(home: House, page: Page) -> None:
    """Which engine answered, why, and what it used: one press away from every answer."""
    chat = Chat(page)
    await chat.say("Hello")
    await chat.reads("You said: Hello")
    await chat.rests()
    await chat.answers.last.get_by_role("button", name="Details").click()
    about = page.get_by_role("dialog").or_(chat.answers.last)
    await expect(about.get_by_text("claude_api").first).to_be_visible()
    await expect(about.get_by_text("It is this installation's default.").first).to_be_visible()
    await expect(about.get_by_text("tokens").first).to_be_visible()


async def test_an_engine_can_be_named_and_the_answer_says_so(home: House, page: Page) -> None:
    """The list tells by its title who answers by default; a named engine gives that as its reason."""
    chat = Chat(page)
    await page.get_by_role("button", name="Engine: default").click()
    choices = page.get_by_role("dialog")
    await expect(choices.get_by_text("Now: Claude", exact=True)).to_be_visible()
    await choices.get_by_label("Offline routines").check()
    await page.keyboard.press("Escape")
    await chat.say("Hello")
    await chat.rests()
    await chat.answers.last.get_by_role("button", name="Details").click()
    about = page.get_by_role("dialog").or_(chat.answers.last)
    await expect(about.get_by_text("It was named with the message.").first).to_be_visible()
