"""What an admin does in the views beside the chat, against a real server's state."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from playwright.async_api import Locator, Page, expect

from billing.subscriptions import Subscription
from core.risk import Level
from core.tenants import Role
from core.tools import Param
from tests.browser.chat import Chat
from tests.browser.house import House
from tests.browser.shelf import asked, asking
from tests.browser.views import shown
from tests.browser.visitors import PATIENCE_MS, Visitors
from tests.browser.watch import Watch
from tests.support.core_kit import Probe

SERVICE: Final = Param(name="service", kind="string", description="Its name.")


@pytest.fixture
def probe() -> Probe:
    """A tool that asks before it does something to a service."""
    return Probe(level=Level.L2, params=(SERVICE,))


async def opened(page: Page, name: str) -> None:
    """Go to a view by its link at the side."""
    await page.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()
    await expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    await shown(page)


def card(page: Page, text: str) -> Locator:
    """The card of an approval."""
    return page.get_by_role("article").filter(has_text=text)


def button(place: Page | Locator, name: str) -> Locator:
    """A button by its whole name."""
    return place.get_by_role("button", name=name, exact=True)


def restart(service: str) -> str:
    """A message that makes the model call the probe."""
    return f'Please [[tool probe {{"service": "{service}"}}]]'


async def counted(home: House) -> None:
    """Wait until what was used stands in the history: it is added up a little later."""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        # What is waited for is a loop of IT0's own, which signals nobody.
        while await home.rows("SELECT COUNT(*) FROM usage_days") == [(0,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_admin_decides_what_waits(
    home: House, page: Page, visitors: Visitors, probe: Probe, watch: Watch
) -> None:
    """Approved runs once, denied tells why, and of one's own request somebody else decides."""
    config = await home.call("GET", "/agent-config")
    await home.call("PATCH", "/agent-config", {"version": config["version"], "four_eyes": True})
    bob = await home.member("bob")
    turns = [asking(home, restart("nginx"), bob), asking(home, restart("postgres"), bob)]
    await opened(page, "Approvals")
    await expect(card(page, "nginx")).to_contain_text("other than bob", timeout=PATIENCE_MS)
    await expect(card(page, "postgres")).to_be_visible(timeout=PATIENCE_MS)
    await button(card(page, "nginx"), "Approve").click()
    await expect(page.locator(".outcome:focus")).to_contain_text("Approved by admin")
    await card(page, "postgres").get_by_role("textbox").fill("Not <b>before</b> 20:00.")
    await button(card(page, "postgres"), "Deny").click()
    await expect(card(page, "postgres")).to_contain_text("Denied by admin")
    for turn in turns:
        await turn
    assert [arguments["service"] for _, arguments in probe.runs] == ["nginx"]
    await page.reload()
    decided = page.locator(".folded > li")
    await expect(decided).to_have_count(2)
    await page.get_by_label("Show").select_option("denied")
    await expect(decided).to_have_count(1)
    await decided.locator("summary").click()
    await expect(decided).to_contain_text("Not <b>before</b> 20:00.")
    await visitors.picture(page, "approvals-decided")

    own = asking(home, restart("redis"))
    await expect(card(page, "redis")).to_contain_text("somebody else approves it")
    await expect(button(card(page, "redis"), "Deny")).to_be_visible()
    await expect(button(card(page, "redis"), "Approve")).to_have_count(0)
    colleague = await visitors.signed_in(bob)
    await opened(colleague, "Approvals")
    await button(card(colleague, "redis"), "Approve").click()
    await expect(card(page, "redis")).to_contain_text("Approved by bob", timeout=PATIENCE_MS)
    await own
    watch.allow("status of 403")
    viewer = await visitors.signed_in(await home.member("vera", Role.VIEWER))
    await expect(viewer.get_by_role("link", name="Approvals")).to_have_count(0)
    await viewer.goto(f"{home.url}/approvals")
    await expect(viewer.get_by_text("This needs the role operator")).to_be_visible()
    await expect(button(viewer, "Approve")).to_have_count(0)


