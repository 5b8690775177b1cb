"""Reading a request of the Bot API: all three body types, then texts, keyboards and replies."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.telegram_errors import Json, bad
from tests.fakes.telegram_markdown import formatted
from tests.fakes.telegram_records import Message
from tests.fakes.telegram_room import Room
from tests.fakes.telegram_text import (
    MAX_CAPTION,
    MAX_RAW_BYTES,
    MAX_TEXT,
    Formatted,
    cleaned,
    utf16_len,
    with_detected,
)

MAX_CALLBACK_BYTES = 64
MAX_BUTTONS = 100
_BUTTON_KINDS = frozenset(
    [
        "url",
        "callback_game",
        "pay",
        "switch_inline_query",
        "switch_inline_query_current_chat",
        "switch_inline_query_chosen_chat",
        "login_url",
        "web_app",
        "copy_text",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file of a multipart body."""

    name: str
    media_type: str
    data: bytes


@dataclass(slots=True, kw_only=True)
class Params:
    """The parameters as the server sees them: all strings, objects as JSON."""

    values: dict[str, str]
    files: dict[str, Upload] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A string; empty if missing."""
        return self.values.get(name, "")

    def integer(self, name: str) -> int | None:
        """A number; None if missing or no number."""
        value = self.text(name)
        return int(value) if value.removeprefix("-").isdecimal() else None

    def flag(self, name: str) -> bool:
        """A truth value."""
        return self.text(name).lower() in {"true", "yes", "1"}

    def decoded(self, name: str, sentence: str) -> Any:
        """An object; None if missing. Raises ``ApiError`` with the sentence."""
        value = self.text(name)
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError as error:
            raise bad(sentence) from error

    def upload(self, name: str) -> Upload | None:
        """A file sent under this name, or attached under another one."""
        attached = self.text(name).removeprefix("attach://")
        return self.files.get(name) or self.files.get(attached)


async def read_params(request: web.Request) -> Params:
    """Read query and body. Raises ``ApiError``."""
    values: dict[str, str] = dict(request.query)
    files: dict[str, Upload] = {}
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read() or b"{}")
        except ValueError as error:
            raise bad("can't parse JSON object") from error
        for name, value in body.items():
            values[name] = value if isinstance(value, str) else json.dumps(value)
        return Params(values=values)
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            files[name] = Upload(
                name=value.filename, media_type=value.content_type, data=value.file.read()
            )
        else:
            values[name] = value if isinstance(value, str) else bytes(value).decode()
    return Params(values=values, files=files)


def message_text(params: Params) -> Formatted:
    """The text of a message. Raises ``ApiError``."""
    raw = params.text("text")
    if not raw:
        raise bad("message text is empty")
    given = _formatted(params, raw, "entities")
    if not given.text:
        raise bad("text must be non-empty")
    if utf16_len(given.text) > MAX_TEXT:
        raise bad("message is too long")
    return given


def draft_text(params: Params) -> Formatted:
    """The text of a draft, which may be empty. Raises ``ApiError``."""
    given = _formatted(params, params.text("text"), "entities")
    if utf16_len(given.text) > MAX_TEXT:
        raise bad("MESSAGE_TOO_LONG")
    return given


def caption_text(params: Params) -> Formatted:
    """The caption of a file. Raises ``ApiError``."""
    given = _formatted(params, params.text("caption"), "caption_entities")
    if utf16_len(given.text) > MAX_CAPTION:
        raise bad("message caption is too long")
    return given


def _formatted(params: Params, raw: str, entities: str) -> Formatted:
    if len(raw.encode("utf-8", "surrogatepass")) > MAX_RAW_BYTES:
        raise bad("text is too long")
    given = formatted(raw, params.text("parse_mode"), params.text(entities))
    return with_detected(cleaned(given))


def keyboard(params: Params, *, edit: bool = False) -> Json | None:
    """The inline keyboard; other markup leaves no trace on a message. Raises ``ApiError``."""
    markup = params.decoded("reply_markup", "can't parse reply keyboard markup JSON object")
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise bad("object expected as reply markup")
    rows = markup.get("inline_keyboard")
    if rows is None:
        if edit and markup:
            raise bad("inline keyboard expected")
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad('field "inline_keyboard" must be an Array of Arrays')
    buttons = [button for row in rows for button in row]
    for button in buttons:
        _check_button(button)
    if len(buttons) > MAX_BUTTONS:
        raise bad("reply markup is too long")
    return {"inline_keyboard": rows} if buttons else None


def _check_button(button: Any) -> None:
    prefix = "can't parse inline keyboard button: "
    if not isinstance(button, dict):
        raise bad(f"{prefix}InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str):
        raise bad(f'{prefix}Can\'t find field "text"')
    if not button["text"].strip():
        raise bad("inline keyboard button text must be non-empty")
    data = button.get("callback_data")
    if data is None and not _BUTTON_KINDS & button.keys():
        raise bad(f"{prefix}Text buttons are unallowed in the inline keyboard")
    if data is not None and not 0 < len(str(data).encode()) <= MAX_CALLBACK_BYTES:
        raise bad("BUTTON_DATA_INVALID")


def reply_target(params: Params, room: Room) -> Message | None:
    """The message that is replied to. Raises ``ApiError``."""
    given = params.decoded("reply_parameters", "can't parse reply parameters JSON object")
    if given is None:
        legacy = params.integer("reply_to_message_id")
        given = {} if legacy is None else {"message_id": legacy}
        given["allow_sending_without_reply"] = params.flag("allow_sending_without_reply")
    if not isinstance(given, dict):
        raise bad("object expected as reply parameters")
    number = given.get("message_id")
    if number is None:
        return None
    message = room.messages.get(int(number))
    if message is None or message.deleted_at is not None:
        if given.get("allow_sending_without_reply"):
            return None
        raise bad("message to be replied not found")
    if given.get("quote") and str(given["quote"]) not in message.text:
        raise bad("QUOTE_TEXT_INVALID")
    return message
