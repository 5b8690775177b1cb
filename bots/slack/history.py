"""The bot's own messages at a place, as Slack has them: how a lost reply is found again."""

from __future__ import annotations

from bots.slack.errors import Refused
from bots.slack.fields import Json, nodes, text
from bots.slack.pace import Pace
from bots.slack.streams import Place

_PAGE = 200
_MOST_PAGES = 5


async def own_messages(pace: Pace, place: Place, after: str) -> list[Json]:
    """Those of the thread, or of direct messages without one, oldest first.

    After a slash command, which is no message, only the newest are looked at. Raises
    ``DeliveryFailed``.
    """
    found: list[Json] = []
    cursor = ""
    for _ in range(_MOST_PAGES):
        answer = await _page(pace, place, after, cursor)
        found += nodes(answer, "messages")
        cursor = text(answer, "response_metadata", "next_cursor")
        if not cursor or not after:
            break
    own = place.installation.bot_user
    mine = [item for item in found if text(item, "user") == own and text(item, "ts") > after]
    return sorted(mine, key=lambda item: text(item, "ts"))


async def _page(pace: Pace, place: Place, after: str, cursor: str) -> Json:
    method = "conversations.replies" if place.thread else "conversations.history"
    await pace.final(place.workspace, method)
    try:
        return await place.installation.call(
            method,
            channel=place.channel,
            ts=place.thread or None,
            oldest=after or None,
            limit=_PAGE,
            include_all_metadata="true",
            cursor=cursor or None,
        )
    except Refused as refusal:
        if refusal.limited:
            pace.punished(place.workspace, method, refusal.retry_after_s or 1.0)
        raise
