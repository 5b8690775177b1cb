from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sealing import CannotUnseal, seal, unseal

KEY, OTHER = b"k" * 32, b"o" * 32


@given(secret=st.text(), owner=st.text())
def test_a_secret_comes_back_to_its_owner_alone(secret: str, owner: str) -> None:
    """Sealed and unsealed it is the same; for another owner or key it stays shut."""
    sealed = seal(KEY, secret, owner)
    assert unseal(KEY, sealed, owner) == secret
    with pytest.raises(CannotUnseal):
        unseal(KEY, sealed, owner + "x")
    with pytest.raises(CannotUnseal):
        unseal(OTHER, sealed, owner)


def test_two_seals_of_a_secret_differ() -> None:
    """Nobody can see in the database that two workspaces have the same token."""
    assert seal(KEY, "xoxb-1", "a") != seal(KEY, "xoxb-1", "a")


@pytest.mark.parametrize(
    "change", [lambda s: s[:-4] + "AAA=", lambda s: "2" + s[1:], lambda s: "", str.upper]
)
def test_a_changed_seal_is_refused(change: object) -> None:
    """A flipped byte, another key version, nothing at all."""
    assert callable(change)
    with pytest.raises(CannotUnseal):
        unseal(KEY, change(seal(KEY, "xoxb-1", "a")), "a")
