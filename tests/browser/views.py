"""The page's views, and when one of them is there."""

from __future__ import annotations

from typing import Final

from playwright.async_api import Page, expect

VIEWS: Final = (
    "/approvals",
    "/plan",
    "/team",
    "/engines",
    "/status",
    "/audit",
    "/settings",
)


async def shown(page: Page) -> None:
    """Wait until the view has its heading and nothing in it is still loading."""
    await expect(page.locator("main h1").first).to_be_visible()
    await expect(page.get_by_text("Loading ...")).to_have_count(0)
