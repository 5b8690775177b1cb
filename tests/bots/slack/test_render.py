"""Markdown becomes Slack's blocks, element by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bots.slack.render import MAX_BLOCKS, MAX_CHARS, blocks, measure
from bots.slack.render_tables import display_width
from core.markdown import split_markdown
from tests.bots.slack.test_render_rules import check, shown

Element = Mapping[str, Any]

ANSWER = """\
## Disk on web-3

**`/var` is 91% full**, mostly journald logs. See the [runbook](https://wiki.example.com/disk).

| Host | Used | 说明 |
|------|-----:|------|
| web-3 | 91% | 磁盘快满了 |
| web-4 | 40% | 正常 |

Do this:

1. Look what is big
   ```sh
   du -xh /var | sort -h | tail -5 && echo "<done>"
   ```
2. Clean up
   - old journals: `journalctl --vacuum-size=200M`
   - caches
     - apt
3. Watch it

---
> 磁盘超过 95% 时数据库会停止写入。
"""


def _rich(markdown: str) -> list[Element]:
    """The elements of an answer that is one rich_text block."""
    made = blocks(markdown)
    check(made)
    assert [block["type"] for block in made] == ["rich_text"]
    elements: Any = made[0]["elements"]
    assert isinstance(elements, list)
    return elements


def _run(markdown: str) -> list[Element]:
    """The text and links of an answer that is one paragraph."""
    (section,) = _rich(markdown)
    run: list[Element] = section["elements"]
    return run


def _text(text: str, *styles: str) -> dict[str, Any]:
    return {
        "type": "text",
        "text": text,
        **({"style": dict.fromkeys(styles, True)} if styles else {}),
    }


def _items(element: Element) -> list[str]:
    return [shown(item) for item in element["elements"]]


def test_a_realistic_answer() -> None:
    """Header, table, commands inside a numbered list, divider and quote stay what they are."""
    made = blocks(ANSWER)

    check(made)
    assert [block["type"] for block in made] == [
        "header",
        "rich_text",
        "table",
        "rich_text",
        "divider",
        "rich_text",
    ]
    steps: Any = made[3]["elements"]
    assert [(step["type"], step.get("indent"), step.get("offset")) for step in steps] == [
        ("rich_text_section", None, None),
        ("rich_text_list", 0, None),
        ("rich_text_preformatted", None, None),
        ("rich_text_list", 0, 1),
        ("rich_text_list", 1, None),
        ("rich_text_list", 2, None),
        ("rich_text_list", 0, 2),
    ]
    assert shown(steps[2]) == 'du -xh /var | sort -h | tail -5 && echo "<done>"'
    assert "磁盘超过 95% 时数据库会停止写入。" in shown(made[5])


def test_styles_nest() -> None:
    """Bold, italic, strike and code combine as they do in Markdown."""
    assert _run("a **b *c* `d`** ~~e~~") == [
        _text("a "),
        _text("b ", "bold"),
        _text("c", "bold", "italic"),
        _text(" ", "bold"),
        _text("d", "bold", "code"),
        _text(" "),
        _text("e", "strike"),
    ]


def test_mentions_are_plain_text() -> None:
    """What would notify people elsewhere is text here, character by character."""
    text = "<!here> <!channel> <@U123> <#C1> <!subteam^S1> @channel @here &lt;!everyone&gt;"

    assert _run(text) == [_text(text.replace("&lt;", "<").replace("&gt;", ">"))]


def test_a_heading_that_slack_might_parse_is_no_header() -> None:
    """Slack does not say what it reads in a header's plain text."""
    for heading in ("# <!here> up", "# @channel up", "# a & b", "# see `x`", "# " + "x" * 151):
        run = _run(heading)
        assert all(element["style"]["bold"] for element in run)


def test_headings() -> None:
    """The two top levels are headers, deeper ones bold with their text close below."""
    assert blocks("# A")[0] == {
        "type": "header",
        "text": {"type": "plain_text", "text": "A", "emoji": False},
    }
    assert _run("### A\ntext\n\nmore") == [_text("A", "bold"), _text("\ntext\n\nmore")]


def test_a_header_is_measured_as_slack_does() -> None:
    """Characters beyond the basic plane count twice."""
    assert blocks("# " + "🚀" * 75)[0]["type"] == "header"
    assert blocks("# " + "🚀" * 76)[0]["type"] == "rich_text"


def test_lines_and_paragraphs() -> None:
    """Line breaks stay, paragraphs are a blank line apart, lists as in Slack's composer."""
    assert _run("a\nb  \nc\n\nd") == [_text("a\nb\nc\n\nd")]
    assert [shown(element) for element in _rich("a\n- b\n\nc")] == ["a\n", "b", "\nc"]


def test_links() -> None:
    """A link has its text and styles; a part of it in bold is a link of its own."""
    url = "https://x.example/a?b=1&c=2"

    assert _run(f"see [the **big** one]({url})") == [
        _text("see "),
        {"type": "link", "url": url, "text": "the "},
        {"type": "link", "url": url, "text": "big", "style": {"bold": True}},
        {"type": "link", "url": url, "text": " one"},
    ]
    assert _run(f"<{url}>") == [{"type": "link", "url": url}]
    assert _run(f"[]({url})") == [{"type": "link", "url": url}]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("see https://a.example/x_y.", "https://a.example/x_y"),
        ("(https://a.example/x_(y))", "https://a.example/x_(y)"),
        ("访问https://a.example/x查看", "https://a.example/x"),
        ("https://a.example/?q=1&r=2, then", "https://a.example/?q=1&r=2"),
        ("**https://a.example**", "https://a.example"),
    ],
)
def test_bare_addresses_become_links(text: str, url: str) -> None:
    """Slack looks for no addresses in rich text, so they are found here."""
    run = _run(text)

    assert [element["url"] for element in run if element["type"] == "link"] == [url]
    assert "".join(map(shown, run)) == text.strip("*")


