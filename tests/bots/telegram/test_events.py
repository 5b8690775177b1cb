"""Translate-in: recorded updates of the Bot API become what the core understands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import Update

from bots.telegram.events import (
    Added,
    Edit,
    Happening,
    Moved,
    Pressed,
    Said,
    Shut,
    Unusable,
    translate,
)
from bots.telegram.events_text import MAX_QUOTE_CHARS, Me
from core.messages import InboundMessage

PAYLOADS = Path(__file__).parents[2] / "payloads" / "telegram"
ME = Me(id=123456, username="it0_bot")
ANN = "52817743"


def payload(name: str) -> dict[str, Any]:
    """A recorded update."""
    loaded: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text("utf-8"))
    return loaded


def read(raw: dict[str, Any]) -> Happening | None:
    """Translate an update."""
    return translate(Update.de_json(raw, None), ME)


def said(raw: dict[str, Any]) -> InboundMessage:
    """The message that an update brings."""
    happening = read(raw)
    assert isinstance(happening, Said), happening
    return happening.message


def changed(name: str, **fields: Any) -> dict[str, Any]:
    """A recorded message with other fields; None takes one away."""
    raw = payload(name)
    message = raw["message"] | fields
    raw["message"] = {key: value for key, value in message.items() if value is not None}
    return raw


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("album_first", Said),
        ("album_second", Said),
        ("anonymous_admin", Unusable),
        ("callback_query", Pressed),
        ("callback_query_inaccessible_message", Pressed),
        ("channel_post", None),
        ("document_log", Said),
        ("document_pdf", Said),
        ("document_without_name", Said),
        ("edited_message", Edit),
        ("forum_general_message", Said),
        ("forum_topic_message", Said),
        ("forwarded_message", Said),
        ("from_another_bot", None),
        ("group_command_for_other_bot", None),
        ("group_command_with_botname", Said),
        ("group_mention", Said),
        ("group_reply_to_bot", Said),
        ("linked_channel_post", None),
        ("location", Unusable),
        ("migrate_from_chat_id", Moved),
        ("migrate_to_chat_id", Moved),
        ("my_chat_member_added", Added),
        ("my_chat_member_blocked", Shut),
        ("new_chat_members_bot", None),
        ("photo_with_caption", Said),
        ("private_rich_text", Said),
        ("private_start_payload", Said),
        ("private_text", Said),
        ("reply_from_other_chat", Said),
        ("reply_with_quote", Said),
        ("sticker", Unusable),
        ("via_bot", None),
        ("voice", Said),
    ],
)
def test_each_recorded_update_is_taken_for_what_it_is(name: str, kind: type | None) -> None:
    """Messages, edits, presses and moves are told apart; echoes and service messages are not ours."""
    happening = read(payload(name))
    assert happening is None if kind is None else isinstance(happening, kind)


def test_every_recorded_update_is_expected_to_be_something() -> None:
    """No payload lies around without a test."""
    marks = test_each_recorded_update_is_taken_for_what_it_is.pytestmark  # type: ignore[attr-defined]
    assert {row[0] for row in marks[0].args[1]} == {path.stem for path in PAYLOADS.glob("*.json")}


def test_a_private_message_says_who_where_and_what() -> None:
    """Address, actor, id and text; a private chat is nobody's group."""
    message = said(payload("private_text"))
    assert message.event_id == f"telegram:123456:{ANN}:1201"
    assert (message.address.workspace, message.address.channel) == ("123456", ANN)
    assert (message.address.thread, message.group, message.source_ref) == ("", None, "1201")
    assert (message.actor.external_id, message.actor.name) == (ANN, "Ann Weber")
    assert message.actor.language == "de"
    assert message.text == "Why is db-1 slow? 😀 see https://status.example.org/db-1"


