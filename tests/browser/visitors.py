"""People at their browsers: contexts that are watched, and signed in through a real link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Page

from core.tenants import User
from tests.browser.chromium import DESKTOP, PHONE
from tests.browser.house import House
from tests.browser.watch import Watch

_SHOTS: Final = os.environ.get("IT0_TEST_SCREENSHOTS", "")
"""Read when this module is imported: tests themselves see no setting of who runs them."""

PATIENCE_MS: Final = 15_000
"""How long a page may take for anything a test waits for, on a busy machine."""


class Visitors:
    """Opens browsers at a house; ``watch`` sees all of them."""

    def __init__(self, browser: Browser, house: House, watch: Watch, shots: Path) -> None:
        """Nobody is there yet; pictures go into ``shots``, or where the environment says."""
        self._browser = browser
        self._house = house
        self.watch = watch
        self._shots = Path(_SHOTS) if _SHOTS else shots
        self._contexts: list[BrowserContext] = []

    async def browser(self, *, phone: bool = False, **options: Any) -> BrowserContext:
        """A browser of its own: no cookies, no cache; ``options`` are those of a context."""
        chosen: dict[str, Any] = {
            "viewport": PHONE if phone else DESKTOP,
            "is_mobile": phone,
            "has_touch": phone,
            "locale": "en-US",
            "reduced_motion": "reduce",
            **options,
        }
        context = await self._browser.new_context(**chosen)
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        self.watch.follow(context)
        return context

    async def enter(
        self, context: BrowserContext, user: User | None = None, *, base: str = ""
    ) -> Page:
        """Sign in through a link, at another address of the same server where one is given."""
        page = await context.new_page()
        await page.goto(await self._house.sign_in_link(user, base=base))
        await page.wait_for_url(lambda url: not url.split("#")[0].endswith("/sign-in"))
        return page

    async def signed_in(
        self, user: User | None = None, *, base: str = "", phone: bool = False, **options: Any
    ) -> Page:
        """A browser of its own in which somebody is signed in; the admin without a name."""
        return await self.enter(await self.browser(phone=phone, **options), user, base=base)

    async def picture(self, page: Page, name: str) -> Path:
        """Keep a picture of what the page shows."""
        self._shots.mkdir(parents=True, exist_ok=True)
        path = self._shots / f"{name}.png"
        await page.screenshot(path=path)
        return path

    async def leave(self) -> None:
        """Close every browser."""
        for context in self._contexts:
            await context.close()
