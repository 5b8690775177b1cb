"""The installation's secret: made once, private, one key a purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

import app
from core.keys import BadKeyFile, Keys, WrongKey, load_or_make
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


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b" " * 64, b"\xc3\xa4" * 40])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty key would be everybody's; the file is neither used nor replaced."""
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(BadKeyFile, match=r"^The key file .*secret\.key cannot be used: it holds"):
        load_or_make(tmp_path)
    assert (tmp_path / "secret.key").read_bytes() == content


def test_a_key_file_that_cannot_be_read_or_made(tmp_path: Path) -> None:
    """A directory in its place and a directory that is missing give a sentence each."""
    (tmp_path / "secret.key").mkdir()
    with pytest.raises(BadKeyFile, match="cannot be used: Is a directory"):
        load_or_make(tmp_path)
    with pytest.raises(BadKeyFile, match="cannot be written: No such file"):
        load_or_make(tmp_path / "none")


async def test_a_wrong_key_refuses_to_start(site: Site) -> None:
    """Another secret than the database was made with is refused, with what to do."""
    async with app.open_storage(site.settings()):
        pass
    with pytest.raises(WrongKey, match="Put the old key back"):
        async with app.open_storage(site.settings(IT0_SECRET_KEY="x" * 40)):
            raise AssertionError("it started")
    async with app.open_storage(site.settings()):
        pass
