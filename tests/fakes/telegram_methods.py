"""The methods of the fake Bot API that write: messages, edits, drafts, actions, answers."""

from __future__ import annotations

from tests.fakes.telegram_errors import OLD_QUERY, ApiError, Json, bad
from tests.fakes.telegram_hub import Hub
from tests.fakes.telegram_media import document
from tests.fakes.telegram_params import (
    Params,
    caption_text,
    draft_text,
    keyboard,
    message_text,
    reply_target,
)
from tests.fakes.telegram_room import Room

MAX_UPLOAD = 50 * 1024 * 1024
MAX_ANSWER = 200
_ACTIONS = frozenset(
    [
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_voice",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "find_location",
        "record_video_note",
        "upload_video_note",
    ]
)


class MessageMethods:
    """One method of this class for each method of the API."""

    def __init__(self, hub: Hub, *, callback_life_s: float) -> None:
        """``callback_life_s`` is how long a press of a button may wait for its answer."""
        self._hub = hub
        self._callback_life_s = callback_life_s

    def send_message(self, params: Params) -> Json:
        """Post a text."""
        given = message_text(params)
        room, thread_id = self._place(params)
        markup = keyboard(params)
        reply_to = reply_target(params, room)
        self._hub.pay(room.id, "sendMessage")
        return room.post(given, thread_id=thread_id, reply_to=reply_to, markup=markup).json()

    def send_document(self, params: Params) -> Json:
        """Post a file, uploaded or known."""
        given = caption_text(params)
        room, thread_id = self._place(params)
        markup = keyboard(params)
        reply_to = reply_target(params, room)
        content = self._document(params)
        self._hub.pay(room.id, "sendDocument")
        return room.post(
            given, thread_id=thread_id, reply_to=reply_to, markup=markup, content=content
        ).json()

    def edit_message_text(self, params: Params) -> Json:
        """Change a text; a keyboard that is not given again goes away."""
        given = message_text(params)
        room, message_id = self._target(params)
        markup = keyboard(params, edit=True)
        message = room.own_message(message_id)
        if message.is_media:
            raise bad("there is no text in the message to edit")
        self._hub.pay(room.id, "editMessageText")
        room.edit_as_bot(message, given, markup)
        return message.json()

    def edit_message_reply_markup(self, params: Params) -> Json:
        """Change or take away a keyboard."""
        room, message_id = self._target(params)
        markup = keyboard(params, edit=True)
        message = room.own_message(message_id)
        self._hub.pay(room.id, "editMessageReplyMarkup")
        room.edit_as_bot(message, message.given, markup)
        return message.json()

    def delete_message(self, params: Params) -> bool:
        """Delete the bot's own message; in private chats also the person's."""
        room, message_id = self._target(params)
        message = room.message(message_id, "message to delete")
        if not message.by_bot and room.kind != "private":
            raise bad("message can't be deleted for everyone")
        room.delete(message)
        return True

    def send_message_draft(self, params: Params) -> bool:
        """Show a preview in a private chat; without a text it shows "Thinking..."."""
        given = draft_text(params)
        room, thread_id = self._place(params)
        if room.kind != "private":
            raise bad("TEXTDRAFT_PEER_INVALID")
        draft_id = params.integer("draft_id")
        if not draft_id:
            raise bad("RANDOM_ID_INVALID")
        flood = self._hub.flood
        if flood is not None and flood.limits.drafts_count:
            self._hub.pay(room.id, "sendMessageDraft")
        room.show_draft(draft_id, given, thread_id)
        return True

    def send_chat_action(self, params: Params) -> bool:
        """Show "typing" and the like."""
        action = params.text("action")
        if action not in _ACTIONS:
            raise bad("wrong parameter action in request")
        room = self._hub.writable(params.text("chat_id"))
        room.check_topic(params.integer("message_thread_id"), general=True)
        room.actions.append((self._hub.clock(), action))
        self._hub.changed()
        return True

    def answer_callback_query(self, params: Params) -> bool:
        """Answer the press of a button, while it is fresh."""
        press = self._hub.presses.get(params.text("callback_query_id"))
        if press is None or self._hub.clock() - press.at > self._callback_life_s:
            raise bad(OLD_QUERY)
        text = params.text("text")
        if len(text) > MAX_ANSWER:
            raise bad("MESSAGE_TOO_LONG")
        press.answers.append({"text": text, "show_alert": params.flag("show_alert")})
        self._hub.changed()
        return True

    def _place(self, params: Params) -> tuple[Room, int | None]:
        room = self._hub.writable(params.text("chat_id"))
        thread_id = params.integer("message_thread_id") or None
        room.check_topic(thread_id)
        return room, thread_id

    def _target(self, params: Params) -> tuple[Room, int]:
        if not params.text("chat_id"):
            raise bad("chat identifier is not specified")
        message_id = params.integer("message_id")
        if not message_id:
            raise bad("message identifier is not specified")
        return self._hub.writable(params.text("chat_id")), message_id

    def _document(self, params: Params) -> Json:
        upload = params.upload("document")
        if upload is not None:
            if len(upload.data) > MAX_UPLOAD:
                raise ApiError(413, "Request Entity Too Large")
            if not upload.data:
                raise bad("file must be non-empty")
            return document(self._hub, upload.name, upload.data, upload.media_type)
        file_id = params.text("document")
        if not file_id:
            raise bad("there is no document in the request")
        known = self._hub.files.get(file_id)
        if known is None:
            raise bad("wrong file identifier/HTTP URL specified")
        return document(self._hub, known.path, known.data, "application/octet-stream")
