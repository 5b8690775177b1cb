"""What goes wrong in a page, whether a test looks at it or not."""

from __future__ import annotations

import re
from typing import Final

from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, WebError

_BAD: Final = frozenset({"error", "warning", "assert"})
_ABORTED: Final = "net::ERR_ABORTED"
"""The page itself gave the request up, or went to another address."""


class Watch:
    """Collects console errors and warnings, page errors, policy violations, failed requests.

    Chromium tells a violation of the Content-Security-Policy, and an answer with a status of
    400 or more, as an error in the console.
    """

    def __init__(self) -> None:
        """Nothing was seen, nothing is allowed."""
        self.seen: list[str] = []
        self.messages: list[str] = []
        """Everything that was written to the console."""
        self._allowed: list[re.Pattern[str]] = []

    def follow(self, context: BrowserContext) -> None:
        """Watch every page of a context from now on."""
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("requestfailed", self._failed)
        context.on("page", self._page)

    def allow(self, *patterns: str) -> None:
        """Let complaints pass that a test provokes; searched as regular expressions."""
        self._allowed += (re.compile(pattern) for pattern in patterns)

    def unexpected(self) -> list[str]:
        """What nobody allowed."""
        return [
            said for said in self.seen if not any(known.search(said) for known in self._allowed)
        ]

    def _console(self, message: ConsoleMessage) -> None:
        said = f"console {message.type}: {message.text} ({message.location['url']})"
        self.messages.append(said)
        if message.type in _BAD:
            self.seen.append(said)

    def _error(self, error: WebError) -> None:
        self.seen.append(f"page error: {error.error.stack or error.error.message}")

    def _failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.seen.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _page(self, page: Page) -> None:
        page.on("crash", lambda _page: self.seen.append("the page crashed"))
