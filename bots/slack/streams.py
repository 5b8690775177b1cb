"""Answers that appear as they are written: ``chat.startStream`` and its companions.

A stream only grows, exists in threads alone, and ends by itself after some minutes. What this
process streamed is remembered here; whatever does not fit ends the stream, and the message is
edited from there on. (docs.slack.dev/reference/methods/chat.startStream)
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from bots.slack.errors import STREAM_OVER, Refused, Unclear
from bots.slack.fields import Json, text
from bots.slack.pace import Pace, shrink
from bots.slack.render import stream_text
from bots.slack.workspaces import Installation
from core.sinks import Destination, Throttled

_NOT_HERE = frozenset({"method_not_supported_for_channel_type", "not_allowed"})
_MOST_CHANNELS = 2_000
_MOST_OPEN = 2_000
_MOST_BEGUN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a message goes, and on whose behalf."""

    installation: Installation
    channel: str
    thread: str

    @property
    def workspace(self) -> str:
        """The workspace's id."""
        return self.installation.workspace


@dataclass(slots=True)
class _Stream:
    shown: str
    """What Slack was sent so far."""
    doubtful: bool = False
    """An answer of Slack was lost: what it shows is not known."""


@dataclass(slots=True)
class Streams:
    """The streams that this process has open."""

    pace: Pace
    _open: OrderedDict[tuple[str, str], _Stream] = field(default_factory=OrderedDict)
    _begun: OrderedDict[tuple[str, str], str] = field(default_factory=OrderedDict)
    """The turns whose streams this process began, also long after."""
    _not_here: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    """Channels of a kind in which Slack does not stream."""
    _without: set[str] = field(default_factory=set)
    """Workspaces whose Slack does not stream."""

    def admit(self, place: Place) -> bool:
        """Take a place among the streams that may begin now, if it can be streamed there."""
        where = (place.workspace, place.channel)
        if not place.thread or place.workspace in self._without or where in self._not_here:
            return False
        return self.pace.fits(place.workspace, "chat.startStream")

    async def start(self, place: Place, to: Destination, markdown: str) -> str | None:
        """Begin a message that was admitted; its ts, or None where it must be posted.

        Raises ``Unclear``.
        """
        if not to.sender:
            return None
        shown = stream_text(markdown)
        try:
            answer = await place.installation.call(
                "chat.startStream",
                channel=place.channel,
                thread_ts=place.thread,
                recipient_user_id=to.sender,
                recipient_team_id=place.workspace,
                markdown_text=shown or None,
            )
        except Refused as refusal:
            self._note(place, "chat.startStream", refusal)
            return None
        ts = text(answer, "ts")
        self._open[place.channel, ts] = _Stream(shown)
        self._begun[place.channel, ts] = to.turn_id
        shrink(self._open, _MOST_OPEN)
        shrink(self._begun, _MOST_BEGUN)
        return ts

    def may_be_of(self, place: Place, ts: str, turn_id: str) -> bool:
        """Whether an unfinished stream can belong to a turn, as far as this process knows."""
        return self._begun.get((place.channel, ts), turn_id) == turn_id

    async def extend(self, place: Place, ts: str, markdown: str) -> bool:
        """Show more; False where the message must be edited instead.

        Raises ``Throttled`` and ``Unclear``.
        """
        stream = self._open.get((place.channel, ts))
        if stream is None:
            return False
        wanted = stream_text(markdown)
        if stream.doubtful or not wanted.startswith(stream.shown):
            await self.end(place, ts)
            return False
        if wanted == stream.shown:
            return True
        self.pace.preview(place.workspace, "chat.appendStream")
        more = wanted[len(stream.shown) :]
        try:
            await self._call(place, "chat.appendStream", ts=ts, markdown_text=more)
        except Refused as refusal:
            if refusal.limited:
                raise Throttled(refusal.retry_after_s or 1.0) from None
            await self.end(place, ts)
            return False
        except Unclear:
            stream.doubtful = True
            raise
        stream.shown = wanted
        return True

    async def finish(
        self, place: Place, ts: str, markdown: str, blocks: list[Json], metadata: Json
    ) -> bool:
        """Make the stream the final text; False where the message must be edited instead."""
        stream = self._open.get((place.channel, ts))
        wanted = stream_text(markdown)
        if stream is None or stream.doubtful or not wanted.startswith(stream.shown):
            await self.end(place, ts)
            return False
        rest = wanted[len(stream.shown) :]
        await self.pace.final(place.workspace, "chat.stopStream")
        try:
            await self._call(
                place,
                "chat.stopStream",
                ts=ts,
                markdown_text=rest or None,
                blocks=blocks or None,
                metadata=metadata,
            )
        except Refused as refusal:
            if refusal.limited:
                raise
            await self.end(place, ts, over=refusal.reason in STREAM_OVER)
            return False
        except Unclear:
            stream.doubtful = True
            raise
        self._open.pop((place.channel, ts), None)
        return True

    async def end(self, place: Place, ts: str, *, over: bool = False) -> None:
        """End the stream, whoever began it; one that has ended already is fine.

        Raises ``DeliveryFailed`` where it cannot be known.
        """
        if not over:
            await self.pace.final(place.workspace, "chat.stopStream")
            try:
                await self._call(place, "chat.stopStream", ts=ts)
            except Refused as refusal:
                if refusal.limited:
                    raise
        self._open.pop((place.channel, ts), None)

    async def _call(self, place: Place, method: str, **arguments: object) -> None:
        try:
            await place.installation.call(method, channel=place.channel, **arguments)
        except Refused as refusal:
            self._note(place, method, refusal)
            raise

    def _note(self, place: Place, method: str, refusal: Refused) -> None:
        if refusal.limited:
            self.pace.punished(place.workspace, method, refusal.retry_after_s or 1.0)
        elif refusal.reason == "unknown_method":
            self._without.add(place.workspace)
        elif refusal.reason in _NOT_HERE:
            self._not_here[place.workspace, place.channel] = None
            shrink(self._not_here, _MOST_CHANNELS)
