"""Recorded payloads of Slack, in the core's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.slack.events import (
    Bot,
    Changed,
    Deleted,
    Happening,
    Opened,
    Removed,
    Said,
    StopPressed,
    read_command,
    read_event,
    read_press,
    workspace_of,
)
from core.messages import ConversationAddress, InboundMessage

PAYLOADS = Path(__file__).parents[2] / "payloads" / "slack"
BOT = Bot(workspace="T061EG9R6", user="U0LAN0Z89")


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return loaded


def _read(name: str) -> Happening | None:
    body = _load(name)
    assert workspace_of(body) == BOT.workspace
    return read_event(body, BOT, lambda _user: "")


def _said(name: str) -> InboundMessage:
    happened = _read(name)
    assert isinstance(happened, Said)
    return happened.message


def _place(channel: str, thread: str) -> ConversationAddress:
    return ConversationAddress(
        platform="slack", workspace=BOT.workspace, channel=channel, thread=thread
    )


def test_a_mention_in_a_channel_begins_a_thread() -> None:
    """Its thread is its own ts, and the reply can point to it."""
    message = _said("app_mention")
    assert message.text == "how full is the disk on web-3?"
    assert message.address == _place("C0LAN2Q65", message.source_ref)
    assert message.event_id == f"slack:T061EG9R6:C0LAN2Q65:{message.source_ref}"
    assert message.actor.external_id == "U061F7AUR"
    assert message.group == message.actor.workspace == BOT.workspace


def test_a_mention_and_its_twin_are_one_message() -> None:
    """Slack sends ``app_mention`` and ``message`` for one mention: both read the same."""
    assert _said("app_mention") == _said("message_with_mention")


def test_a_direct_message_needs_no_mention() -> None:
    """Outside of threads the direct messages are one place."""
    message = _said("message_im")
    assert message.text == "restart nginx on web-3.example.com & tell me"
    assert message.address.thread == ""


@pytest.mark.parametrize(
    "name",
    [
        "bot_message",
        "message_from_own_bot",
        "message_channel_join",
        "message_thread_reply",
        "message_thread_broadcast",
        "message_changed_unfurl",
        "url_verification",
    ],
)
def test_what_is_not_for_the_bot_is_nothing(name: str) -> None:
    """Bots, joins, links that unfold, and channel messages that do not mention the bot."""
    assert read_event(_load(name), BOT, lambda _user: "") is None


def test_files_come_as_references() -> None:
    """Name, type and size as Slack claims them, and where the bytes are."""
    files = _said("app_mention_pdf_and_log").files
    assert [(file.name, file.media_type) for file in files] == [
        ("postmortem.pdf", "application/pdf"),
        ("nginx-error.log", "text/plain"),
    ]
    assert files[0].size == 90008
    assert files[0].ref.endswith("/download/postmortem.pdf")
    assert _said("message_image_file").files[0].media_type == "image/png"


def test_a_voice_clip_is_audio_without_text() -> None:
    """The core has it transcribed."""
    message = _said("message_voice_clip")
    assert message.text == ""
    assert message.files[0].media_type == "audio/webm"


def test_somebody_of_another_workspace_keeps_their_own() -> None:
    """In a shared channel the writer is a member of the other workspace, the group is ours."""
    message = _said("app_mention_shared_channel")
    assert message == _said("message_shared_channel")
    assert message.actor.workspace == "T0GLX7Q2M"
    assert message.group == message.address.workspace == BOT.workspace


def test_an_edit_by_the_writer_names_the_same_message() -> None:
    """The new text under the old event id."""
    happened = _read("message_changed_edit")
    assert isinstance(happened, Changed)
    assert happened.message.text == "restart nginx on web-5 & tell me"
    assert happened.message.event_id == "slack:T061EG9R6:D0PNCRP9N:1795364263.219914"


def test_an_edit_by_somebody_else_is_nothing() -> None:
    """An admin's or an app's change is not the writer's word."""
    body = _load("message_changed_edit")
    body["event"]["message"]["edited"]["user"] = "U0ADMIN"
    assert read_event(body, BOT, lambda _user: "") is None


