"""Whatever the Markdown: valid blocks, all of the text, nobody mentioned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it.token import Token

from bots.slack.render import MAX_CHARS, blocks, fallback, measure, stream_text
from core.markdown import parser, split_markdown
from core.messages import clean_text
from tests.bots.slack.test_render_rules import NOTIFIES, check, shown

PIECES = (
    *("word ", "磁盘", "👩🏽‍🚀", "e\u0301", "\u017f", "<!here>", "<!channel>", "<@U1>", "<#C1|x>"),
    *("<!subteam^S1>", "@channel", "@here", "@everyone", "<", ">", "&", "&lt;", "&#33;", "@", "!"),
    *("`", "```\n", "~~~sh\n", "**", "*", "_", "~~", "[", "](", ")", "![", "https://x.yz/a_b?c&d"),
    *("[a](http://b.c)", "<https://a.b>", "[d](e f)", "|", "\n|a|b|\n|-|-|\n|", "\n", "\n\n"),
    *("- ", "  - ", "7. ", "> ", "# ", "### ", "---\n", "    ", "\t", "\\", "\x00", "\x1b", "\r"),
    *("\ud800", "\u200b", " ", "here>", "nel", "x" * 700, "[r]: http://s.t\n"),
)
MESS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
LONG = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).flatmap(
    lambda pieces: st.integers(1, 120).map(lambda times: "".join(pieces) * times)
)
ANY = st.one_of(MESS, LONG, st.text(max_size=300))


@settings(max_examples=250, deadline=None)
@given(ANY)
def test_blocks_are_valid_and_complete(markdown: str) -> None:
    """Every part is a message that Slack takes, notifies nobody and shows every word."""
    for part in split_markdown(clean_text(markdown), MAX_CHARS, measure=measure):
        made = blocks(part)
        check(made)
        assert _is_subsequence(_word_characters(part), shown(made))


@settings(max_examples=100, deadline=None)
@given(ANY)
def test_blocks_take_anything(markdown: str) -> None:
    """Also a text that was neither cleaned nor split makes a valid message."""
    check(blocks(markdown))


@settings(max_examples=150, deadline=None)
@given(ANY)
def test_fallbacks_are_inert(markdown: str) -> None:
    """The notification has no markup, no torn escape, and no name that could be linked."""
    text = fallback(markdown)

    assert 1 <= len(text) <= 3_000
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)
    assert not NOTIFIES.search(text.replace("&lt;", "<"))


@settings(max_examples=200, deadline=None)
@given(MESS)
def test_streamed_text_is_inert_and_grows(markdown: str) -> None:
    """The stream is append-only: the text of each beginning begins the text of the whole."""
    whole = stream_text(markdown)

    assert not NOTIFIES.search(whole)
    for end in range(len(markdown)):
        assert whole.startswith(stream_text(markdown[:end]))


@settings(max_examples=150, deadline=None)
@given(MESS)
def test_streamed_text_is_inert_once_parsed(markdown: str) -> None:
    """Taking the Markdown away brings no token about, save where an entity was decoded.

    Slack does not read decoded entities again (measured: PostHog/posthog 95054).
    """
    parsed = parser().parse(stream_text(markdown.replace("&", "").replace("[r]", "")))
    for token in parsed:
        for child in token.children or ():
            assert not re.search(r"<[@#!]", child.content)


@settings(max_examples=200, deadline=None)
@given(ANY, ANY)
def test_measure_never_shrinks(text: str, more: str) -> None:
    """A text that grows takes no less room, as the splitter's search needs."""
    assert len(text) <= measure(text) <= measure(text + more)


def _word_characters(markdown: str) -> str:
    """Letters and digits that the Markdown shows, as the parser reads it."""
    return "".join(filter(str.isalnum, _contents(parser().parse(markdown))))


def _contents(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        if token.children is not None:
            yield from _contents(token.children)
        else:
            yield from token.content


def _is_subsequence(wanted: str, text: str) -> bool:
    rest = iter(text)
    return all(char in rest for char in wanted)
