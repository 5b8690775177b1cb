"""What a page's load puts on the wire, as Chromium's DevTools protocol counts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from playwright.async_api import Page


@dataclass
class Traffic:
    """Bytes that arrived, heads of the answers included, by the URL that was asked for."""

    asked: dict[str, str] = field(default_factory=dict)
    """URL by the id of the request."""
    arrived: dict[str, int] = field(default_factory=dict)
    """Bytes by the id of the request, as far as it is known."""
    cached: set[str] = field(default_factory=set)
    """Ids of the requests that the browser answered from its cache."""

    @classmethod
    async def of(cls, page: Page) -> Self:
        """Count from now on."""
        traffic = cls()
        devtools = await page.context.new_cdp_session(page)
        devtools.on("Network.requestWillBeSent", traffic._asked)
        devtools.on("Network.requestServedFromCache", traffic._served)
        devtools.on("Network.responseReceived", traffic._answered)
        devtools.on("Network.dataReceived", traffic._more)
        devtools.on("Network.loadingFinished", traffic._finished)
        await devtools.send("Network.enable")
        return traffic

    @property
    def total(self) -> int:
        """All bytes so far."""
        return sum(self.arrived.values())

    def urls(self) -> list[str]:
        """What was asked for, in order; what is made in the browser (``blob:``) left out."""
        return [url for url in self.asked.values() if not url.startswith(("blob:", "data:"))]

    def _asked(self, event: dict[str, Any]) -> None:
        self.asked[event["requestId"]] = event["request"]["url"]

    def _served(self, event: dict[str, Any]) -> None:
        self.cached.add(event["requestId"])

    def _answered(self, event: dict[str, Any]) -> None:
        if event["response"].get("fromDiskCache"):
            self.cached.add(event["requestId"])
        self.arrived[event["requestId"]] = event["response"]["encodedDataLength"]

    def _more(self, event: dict[str, Any]) -> None:
        """A stream that is still open counts too."""
        self.arrived[event["requestId"]] += event["encodedDataLength"]

    def _finished(self, event: dict[str, Any]) -> None:
        self.arrived[event["requestId"]] = event["encodedDataLength"]


async def load(page: Page, url: str, ready: Callable[[], Awaitable[object]]) -> Traffic:
    """Load an address and wait until it is what the reader came for."""
    traffic = await Traffic.of(page)
    await page.goto(url)
    await ready()
    return traffic
