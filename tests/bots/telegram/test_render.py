"""Each element of Markdown, as Telegram shows it."""

from __future__ import annotations

import pytest

from bots.telegram.render import MAX, Rendered, measure, render
from core.markdown import split_markdown
from tests.bots.telegram.render_kit import mentions, piece, problems, styled, utf16


def _styled(rendered: Rendered) -> list[tuple[str, str]]:
    return styled(rendered.text, rendered.entities)


@pytest.mark.parametrize(
    ("markdown", "text", "entities"),
    [
        ("plain", "plain", []),
        ("**bold** x", "bold x", [("bold", "bold")]),
        ("*it* _it_", "it it", [("italic", "it"), ("italic", "it")]),
        ("~~gone~~", "gone", [("strikethrough", "gone")]),
        ("***both***", "both", [("bold", "both"), ("italic", "both")]),
        ("**a *b* c**", "a b c", [("bold", "a b c"), ("italic", "b")]),
        ("****twice****", "twice", [("bold", "twice")]),
        ("run `df -h`", "run df -h", [("code", "df -h")]),
        ("` `", "", []),
        ("**a `b` c**", "a b c", [("bold", "a"), ("code", "b"), ("bold", "c")]),
        ("# One\ntwo", "One\ntwo", [("bold", "One")]),
        ("# A **b** c", "A b c", [("bold", "A b c")]),
        ("one\ntwo  \nthree", "one\ntwo\nthree", []),
        ("one\n\n\n\ntwo", "one\n\ntwo", []),
        ("one\n\n---\n\ntwo", "one\n\n———\n\ntwo", []),
        ("😀 **磁盘** 😀", "😀 磁盘 😀", [("bold", "磁盘")]),
        ("<b>x</b> &amp; <!-- y -->", "<b>x</b> & <!-- y -->", []),
        ("x\ty", "x y", []),
        ("a\ud800\r\n> b", "a\ufffd\nb", [("blockquote", "b")]),
        ("***a* b** c", "a b c", [("bold", "a b"), ("italic", "a")]),
        ("> **a** b", "a b", [("blockquote", "a b"), ("bold", "a")]),
    ],
)
def test_text_and_styles(markdown: str, text: str, entities: list[tuple[str, str]]) -> None:
    """Marks become entities, in UTF-16 units; nested styles of one kind are one."""
    rendered = render(markdown)
    assert (rendered.text, _styled(rendered)) == (text or markdown.strip(), entities)


@pytest.mark.parametrize(
    ("markdown", "text", "language"),
    [
        ("```sh\ndf -h\n```", "df -h", "sh"),
        ("```\n\n  a\n    b\n\n```", "  a\n    b", None),
        ("~~~python title=x\npass", "pass", "python"),
        ("```\n\tgo\n```", "    go", None),
        ("    four\n    blanks", "four\nblanks", None),
        ("```df -h\n```", "df -h", None),
        ("```x@y <\ndf\n```", "df", None),
    ],
)
def test_code_blocks(markdown: str, text: str, language: str | None) -> None:
    """Code keeps its indentation and its language; tabs are written out, no text is lost."""
    rendered = render(markdown)
    (entity,) = rendered.entities
    assert (rendered.text, entity.type, entity.language) == (text, "pre", language)
    assert piece(rendered.text, entity) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("- a\n- b\n  - c\n\n    d\n- e", "• a\n• b\n  • c\n\n    d\n• e"),
        ("3. a\n3. b", "3. a\n4. b"),
        ("1) a\n   more", "1) a\n   more".replace("   ", "  ")),
        ("- a\n\n- b", "• a\n\n• b"),
        ("- - a\n  - b", "• • a\n  • b"),
        ("- [x] done", "• [x] done"),
        ("-\n- b", "•\n• b"),
        ("- ```\n  code\n  ```\n- > q", "•\ncode\n•\nq"),
        ("text\n- a\n\ntext", "text\n• a\n\ntext"),
    ],
)
def test_lists(markdown: str, text: str) -> None:
    """Lists are marked, numbered, indented, and spaced as they were written."""
    assert render(markdown).text == text


def test_quotes() -> None:
    """A quote is one entity, with code and lists inside; a quote in it keeps its mark."""
    rendered = render("before\n\n> one `c`\n> > two\n>\n> - three\n\nafter")
    assert rendered.text == "before\n\none c\n> two\n\n• three\n\nafter"
    assert _styled(rendered) == [("blockquote", "one c\n> two\n\n• three"), ("code", "c")]
    assert _styled(render("> x\n>\n> ```\n> y\n> ```")) == [("blockquote", "x\n\ny"), ("pre", "y")]


