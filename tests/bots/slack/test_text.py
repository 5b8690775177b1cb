"""Slack's message text to what the person wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.slack.text import after_slash, as_command, mentions, plain


def _name(user: str) -> str:
    return {"U2": "bob"}.get(user, "")


@pytest.mark.parametrize(
    ("slack_text", "shown"),
    [
        ("<@UBOT> how full?", "how full?"),
        ("hey <@UBOT>", "hey"),
        ("<@UBOT|it0> hi", "hi"),
        ("ask <@U2> and <@U3> and <@U4|dan>", "ask @bob and @U3 and @dan"),
        ("see <#C1|ops> and <#C2>", "see #ops and #C2"),
        ("<!here> <!subteam^S1|@sre> <!subteam^S2>", "@here @sre @subteam"),
        ("<https://a.example/x|the page>", "the page (https://a.example/x)"),
        ("<https://web-3.example.com|web-3.example.com> is slow", "web-3.example.com is slow"),
        ("<https://a.example/>", "https://a.example/"),
        ("<mailto:a@b.example|a@b.example>", "a@b.example"),
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("if a < b > c", "if a < b > c"),
    ],
)
def test_marks_of_slack_become_what_was_written(slack_text: str, shown: str) -> None:
    """Mentions, links and entities are turned back; the bot's own mention is dropped."""
    assert plain(slack_text, "UBOT", _name) == shown


@given(st.text())
def test_text_without_marks_is_kept(text: str) -> None:
    """What Slack escapes comes back as it was typed."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert plain(escaped, "UBOT", _name) == text.strip()


def test_a_mention_is_of_exactly_this_user() -> None:
    """A longer id that begins alike is somebody else."""
    assert mentions("<@U1> hi", "U1")
    assert mentions("<@U1|it0> hi", "U1")
    assert not mentions("<@U12> hi", "U1")
    assert not mentions("@U1 hi", "U1")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("stop", "/stop"),
        ("Help", "/Help"),
        ("resume 2", "/resume 2"),
        ("link 7KQ2-M9XD-04TR", "/link 7KQ2-M9XD-04TR"),
        ("/sessions", "/sessions"),
        ("stop nginx on web-3", "stop nginx on web-3"),
        ("help me", "help me"),
        ("delete the old logs", "delete the old logs"),
        ("new", "/new"),
        ("whoami", "/whoami"),
        ("language zh", "/language zh"),
        ("disk", "disk"),
        ("link 2", "link 2"),
        ("resume zh", "resume zh"),
        ("stop 3", "stop 3"),
        ("resume", "resume"),
        ("link", "link"),
    ],
)
def test_a_command_word_alone_is_the_command(text: str, meant: str) -> None:
    """Slack keeps a leading slash for itself, so the word alone, or with its number, counts."""
    assert as_command(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "delete",
        "Delete",
        "delete 3",
        "share",
        "share 2",
        "invite",
        "invite 7KQ2-M9XD",
        "tenant",
        "tenant 2",
        "unlink",
        "engine",
        "servers",
        "skills",
    ],
)
def test_a_word_that_may_answer_a_question_is_no_command(text: str) -> None:
    """The model asks "Shall I keep or delete the logs?": the answer must erase nothing."""
    assert as_command(text) == text
    assert as_command(f"/{text}") == f"/{text}"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", "/help"),
        ("delete", "/delete"),
        ("delete 3", "/delete 3"),
        (" help ", "/help"),
        ("resume the one about disks", "/resume the one about disks"),
        ("stop nginx on web-3", "stop nginx on web-3"),
        ("how full are the disks?", "how full are the disks?"),
        ("/whoami", "/whoami"),
    ],
)
def test_the_argument_of_the_slash_command(text: str, meant: str) -> None:
    """``/it0 TEXT`` is a command where its first word is one that fits, else a question."""
    assert after_slash(text) == meant
