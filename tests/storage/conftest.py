"""What several storage tests get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.places import Places


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    """Installations, dropped afterwards."""
    made = Places(tmp_path, request, [])
    yield made
    for url in made.urls:
        request.getfixturevalue("postgres_server").drop_database(url)
