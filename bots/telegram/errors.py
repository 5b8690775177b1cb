"""What a refusal of the Bot API means for the core."""

from __future__ import annotations

from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError

from bots.telegram.client import FloodWait, NotConnected, UnknownMethod
from core.sinks import DeliveryFailed

NOT_CONNECTED_S = 2.0
TOKEN_REFUSED_S = 60.0
"""The operator puts the token right; the sweeper then delivers what was held up."""

_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")


class MessageGone(Exception):
    """The message to edit is not there (any more)."""


def not_modified(error: BadRequest) -> bool:
    """The message shows this already."""
    return "message is not modified" in error.message.lower()


def gone(error: BadRequest) -> bool:
    """The message was deleted."""
    return any(words in error.message.lower() for words in _GONE)


def bad_entities(error: BadRequest) -> bool:
    """The markup was refused: our fault, and the text is good without it."""
    return "entit" in error.message.lower()


def failure(error: TelegramError) -> DeliveryFailed:
    """Say it in the core's words. Without ``retry_after_s`` it may have taken effect."""
    match error:
        case FloodWait():
            sentence = "Telegram asks for a pause."
            return DeliveryFailed(sentence, retry_after_s=error.seconds, permanent=False)
        case Forbidden():
            sentence = "Telegram does not let the bot write there: it was blocked or removed."
            return DeliveryFailed(sentence, retry_after_s=None, permanent=True)
        case BadRequest():  # asking again in the same words cannot help
            sentence = f"Telegram refused the message: {error.message}"
            return DeliveryFailed(sentence, retry_after_s=None, permanent=True)
        case InvalidToken() | UnknownMethod():
            sentence = "Telegram refused the bot's token (TELEGRAM_BOT_TOKEN)."
            return DeliveryFailed(sentence, retry_after_s=TOKEN_REFUSED_S, permanent=False)
        case NotConnected():
            sentence = "Telegram cannot be reached."
            return DeliveryFailed(sentence, retry_after_s=NOT_CONNECTED_S, permanent=False)
    sentence = "Telegram did not answer, or its answer was lost."
    return DeliveryFailed(sentence, retry_after_s=None, permanent=False)
