"""Long Markdown is cut into parts that each stand alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from core.markdown import split_markdown

WORDS = st.sampled_from(
    [
        "disk",
        "load.",
        "web-3!",
        "äöü",
        "磁盘。",
        "👩🏽‍🚀",
        "`code`",
        "**bold it**",
        "e\u0301",
        "1.",
        "a" * 45,
    ]
)
LINE = st.lists(WORDS, min_size=1, max_size=14).map(" ".join)
CODE = st.lists(
    st.sampled_from(["x = 1", "", "    return x", "b" * 70, "# c", "- d", "> e", "| f |", "~~~"]),
    min_size=1,
    max_size=14,
).map("\n".join)
FENCE = st.builds(
    lambda code, mark, info: f"{mark}{info}\n{code}\n{mark}",
    CODE.map(lambda code: code.replace("~~~", "```")),
    st.sampled_from(["~~~", "~~~~"]),
    st.sampled_from(["", "Q", "Q Z"]),
)
NESTED_FENCE = CODE.map(lambda code: f"````Q\n```Q\n{code.replace('~', '`')}\n```\n````")
TABLE = st.lists(LINE, min_size=1, max_size=9).map(
    lambda rows: "| H1 | H2 |\n|----|----|\n" + "\n".join(f"| {row} | 2 |" for row in rows)
)
LEAF = st.one_of(LINE, LINE.map("## ".__add__), FENCE, NESTED_FENCE, TABLE)


def _indented(text: str, first: str, rest: str) -> str:
    return first + text.replace("\n", "\n" + rest)


def _list(blocks: list[str]) -> str:
    return "\n".join(_indented(block, "- ", "  ") for block in blocks)


def _quote(blocks: list[str]) -> str:
    return _indented("\n\n".join(blocks), "> ", "> ")


def _nest(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blocks = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(blocks.map(_list), blocks.map(_quote), blocks.map("\n\n".join))


TEXT = st.recursive(LEAF, _nest, max_leaves=6)


def _bare(text: str) -> str:
    """What must be the same before and after, without what a cut may add or drop."""
    text = re.sub(r"[QZ]", "", text)
    text = re.sub(r"\| H1 \| H2 \||\|----\|----\|", "", text)
    return re.sub(r"[\s>`~\\]", "", text)


def _open_fences(text: str) -> list[str]:
    """The code blocks of a text that have no end."""
    lines = text.split("\n")
    return [
        token.content
        for token in MarkdownIt("commonmark", {"html": False}).parse(text)
        if token.type == "fence"
        and not (
            token.map
            and token.map[1] - token.map[0] > 1
            and re.fullmatch(
                r"[\s>]*" + re.escape(token.markup) + token.markup[0] + r"*\s*",
                lines[token.map[1] - 1],
            )
        )
    ]


@given(text=TEXT, limit=st.sampled_from([60, 64, 100, 333]))
@settings(max_examples=150, deadline=None)
def test_parts_keep_their_limit_their_text_and_their_fences(text: str, limit: int) -> None:
    """No part is too long, no text is lost or doubled, and every code block is closed."""
    parts = split_markdown(text, limit)
    assert [part for part in parts if len(part) > limit] == []
    assert _bare("".join(parts)) == _bare(text)
    assert [part for part in parts if _open_fences(part)] == []


@given(text=TEXT, limit=st.sampled_from([80, 200]))
@settings(max_examples=50, deadline=None)
def test_the_limit_is_in_the_callers_units(text: str, limit: int) -> None:
    """A platform that counts UTF-16 units never gets a part that is too long."""

    def units(part: str) -> int:
        return len(part.encode("utf-16-le")) // 2

    assert max((units(part) for part in split_markdown(text, limit, measure=units)), default=0) <= (
        limit
    )


@given(text=TEXT, cut=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_earlier_parts_stay_when_text_is_appended(text: str, cut: float) -> None:
    """While an answer streams, only the last two parts change."""
    before = split_markdown(text[: int(len(text) * cut)], 100)
    after = split_markdown(text, 100)
    keep = max(0, len(before) - 2)
    assert after[:keep] == before[:keep]


@given(text=st.text(max_size=300), limit=st.sampled_from([32, 47]))
@settings(max_examples=150, deadline=None)
def test_any_text_keeps_its_limit(text: str, limit: int) -> None:
    """Whatever the characters, no part is too long and only blank space is lost."""
    parts = split_markdown(text, limit)
    assert all(len(part) <= limit for part in parts)
    kept, given_ = re.sub(r"[\s\\]", "", "".join(parts)), re.sub(r"[\s\\]", "", text)
    assert re.sub(r"[`~>|:-]", "", kept) == re.sub(r"[`~>|:-]", "", given_)


def test_short_text_is_one_part() -> None:
    """Text under the limit is left as it is; no text is no part."""
    assert split_markdown("# Hi\n\n- a\n- b", 100) == ("# Hi\n\n- a\n- b",)
    assert split_markdown(" \n\n", 100) == ()


def test_cuts_between_blocks() -> None:
    """A paragraph that does not fit goes to the next part as a whole."""
    one, two = "a " * 30 + "a", "b " * 30 + "b"
    assert split_markdown(f"{one}\n\n{two}", 100) == (one, two)


def test_a_heading_stays_with_its_text() -> None:
    """A heading never ends a part while its text begins the next."""
    one, two = "a " * 30 + "a", "b " * 20 + "b"
    assert split_markdown(f"{one}\n\n## Title\n\n{two}", 80) == (one, f"## Title\n\n{two}")


def test_a_code_block_is_closed_and_opened_again() -> None:
    """Its language is repeated and its lines are kept, blank ones and indentation too."""
    code = "\n".join(f"    line {number}\n" for number in range(12))
    parts = split_markdown(f"```python\n{code}\n```", 80)
    assert len(parts) > 2
    assert all(part.startswith("```python\n") and part.endswith("\n```") for part in parts)
    inside = [part.removeprefix("```python\n").removesuffix("```") for part in parts]
    assert "".join(inside) == code + "\n"


def test_a_fence_inside_a_longer_fence_is_text() -> None:
    """A code block that shows a code block is reopened with its own, longer fence."""
    inner = "```sh\n" + "ls -la /var/log\n" * 6 + "```"
    parts = split_markdown(f"````md\n{inner}\n````", 70)
    assert len(parts) > 1
    assert all(part.startswith("````md\n") and part.endswith("\n````") for part in parts)


def test_a_code_block_in_a_list_loses_the_lists_indentation() -> None:
    """The part that goes on is a code block by itself, not indented text."""
    code = "\n".join(f"      call({number})" for number in range(8))
    parts = split_markdown(f"- step\n\n  - inner\n\n    ```py\n{code}\n    ```\n- next", 60)
    assert parts[1].startswith("```py\n  call(")
    assert parts[-1].endswith("- next")


def test_a_code_block_in_a_quote_stays_in_the_quote() -> None:
    """Both fences that are added carry the quote's mark."""
    code = "\n".join(f"> call({number})" for number in range(9))
    for part in split_markdown(f"> ```py\n{code}\n> ```", 60):
        assert part.startswith("> ```py\n> call(")
        assert part.endswith("\n> ```")