def test_a_deletion_names_the_message() -> None:
    """With the id that the message had."""
    assert _read("message_deleted") == Deleted(
        event_id="slack:T061EG9R6:D0PNCRP9N:1795364263.219914"
    )


def test_a_deleted_message_with_replies_is_deleted() -> None:
    """Slack leaves a tombstone instead and calls that a change."""
    body = _load("message_changed_edit")
    body["event"]["message"] |= {"subtype": "tombstone", "user": "USLACKBOT", "text": "gone"}
    happened = read_event(body, BOT, lambda _user: "")
    assert happened == Deleted(event_id="slack:T061EG9R6:D0PNCRP9N:1795364263.219914")


def test_home_and_conversation_are_opened() -> None:
    """The Home tab, the messages tab, and the older assistant's thread."""
    home, chat = _read("app_home_opened"), _read("app_home_opened_messages")
    thread = _read("assistant_thread_started")
    assert isinstance(home, Opened)
    assert isinstance(chat, Opened)
    assert isinstance(thread, Opened)
    assert (home.home, chat.home, thread.home) == (True, False, False)
    assert (chat.thread, thread.thread) == ("", "1795364263.241131")


def test_slacks_stop_button_is_the_stop_command() -> None:
    """In the thread that it was pressed in."""
    happened = _read("agent_session_stopped")
    assert isinstance(happened, StopPressed)
    assert happened.message.text == "/stop"
    assert happened.message.address == _place("C0LAN2Q65", "1795364263.212936")


@pytest.mark.parametrize("name", ["app_uninstalled", "tokens_revoked"])
def test_a_workspace_takes_its_token_back(name: str) -> None:
    """The app was removed, or its bot token revoked."""
    assert _read(name) == Removed()


def test_revoked_tokens_of_people_are_not_ours() -> None:
    """Only bot tokens are kept."""
    body = _load("tokens_revoked")
    body["event"]["tokens"] = {"oauth": ["U1"], "bot": []}
    assert read_event(body, BOT, lambda _user: "") is None


def test_a_slash_command_is_a_message_in_the_direct_messages() -> None:
    """Each use has an id of its own; there is no message to point to."""
    message = read_command(_load("slash_command"), BOT, "D0PNCRP9N", lambda _user: "")
    assert message.text.removeprefix("/") == "engine runbook"
    assert message.address == _place("D0PNCRP9N", "")
    assert message.event_id.endswith(":command:47.1795364263240.acd7d32e66e832d472492dab3f78d86d")
    assert message.source_ref == ""


@pytest.mark.parametrize(("name", "value"), [("stop", "turn_01"), ("feedback", "turn_01:bad")])
def test_a_press_names_person_place_and_data(name: str, value: str) -> None:
    """What the button carries is not judged here."""
    body = _load(f"block_actions_{name}")
    pressed = read_press(body, workspace_of(body))
    assert pressed is not None
    assert pressed.value == value
    assert pressed.actor.external_id == "U061F7AUR"
    assert pressed.address == _place("C0LAN2Q65", "1795364263.212936")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["user", "text", "ts", "files", "edited", "x"]), inner)
    ),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(["message", "app_mention", "app_home_opened", "agent_session_stopped"]),
    subtype=st.sampled_from(["", "message_changed", "message_deleted", "file_share"]),
    event=st.dictionaries(
        st.sampled_from(
            ["user", "text", "ts", "channel", "thread_ts", "message", "previous_message", "files"]
        ),
        _JSON,
    ),
)
def test_no_shape_of_an_event_breaks_the_reading(
    kind: str, subtype: str, event: dict[str, object]
) -> None:
    """What Slack may send tomorrow is ignored, never a crash and endless retries."""
    read_event({"event": {**event, "type": kind, "subtype": subtype}}, BOT, lambda _user: "")
