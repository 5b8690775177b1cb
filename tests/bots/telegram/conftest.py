"""A site on SQLite: what the adapter does is the same on every database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.core_kit import Site, copy_sqlite


@pytest.fixture
def place(sqlite_template: Path, tmp_path: Path) -> Site:
    """A site of the test's own."""
    return copy_sqlite(sqlite_template, tmp_path / "data")
