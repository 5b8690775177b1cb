"""Why Slack did not do what it was asked, as the core wants to hear it.

Codes: docs.slack.dev/reference/methods, each method's list of errors. Slack adds new ones at any
time, so only those listed here give a message up; after any other it is tried again, until the
core gives up after a day.
"""

from __future__ import annotations

from core.sinks import DeliveryFailed

STREAM_OVER = frozenset({"message_not_in_streaming_state", "stopped_by_user"})
BAD_BLOCKS = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
DEAD_TOKEN = frozenset(
    {"account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"}
)
_PASSING = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_not_ready"}
)
LATER_S = 60.0
"""Until the next try after a refusal that somebody, or Slack, may put right."""
_FOR_GOOD = frozenset(
    {
        # the place
        "cannot_reply_to_message",
        "channel_not_found",
        "channel_type_not_supported",
        "is_archived",
        "is_inactive",
        "method_not_supported_for_channel_type",
        "not_in_channel",
        "restricted_action",
        "restricted_action_non_threadable_channel",
        "restricted_action_read_only_channel",
        "restricted_action_thread_locked",
        "restricted_action_thread_only_channel",
        "thread_not_found",
        # the message: one that somebody deleted is not said again
        "cant_update_message",
        "edit_window_closed",
        "message_not_found",
        # the person
        "cannot_dm_bot",
        "messages_tab_disabled",
        "user_disabled",
        "user_not_found",
        "user_not_visible",
        # the file
        "file_deleted",
        "file_not_found",
        # what the app may do
        "access_denied",
        "ekm_access_denied",
        "enterprise_is_restricted",
        "missing_scope",
        "no_permission",
        "team_access_not_granted",
        "unknown_method",
    }
)
"""Asking again cannot help: chat.postMessage, chat.update, chat.startStream, conversations.open,
files.info and users.info say so where a place, a person or a right is gone."""
_SENTENCES = {
    "not_in_channel": "I am not in that channel any more. Invite me there and ask again.",
    "channel_not_found": (
        "That channel is gone, or it is private and I am not in it. Invite me and ask again."
    ),
    "is_archived": "That channel is archived. Ask me in another one.",
    "message_not_found": "The message that showed my answer was deleted.",
    "thread_not_found": "The thread was deleted.",
    "cannot_reply_to_message": "The thread does not take replies.",
    "restricted_action": "The workspace does not allow me to write there.",
    "user_not_found": "That person is not in the workspace any more.",
    "user_disabled": "That person is not in the workspace any more.",
    "cannot_dm_bot": "Slack does not let me write that person directly.",
    "messages_tab_disabled": "The app's messages tab is off, so I cannot write people directly.",
}


class Refused(DeliveryFailed):
    """Slack answered, and did nothing. ``reason`` is its own code."""

    code = "slack_refused"

    def __init__(
        self,
        reason: str,
        sentence: str,
        *,
        retry_after_s: float | None = None,
        permanent: bool = False,
    ) -> None:
        """As ``DeliveryFailed``, with Slack's code."""
        super().__init__(sentence, retry_after_s=retry_after_s, permanent=permanent)
        self.reason = reason

    @property
    def limited(self) -> bool:
        """It was only too fast."""
        return self.reason == "ratelimited"


class Unclear(DeliveryFailed):
    """No answer came: the call may have taken effect."""

    code = "slack_unclear"

    def __init__(self) -> None:
        """Worth another try."""
        super().__init__("Slack does not answer just now.", retry_after_s=None, permanent=False)


def limited(retry_after_s: float) -> Refused:
    """429: nothing happened, and it may be asked again then."""
    return Refused(
        "ratelimited",
        "Slack asks for a pause.",
        retry_after_s=retry_after_s,
    )


def refused(reason: str, needed: str = "") -> DeliveryFailed:
    """What ``{"ok": false, "error": reason}`` means for the token of an installed workspace."""
    if reason in _PASSING:
        return Unclear()
    if reason == "ratelimited":
        return limited(1.0)
    if reason in DEAD_TOKEN:
        return Refused(
            reason,
            "Slack refuses my token for this workspace. Install the app again, or set"
            " SLACK_BOT_TOKEN to a valid one.",
            permanent=True,
        )
    if reason == "missing_scope":
        return Refused(
            reason,
            f"The Slack app lacks the scope {needed or 'it needs'}. Update its manifest"
            " (`it0 slack manifest`) and install it again.",
            permanent=True,
        )
    said = _SENTENCES.get(reason, f"Slack refused the message ({reason}).")
    if reason in _FOR_GOOD:
        return Refused(reason, said, permanent=True)
    return Refused(reason, said, retry_after_s=LATER_S)


def replaceable(failure: Refused) -> Refused:
    """The same for ``SLACK_BOT_TOKEN``: the operator may be replacing it just now.

    Only ``account_inactive`` says that the workspace removed the app.
    """
    if failure.reason not in DEAD_TOKEN or failure.reason == "account_inactive":
        return failure
    return Refused(failure.reason, failure.sentence, retry_after_s=LATER_S)


def not_installed() -> DeliveryFailed:
    """There is no token for a workspace."""
    return Refused(
        "not_installed",
        "The app is not installed in that Slack workspace (any more). Install it again.",
        permanent=True,
    )
