"""The app manifest: pasted at api.slack.com/apps it makes the whole Slack app.

Field names and limits: docs.slack.dev/reference/app-manifest, and Slack's own JSON schema
(slackapi/manifest-schema), which is stricter. ``agent_view`` is what new apps
get; the events of the older ``assistant_view`` (assistant_thread_*) can't be subscribed with it
(docs.slack.dev/ai/migrating-to-agent-messaging).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from core.words import sentence

COMMAND = "/it0"
EVENTS_PATH = "/slack/events"
"""Events, commands and button presses all arrive here."""
REDIRECT_PATH = "/slack/oauth_redirect"

BOT_SCOPES = (
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
)
"""What is asked of whoever installs the app; docs.slack.dev/reference/scopes."""

BOT_EVENTS = (
    "agent_session_stopped",  # Slack's own stop button
    "app_home_opened",  # the Home tab, and the agent view opened
    "app_mention",
    "app_uninstalled",
    "message.channels",  # threads that IT0 takes part in
    "message.groups",
    "message.im",
    "message.mpim",
    "tokens_revoked",
)

SUGGESTED_PROMPTS = (
    (sentence("Check disk space"), sentence("How full are the disks of our servers?")),
    (sentence("Look at a slow server"), sentence("One of our servers is slow. Find out why.")),
    (
        sentence("Explain an error"),
        sentence("I will paste an error from a log. Tell me what it means."),
    ),
    (sentence("What can you do?"), sentence("What can you do here, and what may I ask for?")),
)
"""Titles and messages, shown where a conversation begins: English here, translated there."""

MAX_NAME = 35

_SHORT = "Your operations agent: ask about servers, logs and incidents."
_LONG = (
    "IT0 is one agent for the people who run servers. Mention it in a channel, write to it "
    "directly or open it beside any conversation. It reads what you paste, looks at the servers "
    "it was given access to, answers in the thread, and asks a human before it changes anything "
    "that matters."
)
_USAGE = "help | new | sessions | resume | stop"

Json: TypeAlias = "str | bool | Sequence[Json] | Mapping[str, Json]"


def manifest(*, public_url: str | None, name: str = "IT0") -> str:
    """The manifest as JSON; with a ``public_url`` over HTTP, without one in Socket Mode.

    Socket Mode also needs an app-level token with ``connections:write``, which no manifest can
    make. Raises ValueError for a name that Slack refuses or an address without https.
    """
    if not 0 < len(name.strip()) <= MAX_NAME:
        raise ValueError(f"Slack takes a name of 1 to {MAX_NAME} characters.")
    base = None if public_url is None else _https(public_url)
    document: Json = {
        "display_information": {
            "name": name,
            "description": _SHORT,
            "long_description": _LONG,
            "background_color": "#1f2937",
        },
        "features": _features(name, base),
        "oauth_config": _oauth(base),
        "settings": _settings(base),
    }
    return json.dumps(document, indent=2) + "\n"


def _https(public_url: str) -> str:
    parts = urlsplit(public_url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("Slack needs a public address that begins with https://.")
    return public_url.rstrip("/")


def _features(name: str, base: str | None) -> Json:
    return {
        "app_home": {
            "home_tab_enabled": True,
            "messages_tab_enabled": True,
            "messages_tab_read_only_enabled": False,
        },
        "agent_view": {
            "agent_description": _SHORT,
            "suggested_prompts": [
                {"title": title, "message": message} for title, message in SUGGESTED_PROMPTS
            ],
        },
        "bot_user": {"display_name": name, "always_online": True},
        "slash_commands": [
            {
                "command": COMMAND,
                "description": "Commands and questions for IT0",
                "usage_hint": _USAGE,
                "should_escape": False,
                **_at(base, "url"),
            }
        ],
    }


def _oauth(base: str | None) -> Json:
    redirect: dict[str, Json] = {} if base is None else {"redirect_urls": [base + REDIRECT_PATH]}
    return {**redirect, "scopes": {"bot": BOT_SCOPES}}


def _settings(base: str | None) -> Json:
    return {
        "event_subscriptions": {**_at(base, "request_url"), "bot_events": BOT_EVENTS},
        "interactivity": {"is_enabled": True, **_at(base, "request_url")},
        "org_deploy_enabled": False,
        "socket_mode_enabled": base is None,
        "token_rotation_enabled": False,
    }


def _at(base: str | None, field: str) -> Mapping[str, Json]:
    """The address of the events endpoint, where there is one."""
    return {} if base is None else {field: base + EVENTS_PATH}
