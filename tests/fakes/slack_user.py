"""A person in a workspace and what they do; each act tells the app what Slack would tell it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.fakes.slack_blocks import elements_with_action
from tests.fakes.slack_delivery import COMMANDS, INTERACTIVE, Delivery
from tests.fakes.slack_events import file_shape, message_json, rich_text
from tests.fakes.slack_model import Channel, File, Json, Message
from tests.fakes.slack_responses import ResponseUrl, respond_to_ack

if TYPE_CHECKING:
    from tests.fakes.slack_team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A slash command or a button press; ``responses.posts`` is what came to its URL."""

    delivery: Delivery
    responses: ResponseUrl
    trigger_id: str


class User:
    """A member. Every act returns at once; the delivery goes on in the background."""

    def __init__(self, *, team: Team, name: str, locale: str, tz: str, is_bot: bool) -> None:
        """Use ``Team.user``."""
        self.team = team
        self.id = team.app.new_id("U")
        self.name = name
        self.real_name = name.title()
        self.email = f"{name}@{team.domain}.example"
        self.locale = locale
        self.tz = tz
        self.is_bot = is_bot
        self.deleted = False

    # -- messages -----------------------------------------------------------------------

    def say(
        self,
        channel: Channel,
        text: str,
        *,
        thread_ts: str | None = None,
        files: Sequence[File] = (),
        broadcast: bool = False,
    ) -> Message:
        """Write a message; ``text`` is Slack's form (``<@U...>``), see ``Team.mention``."""
        app = self.team.app
        subtype = "thread_broadcast" if broadcast else "file_share" if files else None
        message = Message(
            channel=channel.id,
            ts=app.ts(),
            user=self.id,
            team=self.team.id,
            text=text,
            thread_ts=thread_ts,
            blocks=rich_text(app, text) if text else [],
            files=list(files),
            subtype=subtype,
            client_msg_id=None if files else str(uuid.uuid4()),
            bot_id=app.new_id("B") if self.is_bot else None,
        )
        return self.team.add(channel, message)

    def edit(self, message: Message, text: str) -> None:
        """Change one's own message."""
        channel, previous = self._mine(message), message_json(message)
        message.text = text
        message.blocks = rich_text(self.team.app, text)
        message.edited = {"user": self.id, "ts": self.team.app.ts()}
        self.team.changed(channel, message, previous, show=True)

    def unfurl(self, message: Message) -> None:
        """What Slack sends after a link: the same text, an attachment, no ``edited``."""
        channel, shape = self.team.channels[message.channel], message_json(message)
        attachment = {"id": 1, "from_url": "https://example.com/", "title": "Example"}
        event_ts = self.team.app.ts()
        event = {
            "type": "message",
            "subtype": "message_changed",
            "message": {**shape, "attachments": [attachment]},
            "previous_message": shape,
            "channel": channel.id,
            "hidden": True,
            "ts": event_ts,
            "event_ts": event_ts,
            "channel_type": channel.kind,
        }
        self.team.tell(event, channel)

    def delete(self, message: Message) -> None:
        """Delete one's own message."""
        self.team.remove(self._mine(message), message)

    def join(self, channel: Channel) -> Message:
        """Join a channel."""
        message = Message(
            channel=channel.id,
            ts=self.team.app.ts(),
            user=self.id,
            team=self.team.id,
            text=f"<@{self.id}> has joined the channel",
            subtype="channel_join",
        )
        return self.team.add(channel, message)

    def file(self, name: str, mimetype: str, data: bytes, *, subtype: str | None = None) -> File:
        """A file to be given to ``say``; ``subtype="slack_audio"`` makes it a voice clip."""
        app = self.team.app
        file = File(
            id=app.new_id("F"),
            team=self.team.id,
            name=name,
            mimetype=mimetype,
            data=data,
            shape={},
        )
        file.shape = file_shape(app, file, self.id, subtype)
        app.files[file.id] = file
        return file

    # -- commands and buttons -----------------------------------------------------------

    def slash(self, command: str, text: str, channel: Channel) -> Interaction:
        """Type a slash command."""
        responses, trigger = self._response(channel, None), self._trigger()
        kinds = {"im": "directmessage", "group": "privategroup"}
        form = {
            "token": self.team.app.verification_token,
            "team_id": self.team.id,
            "team_domain": self.team.domain,
            "channel_id": channel.id,
            "channel_name": kinds.get(channel.kind, channel.name),
            "user_id": self.id,
            "user_name": self.name,
            "command": command,
            "text": text,
            "api_app_id": self.team.app.id,
            "is_enterprise_install": "false",
            "response_url": responses.url,
            "trigger_id": trigger,
        }
        delivery = self.team.outbox.send(
            COMMANDS, form, on_answer=partial(respond_to_ack, self.team, responses)
        )
        return Interaction(delivery=delivery, responses=responses, trigger_id=trigger)

    def press(self, message: Message, action_id: str, side: str = "positive") -> Interaction:
        """Press a button that the message shows; ``side`` chooses between feedback buttons.

        Raises ``LookupError`` where no such button is shown: nobody can press it.
        """
        channel = self.team.channels[message.channel]
        stream_blocks = message.stream.blocks if message.stream else []
        action = self._action([*stream_blocks, *message.blocks], action_id, side)
        responses = self._response(channel, message)
        container = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": message.ephemeral_to is not None,
        }
        if message.thread_ts is not None:
            container["thread_ts"] = message.thread_ts
        return self._interact(
            {
                "type": "block_actions",
                "container": container,
                "channel": {"id": channel.id, "name": channel.name or "directmessage"},
                "message": message_json(message),
                "state": {"values": {}},
                "response_url": responses.url,
                "actions": [action],
            },
            responses,
        )

    def press_home(self, action_id: str) -> Interaction:
        """Press a button of one's App Home."""
        view = self.team.homes[self.id]
        action = self._action(view["blocks"], action_id, "positive")
        payload = {
            "type": "block_actions",
            "container": {"type": "view", "view_id": view["id"]},
            "view": view,
            "actions": [action],
        }
        return self._interact(payload, self._response(self.team.dm(self), None))

    # -- the app's own places -----------------------------------------------------------

    def opens_home(self, tab: str = "home") -> Delivery | None:
        """Open the App Home; tab "messages" is how the agent view begins."""
        event: Json = {
            "type": "app_home_opened",
            "user": self.id,
            "channel": self.team.dm(self).id,
            "tab": tab,
            "event_ts": self.team.app.ts(),
        }
        if tab == "home" and self.id in self.team.homes:
            event["view"] = self.team.homes[self.id]
        return self.team.tell(event)

    def starts_assistant_thread(self, channel: Channel | None = None) -> Message:
        """Open the assistant pane, perhaps while looking at a channel; return the thread's root."""
        dm, app = self.team.dm(self), self.team.app
        ts = app.ts()
        root = Message(
            channel=dm.id,
            ts=ts,
            user=self.team.bot_user_id,
            team=self.team.id,
            text="New Assistant Thread",
            thread_ts=ts,
            subtype="assistant_app_thread",
            bot_id=self.team.bot_id,
            app_id=app.id,
        )
        dm.messages[ts] = root
        context = {"channel_id": channel.id, "team_id": self.team.id} if channel else {}
        self.team.tell(
            {
                "type": "assistant_thread_started",
                "assistant_thread": {
                    "user_id": self.id,
                    "context": {**context, "enterprise_id": None},
                    "channel_id": dm.id,
                    "thread_ts": ts,
                },
                "event_ts": app.ts(),
            }
        )
        return root

    def stops(self, channel: Channel, thread_ts: str) -> None:
        """Click Slack's own stop button: open streams of the thread end at once."""
        stopped = []
        for message in channel.thread(thread_ts):
            if message.stream is not None and message.streaming:
                message.stream.state = "stopped_by_user"
                stopped.append(message.ts)
        self.team.tell(
            {
                "type": "agent_session_stopped",
                "channel": channel.id,
                "thread_ts": thread_ts,
                "user": self.id,
                "streaming_message_ts": stopped,
                "event_ts": self.team.app.ts(),
            }
        )

    # -- parts --------------------------------------------------------------------------

    def _mine(self, message: Message) -> Channel:
        if message.user != self.id:
            raise PermissionError(f"{self.name} did not write {message.ts}")
        return self.team.channels[message.channel]

    def _trigger(self) -> str:
        trigger = self.team.app.trigger_id()
        self.team.triggers[trigger] = time.monotonic()
        return trigger

    def _response(self, channel: Channel, message: Message | None) -> ResponseUrl:
        return self.team.response_url(channel, self.id, message)

    def _action(self, blocks: list[Json], action_id: str, side: str) -> Json:
        for block, element in elements_with_action(blocks):
            if element["action_id"] != action_id:
                continue
            chosen = element.get(f"{side}_button", element)
            action = {
                "action_id": action_id,
                "block_id": block.get("block_id", ""),
                "type": element["type"],
                "action_ts": self.team.app.ts(),
            }
            if element["type"] in {"static_select", "overflow"}:
                return {**action, "selected_option": element["options"][0]}
            parts = {name: chosen[name] for name in ("text", "value") if name in chosen}
            return {**action, **parts}
        raise LookupError(f"no element {action_id!r} is shown")

    def _interact(self, payload: Json, responses: ResponseUrl) -> Interaction:
        trigger = self._trigger()
        payload |= {
            "user": {
                "id": self.id,
                "username": self.name,
                "name": self.name,
                "team_id": self.team.id,
            },
            "api_app_id": self.team.app.id,
            "token": self.team.app.verification_token,
            "trigger_id": trigger,
            "team": {"id": self.team.id, "domain": self.team.domain},
            "enterprise": None,
            "is_enterprise_install": False,
        }
        delivery = self.team.outbox.send(INTERACTIVE, payload)
        return Interaction(delivery=delivery, responses=responses, trigger_id=trigger)
