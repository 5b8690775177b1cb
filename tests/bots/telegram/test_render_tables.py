"""Tables, and whole answers as an operator gets them."""

from __future__ import annotations

from bots.telegram.render import MAX, measure, render
from core.markdown import split_markdown
from tests.bots.telegram.render_kit import problems, styled, utf16

_ANSWER = """\
## Disk on web-3

The root disk is **96 % full**; `/data` is fine:

| Mount | Size | Used |
|---|---:|---:|
| / | 40G | 38G |
| /data | 200G | 20G |

1. Find what grew:
   ```sh
   du -xh / | sort -h | tail
   ```
2. Then rotate the logs, see [the runbook](https://wiki.example.com/disk).

> Ask @oncall before you delete anything.
"""

_SHOWN = """\
Disk on web-3

The root disk is 96 % full; /data is fine:

Mount  Size  Used
-----  ----  ----
/       40G   38G
/data  200G   20G

1. Find what grew:
du -xh / | sort -h | tail
2. Then rotate the logs, see the runbook.

Ask @oncall before you delete anything."""


def test_an_answer_about_disks() -> None:
    """A whole answer: heading, styles, table, steps with a command, link, quote, a name."""
    rendered = render(_ANSWER)
    assert rendered.text == _SHOWN
    table = "\n".join(_SHOWN.split("\n")[4:8])
    assert styled(rendered.text, rendered.entities) == [
        ("bold", "Disk on web-3"),
        ("bold", "96 % full"),
        ("code", "/data"),
        ("pre", table),
        ("pre", "du -xh / | sort -h | tail"),
        ("text_link", "the runbook"),
        ("blockquote", "Ask @oncall before you delete anything."),
        ("code", "@oncall"),
    ]
    assert problems(rendered.text, rendered.entities) == []


def test_an_answer_in_chinese() -> None:
    """Chinese characters take two columns of a table each."""
    rendered = render(
        "## 磁盘状态\n\n| 主机 | 状态 |\n|---|---|\n| web-1 | 正常 |\n| 数据库 | **已满** |\n\n请联系 @admin。"
    )
    assert rendered.text == (
        "磁盘状态\n\n主机    状态\n------  ----\nweb-1   正常\n数据库  已满\n\n请联系 @admin。"
    )
    assert problems(rendered.text, rendered.entities) == []


def test_a_wide_table_is_a_list() -> None:
    """A table wider than a phone becomes one group of lines for each row."""
    remark = "grows by two gigabytes each day since the release"
    rendered = render(
        f"| Host | Disk | Remark |\n|--|--|--|\n| web-3 | 96% | {remark} |\n| db-1 | | `ok` |"
    )
    assert rendered.text == (
        f"Host: web-3\n• Disk: 96%\n• Remark: {remark}\nHost: db-1\n• Disk:\n• Remark: ok"
    )
    assert styled(rendered.text, rendered.entities) == [
        ("bold", "Host: web-3"),
        ("bold", "Host: db-1"),
        ("code", "ok"),
    ]


def test_a_table_with_links_is_a_list() -> None:
    """Code blocks have no links, so a table with links is not one."""
    rendered = render("| a | b |\n|--|--|\n| x | [y](https://a.bc) |")
    assert rendered.text == "a: x\n• b: y"
    assert [entity.url for entity in rendered.entities] == [None, "https://a.bc"]


def test_a_table_of_a_header_only() -> None:
    """A table without rows still shows its header."""
    assert render("| a | b |\n|--|--|").text == "a  b\n-  -"


def test_a_bar_inside_code_does_not_lose_text() -> None:
    """Cells beyond the header's are put back; code that a bar cut in two is joined."""
    rendered = render(
        "| do | why |\n|--|--|\n| `ps | grep x` | look |\n| a | b | c |\n| d \\| e | f |"
    )
    assert rendered.text == (
        "do           why\n-----------  -----\nps | grep x  look"
        "\na            b | c\nd | e        f"
    )


def test_tables_get_the_room_that_they_need() -> None:
    """Padding and repeated headers are measured, so long tables are cut and stay nice."""
    rows = "".join(f"| {number} | ok |\n" for number in range(300))
    narrow = "| n | a rather long header |\n|--|--:|\n" + rows
    wide = "| n | a header that is much too long for any phone in the world |\n|--|--|\n" + rows
    for source, kind in ((narrow, "pre"), (wide, "bold")):
        parts = [render(part) for part in split_markdown(source, MAX, measure=measure)]
        assert {str(entity.type) for part in parts for entity in part.entities} == {kind}
        assert all(utf16(part.text) <= MAX for part in parts)
        assert all("a " in part.text for part in parts)


def test_looks_give_way_to_the_limit() -> None:
    """Where the measure was too small, tables are not padded and nothing is indented."""
    long = "x" * 40
    table = "a|b\n-|-\n" + "x\n" * 30 + long
    nested = "- - - - a\n" + "b\n" * 30
    for markdown, text in (
        (table, "a|b\n" + "x\n" * 30 + long),
        (nested, "• • • • a\n" + "b\n" * 29 + "b"),
    ):
        assert render(markdown).text == text
        assert utf16(text) <= measure(markdown)


def test_a_table_with_links_written_as_it_is() -> None:
    """Links stay links where there is no room for a list."""
    rendered = render("a|b\n-|-\n[y](https://a.bc)|z\n" + "x\n" * 60)
    assert rendered.text == "a|b\ny|z\n" + "\n".join("x|" for _ in range(60))
    assert [entity.url for entity in rendered.entities] == ["https://a.bc"]
