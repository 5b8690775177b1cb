"""Buttons under a reply, and the metadata by which a reply is found again."""

from __future__ import annotations

from bots.slack.fields import Json
from core.buttons import Action, Buttons
from core.messages import ConversationAddress
from core.sinks import Destination
from core.turns import Offer
from core.words import Words

STOP, FEEDBACK, OFFER = "it0_stop", "it0_feedback", "it0_offer"
APPROVE, DENY = "it0_approve", "it0_deny"
EVENT_TYPE = "it0_reply"
NOTICE_TYPE = "it0_notice"
"""Messages of ours that are no reply to a turn."""
_MAX_STATUS = 300
_MAX_LABEL = 75
"""Slack's limit of a button's text (docs.slack.dev/reference/block-kit, button)."""


def metadata(turn_id: str, part: int) -> Json:
    """What a reply's message carries, unseen (docs.slack.dev/messaging/message-metadata)."""
    return {"event_type": EVENT_TYPE, "event_payload": {"turn": turn_id, "part": part}}


def notice() -> Json:
    """The metadata of a message that answers no turn."""
    return {"event_type": NOTICE_TYPE, "event_payload": {}}


def stop_button(buttons: Buttons, to: Destination, channel: str) -> Json:
    """Under a reply that is still being written."""
    words = Words(to.language)
    return {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": STOP,
                "text": _plain(words("Stop")),
                "value": buttons.seal(Action.STOP, to.turn_id, _at(to, channel)),
            }
        ],
    }


def offer_button(buttons: Buttons, to: Destination, channel: str, offer: Offer) -> Json:
    """Under a finished reply: what it offers, one press away."""
    return {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": OFFER,
                "style": "primary",
                "text": _plain(offer.label[:_MAX_LABEL]),
                "value": buttons.seal(Action.OFFER, to.turn_id, _at(to, channel)),
            }
        ],
    }


def approval_buttons(
    buttons: Buttons, to: Destination, channel: str, approvals: tuple[str, ...]
) -> list[Json]:
    """Under a card: a row of two for each approval."""
    words = Words(to.language)
    looks = (
        (Action.APPROVE, APPROVE, "primary", words("Approve")),
        (Action.DENY, DENY, "danger", words("Deny")),
    )
    return [
        {
            "type": "actions",
            "elements": [
                {
                    "type": "button",
                    "action_id": action_id,
                    "style": style,
                    "text": _plain(label),
                    "value": buttons.seal(action, approval, _at(to, channel)),
                }
                for action, action_id, style, label in looks
            ],
        }
        for approval in approvals
    ]


def feedback(buttons: Buttons, to: Destination, channel: str, *, native: bool) -> Json:
    """Under a finished answer. ``native``: Slack's own thumbs, which older ones do not know."""
    words = Words(to.language)
    sides = {
        "positive_button": (Action.GOOD, words("Good answer")),
        "negative_button": (Action.BAD, words("Bad answer")),
    }
    made = {
        side: {
            "text": _plain(label),
            "value": buttons.seal(action, to.turn_id, _at(to, channel)),
        }
        for side, (action, label) in sides.items()
    }
    if native:
        element = {"type": "feedback_buttons", "action_id": FEEDBACK, **made}
        return {"type": "context_actions", "elements": [element]}
    return {
        "type": "actions",
        "elements": [
            {"type": "button", "action_id": f"{FEEDBACK}_{side[:3]}", **button}
            for side, button in made.items()
        ],
    }


def status_line(status: str) -> Json:
    """What is being done just now, under the text so far."""
    return {"type": "context", "elements": [_plain(status[:_MAX_STATUS])]}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": False}


def _at(to: Destination, channel: str) -> ConversationAddress:
    return ConversationAddress(
        platform=to.address.platform,
        workspace=to.address.workspace,
        channel=channel,
        thread=to.address.thread,
    )