@pytest.mark.parametrize("target", ["docs/x.md", "#top", "slack://open", "ftp://a.b/c", "https://"])
def test_an_address_that_slack_refuses_is_shown(target: str) -> None:
    """A relative or odd address would make Slack refuse the message, so it is text."""
    assert _run(f"[x]({target}) y") == [_text(f"x ({target}) y")]


@pytest.mark.parametrize("text", ["see https://?x", "https://:80", "http://[x y"])
def test_a_broken_bare_address_is_text(text: str) -> None:
    """What only looks like an address would make Slack refuse the message."""
    assert _run(text) == [_text(text)]


def test_code_has_no_links() -> None:
    """Code is copied, so nothing in it is changed."""
    assert _run("`curl https://a.example`") == [_text("curl https://a.example", "code")]
    assert _rich("```\ncurl https://a.example\n```")[0]["elements"] == [
        _text("curl https://a.example")
    ]


def test_images_are_links() -> None:
    """A picture is never loaded: its server would learn who reads the answer."""
    assert _run("![chart](https://a.example/p.png)") == [
        {"type": "link", "url": "https://a.example/p.png", "text": "chart"}
    ]
    assert _run("![chart](p.png)") == [_text("chart (p.png)")]
    assert _run("[![b](https://a.example/i.png)](https://a.example/)") == [
        {"type": "link", "url": "https://a.example/", "text": "b"}
    ]


def test_code_keeps_every_character() -> None:
    """Indentation, markup and empty lines in a code block stay; an empty one is a space."""
    (code,) = _rich("```py\nif a < b && c:\n\n    x = '*y*'\n\n```")

    assert code["elements"] == [_text("if a < b && c:\n\n    x = '*y*'\n")]
    assert _rich("```\n```")[0]["elements"] == [_text(" ")]


def test_nested_lists() -> None:
    """Slack has no lists in lists: the outer one goes on, with its numbers, after the inner."""
    outer, inner, rest = _rich("3. a\n   - b\n   - c\n4. d\n5.\n")

    assert (outer["style"], outer["offset"], _items(outer)) == ("ordered", 2, ["a"])
    assert (inner["style"], inner["indent"], _items(inner)) == ("bullet", 1, ["b", "c"])
    assert (rest["style"], rest["offset"], _items(rest)) == ("ordered", 3, ["d", " "])


def test_an_item_of_several_blocks() -> None:
    """Further paragraphs stay in the item; what follows code in it stands below the code."""
    listing, code, after = _rich("- a\n\n  b\n  ```\n  x\n  ```\n  c")

    assert _items(listing) == ["a\nb"]
    assert shown(code) == "x"
    assert shown(after) == "c"


def test_an_item_that_begins_with_code() -> None:
    """The item keeps its mark."""
    listing, code = _rich("- ```\n  x\n  ```")

    assert (_items(listing), shown(code)) == ([" "], "x")


def test_indent_has_an_end() -> None:
    """Slack and the parser take nine levels of lists; a tenth is shown as its source."""
    deep = "\n".join("  " * level + f"- {level}" for level in range(9))

    assert [element["indent"] for element in _rich(deep)] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    deeper = deep + "\n" + "  " * 9 + "- 9"
    assert _run(deeper) == [_text(deeper)]


def test_text_nested_too_deep_for_the_parser_is_kept() -> None:
    """The parser leaves out what is nested more than twenty deep; then the source is shown."""
    text = "> " * 25 + "important"

    assert _run(text) == [_text(text)]


def test_quotes() -> None:
    """Lists and code in a quote keep a quote's bar."""
    quote, listing, code, rest = _rich("> a\n> - b\n>\n> ```\n> c\n> ```\n> d")

    assert (quote["type"], shown(quote)) == ("rich_text_quote", "a")
    assert (listing["border"], _items(listing)) == (1, ["b"])
    assert (code["border"], shown(code)) == (1, "c")
    assert (rest["type"], shown(rest)) == ("rich_text_quote", "d")