@pytest.mark.parametrize(
    ("markdown", "text", "urls"),
    [
        ("[wiki](https://a.bc/x)", "wiki", ["https://a.bc/x"]),
        ("[`f`](https://a.bc) **[b](https://a.bc)**", "f b", ["https://a.bc"] * 2),
        ("[chat](tg://resolve?domain=x)", "chat", ["tg://resolve?domain=x"]),
        ("[me](tg://user?id=1)", "me (tg://user?id=1)", []),
        ("[me](TG:user?id=1)", "me (TG:user?id=1)", []),
        ("[g](http://grafana:3000/d)", "g (http://grafana:3000/d)", []),
        ("[g](https://a.bc:99999)", "g (https://a.bc:99999)", []),
        ("[file](../x%20y.md)", "file (../x y.md)", []),
        ("[us](mailto:ops@a.bc)", "us (ops@a.bc)", []),
        ("[x](javascript:alert)", "[x](javascript:alert)", []),
        ("<https://a.bc/é> <ops@a.bc> <ftp://a.bc>", "https://a.bc/é ops@a.bc ftp://a.bc", ["https://a.bc/%C3%A9"]),
        ("see https://a.bc/a_b_c.", "see https://a.bc/a_b_c.", []),
        ("![graph](https://a.bc/g.png)", "graph", ["https://a.bc/g.png"]),
        ("[](https://a.bc)![](ftp://x)", "https://a.bcftp://x", ["https://a.bc"]),
        ("[![alt](https://a.bc/i)](https://a.bc/l)", "alt", ["https://a.bc/l"]),
        ("[a][1]\n\n[1]: https://a.bc", "a", ["https://a.bc"]),
        ("[long](https://a.bc/" + "x" * 2_100 + ")", "long (https://a.bc/" + "x" * 2_100 + ")", []),
    ],
)  # fmt: skip
def test_links(markdown: str, text: str, urls: list[str]) -> None:
    """Links that Telegram takes are behind their text; other URLs are shown."""
    rendered = render(markdown)
    assert rendered.text == text
    assert [entity.url for entity in rendered.entities if entity.type == "text_link"] == urls
    assert problems(rendered.text, rendered.entities) == []


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("[WARN]: timeout", "[WARN]: timeout"),
        ("log:\n\n[INFO]: start\n[INFO]: stop\nend", "log:\n\n[INFO]: start\n[INFO]: stop\nend"),
        ("> [x]: https://a.bc", "[x]: https://a.bc"),
        ("[x] y\n\n[x]: ftp://a.bc", "[x] y\n\n[x]: ftp://a.bc"),
    ],
)
def test_what_only_looks_like_a_link_definition_is_text(markdown: str, text: str) -> None:
    """Log lines such as ``[WARN]: timeout`` and definitions that nothing uses stay visible."""
    assert render(markdown).text == text


@pytest.mark.parametrize(
    "markdown",
    [
        "@channel",
        "ask @some_user, please",
        "**@admin**",
        "# @all now",
        "@*foo*",
        "x (@foo)",
        "@foo@bar",
    ],
)
def test_a_mention_is_code(markdown: str) -> None:
    """An @name is covered by code: the text is unchanged and nobody is notified."""
    rendered = render(markdown)
    assert rendered.text == markdown.replace("*", "").removeprefix("# ")
    assert "code" in [entity.type for entity in rendered.entities]
    assert problems(rendered.text, rendered.entities) == []


@pytest.mark.parametrize(
    "markdown", ["ops@example.com", "a@b", "root@web-3", "/stop", "x @ y", "#tag"]
)
def test_what_is_no_mention_is_left_alone(markdown: str) -> None:
    """Addresses, commands and hashtags notify nobody."""
    assert render(markdown) == Rendered(markdown, ())


@pytest.mark.parametrize(
    ("markdown", "covered"),
    [("@[foo](https://a.bc)", "foo"), ("@`foo`", "foo"), ("[@](https://a.bc)foo", "@")],
)
def test_a_mention_across_a_link_or_code_gets_a_word_joiner(markdown: str, covered: str) -> None:
    """Where code cannot cover an @name, an invisible character breaks it."""
    rendered = render(markdown)
    assert rendered.text == "@\u2060foo"
    assert [piece(rendered.text, entity) for entity in rendered.entities] == [covered]
    assert problems(rendered.text, rendered.entities) == []


