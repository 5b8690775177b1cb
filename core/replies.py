"""Replies on platforms that show messages: placeholder, throttled edits, one final text.

A reply is one or more parts, each a message of the platform. The id of every posted part is
committed before anything else is done with it, and the final text reaches the platform by
*editing* known parts, so a repeated delivery changes nothing. The one window that stays is
between a post and the commit of its id; ``ReplySink.find`` closes it where the platform can
be asked, and elsewhere an orphaned placeholder remains, counted, never a second answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from core import telemetry
from core.errors import Fenced, StorageFailure
from core.reply_views import cut, final_views, shown_digest, waiting_views
from core.sinks import CardForm, DeliveryFailed, Destination, ReplySink, Throttled, View
from core.turns import Offer

PLACEHOLDER = "…"
DRAFT_S = 20.0
"""A draft vanishes after 30 s without a new one (Bot API, sendMessageDraft)."""
MAX_TRIES = 4
ASK_PATIENCE_S = 2.0
"""For a question: a platform that asks for a longer pause is asked again by the next attempt."""
MAX_PATIENCE_S = 30.0
"""A platform that asks for a longer pause is left to the sweeper."""

_log = structlog.get_logger()


Hold = Callable[[], Awaitable[bool]]
"""Renews a delivery's hold; False when another worker delivers the reply now."""

HOLD_MS = 120_000
"""How long a worker may be silent while it delivers a reply before another one tries."""
_RENEW_S = 15.0
_SOON_S = 0.25
_FIRST_S = 0.1
"""From the first words to the first preview: an answer that comes at once needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A posted part; ``digest`` is that of the text it shows last, as far as known."""

    number: int
    ref: str
    digest: str


class PartLog(Protocol):
    """Posted parts of a turn's reply."""

    async def parts(self, tenant_id: str, turn_id: str) -> tuple[Part, ...]:
        """The committed parts, in order."""

    async def save_part(self, to: Destination, part: Part, epoch: int | None) -> None:
        """Commit a part's id or digest; with an epoch, fenced (raises ``Fenced``)."""

    async def redeliver(self, to: Destination) -> None:
        """Bring a finished turn's delivered reply to its platform once more."""


