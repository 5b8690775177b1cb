"""What the Slack adapter's tests get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.slack import SlackFake
from tests.support.core_fixtures import _plain_logs
from tests.support.core_kit import Site, copy_sqlite

__all__ = ["_plain_logs"]


@pytest.fixture
async def fake() -> AsyncIterator[SlackFake]:
    """A strict Slack."""
    async with SlackFake() as slack:
        yield slack


@pytest.fixture
def place(sqlite_template: Path, tmp_path: Path) -> Site:
    """A site on SQLite: what differs between the databases is tested elsewhere."""
    return copy_sqlite(sqlite_template, tmp_path / "data")
