"""Which language a header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.web.languages import preferred
from core.words import language_of


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ("", ""),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("de-DE,de;q=0.9,en;q=0.4,zh;q=0.5", "zh"),
        ("en;q=0, zh-Hans", "zh-Hans"),
        ("*", ""),
        ("fr", ""),
        ("zh;q=nonsense,en", "en"),
        ("EN-gb", "EN-gb"),
    ],
)
def test_the_most_welcome_of_ours_counts(accepted: str, tag: str) -> None:
    """By its weight; what we do not speak, and what cannot be read, is passed over."""
    assert preferred(accepted) == tag


@given(st.text())
def test_any_header_is_survived(accepted: str) -> None:
    """Whatever a client sends, the answer is one of our languages or none."""
    assert preferred(accepted) == "" or language_of(preferred(accepted)) in {"en", "zh"}
