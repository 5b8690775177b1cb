"""Text from outside is shown so that it hides nothing and fakes nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.markdown import parser
from core.visible import fenced, visible_change, visible_code, visible_line

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("`~\n\r\t \u202e\u2066\u200b\u00ad\u3164\u2800\ufeff\u05d0⟨⟩*_[]()<>&;#|-"),
    ),
    max_size=120,
)


@given(HOSTILE)
def test_nothing_in_a_command_is_hidden_or_turned(text: str) -> None:
    """What is left has no control, format or right-to-left character, and no odd blank."""
    for char in visible_code(text).replace("\n", ""):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert unicodedata.bidirectional(char) not in {"R", "AL", "AN"}
        assert unicodedata.category(char) != "Zs" or char == " "


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=60))
def test_a_plain_command_is_shown_as_it_is(text: str) -> None:
    """Without anything odd in it, not a character is changed."""
    text = " ".join(text.split())
    assert visible_code(text) == text


@given(HOSTILE, HOSTILE)
def test_two_commands_never_look_the_same(one: str, other: str) -> None:
    """What is written out cannot be written by anything else."""
    assert (visible_code(one) == visible_code(other)) == (one == other)


@given(HOSTILE, st.sampled_from([visible_code, visible_change]))
def test_a_code_block_holds_its_text(text: str, show: type[str]) -> None:
    """However many fences the text has, it is one block of code and nothing else."""
    shown = show(text)
    tokens = parser().parse(f"before\n\n{fenced(shown)}\n\nafter")
    kinds = [
        token.type for token in tokens if token.type not in {"paragraph_open", "paragraph_close"}
    ]
    assert kinds == ["inline", "fence", "inline"]
    assert tokens[3].content == (f"{shown}\n" if shown else "\n")


@given(HOSTILE)
def test_prose_is_one_line_of_text(text: str) -> None:
    """No markup of it comes to life: one paragraph, one run of text, the same characters."""
    line = visible_line(text, 1_000)
    (inline,) = [token for token in parser().parse(f"Why: “{line}”") if token.type == "inline"]
    assert {child.type for child in inline.children or ()} <= {"text", "text_special"}
    shown = "".join(child.content for child in inline.children or ())
    assert not any(unicodedata.category(char) in {"Cc", "Cf"} for char in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rm -rf \u202e/tmp", "rm -rf ⟨U+202E⟩/tmp"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("true" + " " * 300 + "; rm -rf /", "true⟨300 spaces⟩; rm -rf /"),
        ("true" + "\n" * 90 + "rm -rf /", "true\n⟨89 empty lines⟩\nrm -rf /"),
        ("ls\r\nrm", "ls⟨U+000D⟩\nrm"),
        ("a\tb", "a⟨U+0009⟩b"),
        ("echo ⟨U+202E⟩", "echo ⟨U+27E8⟩U+202E⟨U+27E9⟩"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301⟨U+0301⟩⟨U+0301⟩"),
        ("ls ", "ls⟨1 spaces at the end⟩"),
        ("rm \u05d0", "rm ⟨U+05D0⟩"),
    ],
)
def test_what_would_be_hidden_is_written_out(text: str, shown: str) -> None:
    """Directions, nothing-characters, padding and the brackets themselves."""
    assert visible_code(text) == shown


def test_an_entity_of_prose_is_not_decoded() -> None:
    """Markdown would make a character of it that was just taken out."""
    line = visible_line("&#8238;", 100)
    (inline,) = [token for token in parser().parse(line) if token.type == "inline"]
    assert "".join(child.content for child in inline.children or ()) == "&#8238;"


def test_long_prose_is_cut_with_a_mark() -> None:
    """A reader sees that there was more."""
    assert visible_line("word " * 100, 20) == "word word word word…"
