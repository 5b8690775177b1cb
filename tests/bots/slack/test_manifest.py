"""The manifest is one that Slack takes, and asks for no more than IT0 uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bots.slack.manifest import BOT_EVENTS, BOT_SCOPES, MAX_NAME, SUGGESTED_PROMPTS, manifest
from core.words import Sentence

URL = "https://it0.example.com"

SCOPE_FOR_EVENT = {
    "agent_session_stopped": "assistant:write",
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
}
"""docs.slack.dev/reference/events; the other events need no scope."""

KNOWN_SCOPES = {
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "im:history",
    "im:write",
    "mpim:history",
    "users:read",
}
"""docs.slack.dev/reference/scopes, those that IT0 calls something for."""

FIELDS: dict[str, dict[str, type]] = {
    "": {
        "display_information": dict,
        "features": dict,
        "oauth_config": dict,
        "settings": dict,
    },
    "display_information": {
        "name": str,
        "description": str,
        "long_description": str,
        "background_color": str,
    },
    "features": {"app_home": dict, "agent_view": dict, "bot_user": dict, "slash_commands": list},
    "features.app_home": {
        "home_tab_enabled": bool,
        "messages_tab_enabled": bool,
        "messages_tab_read_only_enabled": bool,
    },
    "features.agent_view": {"agent_description": str, "suggested_prompts": list, "actions": list},
    "features.bot_user": {"display_name": str, "always_online": bool},
    "oauth_config": {"redirect_urls": list, "scopes": dict},
    "oauth_config.scopes": {"bot": list, "user": list},
    "settings": {
        "event_subscriptions": dict,
        "interactivity": dict,
        "org_deploy_enabled": bool,
        "socket_mode_enabled": bool,
        "token_rotation_enabled": bool,
    },
    "settings.event_subscriptions": {"request_url": str, "bot_events": list, "user_events": list},
    "settings.interactivity": {
        "is_enabled": bool,
        "request_url": str,
        "message_menu_options_url": str,
    },
}
"""Slack's JSON schema has ``additionalProperties: false`` everywhere."""


def _read(public_url: str | None, **options: str) -> dict[str, Any]:
    document = json.loads(manifest(public_url=public_url, **options))
    assert isinstance(document, dict)
    return document


def _check_fields(part: Mapping[str, Any], path: str) -> None:
    for name, value in part.items():
        assert isinstance(value, FIELDS[path][name]), f"{path}.{name}"
        if isinstance(value, dict):
            _check_fields(value, f"{path}.{name}".removeprefix("."))


@pytest.mark.parametrize("public_url", [None, URL])
def test_fields_are_documented(public_url: str | None) -> None:
    """Every field is one that Slack's schema knows, with its type."""
    _check_fields(_read(public_url), "")


def test_texts_are_within_the_limits() -> None:
    """Names, descriptions and prompts have the lengths that Slack's schema asks for."""
    document = _read(URL, name="x" * MAX_NAME)
    about, features = document["display_information"], document["features"]

    assert len(about["name"]) <= 35
    assert 1 <= len(about["description"]) <= 139  # documented as 140; 140 is refused
    assert 175 <= len(about["long_description"]) <= 4_000
    assert len(about["background_color"]) == 7
    assert len(features["agent_view"]["agent_description"]) <= 300
    assert 1 <= len(features["agent_view"]["suggested_prompts"]) <= 4
    assert all(
        prompt.keys() == {"title", "message"} and all(prompt.values())
        for prompt in features["agent_view"]["suggested_prompts"]
    )
    assert 1 <= len(features["bot_user"]["display_name"]) <= 80
    command = features["slash_commands"][0]
    assert command["command"] == "/it0"
    assert len(command["description"]) <= 2_000
    assert len(command["usage_hint"]) <= 1_000


def test_socket_mode_needs_no_address() -> None:
    """Without a public address the app is in Socket Mode and no URL is in the manifest."""
    text = manifest(public_url=None)

    assert json.loads(text)["settings"]["socket_mode_enabled"] is True
    assert "http" not in text


def test_http_mode_has_every_address() -> None:
    """With a public address all requests go to the events endpoint and installs come back."""
    document = _read(URL + "/")
    events = f"{URL}/slack/events"

    assert document["settings"]["socket_mode_enabled"] is False
    assert document["settings"]["event_subscriptions"]["request_url"] == events
    assert document["settings"]["interactivity"]["request_url"] == events
    assert document["features"]["slash_commands"][0]["url"] == events
    assert document["oauth_config"]["redirect_urls"] == [f"{URL}/slack/oauth_redirect"]


def test_people_can_write_to_the_app() -> None:
    """The Home tab is on, and the Messages tab takes messages: else the agent view is mute."""
    home = _read(None)["features"]["app_home"]

    assert home == {
        "home_tab_enabled": True,
        "messages_tab_enabled": True,
        "messages_tab_read_only_enabled": False,
    }


def test_every_event_and_the_command_have_their_scope() -> None:
    """Slack refuses an event or a command whose scope is not asked for."""
    document = _read(None)
    scopes = document["oauth_config"]["scopes"]["bot"]

    assert document["settings"]["event_subscriptions"]["bot_events"] == list(BOT_EVENTS)
    assert {SCOPE_FOR_EVENT[event] for event in BOT_EVENTS if event in SCOPE_FOR_EVENT} <= {*scopes}
    assert "commands" in scopes
    assert "chat:write" in scopes


def test_no_scope_is_asked_for_in_vain() -> None:
    """Each scope is one that a call or an event needs, and none comes twice."""
    assert set(BOT_SCOPES) == KNOWN_SCOPES
    assert len(BOT_SCOPES) == len(KNOWN_SCOPES)


def test_no_event_of_the_older_view() -> None:
    """An app with an agent view can't subscribe to the assistant view's events."""
    assert not [event for event in BOT_EVENTS if event.startswith("assistant_")]
    assert "assistant_view" not in _read(None)["features"]


@pytest.mark.parametrize(
    "public_url", ["http://it0.example.com", "it0.example.com", "https://", "https://a.b/?x=1", ""]
)
def test_an_address_that_slack_refuses(public_url: str) -> None:
    """Only an https address works; saying so here saves a puzzling refusal by Slack."""
    with pytest.raises(ValueError, match="https://"):
        manifest(public_url=public_url)


@pytest.mark.parametrize("name", ["", "  ", "x" * (MAX_NAME + 1)])
def test_a_name_that_slack_refuses(name: str) -> None:
    """A name is 1 to 35 characters long."""
    with pytest.raises(ValueError, match="35"):
        manifest(public_url=None, name=name)


def test_the_name_is_the_operators() -> None:
    """A company may call its agent what it likes."""
    document = _read(None, name="Ops 小助手")

    assert document["display_information"]["name"] == "Ops 小助手"
    assert document["features"]["bot_user"]["display_name"] == "Ops 小助手"


def test_suggested_prompts_can_be_translated_where_they_are_shown() -> None:
    """The manifest itself is English: it is made before anybody is known."""
    for pair in SUGGESTED_PROMPTS:
        assert all(isinstance(text, Sentence) for text in pair)
    shown = _read(None)["features"]["agent_view"]["suggested_prompts"]
    assert [(item["title"], item["message"]) for item in shown] == list(SUGGESTED_PROMPTS)