def test_the_validator_sees_a_mention() -> None:
    """The independent rules would notice a mention that is not neutralised."""
    assert mentions("ask @foo", ()) == ["@foo"]


def test_a_mention_in_a_url_keeps_the_link() -> None:
    """A profile's URL is made a link as a whole; one that Telegram does not take is not."""
    assert _styled(render("see https://a.bc/@me.")) == [("text_link", "https://a.bc/@me")]
    assert _styled(render("see http://host/@me")) == [("code", "@me")]
    assert _styled(render("**see https://a.bc/@me now**")) == [
        ("bold", "see"),
        ("text_link", "https://a.bc/@me"),
        ("bold", "now"),
    ]


def test_many_mentions() -> None:
    """When there are more mentions than entities, word joiners do; the text is the same."""
    source = " ".join(f"**b{number}** @name{number}" for number in range(150))
    rendered = render(source)
    assert problems(rendered.text, rendered.entities) == []
    assert rendered.text.replace("\u2060", "") == source.replace("**", "")


@pytest.mark.parametrize("markdown", ["@ab " * 200, "```\n" + "\t\tx\n" * 50 + "```"])
def test_what_grows_is_measured(markdown: str) -> None:
    """Word joiners and tabs that are written out are part of the measure."""
    assert len(markdown) < utf16(render(markdown).text) <= measure(markdown)


def test_the_least_important_styles_go_first() -> None:
    """Of more than 100 entities, links stay, then code, then bold; text is never lost."""
    source = "*i* **b** `c` [l](https://a.bc)\n" * 30
    rendered = render(source)
    kinds = [str(entity.type) for entity in rendered.entities]
    assert rendered.text == "\n".join(["i b c l"] * 30)
    assert [kinds.count(kind) for kind in ("text_link", "code", "bold", "italic")] == [
        30,
        30,
        30,
        10,
    ]


def test_many_links_are_spread_over_parts() -> None:
    """A part never has more links than Telegram takes."""
    parts = split_markdown("- [x](https://a.bc/1)\n" * 250, MAX, measure=measure)
    links = [entity for part in parts for entity in render(part).entities]
    assert len(links) == 250


@pytest.mark.parametrize("markdown", ["", " \n\t", "\u202e"])
def test_nothing_visible_is_empty(markdown: str) -> None:
    """Only a text without anything to see is rendered empty."""
    assert render(markdown) == Rendered("", ())


@pytest.mark.parametrize(
    "markdown", ["<!-- x -->", "```\n```", "#", "**", "[a]: https://b.cd", "`` ` ``"]
)
def test_something_visible_is_not_empty(markdown: str) -> None:
    """A message that Telegram would refuse as empty is shown as it was written."""
    assert render(markdown).text.strip()


@pytest.mark.parametrize("mark", ["> ", "- "])
def test_text_in_very_deep_nesting_is_shown_as_written(mark: str) -> None:
    """The parser gives up at some depth; the text does not get lost."""
    source = mark * 30 + "deep\n\nafter"
    assert render(source).text == source


def test_links_come_before_mentions() -> None:
    """A text full of links keeps them all; its mentions are broken without an entity."""
    rendered = render("[x](https://a.bc) @foo " * 99)
    assert [str(entity.type) for entity in rendered.entities].count("text_link") == 99
    assert problems(rendered.text, rendered.entities) == []


def test_a_code_block_that_is_cut_stays_code() -> None:
    """Both parts of a cut code block are code with its language, and no line is lost."""
    lines = [f"{number:05} kernel: oom-killer invoked by @cron" for number in range(200)]
    source = "Log:\n\n```log\n" + "\n".join(lines) + "\n```\n\nDone."
    parts = [render(part) for part in split_markdown(source, MAX, measure=measure)]
    assert len(parts) > 2
    assert all(utf16(part.text) <= MAX for part in parts)
    assert {entity.language for part in parts for entity in part.entities} == {"log"}
    code = [piece(part.text, part.entities[0]) for part in parts]
    assert "\n".join(code).split("\n") == lines


def test_ordinary_text_fills_its_parts() -> None:
    """Parts of ordinary text are not cut far below the limit."""
    block = "## Disk\n\nThe root disk of **web-3** is at `96 %`, see [the wiki](https://a.bc/w).\n\n- one\n- two\n\n磁盘满了。\n\n"
    parts = split_markdown(block * 100, MAX, measure=measure)
    sizes = [measure(part) for part in parts[:-1]]
    assert min(sizes) > MAX * 0.9
    assert max(measure(part) / len(part) for part in parts) == 1
