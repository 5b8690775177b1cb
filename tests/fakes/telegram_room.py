"""One chat of the fake Bot API: its messages, topics and drafts, and what the bot does there."""

from __future__ import annotations

from itertools import count

from tests.fakes.telegram_errors import NOT_MODIFIED, ApiError, Json, bad, forbidden
from tests.fakes.telegram_hub import Hub
from tests.fakes.telegram_records import DRAFT_LIFE_S, Draft, Message, Person, Topic
from tests.fakes.telegram_text import Formatted

GENERAL_TOPIC = 1


class Room:
    """The state of a chat. ``status`` is the bot's: member, left, kicked, blocked or migrated."""

    def __init__(
        self, hub: Hub, *, chat_id: int, kind: str, title: str = "", username: str = ""
    ) -> None:
        """``kind`` is private, group, supergroup or channel."""
        self.hub = hub
        self.id = chat_id
        self.kind = kind
        self.title = title
        self.username = username
        self.forum = False
        self.members: dict[int, Person] = {}
        self.status = "member"
        self.migrated_to = 0
        self.messages: dict[int, Message] = {}
        """Everything ever written here, deleted messages too."""
        self.topics: dict[int, Topic] = {}
        self.drafts: list[Draft] = []
        """Every draft that was shown, as it was shown."""
        self.actions: list[tuple[float, str]] = []
        """Chat actions ("typing") with the time of each."""
        self._draft_cleared = True
        self._ids = count(GENERAL_TOPIC + 1)

    @property
    def json(self) -> Json:
        """The API's Chat."""
        shape: Json = {"id": self.id, "type": self.kind}
        if self.kind == "private":
            person = self.members[self.id]
            shape["first_name"] = person.first_name
            names = {"last_name": person.last_name, "username": person.username}
            return shape | {key: value for key, value in names.items() if value}
        shape["title"] = self.title
        if self.username:
            shape["username"] = self.username
        if self.forum:
            shape["is_forum"] = True
        if self.kind == "group":
            shape["all_members_are_administrators"] = False
        return shape

    # -- what a test asks ---------------------------------------------------------------

    def shown(self, thread_id: int | None = None) -> list[Message]:
        """The bot's messages that stand here now, oldest first; of one topic if it is given."""
        return [
            message
            for message in self.messages.values()
            if message.by_bot
            and message.deleted_at is None
            and "new_chat_members" not in message.content
            and thread_id in {None, message.thread_id}
        ]

    def texts(self, thread_id: int | None = None) -> list[str]:
        """What the bot's messages show now."""
        return [message.text for message in self.shown(thread_id)]

    @property
    def draft(self) -> Draft | None:
        """The preview that people see now."""
        if self._draft_cleared or not self.drafts:
            return None
        draft = self.drafts[-1]
        return draft if self.hub.clock() - draft.at < DRAFT_LIFE_S else None

    # -- what the bot does --------------------------------------------------------------

    def refusal(self) -> ApiError | None:
        """Why the bot may not write here."""
        kind = f"{self.kind} chat"
        match self.status:
            case "blocked":
                return forbidden("bot was blocked by the user")
            case "kicked":
                return forbidden(f"bot was kicked from the {kind}")
            case "left":
                return forbidden(f"bot is not a member of the {kind}")
            case "migrated":
                return bad(
                    "group chat was upgraded to a supergroup chat",
                    {"migrate_to_chat_id": self.migrated_to},
                )
        return None

    def check_topic(self, thread_id: int | None, *, general: bool = False) -> None:
        """Refuse a topic that is not here, closed or deleted. Raises ``ApiError``."""
        if thread_id is None or (general and thread_id == GENERAL_TOPIC and self.forum):
            return
        topic = self.topics.get(thread_id)
        if topic is None or topic.deleted:
            raise bad("message thread not found")
        if topic.closed:
            raise bad("TOPIC_CLOSED")

    def message(self, message_id: int, purpose: str) -> Message:
        """A message that still stands. Raises ``ApiError``."""
        message = self.messages.get(message_id)
        if message is None or message.deleted_at is not None:
            raise bad(f"{purpose} not found")
        return message

    def own_message(self, message_id: int) -> Message:
        """A message that the bot may edit. Raises ``ApiError``."""
        message = self.message(message_id, "message to edit")
        if not message.by_bot:
            raise bad("message can't be edited")
        return message

    def post(
        self,
        given: Formatted,
        *,
        thread_id: int | None,
        reply_to: Message | None,
        markup: Json | None,
        content: Json | None = None,
    ) -> Message:
        """Send as the bot."""
        sender = None if self.kind == "channel" else self.hub.bot
        message = self.write(
            sender, given, thread_id=thread_id, reply_to=reply_to, content=content, by_bot=True
        )
        message.markup = markup
        self._draft_cleared = True
        self.hub.changed()
        return message

    def edit_as_bot(self, message: Message, given: Formatted, markup: Json | None) -> None:
        """Change text and keyboard. Raises ``ApiError``."""
        if message.shows(given, markup):
            raise bad(NOT_MODIFIED)
        if message.given != given:
            message.texts.append((self.hub.clock(), given.text))
        message.entities, message.markup = given.entities, markup
        message.edit_date = self.hub.date()
        self.hub.changed()

    def delete(self, message: Message) -> None:
        """Take a message away."""
        message.deleted_at = self.hub.clock()
        self.hub.changed()

    def show_draft(self, draft_id: int, given: Formatted, thread_id: int | None) -> None:
        """Show a preview in place of the one before."""
        self.drafts.append(
            Draft(
                at=self.hub.clock(),
                draft_id=draft_id,
                text=given.text,
                entities=given.entities,
                thread_id=thread_id,
            )
        )
        self._draft_cleared = False
        self.hub.changed()

    # -- both ---------------------------------------------------------------------------

    def write(
        self,
        sender: Person | None,
        given: Formatted,
        *,
        thread_id: int | None = None,
        reply_to: Message | None = None,
        content: Json | None = None,
        by_bot: bool = False,
    ) -> Message:
        """Add a message, in the shape the platform gives it."""
        topic = self.topics.get(thread_id) if thread_id is not None else None
        if topic is None and reply_to is not None and self.kind == "supergroup":
            topic = self.topics.get(reply_to.thread_id or 0)
            thread_id = reply_to.thread_id or (None if self.forum else reply_to.id)
        message = Message(
            id=next(self._ids) if self.kind in {"supergroup", "channel"} else self.hub.message_id(),
            chat_json=self.json,
            sender=sender,
            by_bot=by_bot,
            date=self.hub.date(),
            texts=[(self.hub.clock(), given.text)],
            entities=given.entities,
            thread_id=thread_id,
            is_topic=topic is not None,
            reply_to=reply_to or (topic.root if topic else None),
            content=content or {},
        )
        message.is_media = bool(message.content) and any(
            key in message.content for key in ("document", "photo", "voice", "video", "audio")
        )
        self.messages[message.id] = message
        return message
