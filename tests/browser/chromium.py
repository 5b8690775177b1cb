"""The system's own Chromium, driven through a pipe, without a way to the outside."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Browser, ViewportSize, async_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
CHOSEN: Final = os.environ.get("IT0_TEST_BROWSER", "")
"""Read when this module is imported: tests themselves see no setting of who runs them."""

LOOPBACK_ONLY: Final = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
"""Names and addresses alike are unknown to this browser, but for this machine's own."""
_ARGUMENTS: Final = (
    LOOPBACK_ONLY,
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DESKTOP: Final = ViewportSize(width=1280, height=800)
PHONE: Final = ViewportSize(width=360, height=740)


def found() -> str | None:
    """The browser's path; None where this machine has none."""
    if CHOSEN:
        return shutil.which(CHOSEN)
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@asynccontextmanager
async def launched(path: str) -> AsyncGenerator[Browser]:
    """A running browser without a window; starting it takes 2 to 5 s."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS])
        try:
            yield browser
        finally:
            await browser.close()
