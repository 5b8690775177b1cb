"""Translate-in of what somebody else wrote: a quotation, never an order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.telegram.events import Said
from core.commands import parse_command
from tests.bots.telegram.test_events import changed, read, said

COMMAND = [{"type": "bot_command", "offset": 0, "length": 5}]
MENTION = [{"type": "mention", "offset": 0, "length": 8}]


def hidden(name: str) -> dict[str, Any]:
    """Somebody who does not show their account."""
    return {"type": "hidden_user", "sender_user_name": name, "date": 1794999500}


def forwarded(text: str, name: str = "Pat", **more: Any) -> dict[str, Any]:
    """A forwarded message in a private chat."""
    return changed("forwarded_message", text=text, forward_origin=hidden(name), **more)


@pytest.mark.parametrize("text", ["/stop", "/stop@it0_bot", "/approve 7"])
def test_a_forwarded_command_is_quoted(text: str) -> None:
    """Who forwards a trap runs nothing."""
    heard = said(forwarded(text, entities=COMMAND)).text
    assert heard == f"Forwarded from Pat:\n> {text}"
    assert parse_command(heard) is None


def test_every_line_is_quoted() -> None:
    """So that none looks as if the sender had written it."""
    assert said(forwarded("down\n\nrestart all")).text == (
        "Forwarded from Pat:\n> down\n> \n> restart all"
    )


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        (hidden("Pat"), "Pat"),
        (hidden("  "), "somebody"),
        (
            {
                "type": "user",
                "date": 1,
                "sender_user": {"id": 9, "is_bot": False, "first_name": "Li", "last_name": "Na"},
            },
            "Li Na",
        ),
        (
            {"type": "chat", "date": 1, "sender_chat": {"id": -5, "type": "group", "title": "Ops"}},
            "Ops",
        ),
        (
            {
                "type": "channel",
                "date": 1,
                "message_id": 3,
                "chat": {"id": -6, "type": "channel", "title": "News"},
            },
            "News",
        ),
    ],
)
def test_the_writer_is_named(origin: dict[str, Any], name: str) -> None:
    """A person, a group or a channel; nobody, where there is no name."""
    heard = said(changed("forwarded_message", forward_origin=origin)).text
    assert heard.splitlines()[0] == f"Forwarded from {name}:"


@given(st.text(max_size=300), st.text(min_size=1, max_size=300))
def test_nothing_of_it_stands_outside_of_the_quotation(name: str, text: str) -> None:
    """Whatever name and text are: one line names the writer, all others are quoted."""
    heard = said(forwarded(f"x{text}", name)).text
    first, *others = heard.splitlines()
    assert first.startswith("Forwarded from ")
    assert len(first) < 100
    assert others
    assert all(line.startswith("> ") for line in others)
    assert parse_command(heard) is None


def test_in_groups_a_forwarded_mention_calls_nobody() -> None:
    """Whoever wrote the name did not write it here."""
    origin = hidden("Pat")
    text = "@it0_bot restart db-1"
    assert (
        read(changed("group_mention", text=text, entities=MENTION, forward_origin=origin)) is None
    )
    heard = read(changed("group_mention", text=text, entities=MENTION))
    assert isinstance(heard, Said)


def test_a_forwarded_file_says_whose_it_is() -> None:
    """With its caption quoted, or without any."""
    origin = hidden("Pat")
    photo = said(changed("photo_with_caption", forward_origin=origin))
    assert photo.text.startswith("Forwarded from Pat:\n> What does this panel say?")
    assert len(photo.files) == 1
    bare = said(changed("photo_with_caption", forward_origin=origin, caption=None))
    assert bare.text == "Forwarded from Pat:"
