"""axe-core, asked about the page as it is now."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from playwright.async_api import Page

_SOURCE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
_RUN = "() => axe.run(document, {resultTypes: ['violations']})"


async def violations(page: Page) -> list[str]:
    """All that axe-core's rules find, one readable text for each element; [] is the aim."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(_SOURCE)
    found: dict[str, Any] = await page.evaluate(_RUN)
    return [
        f"{broken['id']} ({broken['impact']}): {broken['help']}\n"
        f"  at {' '.join(map(str, node['target']))}: {node['html'][:300]}\n  {node['failureSummary']}"
        for broken in found["violations"]
        for node in broken["nodes"]
    ]
