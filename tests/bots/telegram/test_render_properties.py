"""Any Markdown becomes a message that Telegram takes as it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bots.telegram.render import MAX, measure, render
from core.markdown import split_markdown
from tests.bots.telegram.render_kit import in_order, problems, utf16, visible

_SNIPPETS = st.sampled_from(
    [
        *("**", "*", "_", "~~", "`", "``", "```", "```sh\n", "\n```\n", "\n\n", "\n", "  \n", " "),
        *(
            "# ",
            "\n## ",
            "\n- ",
            "\n  - ",
            "\n1. ",
            "\n7) ",
            "\n> ",
            "\n> > ",
            ">",
            "\n---\n",
            "\t",
        ),
        *("\n| a | b |\n|---|--:|\n| c | d |\n", "|", "\n| e |", "\n|-|\n", "\n--|--\n", "\\|"),
        *(
            "[text](https://a.bc/x)",
            "[",
            "](http://host:1)",
            "![](",
            "](u%%)",
            ")",
            "<https://é.fr>",
        ),
        *(
            "\n[WARN]: timeout\n",
            "\n[ref]: https://a.bc\n",
            "[ref]",
            "[][ref]",
            "<a@b.cd>",
            "<ftp://x>",
        ),
        *(
            "@someuser",
            "@",
            "@all",
            "\\@all",
            "@&#8238;all",
            "https://a.bc/@me",
            "http://x/@me",
            "/foo",
        ),
        *(
            "磁盘满了",
            "😀",
            "e\u030a",
            "&amp;",
            "&#9;",
            "&nbsp;",
            "<!-- x -->",
            "\u202e",
            "\x00",
            "\\",
        ),
        *("**bold**", "***a* b**", "> **a** b", "- **[l](https://a.bc)** x", "`c`", "# h `c` h"),
        *("word", "Disk 96 %", "1234567890" * 12, "tg://user?id=1", "[m](tg://user?id=1)"),
    ]
)
_MARKDOWN = st.lists(st.one_of(_SNIPPETS, _SNIPPETS, st.text(max_size=6)), max_size=40).map("".join)


@given(_MARKDOWN)
@settings(max_examples=400, deadline=None)
def test_any_markdown_is_a_valid_message(markdown: str) -> None:
    """Entities follow all rules of the Bot API, and nobody is mentioned."""
    rendered = render(markdown)
    assert problems(rendered.text, rendered.entities) == []


@given(_MARKDOWN)
@settings(max_examples=300, deadline=None)
def test_no_visible_text_is_lost(markdown: str) -> None:
    """All letters and digits outside of tables appear in order, and those of each table row."""
    text = render(markdown).text
    outside, rows = visible(markdown)
    assert in_order(outside, text)
    assert all(in_order(row, text) for row in rows)


@given(_MARKDOWN)
@settings(max_examples=300, deadline=None)
def test_a_message_needs_no_more_than_was_measured(markdown: str) -> None:
    """The measure is an upper bound on the length of the text."""
    assert utf16(render(markdown).text) <= measure(markdown)


@given(_MARKDOWN, st.integers(min_value=1, max_value=40))
@settings(max_examples=150, deadline=None)
def test_the_measure_grows_with_the_text(markdown: str, times: int) -> None:
    """No beginning of a text measures more than the text."""
    text = markdown * times
    sizes = [measure(text[:end]) for end in range(0, len(text), len(text) // 40 + 1)]
    assert sizes == sorted(sizes)
    small = [measure(markdown[:end]) for end in range(len(markdown))]
    assert small == sorted(small)


@given(st.lists(_MARKDOWN, min_size=1, max_size=4), st.integers(min_value=1, max_value=60))
@settings(max_examples=60, deadline=None)
def test_each_part_of_a_long_text_is_a_valid_message(blocks: list[str], times: int) -> None:
    """No part is over the limit, and each follows the rules by itself."""
    for part in split_markdown("\n\n".join(blocks * times)[:12_000], MAX, measure=measure):
        rendered = render(part)
        assert utf16(rendered.text) <= MAX
        assert problems(rendered.text, rendered.entities) == []
