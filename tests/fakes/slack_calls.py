"""One call of the Web API as a method sees it: who calls, and typed access to the arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.slack_model import App, Channel, Json, Message, SlackError
from tests.fakes.slack_team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """A call with a good token."""

    app: App
    team: Team
    args: Json
    switches: Switches

    def text(self, name: str) -> str:
        """A string argument, "" when absent."""
        value = self.args.get(name)
        return "" if value is None else str(value)

    def need(self, name: str) -> str:
        """A string argument that must be there."""
        value = self.text(name)
        if not value:
            raise SlackError("invalid_arguments", f"missing required field: {name}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean in any of its forms."""
        value = self.args.get(name)
        return default if value is None else str(value).lower() in {"1", "true"}

    def number(self, name: str, default: int) -> int:
        """A whole number."""
        try:
            return int(self.args.get(name) or default)
        except ValueError:
            raise SlackError("invalid_arguments", f"must be an integer: {name}") from None

    def structure(self, name: str) -> object:
        """JSON, also when it came as a string in a form."""
        value = self.args.get(name)
        if isinstance(value, str) and value:
            try:
                return json.loads(value)
            except ValueError:
                raise SlackError("invalid_json") from None
        return value

    def channel(self, name: str = "channel") -> Channel:
        """The channel; a user id means the direct messages with them."""
        wanted = self.need(name)
        if wanted in self.team.users:
            return self.team.dm(self.team.users[wanted])
        channel = self.team.channels.get(wanted)
        hidden = channel is not None and channel.kind == "group"
        if channel is None or (hidden and self.team.id not in channel.bots):
            raise SlackError("channel_not_found")
        return channel

    def writable(self, name: str = "channel") -> Channel:
        """A channel the bot can post to."""
        channel = self.channel(name)
        if channel.archived:
            raise SlackError("is_archived")
        if self.team.id not in channel.bots:
            raise SlackError("not_in_channel")
        return channel

    def message(self, channel: Channel, name: str = "ts") -> Message:
        """A message of the channel that is still there."""
        message = channel.messages.get(self.need(name))
        if message is None or message.deleted_at is not None:
            raise SlackError("message_not_found")
        return message

    def owns(self, message: Message) -> bool:
        """The caller's bot wrote it."""
        return message.bot_id == self.team.bot_id


@dataclass(slots=True, kw_only=True)
class Switches:
    """What this Slack can do; change it while it runs."""

    streaming: bool = True
    agents: bool = True
    stream_life_s: float = 300.0
    """An open stream ends by itself after this time, as users of the real one report."""
    stream_idle_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of the Web API."""

    run: Callable[[ApiCall], Json]
    tier: int
    scope: str = ""
    """One of these scopes is needed, separated by "|"; "" asks for none."""
    switch: str = ""
    """The switch that makes it known."""
    extra: Json = field(default_factory=dict)
