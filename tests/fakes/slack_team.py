"""A workspace: its people, channels and tokens, and what the app is told of it."""

from __future__ import annotations

import secrets
import time

from tests.fakes.slack_blocks import plain_text
from tests.fakes.slack_delivery import EVENTS, Delivery, Outbox
from tests.fakes.slack_events import (
    changed_event,
    deleted_event,
    envelope,
    mention_event,
    message_event,
    message_json,
)
from tests.fakes.slack_model import App, Channel, Json, Message
from tests.fakes.slack_responses import ResponseUrl
from tests.fakes.slack_user import User


class Team:
    """One workspace. ``statuses``, ``homes`` and the like are what the app has set there."""

    def __init__(
        self, app: App, outbox: Outbox, teams: dict[str, Team], name: str, scopes: str
    ) -> None:
        """``teams`` is every workspace by id, for shared channels."""
        self.app = app
        self.outbox = outbox
        self.teams = teams
        self.id = app.new_id("T")
        self.name = name
        self.domain = name.lower().replace(" ", "-")
        self.scopes = frozenset(scopes.split())
        self.bot_user_id = app.new_id("U")
        self.bot_id = app.new_id("B")
        self.tokens: dict[str, str] = {}
        """Each bot token with the error it gives; "" while it is good."""
        self.bot_token = ""
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.homes: dict[str, Json] = {}
        self.modals: list[Json] = []
        self.triggers: dict[str, float] = {}
        self.statuses: list[tuple[float, str, str, str]] = []
        """(time, channel, thread, status): assistant statuses and agent session statuses."""
        self.status_now: dict[tuple[str, str], str] = {}
        """The "is thinking..." line of each thread; the bot's next message in it removes it."""
        self.titles: dict[tuple[str, str], str] = {}
        self.prompts: dict[tuple[str, str], list[Json]] = {}
        self.sessions: dict[tuple[str, str], str] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        teams[self.id] = self

    # -- who and where ------------------------------------------------------------------

    @property
    def installed(self) -> bool:
        """The app has a good token here."""
        return self.tokens.get(self.bot_token) == ""

    @property
    def mention(self) -> str:
        """The bot's mention, to be put into a text."""
        return f"<@{self.bot_user_id}>"

    def install(self) -> str:
        """Install the app; return the bot token, which stays the same while it is good."""
        if not self.installed:
            self.bot_token = f"xoxb-{self.id}-{secrets.token_hex(8)}"
            self.tokens[self.bot_token] = ""
        return self.bot_token

    def user(
        self, name: str, *, locale: str = "en-US", tz: str = "Europe/London", is_bot: bool = False
    ) -> User:
        """The member of this name; made when new."""
        for user in self.users.values():
            if user.name == name:
                return user
        user = User(team=self, name=name, locale=locale, tz=tz, is_bot=is_bot)
        self.users[user.id] = user
        return user

    def channel(self, name: str, *, member: bool = True, private: bool = False) -> Channel:
        """The channel of this name; made when new. ``member`` says whether the bot is in it."""
        for channel in self.channels.values():
            if channel.name == name and channel.kind != "im":
                return channel
        kind = "group" if private else "channel"
        channel = Channel(id=self.app.new_id("C"), name=name, kind=kind, teams=[self.id])
        if member:
            channel.bots.add(self.id)
        self.channels[channel.id] = channel
        return channel

    def dm(self, user: User) -> Channel:
        """The direct messages between a user and the bot."""
        for channel in self.channels.values():
            if channel.user == user.id:
                return channel
        channel = Channel(
            id=self.app.new_id("D"), name="", kind="im", teams=[self.id], user=user.id
        )
        channel.bots.add(self.id)
        channel.members.add(user.id)
        self.channels[channel.id] = channel
        return channel

    def share(self, channel: Channel, other: Team) -> Channel:
        """Share a channel with another workspace; its people can write there then."""
        channel.teams.append(other.id)
        other.channels[channel.id] = channel
        return channel

    # -- what happens -------------------------------------------------------------------

    def add(self, channel: Channel, message: Message) -> Message:
        """Store a new message and tell the app."""
        message.shown.append((time.monotonic(), plain_text(message)))
        channel.messages[message.ts] = message
        channel.members.add(message.user)
        if message.app_id == self.app.id:
            self.status_now.pop((channel.id, message.thread_ts or ""), None)
        self.app.watch.changed()
        if message.bot_id is not None and message.app_id == self.app.id and not self.app.echo:
            return message
        parent = channel.messages.get(message.thread_ts or "")
        event = message_event(message, channel, parent)
        self.tell(event, channel)
        home = self._home(channel)
        mentioned = home is not None and home.mention in message.text
        if mentioned and channel.kind != "im" and message.app_id != self.app.id:
            self.tell(mention_event(event), channel)
        return message

    def changed(self, channel: Channel, message: Message, previous: Json, *, show: bool) -> None:
        """Tell the app that a message has changed; ``show`` adds to its history."""
        if show:
            message.shown.append((time.monotonic(), plain_text(message)))
        self.app.watch.changed()
        if message.app_id == self.app.id and not self.app.echo:
            return
        now = message_json(message)
        self.tell(changed_event(channel, self.app.ts(), now, previous), channel)

    def remove(self, channel: Channel, message: Message) -> None:
        """Delete a message; a root with replies leaves a tombstone."""
        previous = message_json(message)
        replies = [item for item in channel.thread(message.ts) if item is not message]
        message.deleted_at = time.monotonic()
        self.app.watch.changed()
        if message.app_id == self.app.id and not self.app.echo:
            return
        ts = self.app.ts()
        if replies:
            tomb = {
                **previous,
                "subtype": "tombstone",
                "text": "This message was deleted.",
                "user": "USLACKBOT",
                "hidden": True,
            }
            self.tell(changed_event(channel, ts, tomb, previous), channel)
        else:
            self.tell(deleted_event(channel, ts, previous), channel)

    def tell(self, event: Json, channel: Channel | None = None) -> Delivery | None:
        """Send an event, if the app is installed, in the channel, and subscribed."""
        home = self._home(channel)
        subscriptions = self.app.subscriptions
        if home is None or not (subscriptions is None or event["type"] in subscriptions):
            return None
        if channel is not None and home.id not in channel.bots:
            hidden = event["type"] != "app_mention" or channel.kind != "channel"
            if hidden:
                return None
        payload = envelope(
            self.app,
            event,
            team=home.id,
            bot_user=home.bot_user_id,
            context_team=home.id,
            shared=channel is not None and channel.shared,
        )
        return self.outbox.send(EVENTS, payload)

    def uninstall(self) -> None:
        """A workspace admin removes the app: its token dies and it is told."""
        event = {"type": "app_uninstalled", "event_ts": self.app.ts()}
        revoked = {
            "type": "tokens_revoked",
            "tokens": {"oauth": [], "bot": [self.bot_user_id]},
            "event_ts": self.app.ts(),
        }
        self.tell(revoked)
        self.tell(event)
        self.tokens[self.bot_token] = "account_inactive"

    def revoke_token(self) -> None:
        """The bot token is revoked and the app is told."""
        revoked = {
            "type": "tokens_revoked",
            "tokens": {"oauth": [], "bot": [self.bot_user_id]},
            "event_ts": self.app.ts(),
        }
        self.tell(revoked)
        self.tokens[self.bot_token] = "token_revoked"

    def bot_message(self, channel: Channel, text: str, *, name: str = "ci") -> Message:
        """Another app's bot writes, in the old form with ``subtype: bot_message``."""
        message = Message(
            channel=channel.id,
            ts=self.app.ts(),
            user="",
            team=self.id,
            text=text,
            subtype="bot_message",
            bot_id=self.app.new_id("B"),
            app_id="A0OTHERAPP",
            options={"username": name},
        )
        return self.add(channel, message)

    def response_url(self, channel: Channel, user: str, message: Message | None) -> ResponseUrl:
        """Make a ``response_url``."""
        key = secrets.token_hex(12)
        url = f"{self.app.base_url}/responses/{self.id}/{key}"
        made = ResponseUrl(url=url, channel=channel, user=user, message=message)
        self.response_urls[key] = made
        return made

    def _home(self, channel: Channel | None) -> Team | None:
        """The workspace on whose behalf the app hears of a channel."""
        ids = [self.id, *(channel.teams if channel is not None else [])]
        found = [self.teams[item] for item in ids if self.teams[item].installed]
        if channel is not None:
            found.sort(key=lambda team: team.id not in channel.bots)
        return found[0] if found else None