def test_an_edit_has_the_id_of_its_message() -> None:
    """The core recognises the message that was edited."""
    happening = read(payload("edited_message"))
    assert isinstance(happening, Edit)
    assert happening.message.event_id == f"telegram:123456:{ANN}:1201"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("group_mention", "👩‍🔧 is web-2 up?"),
        ("group_command_with_botname", "/servers all"),
        ("group_reply_to_bot", "为什么昨晚重启了?"),
        ("private_start_payload", "/start link_7Kq2"),
        ("reply_with_quote", "> disk 91 %\n\nSince when?"),
        ("reply_from_other_chat", "> tonight 01:00 UTC\n\nDoes that touch db-1?"),
        ("photo_with_caption", "What does this panel say? #grafana"),
    ],
)
def test_what_is_said_is_freed_of_our_name(name: str, text: str) -> None:
    """Mentions and @names go, captions count, what the message refers to comes first."""
    assert said(payload(name)).text == text


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("good morning", None),
        ("mail me@it0_bot.example", None),
        ("@it0_bots hello", None),
        ("/servers", "/servers"),
        ("/servers@IT0_bot", "/servers"),
        ("/servers@other_bot now", None),
        ("tell @it0_bot to look", "tell to look"),
        ("hello @it0_bot", "hello"),
    ],
)
def test_in_groups_only_what_names_the_bot_counts(text: str, heard: str | None) -> None:
    """Mentions and commands for it; an address or another bot's name is none."""
    entities = []
    if text.startswith("/"):
        entities.append(
            {"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}
        )
    entities += [
        {"type": "mention", "offset": text.index(word), "length": len(word)}
        for word in text.split()
        if word.startswith("@")
    ]
    happening = read(changed("group_mention", text=text, entities=entities))
    assert (happening.message.text if isinstance(happening, Said) else None) == heard


def test_the_message_of_another_person_that_is_replied_to_is_context() -> None:
    """Quoted line by line and cut; a reply to the bot repeats nothing."""
    other = payload("private_text")["message"] | {"text": "web-2 is down\n" + "x" * 5000}
    text = said(changed("group_mention", reply_to_message=other)).text
    assert text.startswith("> web-2 is down\n> xxx")
    assert text.endswith("is web-2 up?")
    assert len(text) < MAX_QUOTE_CHARS + 100


def test_a_text_mention_names_the_bot_too() -> None:
    """Clients write one where the bot is chosen from a list."""
    entity = {
        "type": "text_mention",
        "offset": 0,
        "length": 3,
        "user": {"id": 123456, "is_bot": True, "first_name": "IT0"},
    }
    assert said(changed("group_mention", text="IT0 look", entities=[entity])).text == "look"


def test_topics_are_places_and_threads_of_replies_are_not() -> None:
    """A forum topic has its own conversation; the general topic and other groups have one."""
    assert said(payload("forum_topic_message")).address.thread == "17"
    assert said(payload("forum_topic_message")).text == "which disk is full?"
    assert said(payload("forum_general_message")).address.thread == ""
    assert said(payload("group_reply_to_bot")).address.thread == ""
    assert said(payload("group_reply_to_bot")).group == "-1002044112358"


@pytest.mark.parametrize(
    ("name", "file", "media_type", "size"),
    [
        ("photo_with_caption", "photo-1203.jpg", "image/jpeg", 118340),
        ("document_log", "nginx-error.log", "text/x-log", 48213),
        ("document_pdf", "Runbook — Übergabe.pdf", "application/pdf", 912044),
        ("document_without_name", "document-1208", "application/octet-stream", 312),
        ("voice", "voice-1209.ogg", "audio/ogg", 16702),
    ],
)
def test_files_come_by_reference(name: str, file: str, media_type: str, size: int) -> None:
    """Of a photo the largest size; of every file its name, type and claimed size."""
    found = said(payload(name)).files
    assert [(item.name, item.media_type, item.size) for item in found] == [(file, media_type, size)]


def test_the_parts_of_an_album_say_which_one() -> None:
    """Each is a message with an id of its own; the bot and the chat are in the album's name."""
    parts = [said(payload("album_first")), said(payload("album_second"))]
    assert [part.event_id.rpartition(":")[2] for part in parts] == ["1204", "1205"]
    assert len({part.album for part in parts}) == 1
    assert str(parts[0].album).startswith(f"telegram:123456:{ANN}:")
    assert said(payload("photo_with_caption")).album is None


def test_an_edited_caption_is_no_new_part() -> None:
    """What an edit leads to must not join the album."""
    raw = payload("album_first")
    raw["edited_message"] = raw.pop("message") | {"edit_date": 1795000500}
    happening = read(raw)
    assert isinstance(happening, Edit)
    assert happening.message.album is None


def test_being_added_to_a_group_is_told_from_a_promotion() -> None:
    """Who added it, where; a new right, a channel or an unblocked chat is nothing new."""
    raw = payload("my_chat_member_added")
    added = read(raw)
    assert isinstance(added, Added)
    assert (added.group, added.address.channel) == ("-4189930217", "-4189930217")
    assert (added.actor.external_id, added.actor.language) == (ANN, "de")
    member = raw["my_chat_member"]
    assert (
        read({**raw, "my_chat_member": member | {"old_chat_member": member["new_chat_member"]}})
        is None
    )
    for kind in ("channel", "private"):
        chat = {"id": 5, "type": kind, "title": "x"}
        assert read({**raw, "my_chat_member": member | {"chat": chat}}) is None


@pytest.mark.parametrize(
    "field",
    [
        {"contact": {"phone_number": "1", "first_name": "A"}},
        {"dice": {"emoji": "🎲", "value": 3}},
        {"video": {"file_id": "v", "file_unique_id": "u", "width": 1, "height": 1, "duration": 1}},
        {
            "poll": {
                "id": "1",
                "question": "q",
                "options": [],
                "total_voter_count": 0,
                "is_closed": False,
                "is_anonymous": True,
                "type": "regular",
                "allows_multiple_answers": False,
                "allows_revoting": False,
                "shuffle_options": False,
                "members_only": False,
            }
        },
    ],
    ids=["contact", "dice", "video", "poll"],
)
def test_what_cannot_be_used_is_answered_politely(field: dict[str, Any]) -> None:
    """A sentence that says what works instead; in a group only to whom it was meant."""
    assert isinstance(read(changed("private_text", text=None, entities=None, **field)), Unusable)
    assert read(changed("group_mention", text=None, entities=None, **field)) is None


@pytest.mark.parametrize("name", ["migrate_to_chat_id", "migrate_from_chat_id"])
def test_a_move_is_told_from_both_ends(name: str) -> None:
    """Whichever of the two service messages comes first, the ids are the same."""
    happening = read(payload(name))
    assert isinstance(happening, Moved)
    assert (happening.old.channel, happening.new.channel) == ("-4189930217", "-1002155009871")


words = st.text(
    st.characters(exclude_characters="@/", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")),
    min_size=1,
)


@given(words, words)
def test_a_mention_is_cut_out_between_any_characters(before: str, after: str) -> None:
    """Offsets are in UTF-16 units; what stands around the name stays as it is."""
    offset = len(f"{before} ".encode("utf-16-le")) // 2
    entity = {"type": "mention", "offset": offset, "length": 8}
    text = f"{before} @it0_bot {after}"
    heard = said(changed("group_mention", text=text, entities=[entity])).text
    assert heard == f"{before} {after}".strip()


def test_a_press_says_who_pressed_what_where() -> None:
    """The data is handed on unread; the place comes from the message under the button."""
    pressed = read(payload("callback_query_inaccessible_message"))
    assert isinstance(pressed, Pressed)
    assert (pressed.data, pressed.actor.external_id) == ("s:00aa:k0", "6120033981")
    assert (pressed.address.channel, pressed.group) == ("-1002044112358", "-1002044112358")
