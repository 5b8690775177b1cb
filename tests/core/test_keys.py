"""The installation's secret: made once, private, one key a purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

import app
from core.keys import Keys, WrongKey, load_or_make
from tests.support.core_kit import Site


def test_each_purpose_has_its_own_key() -> None:
    """Keys differ by purpose and by secret, are stable, and the fingerprint is none of them."""
    keys, same, other = Keys("a" * 40), Keys("a" * 40), Keys("b" * 40)
    assert keys.derive("tokens") == same.derive("tokens")
    found = {keys.derive("tokens"), keys.derive("audit"), other.derive("tokens")}
    assert len(found) == 3
    assert all(len(key) == 32 for key in found)
    assert keys.fingerprint() == same.fingerprint() != other.fingerprint()
    assert keys.fingerprint() not in {key.hex() for key in found}


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    """The first start makes the file for its owner alone; later ones read it."""
    first = load_or_make(tmp_path)
    assert len(first) == 64
    assert load_or_make(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert load_or_make(tmp_path / "..") != first


async def test_a_wrong_key_refuses_to_start(site: Site) -> None:
    """Another secret than the database was made with is refused, with what to do."""
    async with app.open_storage(site.settings()):
        pass
    with pytest.raises(WrongKey, match="Put the old key back"):
        async with app.open_storage(site.settings(IT0_SECRET_KEY="x" * 40)):
            raise AssertionError("it started")
    async with app.open_storage(site.settings()):
        pass
