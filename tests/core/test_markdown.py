"""Titles, and what of a growing text is finished."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.markdown import finished_length, parser, plain, title_of


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Disk **full** on `web-3`\nplease look", "Disk full on web-3"),
        ("two\nlines of   text", "two lines of text"),
        ("```sh\ndf -h\n```", "df -h"),
        ("\x1b]0;evil\x07hi \u202ethere", "]0;evilhi there"),
        ("", ""),
        (" \n\n```\n```", ""),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_a_title_is_the_first_line_without_markup(text: str, title: str) -> None:
    """The first words that can be shown, on one line, without markup or control characters."""
    assert title_of(text) == title


def test_a_long_title_is_cut_at_a_word() -> None:
    """The limit includes the ellipsis; a word longer than the limit is cut in itself."""
    assert title_of("disk is full on web-3 again", 18) == "disk is full on…"
    assert title_of("x" * 100, 10) == "x" * 9 + "…"


def test_a_title_comes_from_the_beginning_of_a_text() -> None:
    """A huge message is not read to its end for a name; it would hold up everybody else."""
    assert title_of("\n" * 50 + "early") == "early"
    assert title_of("\n" * 5_000 + "late") == ""


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_title_fits_on_a_line(text: str) -> None:
    """A title is never too long and always one printable line, or empty."""
    title = title_of(text, 40)
    assert len(title) <= 40
    assert title.splitlines() == ([title] if title else [])


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("one\n\ntwo", "one\n\n"),
        ("one\n\ntwo\n", "one\n\n"),
        ("one\n", ""),
        ("| a |\n|--|\n| 1 |\n\n", "| a |\n|--|\n| 1 |\n\n"),
        ("- a\n\n", ""),
        ("one\n#", ""),
        ("one\n\n```\ncode\n\ncode\n", "one\n\n"),
        ("```\ncode\n```\n\nafter\n", "```\ncode\n```\n\n"),
        ("- a\n- b\n\n- c\n", ""),
        ("no end", ""),
    ],
)
def test_all_but_the_last_block_is_finished(text: str, finished: str) -> None:
    """The last block and an incomplete line may still change; what precedes may not."""
    assert text[: finished_length(text)] == finished


def test_raw_html_is_text() -> None:
    """The canonical form has no HTML: angle brackets are shown as they are."""
    assert "&lt;b&gt;" in parser().render("<b>x</b>")


def test_a_name_from_outside_is_shown_as_it_is() -> None:
    """No link, no heading, no second line: what somebody calls a file or themselves is text."""
    shown = plain("[Your session expired](https://evil.example)\n# x\u202e `y`")
    (inline,) = [token for token in parser().parse(shown) if token.type == "inline"]
    assert [child.type for child in inline.children or ()] == ["text"] * len(inline.children or ())
    assert (
        inline.content.replace("\\", "") == "[Your session expired](https://evil.example) # x `y`"
    )
    assert len(plain("x" * 500)) == 100
