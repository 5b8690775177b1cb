"""Text that Slack parses can't notify anybody."""

from __future__ import annotations

import pytest

from bots.slack.render_text import FALLBACK_CHARS, fallback, stream_text
from tests.bots.slack.test_render_rules import NOTIFIES

MENTIONS = [
    "<!here>",
    "<!channel|channel>",
    "<!everyone>",
    "<@U123>",
    "<#C1|general>",
    "<!subteam^S1|@ops>",
    "<!date^1392734382^{date}|x>",
    "@channel",
    "@here",
    "@Everyone",
    "**@here**",
    "_@channel_",
    "[x](<!here>)",
    "`<!here>`",
    "```\n<@U123>\n```",
    "\\<!here>",
    "<\\!here>",
    "<&#33;here>",
]


@pytest.mark.parametrize("text", MENTIONS)
def test_streamed_text_mentions_nobody(text: str) -> None:
    """No token and no announcement is left, also after Slack has taken away backslashes."""
    streamed = stream_text(f"a {text} b")

    assert not NOTIFIES.search(streamed)
    assert not NOTIFIES.search(streamed.replace("\\", ""))
    assert streamed.replace("\u200b", "") == f"a {text} b"


@pytest.mark.parametrize(
    "text",
    [
        "> quote\n\n- a < b && c > d",
        "```sh\nif [ $a -lt 3 ] && cat <in >out 2>&1; then ssh root@here.example; fi\n```",
        "[x](https://a.example/?b=1&c=2) <https://a.example>",
        "mail me@channel.example",
        "a\tb",
    ],
)
def test_other_streamed_text_is_untouched(text: str) -> None:
    """Quotes, comparisons, redirections, addresses and links stay as they are."""
    assert stream_text(text) == text


def test_streamed_text_has_no_control_characters() -> None:
    """What JSON or Slack can't show is left out."""
    assert stream_text("a\x00\r\nb\x1b[0m\ud800") == "a\nb[0m"


@pytest.mark.parametrize("text", MENTIONS)
def test_the_fallback_mentions_nobody(text: str) -> None:
    """Nothing is left for Slack to parse, even if it were asked to link names."""
    shown = fallback(f"a {text} b")

    assert "<" not in shown
    assert ">" not in shown
    assert not NOTIFIES.search(shown.replace("&lt;", "<"))


def test_the_fallback_is_plain_text() -> None:
    """A notification shows words, not markup; a screen reader reads all of them."""
    markdown = (
        "# Disk\n\n**/var** is `91%` [full](https://a.example)\nnow\n\n1. a\n2. b\n   - c\n\n"
        "| h | i |\n|---|---|\n| x | y |\n\n```sh\ndf && ls\n```\n![pic](https://a.example/p)"
    )

    assert [line.strip() for line in fallback(markdown).split("\n")] == [
        "Disk",
        "/var is 91% full",
        "now",
        "1. a",
        "2. b",
        "• c",
        "h  i",
        "x  y",
        "df &amp;&amp; ls",
        "pic",
    ]


def test_the_fallback_is_never_empty() -> None:
    """Slack refuses a message without text."""
    assert fallback("") == "…"
    assert fallback("[a]: https://b.example") == "…"


@pytest.mark.parametrize("text", ["x" * 9_000, "&" * 9_000, "a<b " * 900])
def test_the_fallback_is_cut_between_escapes(text: str) -> None:
    """A long text ends in an ellipsis, never in half an escape."""
    shown = fallback(text)

    assert FALLBACK_CHARS - 6 <= len(shown) <= FALLBACK_CHARS
    assert shown.endswith("…")
    assert shown.count("&") == shown.count(";")
