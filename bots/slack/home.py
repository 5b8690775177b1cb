"""The Home tab and the suggested prompts: what somebody sees before the first question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from bots.slack.errors import Refused
from bots.slack.events import Opened
from bots.slack.fields import Json
from bots.slack.manifest import COMMAND, SUGGESTED_PROMPTS
from bots.slack.notices import as_typed
from bots.slack.people import People
from bots.slack.ports import Recent, Summary
from bots.slack.render import blocks
from bots.slack.seldom import Seldom
from bots.slack.workspaces import Installation
from core.commands import ConversationInfo
from core.commands_text import escape
from core.messages import Actor
from core.refusals import STRANGER_CODES, Rejected
from core.words import Words

LISTED = 10


def view(actor: Actor, recent: tuple[ConversationInfo, ...] | Rejected, summary: str = "") -> Json:
    """The Home tab of a person; ``summary`` is Markdown."""
    words = Words(actor.language)
    greeting = words("Hello {name}!", name=escape(actor.name)) if actor.name else words("Hello!")
    lines = [f"**{greeting}**", ""]
    if isinstance(recent, Rejected):
        lines += [
            as_typed(words.of(recent.sentence)),
            "",
            words("Write me a direct message: I answer with what an admin needs to let you in."),
        ]
        return _view(blocks("\n".join(lines)))
    lines += [
        words(
            "Ask me in our direct messages, or mention me in a channel: I answer in the thread. "
            "In a thread I answer whoever mentions me."
        ),
        "",
        words("`{command} help` lists what I can do.", command=COMMAND),
    ]
    made = blocks("\n".join(lines))
    made += blocks(as_typed(summary))
    made += blocks("\n".join(_conversations(words, recent)))
    return _view(made)


async def show(
    opened: Opened,
    installation: Installation,
    recent: Recent,
    people: People,
    seldom: Seldom,
    summary: Summary,
) -> None:
    """Publish the Home tab, or offer prompts; once an hour a Home tab to a stranger.

    Raises ``DeliveryFailed``.
    """
    workspace, user = installation.workspace, opened.actor.external_id
    found = await recent.recent(opened.actor, workspace, limit=LISTED)
    stranger = isinstance(found, Rejected) and found.code in STRANGER_CODES
    if stranger and not (opened.home and seldom.allows("home", workspace, user)):
        return
    actor = await people.describe(installation, opened.actor)
    if not opened.home:
        await _offer(opened, installation, Words(actor.language))
        return
    await installation.call(
        "views.publish",
        user_id=actor.external_id,
        view=view(actor, found, await summary.summary(actor, workspace)),
    )


async def _offer(opened: Opened, installation: Installation, words: Words) -> None:
    prompts = [
        {"title": words.of(title), "message": words.of(message)}
        for title, message in SUGGESTED_PROMPTS
    ]
    try:
        await installation.call(
            "assistant.threads.setSuggestedPrompts",
            channel_id=opened.channel,
            thread_ts=opened.thread or None,
            prompts=prompts,
        )
    except Refused as refusal:
        if refusal.reason != "unknown_method":
            raise


def _conversations(words: Words, recent: tuple[ConversationInfo, ...]) -> list[str]:
    if not recent:
        return [words("You have no conversations yet.")]
    lines = [f"## {words('Your recent conversations')}", ""]
    for info in recent:
        at = datetime.fromtimestamp(info.updated_at_ms / 1000, UTC)
        lines.append(
            f"- {escape(info.title)} `{info.id[-8:]}` · {info.platform} · {at:%d %b %H:%M} UTC"
        )
    lines += ["", words("`{command} resume ID` goes on with one of them.", command=COMMAND)]
    return lines


def _view(made: Sequence[Json]) -> Json:
    return {"type": "home", "blocks": made}