def test_a_table() -> None:
    """Cells are plain where they can be, the header is bold, empty cells are a space."""
    (table,) = blocks("| a | b |\n|:-:|--:|\n| *x* | 1 |\n| <@U1> | |")
    check([table])

    def rich(element: Element) -> Element:
        section = {"type": "rich_text_section", "elements": [element]}
        return {"type": "rich_text", "elements": [section]}

    assert table == {
        "type": "table",
        "column_settings": [
            {"align": "center", "is_wrapped": True},
            {"align": "right", "is_wrapped": True},
        ],
        "rows": [
            [rich(_text("a", "bold")), rich(_text("b", "bold"))],
            [rich(_text("x", "italic")), {"type": "raw_text", "text": "1"}],
            [rich(_text("<@U1>")), {"type": "raw_text", "text": " "}],
        ],
    }


def test_a_second_table_is_aligned_text() -> None:
    """Slack takes one table a message; wide characters take two columns."""
    made = blocks("| a |\n|---|\n| b |\n\n| 主机 | n |\n|---|--:|\n| web | 10 |\n| 数据库 | 9 |")
    check(made)

    assert [block["type"] for block in made] == ["table", "rich_text"]
    assert shown(made[1]).split("\n") == ["主机     n", "web     10", "数据库   9"]


@pytest.mark.parametrize(("rows", "columns"), [(100, 2), (1, 21)])
def test_a_table_beyond_the_limits_is_text(rows: int, columns: int) -> None:
    """A table with a row or a column too many still shows all of its cells."""
    line = "|" + "|".join("x" for _ in range(columns)) + "|\n"
    made = blocks(line + "|" + "---|" * columns + "\n" + line * rows)

    check(made)
    assert [block["type"] for block in made] == ["rich_text"]
    assert shown(made).count("x") == (rows + 1) * columns


def test_a_table_too_wide_to_align() -> None:
    """Folded lines would be no table, and their padding would only cost room."""
    made = blocks("| t |\n|---|\n| t |\n\n| a | b |\n|---|---|\n| " + "x" * 120 + " | y |")

    check(made)
    assert shown(made[1]).split("\n") == ["a | b", "x" * 120 + " | y"]


def test_a_table_whose_padding_would_fill_the_message() -> None:
    """One long cell among many rows is not worth a hundred rows of blanks."""
    line = "| x | y |\n"
    made = blocks(line + "|---|---|\n| " + "x" * 95 + " | y |\n" + line * 110)

    check(made)
    assert shown(made).split("\n")[-1] == "x | y"


def test_display_width() -> None:
    """Wide characters take two columns, accents that combine and joiners none."""
    assert display_width("ab") == 2
    assert display_width("磁盘、") == 6
    assert display_width("e\u0301\u200d") == 1


def test_many_headings() -> None:
    """More blocks than Slack takes are one block with bold headings."""
    made = blocks("# a\n\nb\n\n" * 40)

    check(made)
    assert len(made) <= MAX_BLOCKS
    assert shown(made).count("a") == 40


def test_dense_markup_is_kept_as_text() -> None:
    """What can't be sent with its formatting is sent without, and no text is lost."""
    text = "*a*b " * 590
    made = blocks(text)

    check(made)
    assert "".join(shown(made).split()).replace("*", "") == "ab" * 590


def test_a_blank_answer_has_no_blocks() -> None:
    """Slack refuses empty blocks; the message's text is enough then."""
    assert blocks("") == []
    assert blocks(" \n\t") == []


def test_an_answer_that_shows_nothing_shows_its_source() -> None:
    """A text of link definitions alone would be an empty message."""
    assert _run("[a]: https://b.example") == [_text("[a]: https://b.example")]


def test_a_text_that_was_not_split_is_cut() -> None:
    """A caller's mistake makes no message that Slack refuses."""
    made = blocks("x" * 50_000)

    check(made)
    assert shown(made).rstrip().endswith("…")


def test_an_element_holds_no_more_than_slack_documents() -> None:
    """Paragraphs in a row are one element only as long as that is short enough."""
    elements = _run("a" * 2_000 + "\n\n" + "b" * 2_000)

    assert [len(element["text"]) for element in elements] == [2_002, 2_000]


def test_parts_keep_their_formatting() -> None:
    """A long answer is cut into parts of which each has its headers, tables and styles."""
    parts = split_markdown(ANSWER * 12, MAX_CHARS, measure=measure)
    made = [blocks(part) for part in parts]

    assert 2 < len(parts) < 8
    for message in made:
        check(message)
        assert _kinds(message) >= {"header", "rich_text", "table", "divider"}


def _kinds(message: Sequence[Mapping[str, object]]) -> set[object]:
    return {block["type"] for block in message}