async def test_a_plan_is_tried_bought_paid_and_cancelled(
    home: House, page: Page, visitors: Visitors
) -> None:
    """The quote comes before the price is owed, and every step is there after a reload."""
    accounts = home.running.core.billing.accounts
    assert accounts is not None
    tried = await accounts.operator.plans.trial(home.admin.tenant_id, "pro", 14)
    assert isinstance(tried, Subscription), tried
    await asked(home, "Hello")
    await counted(home)
    await opened(page, "Plan and usage")
    await expect(page.get_by_role("heading", name="Pro plan")).to_be_visible()
    await expect(page.get_by_text("Trial until")).to_be_visible()
    await expect(page.get_by_role("meter", name="People")).to_be_visible()
    await expect(page.get_by_role("table", name="Usage by day").get_by_role("row")).to_have_count(2)
    await button(page, "Keep Pro after the trial").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Upgrade for $").click()
    await expect(dialog.get_by_text("was made.")).to_be_visible()
    await dialog.get_by_role("button", name="Pay this way").click()
    await expect(dialog.get_by_text("Not paid yet")).to_be_visible()
    await visitors.picture(page, "invoice-to-pay")
    await button(dialog, "Close").click()

    invoices = page.get_by_role("table", name="Invoices")
    await expect(invoices.get_by_text("Open", exact=True)).to_be_visible()
    number = await invoices.get_by_role("button").inner_text()
    await invoices.get_by_role("button").click()
    await expect(dialog.get_by_role("table", name="Lines of the invoice")).to_be_visible()
    link = await dialog.get_by_role("link", name="PDF").get_attribute("href")
    kind = "(url) => fetch(url).then((answer) => answer.headers.get('content-type'))"
    assert await page.evaluate(kind, link) == "application/pdf"
    await button(dialog, "Close").click()
    await accounts.operator.payments.mark_paid(number, by="a test")
    await page.reload()
    await expect(page.locator(".panel").first.get_by_text("Active")).to_be_visible()
    await expect(invoices.get_by_text("Paid", exact=True)).to_be_visible()

    await button(page, "Cancel the plan ...").click()
    await button(dialog, "Cancel the plan").click()
    await button(page, "Take the cancellation back").click()
    await expect(page.get_by_text("The plan stays as it is.")).to_be_visible()
    operator = await visitors.signed_in(await home.member("bob"))
    await opened(operator, "Plan and usage")
    await expect(operator.get_by_role("heading", name="Pro plan")).to_be_visible()
    await expect(operator.get_by_role("heading", name="Invoices")).to_have_count(0)


async def test_people_come_change_and_go(
    home: House, page: Page, visitors: Visitors, watch: Watch
) -> None:
    """The link is shown once and works; the last admin stays; a token opens the API once."""
    watch.allow("status of 409", "status of 401")
    await opened(page, "Team")
    await button(page, "Invite").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Address")).to_be_focused()
    await page.keyboard.type("bob@example.com")
    await dialog.get_by_label("Name (optional)").fill("<b>Bob</b>")
    await dialog.get_by_role("button", name="Invite").click()
    link = await dialog.locator(".secret code").inner_text()
    await visitors.picture(page, "invited")
    await dialog.get_by_role("button", name="Close").last.click()
    row = page.get_by_role("table", name="People").get_by_role("row").filter(has_text="bob@")
    await expect(row).to_contain_text("<b>Bob</b>")
    assert link not in await page.content()
    theirs = await (await visitors.browser()).new_page()
    await theirs.goto(link)
    await expect(theirs.get_by_role("link", name="Approvals")).to_be_visible()

    await row.get_by_role("combobox").select_option("viewer")
    await expect(page.get_by_text("<b>Bob</b> is now viewer.")).to_be_visible()
    own = page.get_by_label(f"Role of {home.admin.email}")
    await own.select_option("viewer")
    await expect(page.get_by_text("This is the team's last admin.")).to_be_visible()
    await expect(own).to_have_value("admin")

    await button(page, "New token").click()
    await dialog.get_by_label("Person").select_option("bob@example.com")
    await button(dialog, "Make the token").click()
    token = await dialog.locator(".secret code").inner_text()
    await dialog.get_by_role("button", name="Close").last.click()
    status = """(token) => fetch("/api/v1/conversations",
      { credentials: "omit", headers: { Authorization: `Bearer ${token}` } })
      .then((answer) => answer.status)"""
    assert await page.evaluate(status, token) == 200
    await page.get_by_role("button", name="Revoke").click()
    await button(dialog, "Revoke").click()
    await expect(page.get_by_text("There are no tokens.")).to_be_visible()
    assert await page.evaluate(status, token) == 401

    await row.get_by_role("button", name="Remove").click()
    await button(dialog, "Remove").click()
    await expect(row).to_have_count(0)
    await theirs.reload()
    await expect(theirs.get_by_role("heading", name="Sign in to IT0")).to_be_visible()


