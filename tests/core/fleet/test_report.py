from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.report import (
    Report,
    Verdict,
    cell,
    clean,
    clean_block,
    duration,
    fenced,
    size,
    table,
    verdict_of,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (4.1 * 2**30, "4.1 GiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_sizes(number: float, text: str) -> None:
    """Bytes are told as df -h tells them."""
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (3_700, "1 h 1 min"), (273_600, "3 d 4 h")],
)
def test_durations(seconds: int, text: str) -> None:
    """Two units at most."""
    assert duration(seconds) == text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_can_be_read_back(verdict: Verdict) -> None:
    """The mark of the first line says how bad it is."""
    text = Report(headline="x.", details="d", verdict=verdict).text("web-1")
    assert verdict_of(text.partition("\n")[0]) is verdict
    assert "web-1: x." in text


def test_a_table_is_bounded_and_says_so() -> None:
    """Rows beyond the limit are counted, not silently dropped."""
    text = table(("A",), [(str(n),) for n in range(50)], limit=40)
    assert text.endswith("… and 10 more.")
    assert len(text.splitlines()) == 44


@given(st.text())
def test_server_text_cannot_leave_its_place(text: str) -> None:
    """No control character, no line break in a cell, no unescaped separator, no early fence."""
    assert "\n" not in cell(text)
    assert "|" not in cell(text).replace("\\\\", "").replace("\\|", "")
    assert "\x1b" not in clean(text) + clean_block(text)
    block = fenced(text)
    fence = block[: len(block) - len(block.lstrip("`"))]
    assert fence not in text


def test_terminal_escapes_are_removed_whole() -> None:
    """Colours, titles and links of a log do not leave their codes behind."""
    assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07ok\x1b]8;;http://x\x1b\\link") == "red oklink"
