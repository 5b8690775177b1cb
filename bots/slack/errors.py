"""Why Slack did not do what it was asked, as the core wants to hear it.

Codes: docs.slack.dev/reference/methods, each method's list of errors.
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
        permanent: bool = True,
    ) -> None:
        """As ``DeliveryFailed``, with Slack's code."""
        super().__init__(sentence, retry_after_s=retry_after_s, permanent=permanent)
        self.reason = reason


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
        permanent=False,
    )


def refused(reason: str, needed: str = "") -> DeliveryFailed:
    """What ``{"ok": false, "error": reason}`` means."""
    if reason in _PASSING:
        return Unclear()
    if reason == "ratelimited":
        return limited(1.0)
    if reason in DEAD_TOKEN:
        return Refused(
            reason,
            "Slack refuses my token for this workspace. Install the app again, or set"
            " SLACK_BOT_TOKEN to a valid one.",
        )
    if reason == "missing_scope":
        return Refused(
            reason,
            f"The Slack app lacks the scope {needed or 'it needs'}. Update its manifest"
            " (`it0 slack manifest`) and install it again.",
        )
    return Refused(reason, _SENTENCES.get(reason, f"Slack refused the message ({reason})."))


def not_installed() -> DeliveryFailed:
    """There is no token for a workspace."""
    return Refused(
        "not_installed",
        "The app is not installed in that Slack workspace (any more). Install it again.",
    )