async def test_engine_key_and_rules_are_chosen(home: House, page: Page) -> None:
    """What is chosen is stored at once; of a key only its end is ever shown."""
    secret = "sk-ant-test-of-the-team-1234567890"
    await opened(page, "Engines")
    answers = page.locator(".engines > li")
    await expect(answers.filter(has_text="Answers by default")).to_have_count(1)
    await page.get_by_role("combobox", name="Engine", exact=True).select_option("runbook")
    await button(page, "Save").first.click()
    await expect(answers.filter(has_text="Your team's choice")).to_contain_text("runbook")
    await page.get_by_label("The team's own key").fill(secret)
    await button(page, "Use this key").click()
    await expect(page.get_by_text("it ends with 7890")).to_be_visible()
    assert secret not in await page.content()
    assert await page.get_by_label("Another key").input_value() == ""
    await button(page, "Remove the key").click()
    await button(page.get_by_role("dialog"), "Remove the key").click()
    await expect(page.get_by_label("The team's own key")).to_be_visible()
    await page.get_by_label("Four eyes").check()
    await page.get_by_label("Reason (optional)").fill("Stocktaking")
    await button(page, "Save").last.click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await expect(button(page, "Save").last).to_be_focused()
    await button(page, "Freeze changes").click()
    await expect(page.get_by_text("Stocktaking")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Four eyes")).to_be_checked()
    await button(page, "End it").click()
    await expect(button(page, "Freeze changes")).to_be_visible()
    config = await home.call("GET", "/agent-config")
    assert (config["engine"], config["api_key_set"], config["four_eyes"]) == (
        "runbook",
        False,
        True,
    )


async def test_status_says_what_needs_somebody(home: House, page: Page, visitors: Visitors) -> None:
    """What waits is counted; platforms that are not connected say how; only admins come here."""
    waits = asking(home, restart("nginx"))
    await opened(page, "Approvals")
    await expect(button(page, "Approve")).to_be_visible(timeout=PATIENCE_MS)
    await opened(page, "Status")
    figure = page.locator(".figures > div").filter(has_text="Waiting for a person")
    await expect(figure.locator(".figure")).to_have_text("1")
    await expect(page.get_by_text("SLACK_BOT_TOKEN")).to_be_visible()
    await expect(page.get_by_text("SQLite")).to_be_visible()
    await visitors.picture(page, "status")
    await opened(page, "Approvals")
    await button(page, "Approve").click()
    await waits
    operator = await visitors.signed_in(await home.member("bob"))
    await expect(operator.get_by_role("link", name="Engines")).to_be_visible()
    for name in ("Status", "Team", "Audit log"):
        await expect(operator.get_by_role("link", name=name)).to_have_count(0)


async def test_the_audit_log_is_read_filtered_and_exported(home: House, page: Page) -> None:
    """The newest first, opened to its details, narrowed by what and who, page by page."""
    user = await home.member("bob")
    for role in ("viewer", "operator") * 30:
        await home.call("PATCH", f"/users/{user.id}", {"role": role})
    await opened(page, "Audit log")
    rows = page.get_by_role("table", name="Audit log").locator("tbody > tr:not(.details)")
    first = await rows.count()
    await button(page, "Show more").click()
    await expect(rows).not_to_have_count(first)
    await expect(rows.first).to_contain_text("bob · operator")
    await rows.first.get_by_role("button").click()
    await expect(page.get_by_text("Seal", exact=True)).to_be_visible()
    await button(page, "Only user.role").click()
    await expect(rows.filter(has_text="session.")).to_have_count(0)
    await expect(rows).to_have_count(first)
    await button(page, "Show everything").click()
    await page.get_by_role("combobox", name="What", exact=True).select_option("session.*")
    await expect(rows).to_have_count(2)
    await page.get_by_label("To day").fill("2020-01-01")
    await expect(page.get_by_text("Nothing in the log fits.")).to_be_visible()
    await button(page, "Show everything").click()
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name="Export").click()
    exported = await (await waiting.value).path()
    assert exported.read_text(encoding="utf-8").count("\n") > first
    await button(page, "Show the head").click()
    await expect(page.locator("pre.exact-text")).to_contain_text("seq")


async def test_settings_speak_chinese_and_end_sessions(
    home: House, page: Page, visitors: Visitors, watch: Watch
) -> None:
    """The language follows the person to another browser; all other browsers go at one press."""
    watch.allow("status of 401")
    await opened(page, "Settings")
    await page.get_by_label("Language").select_option("zh")
    await expect(page.get_by_role("heading", level=1, name="设置")).to_be_visible()
    assert await page.evaluate("() => document.documentElement.lang") == "zh-Hans"
    phone = await visitors.signed_in(phone=True)
    await expect(phone.get_by_role("textbox")).to_be_visible()
    await expect(phone.get_by_role("button", name="菜单")).to_be_visible()
    await page.get_by_label("语言").select_option("en")
    await expect(page.get_by_role("heading", level=1, name="Settings")).to_be_visible()
    await page.get_by_label("Theme").select_option("dark")
    await page.reload()
    ground = "() => getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(ground) == "rgb(18, 21, 26)"
    await button(page, "Sign out all other browsers").click()
    await button(page.get_by_role("dialog"), "Sign them out").click()
    await expect(page.get_by_role("listitem").filter(has_text="Signed in")).to_have_count(1)
    await phone.reload()
    await expect(phone.get_by_role("heading", name="IT0")).to_be_visible()
    await button(page, "Sign out here").click()
    await expect(page.get_by_role("heading", name="Sign in to IT0")).to_be_visible()
    await Chat(page).fits()
    assert await home.rows("SELECT COUNT(*) FROM web_sessions WHERE revoked_at IS NULL") == [(0,)]
