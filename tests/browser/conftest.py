"""One Chromium for all tests; for each an IT0, browsers and a watch of its own.

Playwright's objects belong to the event loop that made them, so all tests of this package and
their fixtures share the loop of the session.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser import chromium, house
from tests.browser.house import House
from tests.browser.visitors import Visitors
from tests.browser.watch import Watch
from tests.support.core_fixtures import _plain_logs, sqlite_template
from tests.support.core_kit import Probe, copy_sqlite

__all__ = ["_plain_logs", "sqlite_template"]

_HERE = Path(__file__).parent
_TIMEOUT_S = 90


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is slow, and they share one event loop."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser]:
    """The one browser; without any on this machine the tests are skipped, which fails in CI."""
    path = chromium.found()
    if path is None:
        pytest.skip("there is no Chromium here; on Debian and Ubuntu: apt-get install chromium")
    async with chromium.launched(path) as running:
        yield running


@pytest.fixture
def probe() -> Probe:
    """A tool of the house that reads; a test may make it worse before it is called."""
    return Probe()


@pytest_asyncio.fixture(loop_scope="session")
async def home(sqlite_template: Path, tmp_path: Path, probe: Probe) -> AsyncGenerator[House]:
    """A running IT0 that nobody has used."""
    copy_sqlite(sqlite_template, tmp_path / "data")
    async with house.opened(tmp_path / "data", [probe.tool()]) as running:
        yield running


@pytest.fixture
def watch() -> Watch:
    """What goes wrong in the pages of the test."""
    return Watch()


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(
    browser: Browser, home: House, watch: Watch, tmp_path: Path
) -> AsyncGenerator[Visitors]:
    """Browsers at that house. At the end, whatever went wrong unexpectedly fails the test."""
    people = Visitors(browser, home, watch, tmp_path / "pictures")
    yield people
    await people.leave()
    assert watch.unexpected() == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitors: Visitors) -> Page:
    """The admin at a desk, signed in."""
    return await visitors.signed_in()
