"""What the fake Bot API keeps: people, messages, drafts, files, calls, weather."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.telegram_errors import Json
from tests.fakes.telegram_text import Formatted

DRAFT_LIFE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user or a bot."""

    id: int
    first_name: str
    language_code: str = ""
    username: str = ""
    last_name: str = ""
    is_bot: bool = False

    def json(self) -> Json:
        """The API's User."""
        shape: Json = {"id": self.id, "is_bot": self.is_bot, "first_name": self.first_name}
        for key in ("last_name", "username", "language_code"):
            if getattr(self, key):
                shape[key] = getattr(self, key)
        return shape


ANONYMOUS_ADMIN = Person(
    id=1087968824, first_name="Group", username="GroupAnonymousBot", is_bot=True
)
"""Who an administrator is that writes in the name of the group."""


@dataclass(slots=True, kw_only=True)
class Message:
    """One message. ``texts`` is all it showed (text or caption), with the time of each."""

    id: int
    chat_json: Json
    sender: Person | None
    by_bot: bool
    date: int
    texts: list[tuple[float, str]]
    entities: tuple[Json, ...] = ()
    markup: Json | None = None
    thread_id: int | None = None
    is_topic: bool = False
    reply_to: Message | None = None
    content: Json = field(default_factory=dict)
    """The API's other fields: a document, a photo, a service message."""
    is_media: bool = False
    edit_date: int | None = None
    deleted_at: float | None = None
    update_id: int | None = None
    """The update that brought it to the bot, for ``redeliver``; None if none did."""

    @property
    def text(self) -> str:
        """What it shows now; empty after it was deleted."""
        return "" if self.deleted_at is not None else self.texts[-1][1]

    @property
    def given(self) -> Formatted:
        """Its text with entities."""
        return Formatted(text=self.text, entities=self.entities)

    def button(self, text: str) -> Json:
        """The button with this label. Raises LookupError."""
        for row in (self.markup or {}).get("inline_keyboard", []):
            for button in row:
                if button["text"] == text:
                    found: Json = button
                    return found
        raise LookupError(f"message {self.id} has no button {text!r}")

    def shows(self, given: Formatted, markup: Json | None) -> bool:
        """Whether an edit to this would change nothing."""
        return self.given == given and self.markup == markup

    def json(self, *, nested: bool = False) -> Json:
        """The API's Message; a message inside another shows no further one."""
        shape: Json = {"message_id": self.id}
        if self.sender is not None:
            shape["from"] = self.sender.json()
        if self.sender is None or self.sender is ANONYMOUS_ADMIN:
            shape["sender_chat"] = self.chat_json
        shape |= {"chat": self.chat_json, "date": self.date}
        if self.thread_id is not None:
            shape["message_thread_id"] = self.thread_id
        if self.is_topic:
            shape["is_topic_message"] = True
        if self.edit_date is not None:
            shape["edit_date"] = self.edit_date
        if self.reply_to is not None and not nested:
            shape["reply_to_message"] = self.reply_to.json(nested=True)
        shape |= self.content
        if self.texts[-1][1]:
            shape["caption" if self.is_media else "text"] = self.texts[-1][1]
        if self.entities:
            key = "caption_entities" if self.is_media else "entities"
            shape[key] = list(self.entities)
        if self.markup is not None:
            shape["reply_markup"] = self.markup
        return shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A preview shown in a private chat; empty text is the "Thinking..." placeholder."""

    at: float
    draft_id: int
    text: str
    entities: tuple[Json, ...]
    thread_id: int | None


@dataclass(slots=True, kw_only=True)
class Topic:
    """A forum topic; its id is the id of the service message that made it."""

    id: int
    name: str
    root: Message
    closed: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of the platform. ``size`` may claim more than ``data`` holds."""

    file_id: str
    path: str
    data: bytes
    size: int


@dataclass(slots=True, kw_only=True)
class Press:
    """One press of a button, and how the bot answered it."""

    id: str
    at: float
    user: Person
    message: Message
    data: str
    update_id: int | None = None
    answers: list[Json] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that reached the fake; ``params`` are as sent, all strings.

    ``status`` is what the server decided; ``lost`` says that the caller never read it.
    """

    at: float
    method: str
    chat_id: int
    status: int
    description: str
    params: dict[str, str]
    lost: bool = False


@dataclass(slots=True, kw_only=True)
class Weather:
    """What the server does to its callers. Change it while it runs."""

    down: bool = False
    """Answers every call 502 with a page, as the proxy in front does, without an effect."""
    dropped: int = 0
    """This many of the next calls lose their connection before any effect."""
    limited: int = 0
    """This many of the next calls are answered 429, without an effect or a penalty."""
    limited_share: float = 0.0
    """The share of all calls that are answered 429."""
    retry_after_s: int = 1
    lost_answers: int = 0
    """This many of the next calls take effect, but their connection closes unanswered."""
    only: frozenset[str] = frozenset()
    """Methods that drops, limits and losses hit; empty: all but getMe and getUpdates."""

    def hits(self, method: str) -> bool:
        """Whether drops, limits and losses are for this method."""
        return method in self.only if self.only else method not in {"getMe", "getUpdates"}
