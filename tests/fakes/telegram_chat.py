"""What people do in a chat of the fake Bot API; each act becomes the update the bot would get."""

from __future__ import annotations

from tests.fakes import telegram_media as media
from tests.fakes.telegram_errors import Json
from tests.fakes.telegram_hub import Hub
from tests.fakes.telegram_records import ANONYMOUS_ADMIN, Message, Person, Press, Topic
from tests.fakes.telegram_room import Room
from tests.fakes.telegram_text import Formatted, with_detected

_STATUS = {"blocked": "kicked", "kicked": "kicked", "left": "left", "member": "member"}


class Chat(Room):
    """A chat with people in it."""

    def __init__(
        self,
        hub: Hub,
        *,
        chat_id: int,
        kind: str,
        title: str = "",
        username: str = "",
        members: list[Person] | None = None,
    ) -> None:
        """Make it known to the hub."""
        super().__init__(hub, chat_id=chat_id, kind=kind, title=title, username=username)
        self.members = {person.id: person for person in members or []}
        hub.enter(self)

    @property
    def user(self) -> Person:
        """The person of a private chat."""
        return self.members[self.id]

    # -- messages -----------------------------------------------------------------------

    def say(
        self,
        user: Person | None,
        text: str,
        *,
        reply_to: Message | None = None,
        topic: Topic | None = None,
        entities: list[Json] | None = None,
        extra: Json | None = None,
    ) -> Message:
        """Write a text; commands, mentions and addresses in it become entities.

        ``user`` is None in a channel and ``ANONYMOUS_ADMIN`` for an admin in the group's name.
        ``extra`` adds or replaces fields of the API's Message (a quote, a forward).
        """
        given = with_detected(Formatted(text=text, entities=tuple(entities or ())))
        return self._arrive(user, given, reply_to, topic, extra or {})

    def photo(
        self,
        user: Person,
        data: bytes,
        *,
        caption: str = "",
        size: int | None = None,
        reply_to: Message | None = None,
        topic: Topic | None = None,
        extra: Json | None = None,
    ) -> Message:
        """Send a picture; ``size`` claims more bytes than there are."""
        content = media.photo(self.hub, data, size) | (extra or {})
        return self._arrive(user, _caption(caption), reply_to, topic, content)

    def album(
        self, user: Person, pictures: list[bytes], *, caption: str = "", topic: Topic | None = None
    ) -> list[Message]:
        """Send pictures together: an update each, one group id, the caption on the first."""
        group: Json = {"media_group_id": f"1377{self.hub.number():012d}"}
        return [
            self.photo(user, data, caption="" if at else caption, topic=topic, extra=group)
            for at, data in enumerate(pictures)
        ]

    def document(
        self,
        user: Person,
        name: str,
        data: bytes,
        *,
        media_type: str = "text/plain",
        caption: str = "",
        size: int | None = None,
        topic: Topic | None = None,
    ) -> Message:
        """Send a file; ``size`` claims more bytes than there are."""
        content = media.document(self.hub, name, data, media_type, size)
        return self._arrive(user, _caption(caption), None, topic, content)

    def voice(self, user: Person, data: bytes, *, duration: int = 3) -> Message:
        """Send a voice note."""
        return self._arrive(user, _caption(""), None, None, media.voice(self.hub, data, duration))

    def location(self, user: Person, latitude: float, longitude: float) -> Message:
        """Send a place."""
        return self._arrive(user, _caption(""), None, None, media.location(latitude, longitude))

    def sticker(self, user: Person, emoji: str = "👍") -> Message:
        """Send a sticker."""
        return self._arrive(user, _caption(""), None, None, media.sticker(self.hub, emoji))

    def edit(self, message: Message, text: str) -> None:
        """Change a person's text or caption."""
        given = with_detected(Formatted(text=text))
        message.texts.append((self.hub.clock(), given.text))
        message.entities = given.entities
        message.edit_date = self.hub.date()
        kind = "edited_channel_post" if self.kind == "channel" else "edited_message"
        message.update_id = self._tell(kind, message.json())

    def press(self, user: Person, message: Message, button: str, *, data: str = "") -> Press:
        """Press a button by its label; ``data`` sends what a tampered client would send."""
        press = Press(
            id=str(4_382_000_000_000 + self.hub.number()),
            at=self.hub.clock(),
            user=user,
            message=message,
            data=data or str(message.button(button)["callback_data"]),
        )
        self.hub.presses[press.id] = press
        press.update_id = self._tell(
            "callback_query",
            {
                "id": press.id,
                "from": user.json(),
                "message": message.json(),
                "chat_instance": str(-3_700_000_000 + self.id),
                "data": press.data,
            },
        )
        return press

    # -- the chat itself ----------------------------------------------------------------

    def topic(self, name: str, *, by: Person) -> Topic:
        """Open a forum topic; its messages carry the service message as what they reply to."""
        root = self.write(by, Formatted(text=""))
        root.content = {"forum_topic_created": {"name": name, "icon_color": 7322096}}
        root.thread_id, root.is_topic, root.by_bot = root.id, True, False
        topic = Topic(id=root.id, name=name, root=root)
        self.topics[topic.id] = topic
        root.update_id = self._tell("message", root.json())
        return topic

    def join(self, person: Person, *, by: Person | None = None) -> Message:
        """Let someone in."""
        self.members[person.id] = person
        content: Json = {"new_chat_members": [person.json()]}
        return self._arrive(by or person, _caption(""), None, None, content)

    def block(self) -> None:
        """The person of a private chat stops the bot."""
        self._become("blocked", self.user)

    def unblock(self) -> None:
        """The person starts the bot again."""
        self._become("member", self.user)

    def kick_bot(self, by: Person) -> None:
        """Throw the bot out."""
        self._become("kicked", by)

    def add_bot(self, by: Person) -> None:
        """Take the bot in (again)."""
        self._become("member", by)

    def bot_leaves(self) -> None:
        """What ``leaveChat`` does."""
        self._become("left", self.hub.bot)

    def migrate(self, *, by: Person | None = None) -> Chat:
        """Turn a group into a supergroup with a new id; return it."""
        by = by or next(iter(self.members.values()))
        chat = Chat(
            self.hub,
            chat_id=-1_001_000_000_000 - self.hub.number(),
            kind="supergroup",
            title=self.title,
            members=list(self.members.values()),
        )
        self.status, self.migrated_to = "migrated", chat.id
        self._arrive(by, _caption(""), None, None, {"migrate_to_chat_id": chat.id})
        chat._arrive(ANONYMOUS_ADMIN, _caption(""), None, None, {"migrate_from_chat_id": self.id})
        return chat

    def _arrive(
        self,
        user: Person | None,
        given: Formatted,
        reply_to: Message | None,
        topic: Topic | None,
        content: Json,
    ) -> Message:
        message = self.write(
            user,
            given,
            thread_id=topic.id if topic else None,
            reply_to=reply_to,
            content=content,
        )
        if self._is_for_bot(message):
            kind = "channel_post" if self.kind == "channel" else "message"
            message.update_id = self._tell(kind, message.json())
        return message

    def _is_for_bot(self, message: Message) -> bool:
        """Whether the bot gets it: it must be there, and addressed if privacy mode is on."""
        if self.status in {"left", "kicked", "blocked"}:
            return False
        if not self.hub.privacy or self.kind in {"private", "channel"} or not message.texts[-1][1]:
            return True
        name = f"@{self.hub.bot.username}"
        replied = message.reply_to is not None and message.reply_to.by_bot
        return replied or name in message.text or message.text.startswith("/")

    def _become(self, status: str, by: Person) -> None:
        before, self.status = _STATUS.get(self.status, "member"), status
        bot = self.hub.bot.json()

        def member(name: str) -> Json:
            until: Json = {"until_date": 0} if name == "kicked" else {}
            return {"user": bot, "status": name, **until}

        self._tell(
            "my_chat_member",
            {
                "chat": self.json,
                "from": by.json(),
                "date": self.hub.date(),
                "old_chat_member": member(before),
                "new_chat_member": member(_STATUS[status]),
            },
        )

    def _tell(self, kind: str, body: Json) -> int | None:
        number = self.hub.updates.add(kind, body, self.id)
        self.hub.changed()
        return number


def _caption(text: str) -> Formatted:
    return with_detected(Formatted(text=text))
