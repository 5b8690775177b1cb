"""What all chats of the fake Bot API share: time, ids, people, files, the queue of updates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from tests.fakes.telegram_errors import ApiError, Json, bad, forbidden
from tests.fakes.telegram_flood import FloodModel
from tests.fakes.telegram_records import Person, Press, StoredFile
from tests.fakes.telegram_updates import Updates

if TYPE_CHECKING:  # a chat knows its hub, the hub only the type of its chats
    from tests.fakes.telegram_chat import Chat


class Hub:
    """The shared state. ``clock`` is monotonic seconds; dates on the wire are wall time."""

    def __init__(
        self, *, bot: Person, clock: Callable[[], float] = time.monotonic, privacy: bool = False
    ) -> None:
        """``privacy``: in groups the bot gets only what is meant for it."""
        self.bot = bot
        self.clock = clock
        self.privacy = privacy
        self.people: dict[int, Person] = {bot.id: bot}
        self.chats: dict[int, Chat] = {}
        self.files: dict[str, StoredFile] = {}
        self.paths: dict[str, StoredFile] = {}
        self.presses: dict[str, Press] = {}
        self.flood: FloodModel | None = None
        self.updates = Updates(self.changed)
        self._changes: set[asyncio.Event] = set()
        self._message_ids = count(101)
        self._small_ids = count(1)
        self._names: dict[str, int] = {}

    def date(self) -> int:
        """Now, as the wire says it."""
        return int(time.time())

    def message_id(self) -> int:
        """The next id outside supergroups."""
        return next(self._message_ids)

    def number(self) -> int:
        """A small number that was never given before."""
        return next(self._small_ids)

    def person(self, person: Person) -> Person:
        """Make someone known."""
        self.people[person.id] = person
        return person

    def enter(self, chat: Chat) -> None:
        """Make a chat known."""
        self.chats[chat.id] = chat
        if chat.username:
            self._names[chat.username.lower()] = chat.id

    def store(self, name: str, data: bytes, size: int | None = None) -> Json:
        """Keep a file; return the fields every kind of file has."""
        number = self.number()
        kind, _, ending = name.rpartition("/")
        file = StoredFile(
            file_id=f"BQACAgIAAxkBAAI{number:06d}",
            path=f"{kind or 'documents'}/file_{number}.{ending.rpartition('.')[2]}",
            data=data,
            size=len(data) if size is None else size,
        )
        self.files[file.file_id] = self.paths[file.path] = file
        unique = f"AgAD{number:06d}"
        return {"file_id": file.file_id, "file_unique_id": unique, "file_size": file.size}

    def find(self, given: str) -> Chat:
        """The chat of a ``chat_id`` parameter. Raises ``ApiError``."""
        if not given:
            raise bad("chat_id is empty")
        if given.startswith("@"):
            key = self._names.get(given[1:].lower(), 0)
        else:
            key = int(given) if given.removeprefix("-").isdecimal() else 0
        chat = self.chats.get(key)
        if chat is None and key in self.people:
            raise forbidden("bot can't initiate conversation with a user")
        if chat is None:
            raise bad("chat not found")
        return chat

    def writable(self, given: str) -> Chat:
        """The same, if the bot may write there. Raises ``ApiError``."""
        chat = self.find(given)
        refusal = chat.refusal()
        if refusal is not None:
            raise refusal
        return chat

    def pay(self, chat_id: int, method: str) -> None:
        """Take a token of the chat's allowance. Raises ``ApiError``."""
        if self.flood is None:
            return
        retry_after = self.flood.admit(chat_id, method)
        if retry_after:
            raise ApiError(
                429,
                f"Too Many Requests: retry after {retry_after}",
                {"retry_after": retry_after},
            )

    def changed(self) -> None:
        """Tell those who wait that something happened."""
        for event in self._changes:
            event.set()

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float) -> None:
        """Wait until the predicate holds; it is asked again after each change."""
        event = asyncio.Event()
        self._changes.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                while not predicate():
                    await event.wait()
                    event.clear()
        finally:
            self._changes.discard(event)
