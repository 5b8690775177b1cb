"""Answers that do not go through the Web API: ``response_url`` and the body of an ack."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fakes.slack_block_rules import check_blocks
from tests.fakes.slack_blocks import plain_text
from tests.fakes.slack_events import message_json
from tests.fakes.slack_model import Channel, Json, Message, SlackError

if TYPE_CHECKING:
    from tests.fakes.slack_team import Team

MAX_USES = 5
MAX_AGE_S = 1800.0


@dataclass(slots=True, kw_only=True)
class ResponseUrl:
    """A ``response_url``: five posts in 30 minutes. ``posts`` is what came, ``shown`` its text."""

    url: str
    channel: Channel
    user: str
    message: Message | None
    made_at: float = field(default_factory=time.monotonic)
    posts: list[Json] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    @property
    def used_up(self) -> bool:
        """No more posts are taken."""
        return time.monotonic() - self.made_at > MAX_AGE_S or len(self.posts) >= MAX_USES


def respond(team: Team, responses: ResponseUrl, body: Json) -> None:
    """Carry out one post. Raises ``SlackError``."""
    blocks = check_blocks(body.get("blocks") or [])
    text = body.get("text") or ""
    if not (text or blocks or body.get("delete_original")):
        raise SlackError("no_text")
    responses.posts.append(body)
    channel, original = responses.channel, responses.message
    if body.get("delete_original") and original is not None:
        if original.ephemeral_to is None:
            team.remove(channel, original)
        else:
            channel.ephemerals.remove(original)
        return
    if body.get("replace_original") and original is not None:
        previous = message_json(original)
        original.text, original.blocks = text, blocks
        responses.shown.append(plain_text(original))
        if original.ephemeral_to is None:
            team.changed(channel, original, previous, show=True)
        else:
            original.shown.append((time.monotonic(), plain_text(original)))
            team.app.watch.changed()
        return
    in_channel = body.get("response_type") == "in_channel"
    message = Message(
        channel=channel.id,
        ts=team.app.ts(),
        user=team.bot_user_id,
        team=team.id,
        text=text,
        blocks=blocks,
        thread_ts=body.get("thread_ts"),
        bot_id=team.bot_id,
        app_id=team.app.id,
        ephemeral_to=None if in_channel else responses.user,
    )
    responses.shown.append(plain_text(message))
    if in_channel:
        team.add(channel, message)
    else:
        message.shown.append((time.monotonic(), plain_text(message)))
        channel.ephemerals.append(message)
        team.app.watch.changed()


def respond_to_ack(team: Team, responses: ResponseUrl, answer: str) -> None:
    """Show what the acknowledgement of a slash command said: JSON or plain text."""
    try:
        body = json.loads(answer)
    except ValueError:
        body = {"text": answer}
    if isinstance(body, dict) and (body.get("text") or body.get("blocks")):
        respond(team, responses, body)
