"""Names that people give themselves are one short line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.names import MAX_CHARS, plain_name


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        (" 王\u3000小明 ", "王 小明"),
        ("Bob\n\n# NOTICE\t- x", "Bob # NOTICE - x"),
        ("Eve\u202e\u200b\x00", "Eve"),
        ("\n", ""),
    ],
)
def test_a_name_is_one_line(given_name: str, shown: str) -> None:
    """Blanks become one space; controls and marks of direction go; letters stay."""
    assert plain_name(given_name) == shown


@given(st.text(max_size=200))
def test_any_name_is_harmless(name: str) -> None:
    """Short, without line breaks and controls; cleaning it again changes nothing."""
    plain = plain_name(name)
    assert len(plain) <= MAX_CHARS
    assert len(plain.splitlines()) <= 1
    assert all(unicodedata.category(char)[0] != "C" for char in plain)
    assert plain_name(plain) == plain
