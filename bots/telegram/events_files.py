"""The files of a message, by reference; and kinds of messages that IT0 cannot use."""

from __future__ import annotations

from telegram import Message

from core.messages import RemoteFile
from core.words import Sentence, sentence

_UNKNOWN_TYPE = "application/octet-stream"


def files_of(message: Message) -> tuple[RemoteFile, ...]:
    """At most one: Telegram sends several as an album of messages."""
    number = message.message_id
    if message.photo:
        best = max(message.photo, key=lambda size: size.width * size.height)
        return _one(best.file_id, f"photo-{number}.jpg", "image/jpeg", best.file_size)
    if message.voice:
        voice = message.voice
        return _one(voice.file_id, f"voice-{number}.ogg", "audio/ogg", voice.file_size)
    if message.audio:
        audio = message.audio
        name = audio.file_name or f"audio-{number}"
        return _one(audio.file_id, name, _audio_type(audio.mime_type), audio.file_size)
    if message.video_note:  # a voice note with a face: what counts is what is said
        note = message.video_note
        return _one(note.file_id, f"video-note-{number}.mp4", "audio/mp4", note.file_size)
    if message.document and not message.animation:
        document = message.document
        name = document.file_name or f"document-{number}"
        return _one(document.file_id, name, document.mime_type or _UNKNOWN_TYPE, document.file_size)
    return ()


def _one(file_id: str, name: str, media_type: str, size: int | None) -> tuple[RemoteFile, ...]:
    return (RemoteFile(ref=file_id, name=name, media_type=media_type, size=size or 0),)


def _audio_type(given: str | None) -> str:
    return given if given and given.startswith("audio/") else "audio/mpeg"


def unusable(message: Message) -> Sentence | None:
    """What to say to a message that IT0 can make nothing of; None: it is not one of those."""
    if message.sticker:
        return sentence(
            "I cannot read stickers. Write me a text, or send a picture, a document or a "
            "voice note."
        )
    if message.location or message.venue:
        return sentence(
            "I cannot do anything with a location. Tell me in words which server or place you mean."
        )
    if message.contact:
        return sentence(
            "I cannot take contacts. To let somebody in, an admin sends me `/invite` and gives "
            "them the code."
        )
    if message.poll:
        return sentence("I cannot take part in polls. Write your question to me as a text.")
    if message.video or message.animation:
        return sentence(
            "I cannot watch videos. Send a screenshot, or describe in words what happens."
        )
    if message.dice or message.game or message.story or message.paid_media or message.checklist:
        return sentence(
            "I cannot use this kind of message. Write me a text, or send a picture, a document "
            "or a voice note."
        )
    return None