def test_a_table_repeats_its_header() -> None:
    """Every part of a table can be read as a table."""
    rows = "\n".join(f"| web-{number} | ok |" for number in range(9))
    parts = split_markdown(f"| Host | State |\n|---|---|\n{rows}", 80)
    assert len(parts) > 1
    assert all(part.startswith("| Host | State |\n|---|---|\n| web-") for part in parts)


def test_a_list_is_cut_at_items() -> None:
    """No item is torn while there is room for whole ones."""
    items = [f"{number}. " + "word " * 6 + "end" for number in range(1, 9)]
    parts = split_markdown("\n".join(items), 90)
    assert [line for part in parts for line in part.split("\n")] == items


def test_a_giant_paragraph_is_cut_at_sentences_then_words() -> None:
    """Sentences stay whole; without sentences, words do."""
    assert split_markdown("One is here now. Two is there. Three is far away.", 40) == (
        "One is here now. Two is there.",
        "Three is far away.",
    )
    words = [f"word{number}" for number in range(30)]
    parts = split_markdown(" ".join(words), 50)
    assert [word for part in parts for word in part.split()] == words


@pytest.mark.parametrize("cluster", ["👩🏽‍🚀", "e\u0301", "🇩🇪", "각"])
def test_a_visible_character_is_never_torn(cluster: str) -> None:
    """Emoji sequences, accents, flags and Hangul stay whole where nothing else can be cut."""
    parts = split_markdown(cluster * 60, 37)
    assert all(not part.replace(cluster, "") for part in parts)
    assert "".join(parts) == cluster * 60


def test_a_link_and_inline_code_are_not_torn() -> None:
    """A cut falls before a link or a code span, not inside it."""
    text = "See the notes at [the runbook page](https://example.test/a/b/c) for `df -h /var/log`."
    parts = split_markdown(text, 66)
    assert any("[the runbook page](https://example.test/a/b/c)" in part for part in parts)
    assert any("`df -h /var/log`" in part for part in parts)


def test_an_unfinished_code_block_is_closed() -> None:
    """While a code block streams, what is shown of it is a whole block."""
    assert split_markdown("Look:\n\n```py\nx = 1\n", 100) == ("Look:\n\n```py\nx = 1\n```",)


def test_text_after_a_cut_does_not_become_structure() -> None:
    """A word such as a hash sign that begins a part stays a word."""
    parts = split_markdown("a " * 16 + "# not a heading " + "b " * 16, 33)
    assert all(
        token.type != "heading_open"
        for part in parts
        for token in MarkdownIt("commonmark").parse(part)
    )


def test_a_limit_that_is_too_small_is_refused() -> None:
    """A limit that cannot hold a reopened code block is the caller's mistake."""
    with pytest.raises(ValueError, match="at least 32"):
        split_markdown("text", 10)


def test_a_hundred_thousand_characters_are_cut_and_kept() -> None:
    """The longest accepted text, as one line and as many, loses nothing."""
    for text in ("word " * 20_000, "- item\n" * 14_000, "x" * 100_000):
        parts = split_markdown(text, 4000)
        assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)
