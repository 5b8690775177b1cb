"""What reaches the core from a platform, in the core's own words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_TEXT_CHARS = 100_000
"""Longest message text that is accepted; longer text belongs in an attached file."""

MAX_ATTACHMENTS = 5
MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
"""Decoded, all attachments of a message together."""


ALBUM_MS = 1_000
"""Milliseconds of silence after which an album is complete."""


class Overlap(StrEnum):
    """What happens when a message arrives while its conversation is still answering."""

    QUEUE = "queue"
    """Runs after the current turn; the default for text."""
    INTERRUPT = "interrupt"
    """Stops the current turn and whatever waits, then runs; the default for speech."""
    STEER = "steer"
    """Joins the current turn at its next step, or queues if the turn has no more steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationAddress:
    """A place where people write: a Slack thread, a Telegram topic, a terminal.

    A place points to one conversation at a time; ``/new`` and ``/resume`` move the pointer.
    """

    platform: str
    workspace: str
    channel: str
    thread: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who wrote, as the platform names them; an identity row maps this to a user."""

    platform: str
    workspace: str
    external_id: str
    name: str = ""
    """How the platform shows the person; for an admin who lets a stranger in."""
    language: str = ""
    """The language the platform gives them, as an IETF tag (``en``, ``zh-hans``), if it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file whose bytes are already here."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRef:
    """A stored file, by the SHA-256 of its content; unique inside a tenant."""

    sha256: str
    name: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that is still at the platform; the turn fetches it."""

    ref: str
    """What the platform's ``FileSource`` needs to find it; opaque to the core."""
    name: str
    media_type: str
    """As the platform claims; ``audio/...`` is a voice note, which is transcribed."""
    size: int = 0
    """Bytes as the platform claims; 0 when it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """One message from a platform.

    ``event_id`` is the message's identity on its platform with the platform as prefix
    (``slack:T1:C1:1700000000.000100``): a second delivery with the same id changes nothing.
    """

    event_id: str
    address: ConversationAddress
    actor: Actor
    text: str
    attachments: tuple[Attachment, ...] = ()
    conversation_id: str | None = None
    """An explicit conversation, which must belong to the actor; else the address decides."""
    engine: str | None = None
    model: str | None = None
    overlap: Overlap = Overlap.QUEUE
    files: tuple[RemoteFile, ...] = ()
    """Files by reference, at most ``MAX_ATTACHMENTS`` with the others."""
    album: str | None = None
    """What the parts of an album share, with the platform as prefix. They come as messages of
    their own and become one turn, which waits ``ALBUM_MS`` for each next part."""
    group: str | None = None
    """The shared place whose link decides the tenant: a Slack workspace, a Telegram group.

    None where the person alone does: private chats, the API, the terminal.
    """
    source_ref: str = ""
    """The platform's id of this message, which replies can point to."""
    edit: str = ""
    """Of an edited message: what tells this edit from others of it, such as its time."""


def clean_text(text: str) -> str:
    """Make text safe to store and show: no lone surrogates, no control characters.

    Line feeds and tabs stay; CR LF becomes LF; NUL (which PostgreSQL cannot store), other
    C0 and C1 controls and DEL are dropped; a lone surrogate becomes U+FFFD.
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.translate(_CONTROLS)


_CONTROLS = {
    code: None for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"
}
