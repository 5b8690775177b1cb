"""Replies in Slack: streamed where Slack streams, else posted and edited; found after a crash."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import structlog

from bots.slack.controls import (
    EVENT_TYPE,
    approval_buttons,
    feedback,
    metadata,
    offer_button,
    status_line,
    stop_button,
)
from bots.slack.errors import BAD_BLOCKS, Refused
from bots.slack.events import is_direct
from bots.slack.fields import Json, node, number, text
from bots.slack.history import own_messages
from bots.slack.manifest import COMMAND
from bots.slack.notices import as_typed
from bots.slack.pace import PLACEHOLDER as PLACEHOLDERS
from bots.slack.pace import Pace, channel_key, shrink
from bots.slack.render import MAX_CHARS, blocks, fallback, measure
from bots.slack.streams import Place, Streams
from bots.slack.workspaces import Installation, Workspaces
from core.buttons import Buttons
from core.replies import PLACEHOLDER
from core.sinks import DeliveryFailed, Destination, SinkLimits, Throttled, View
from core.words import Words

EDIT_INTERVAL_S = 1.0
SETTLE_S = 5.0
"""A post without an answer may still appear for so long; then it is looked for."""
_MOST_REMEMBERED = 10_000
_AGENT_METHODS_MISSING = frozenset({"unknown_method", "missing_scope", "not_allowed_token_type"})

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ref:
    """The id of a posted part, as the core keeps it."""

    channel: str
    ts: str
    part: int
    streamed: bool = False

    def __str__(self) -> str:
        ending = ":stream" if self.streamed else ""
        return f"{self.channel}:{self.ts}:{self.part}{ending}"

    @classmethod
    def read(cls, ref: str) -> _Ref:
        channel, ts, part, *streamed = ref.split(":")
        return cls(channel=channel, ts=ts, part=int(part), streamed=bool(streamed))


@dataclass(slots=True, kw_only=True)
class DirectMessages:
    """The direct messages with a person, found once."""

    _channels: OrderedDict[tuple[str, str], str] = field(default_factory=OrderedDict)

    async def of(self, installation: Installation, user: str) -> str:
        """The channel. Raises ``DeliveryFailed``."""
        key = (installation.workspace, user)
        if key not in self._channels:
            answer = await installation.call("conversations.open", users=user)
            self._channels[key] = text(answer, "channel", "id")
            shrink(self._channels, _MOST_REMEMBERED)
        return self._channels[key]


class SlackSink:
    """Implements ``core.sinks.ReplySink``."""

    def __init__(
        self, workspaces: Workspaces, buttons: Buttons, direct: DirectMessages, pace: Pace
    ) -> None:
        """``direct`` is shared with the other parts of the adapter."""
        self._workspaces = workspaces
        self._buttons = buttons
        self._direct = direct
        self._pace = pace
        self._streams = Streams(pace)
        self._plain_buttons: set[str] = set()
        """Workspaces whose Slack does not know feedback buttons."""
        self._no_status: set[str] = set()
        self._statuses: OrderedDict[str, str] = OrderedDict()
        self._admitted: OrderedDict[str, None] = OrderedDict()
        """Turns that have a place among the streams that may begin now."""

    @property
    def limits(self) -> SinkLimits:
        """What Slack allows."""
        return SinkLimits(
            max_chars=MAX_CHARS,
            edit_interval_s=EDIT_INTERVAL_S,
            measure=_measure,
            findable=True,
            settle_s=SETTLE_S,
        )

    async def draft(self, to: Destination, view: View) -> bool:
        """See the port: normally False, because Slack has no previews that are no messages.

        Where so many answers are being written that Slack takes no more edits, it is better
        to show at most a status and to post the answer when it is there.
        """
        place = await self._place_if_any(to)
        if place is None:
            return True
        if self._streams.admit(place):
            self._admitted[to.turn_id] = None
            shrink(self._admitted, _MOST_REMEMBERED)
            return False
        busy = self._pace.busy(place.workspace, channel_key(place.channel))
        if not busy and self._pace.fits(place.workspace, PLACEHOLDERS):
            return False
        if place.thread:
            await self._show_status(place, to.turn_id, view.status or _thinking(to))
        return True

    async def post(self, to: Destination, part: int, view: View) -> str:
        """See the port. The message carries (turn, part) unless it is a stream."""
        try:
            return await self._post(await self._place(to), to, part, _as_shown(to, view))
        except DeliveryFailed as failure:
            if failure.permanent and view.final and _aside(to):
                await self._send_aside(to)
            raise

    async def _post(self, place: Place, to: Destination, part: int, view: View) -> str:
        if not view.final and self._may_stream(place, to):
            shown = "" if view.text == PLACEHOLDER else view.text
            ts = await self._streams.start(place, to, shown)
            if ts is not None:
                ref = _Ref(channel=place.channel, ts=ts, part=part, streamed=True)
                await self._show_status(place, str(ref), view.status)
                return str(ref)
        async with self._turn_to_post(place, final=view.final):
            to.check()
            answer = await self._send(
                place,
                "chat.postMessage",
                to,
                view,
                thread_ts=place.thread or None,
                metadata=metadata(to.turn_id, part),
                unfurl_links=False,
                unfurl_media=False,
            )
        return str(_Ref(channel=place.channel, ts=text(answer, "ts"), part=part))

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """See the port. An answer that somebody deleted stays deleted."""
        known, view = _Ref.read(ref), _as_shown(to, view)
        place = Place(
            installation=await self._workspaces.need(to.address.workspace),
            channel=known.channel,
            thread=to.address.thread if known.channel == to.address.channel else "",
        )
        if known.streamed and view.waiting:  # Slack reads streamed text itself: no card in it
            await self._streams.end(place, known.ts)
            await self._show_status(place, ref, "")
        elif known.streamed and await self._stream(to, place, known, view):
            return
        if view.final:
            await self._pace.final(place.workspace, "chat.update")
        else:
            self._pace.preview(place.workspace, "chat.update")
        to.check()
        tag = metadata(to.turn_id, known.part)
        await self._send(place, "chat.update", to, view, ts=known.ts, metadata=tag)

    async def find(self, to: Destination, part: int) -> str | None:
        """See the port.

        Of the bot's messages after the one that is answered it is the one tagged with (turn,
        part), else the untagged one of this rank, which is a stream that was not finished:
        turns of a conversation never overlap.
        """
        place = await self._place_if_any(to)
        if place is None:
            return None
        tagged_before, untagged = 0, list[str]()
        for message in await own_messages(self._pace, place, to.source_ref):
            tag = node(message, "metadata")
            if not tag and self._streams.may_be_of(place, text(message, "ts"), to.turn_id):
                untagged.append(text(message, "ts"))
            elif text(tag, "event_type") == EVENT_TYPE and _turn_of(tag) == to.turn_id:
                number_ = number(tag, "event_payload", "part")
                if number_ == part:
                    return str(_Ref(channel=place.channel, ts=text(message, "ts"), part=part))
                tagged_before += number_ < part
        rank = part - 1 - tagged_before
        if not place.thread or not to.source_ref or rank >= len(untagged):
            return None
        return str(_Ref(channel=place.channel, ts=untagged[rank], part=part, streamed=True))

    # -- where --------------------------------------------------------------------------

    async def _place(self, to: Destination) -> Place:
        installation = await self._workspaces.need(to.address.workspace)
        channel, thread = to.address.channel, to.address.thread
        if _aside(to):
            channel, thread = await self._direct.of(installation, to.sender), ""
        return Place(installation=installation, channel=channel, thread=thread)

    async def _place_if_any(self, to: Destination) -> Place | None:
        """None where a private answer has none: ``post`` then tells its reader so."""
        try:
            return await self._place(to)
        except DeliveryFailed as failure:
            if failure.permanent and _aside(to):
                return None
            raise

    async def _send_aside(self, to: Destination) -> None:
        """Tell who asked, where they asked and to nobody else, why they see no answer there.

        Raises ``DeliveryFailed`` where that can be tried again.
        """
        installation = await self._workspaces.need(to.address.workspace)
        words = Words(to.language)
        said = words(
            "That is for your eyes only, and Slack does not let me write you directly. "
            "Open a direct chat with me (click my name, then Message) and ask again there."
        )
        begun = to.address.thread != to.source_ref
        try:
            await installation.call(
                "chat.postEphemeral",
                channel=to.address.channel,
                user=to.sender,
                thread_ts=(to.address.thread or None) if begun else None,
                text=fallback(said),
                blocks=blocks(said),
            )
        except DeliveryFailed as failure:
            if not failure.permanent:
                raise
            _log.warning("slack.nobody_told", turn=to.turn_id, code=failure.code)

    # -- how ----------------------------------------------------------------------------

    def _may_stream(self, place: Place, to: Destination) -> bool:
        """Whether the next message may be a stream; ``draft`` has admitted the first."""
        if to.turn_id in self._admitted:
            del self._admitted[to.turn_id]
            return True
        return self._streams.admit(place)

    @asynccontextmanager
    async def _turn_to_post(self, place: Place, *, final: bool) -> AsyncGenerator[None]:
        if not final:
            await self._pace.placeholder(place.workspace, place.channel)
            yield
            return
        async with self._pace.post(place.workspace, place.channel):
            yield

    async def _stream(self, to: Destination, place: Place, ref: _Ref, view: View) -> bool:
        """Show it in the message's stream; False when it has to be edited."""
        if not view.final:
            shown = "" if view.text == PLACEHOLDER else view.text
            if not await self._streams.extend(place, ref.ts, shown):
                return False
            await self._show_status(place, str(ref), view.status)
            return True
        done = await self._streams.finish(
            place,
            ref.ts,
            view.text,
            self._controls(to, place, view),
            metadata(to.turn_id, ref.part),
        )
        await self._show_status(place, str(ref), "")
        return done

    async def _send(
        self, place: Place, method: str, to: Destination, view: View, **more: object
    ) -> Json:
        """Post or edit, with as much as this Slack understands."""
        body: list[Json] = [*blocks(view.text)]
        if view.status:
            body.append(status_line(view.status))
        for attempt in ("full", "plain buttons", "text"):
            shown = [*body, *self._controls(to, place, view)] if attempt != "text" else []
            try:
                return await place.installation.call(
                    method,
                    channel=place.channel,
                    text=fallback(view.text),
                    blocks=shown,
                    **more,
                )
            except Refused as refusal:
                if refusal.limited:
                    raise self._punished(place, method, refusal, final=view.final) from None
                if refusal.reason not in BAD_BLOCKS or attempt == "text":
                    raise
                self._plain_buttons.add(place.workspace)
        raise AssertionError

    def _punished(
        self, place: Place, method: str, refusal: Refused, *, final: bool
    ) -> DeliveryFailed:
        pause = refusal.retry_after_s or 1.0
        key = channel_key(place.channel) if method == "chat.postMessage" else method
        self._pace.punished(place.workspace, key, pause)
        return refusal if final else Throttled(pause)

    def _controls(self, to: Destination, place: Place, view: View) -> list[Json]:
        """The buttons of a reply: stop while it is written, then its offer, and if it helped."""
        made = approval_buttons(self._buttons, to, place.channel, view.approvals)
        if not view.last or to.private:
            return made
        if view.final and view.offer is not None:
            made.append(offer_button(self._buttons, to, place.channel, view.offer))
        if to.command:
            return made
        if view.waiting or not view.final:
            return [*made, stop_button(self._buttons, to, place.channel)]
        native = place.workspace not in self._plain_buttons
        return [*made, feedback(self._buttons, to, place.channel, native=native)]

    async def _show_status(self, place: Place, ref: str, status: str) -> None:
        """Slack's own line under a thread; worth nothing compared to the text."""
        if self._statuses.get(ref, "") == status or place.workspace in self._no_status:
            return
        self._statuses[ref] = status
        if not status:
            del self._statuses[ref]
        shrink(self._statuses, _MOST_REMEMBERED)
        try:
            await place.installation.call(
                "assistant.threads.setStatus",
                channel_id=place.channel,
                thread_ts=place.thread,
                status=status,
            )
        except DeliveryFailed as failure:
            if isinstance(failure, Refused) and failure.reason in _AGENT_METHODS_MISSING:
                self._no_status.add(place.workspace)


def _aside(to: Destination) -> bool:
    """Whether the answer goes to the direct messages although it was asked for elsewhere."""
    return to.private and not is_direct(to.address.channel)


def _as_shown(to: Destination, view: View) -> View:
    """The answer to a command names other commands: as they are typed in Slack.

    A card names them at its end; what stands above it is shown as it is.
    """
    if view.waiting or view.approvals:
        card, gap, commands = view.text.rpartition("\n\n")
        return replace(view, text=f"{card}{gap}{as_typed(commands)}")
    return replace(view, text=as_typed(view.text)) if to.command else view


def _measure(markdown: str) -> int:
    """Room for the texts of ``_as_shown``, whichever text it is."""
    return measure(markdown) + len(COMMAND) * markdown.count("`/")


def _thinking(to: Destination) -> str:
    words = Words(to.language)
    return words("is thinking…")


def _turn_of(tag: Json) -> str:
    return text(tag, "event_payload", "turn")