class Reply:
    """One turn's reply on one platform."""

    def __init__(
        self,
        sink: ReplySink,
        log: PartLog,
        to: Destination,
        epoch: int | None,
        *,
        leased: Callable[[], bool] = lambda: True,
        patience_s: float = MAX_PATIENCE_S,
    ) -> None:
        """``epoch`` is None when the turn is over and only delivery remains.

        ``leased`` says, by this process's own clock, whether the turn is still ours; no call
        is begun when it is not.
        """
        self._leased = leased
        self._patience_s = patience_s
        self._sink = sink
        self._log = log
        self._to = replace(to, check=self._require_lease)
        self._epoch = epoch
        self._parts: dict[int, Part] = {}
        self._doubtful: set[int] = set()
        """Parts that were posted, or perhaps posted, and whose id is not committed."""
        self._to_adopt = True
        """An earlier attempt may have posted: it is not known what."""
        self._adopted = False
        self._text = ""
        self._status = ""
        self._drafting = False
        self._drafted = ""
        """The text that a draft shows."""
        self._dirty = asyncio.Event()
        self._closing = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._hold: Hold | None = None
        self._held_at = 0.0

    async def open(self, *, first_attempt: bool) -> None:
        """Show that work began: a draft, or the placeholder with its id committed; then preview.

        One try, so that a slow platform does not hold up the turn's end: when it is refused
        for now, ``DeliveryFailed`` is raised and the previews go on trying.
        """
        if first_attempt:
            self._to_adopt = False
        else:
            await self._adopt()
        try:
            if 1 not in self._parts:
                self._drafting = await self._sink.draft(self._to, View(text=""))
                if not self._drafting:
                    await self._post(1, View(text=PLACEHOLDER))
        except DeliveryFailed as failure:
            if not failure.permanent:
                self._dirty.set()
                self._pump = asyncio.create_task(self._preview())
            raise
        self._pump = asyncio.create_task(self._preview())

    def show(self, text: str) -> None:
        """The answer so far; it is shown when the platform's pace allows."""
        self._text, self._status = text, ""
        self._dirty.set()

    def status(self, line: str) -> None:
        """What is being done just now; shown under the answer so far, until text follows."""
        self._status = line
        self._dirty.set()

    async def close(self) -> None:
        """Stop the previews; the final text is ``deliver``'s.

        A preview call under way is let end: cutting it between a post and the commit of
        the id would leave a message that nobody knows.
        """
        self._closing.set()
        self._dirty.set()
        if self._pump is not None:
            await self._pump
            self._pump = None

    async def deliver(
        self,
        text: str,
        hold: Hold | None = None,
        *,
        offer: Offer | None = None,
        approvals: tuple[str, ...] = (),
    ) -> None:
        """Bring the platform to the final text, however far an earlier try came.

        ``hold`` keeps other workers from delivering the same reply at the same time; raises
        ``Fenced`` when one of them does. None where there is no other worker. ``offer`` is the
        button under the last part; those of ``approvals`` need a text that is one message.
        """
        await self._prepare(text, hold)
        texts = await cut(text, self._sink.limits) or (PLACEHOLDER,)
        await self._bring(final_views(texts, offer, approvals))

    async def ask(
        self, text: str, cards: Sequence[Sequence[CardForm]], hold: Hold | None = None
    ) -> None:
        """Bring the platform to the answer so far and the cards of what waits for a human.

        As ``deliver``, before the turn gives its lease back. The attempt that goes on edits
        the same messages.
        """
        # The turn holds a slot meanwhile: it comes back by itself, and asks once more.
        self._patience_s = min(self._patience_s, ASK_PATIENCE_S)
        await self._prepare(text, hold)
        limits = self._sink.limits
        views = waiting_views(await cut(text, limits), cards, limits)
        await self._bring(views or [View(text=PLACEHOLDER, final=True, waiting=True)])

    async def _prepare(self, text: str, hold: Hold | None) -> None:
        """End the previews, and learn what is on the platform already."""
        await self.close()
        self._hold = hold
        self._held_at = time.monotonic()
        if self._to_adopt:
            await self._patiently(self._adopt)
        if 1 not in self._parts and not self._sink.limits.findable:
            # A crash may then leave a second "…", never a second answer.
            await self._place_holder(text)
        if self._adopted:  # the worker before us may have changed what we showed since
            self._parts = {number: _unknown(part) for number, part in self._parts.items()}

    async def _bring(self, views: Sequence[View]) -> None:
        for number, view in enumerate(views, start=1):
            await self._show_part(number, view)
        for number in sorted(self._parts):
            if number > len(views):  # a preview or a card needed more parts
                await self._show_part(number, View(text="(see above)", final=True, last=False))

    async def _place_holder(self, text: str) -> None:
        """Post the placeholder; where the platform's pace delays it, draft the answer meanwhile."""
        posting = asyncio.create_task(self._show_part(1, View(text=PLACEHOLDER)))
        try:
            await asyncio.wait({posting}, timeout=_SOON_S)
            short = len(text) <= self._sink.limits.max_chars
            if not posting.done() and self._drafting and self._drafted != text and short:
                with suppress(DeliveryFailed):
                    await self._sink.draft(self._to, View(text=text))
        finally:  # a call that is cut may have taken effect: it is let end
            await asyncio.wait({posting})
        posting.result()

    async def _show_part(self, number: int, view: View) -> None:
        part = self._parts.get(number)
        if part is None:
            await self._patiently(lambda: self._post(number, view))
        elif part.digest != shown_digest(view):
            await self._patiently(lambda: self._edit(part, view))
            await self._save(Part(number=number, ref=part.ref, digest=shown_digest(view)))

    async def _patiently(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send, and again after what the platform asks for, a bounded number of times."""
        for tries_left in range(MAX_TRIES - 1, -1, -1):
            await self._keep_hold()
            try:
                return await send()
            except DeliveryFailed as failure:
                pause = failure.retry_after_s
                if pause is None:
                    pause = self._sink.limits.settle_s
                if failure.permanent or not tries_left or pause > self._patience_s:
                    raise
                await asyncio.sleep(pause)
        return None

    async def _keep_hold(self) -> None:
        if self._hold is None or time.monotonic() - self._held_at < _RENEW_S:
            return
        if not await self._hold():
            raise Fenced("Another worker delivers this reply now.")
        self._held_at = time.monotonic()

    async def _post(self, number: int, view: View) -> None:
        self._require_lease()
        ref = await self._sink.find(self._to, number) if number in self._doubtful else None
        digest = ""
        if ref is not None:
            telemetry.ADOPTED_POSTS.inc()
        else:
            ref, digest = await self._post_once(number, view), shown_digest(view)
        await self._save(Part(number=number, ref=ref, digest=digest))
        if not digest:
            await self._show_part(number, view)

    async def _post_once(self, number: int, view: View) -> str:
        self._doubtful.add(number)
        try:
            return await self._sink.post(self._to, number, view)
        except DeliveryFailed as failure:
            if failure.permanent or failure.retry_after_s is not None:
                self._doubtful.discard(number)  # refused: nothing was posted
            raise

    async def _edit(self, part: Part, view: View) -> None:
        """Edit; an edit that came too late is made good by delivering the final text again.

        A process that was frozen while it sent may so have overwritten the answer of the
        worker that took the turn over.
        """
        self._require_lease()
        await self._sink.edit(self._to, part.ref, view)
        if not self._leased():
            _log.warning("reply.late_edit", turn=self._to.turn_id)
            await self._log.redeliver(self._to)
            self._require_lease()

    def _require_lease(self) -> None:
        if not self._leased():
            raise Fenced("This worker lost its lease.")

    async def _save(self, part: Part) -> None:
        await self._log.save_part(self._to, part, self._epoch)
        self._parts[part.number] = part
        self._doubtful.discard(part.number)

    async def _adopt(self) -> None:
        """Learn the parts that exist: the committed ones, and one posted just before a crash.

        Nothing is posted before this has worked: it could be there already.
        """
        saved = await self._log.parts(self._to.tenant_id, self._to.turn_id)
        parts = {part.number: _unknown(part) for part in saved}
        following = len(saved) + 1
        ref = await self._sink.find(self._to, following)
        self._parts = parts
        if ref is not None:
            telemetry.ADOPTED_POSTS.inc()
            await self._save(Part(number=following, ref=ref, digest=""))
        self._to_adopt, self._adopted = False, True

    async def _preview(self) -> None:
        limits = self._sink.limits
        await self._news()
        await self._idle(_FIRST_S)
        while not self._closing.is_set():
            pause = limits.edit_interval_s
            try:
                if not self._drafting and 1 not in self._parts:
                    await self._post(1, View(text=PLACEHOLDER))
                began = time.monotonic()
                await self._preview_all()
                pause = max(pause, time.monotonic() - began)  # a long answer may cost a second
            except DeliveryFailed as failure:
                # Previews are worth nothing compared to the final text: wait, or give up.
                if not isinstance(failure, Throttled):
                    telemetry.DELIVERY_ERRORS.labels("preview").inc()
                if failure.permanent:
                    return
                pause = failure.retry_after_s or max(pause, 0.5)
                self._dirty.set()
            except (Fenced, StorageFailure):
                return
            except Exception:  # noqa: BLE001  # a preview must not take the answer with it
                _log.exception("preview.crashed", turn=self._to.turn_id)
                return
            await self._idle(pause)
            await self._news()

    async def _news(self) -> None:
        """Wait for something to show; a draft is shown again before it vanishes."""
        while not self._closing.is_set():  # a preview may have cleared what close() set
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAFT_S if self._drafting else None):
                    await self._dirty.wait()
                return
            self._dirty.set()

    async def _idle(self, seconds: float) -> None:
        """Let the previews rest; the end of the answer ends it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _preview_all(self) -> None:
        self._dirty.clear()
        status = self._status
        if not self._text and not status and not self._drafting:
            return
        texts = await cut(self._text, self._sink.limits) or ("",)
        if self._adopted:
            await self._clear(len(texts))
        if self._drafting:  # a draft shows where the answer stands: its end
            view = View(text=texts[-1], status=status)
            if self._closing.is_set():
                return
            if await self._sink.draft(self._to, view):
                self._drafted = "" if status else view.text
                return
            self._drafting = False  # the platform changed its mind: messages from here on
            await self._post(1, View(text=PLACEHOLDER))
        for number, text in enumerate(texts, start=1):
            last = number == len(texts)
            if not self._closing.is_set():
                await self._show_preview(
                    number, View(text=text, status=status if last else "", last=last)
                )

    async def _clear(self, used: int) -> None:
        """Parts of the attempt before that the text does not reach yet: old cards, old text."""
        for number in sorted(self._parts):
            if number > used and not self._closing.is_set():
                await self._show_preview(number, View(text=PLACEHOLDER, last=False))

    async def _show_preview(self, number: int, view: View) -> None:
        part = self._parts.get(number)
        if part is None:
            await self._post(number, view)
        elif part.digest != shown_digest(view):
            await self._edit(part, view)
            self._parts[number] = Part(number=number, ref=part.ref, digest=shown_digest(view))


def _unknown(part: Part) -> Part:
    """The part, without a claim about what it shows: previews are not committed."""
    return Part(number=part.number, ref=part.ref, digest="")
