"""The story of one turn, top to bottom.

A leased turn is answered by a command or by an engine. Events of the engine flow to the
turn's live stream and, on platforms that show messages, to its reply; every finished model
call and tool result is committed before the engine goes on. The end of the turn (reply,
cursor, usage of calls that were cut off) is one transaction, fenced by the lease; only then
is the reply delivered.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import structlog

from core import telemetry
from core.approvals import Waiting
from core.briefing import Briefing, Chosen, said_of
from core.clock import Clock
from core.commands import Commands
from core.control import Control, Pause, Stop
from core.conversations import Conversations
from core.endings import (
    STOPPED,
    STOPPED_EARLY,
    concluded,
    given_up,
    hopeless,
    presentable,
    refused,
    untold,
)
from core.engines.engine import EngineRequest
from core.engines.replies import joined_text
from core.errors import EngineFailure, Fenced, StorageFailure
from core.events import (
    Completed,
    ModelCallFinished,
    Notice,
    TextDelta,
    TextReset,
    ThinkingDelta,
    ToolFinished,
    ToolStarted,
    TurnEvent,
)
from core.intake import Intake
from core.metering import Meter, Settlement
from core.pausing import asked, pause_of, questions, status_line, waiting_cards
from core.refusals import Rejected
from core.replies import PartLog, Reply
from core.sinks import STREAMED, DeliveryFailed, Destination, Sinks, destination
from core.steps import dump_usage
from core.streams import Streams, encode, encode_refusal
from core.toolrunner import ToolRunner
from core.turn_attempt import Attempt
from core.turn_delivery import deliver_now
from core.turnlog import DeliveryLog, TurnLog
from core.turnmeter import TurnMeter
from core.turns import Ending, Outcome, Turn, TurnKind
from core.words import Words, sentence

MOST_OWED = 10_000
_GOES_ON = sentence("IT0 goes on where it stopped.")
FLUSH_S = 0.3
"""How long a live event may wait before it is committed for other processes."""

_log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class TurnRunner:
    """Runs leased turns."""

    log: TurnLog
    delivery: DeliveryLog
    parts: PartLog
    conversations: Conversations
    intake: Intake
    briefing: Briefing
    commands: Commands
    tools: ToolRunner
    meter: Meter
    streams: Streams
    sinks: Sinks
    hold: Callable[[Destination], Awaitable[bool]]
    """Keeps other workers from delivering the reply that this one is delivering."""
    clock: Clock
    still_leased: Callable[[], bool]
    """Whether this worker's lease deadline has not passed, by its own clock."""
    owed: deque[Settlement] = field(default_factory=lambda: deque(maxlen=MOST_OWED))
    """Usage that was granted while the database was away; settled once more, for certain."""

    async def run(self, turn: Turn, control: Control) -> tuple[Settlement, ...]:
        """Answer the turn, or end early; returns usage to settle when it is handed back.

        Raises ``Fenced`` when the lease is gone, ``StorageFailure`` when the database
        refuses, and whatever a bug raises; the turn is then run again, after its last step.
        """
        live = self.streams.open(turn.tenant_id, turn.id, turn.attempt)
        meter = TurnMeter(self.meter, turn)
        reply = None if turn.order_id else self._reply(turn, control)
        run = Attempt(turn=turn, live=live, meter=meter, reply=reply)
        meter.noted = lambda note: self._forecast(run, note)
        try:
            flusher = asyncio.create_task(self._flush(run))
            try:
                ending = await self._answer_until_stopped(run, control)
            finally:
                flusher.cancel()
                await asyncio.gather(flusher, return_exceptions=True)
            control.settled = True
            if not isinstance(ending, Ending):
                if ending is None:
                    control.handed_back = True
                else:
                    control.pause = await self._pause(run, ending, control)
                await self.log.save_events(turn, live.unsaved())
                return meter.leftovers()
            await self._finish(run, ending)
            return ()
        finally:
            meter.leftovers()
            self.owed.extend(meter.unrecorded)
            self.streams.close(live)

    # -- the answer ---------------------------------------------------------------------

    async def _answer_until_stopped(
        self, run: Attempt, control: Control
    ) -> Ending | Waiting | None:
        """The turn's ending, or what it waits for; None when it is handed back."""
        opening = asyncio.create_task(self._open_reply(run))
        try:
            control.begin()
            ending = await self._answer(run, stopped=control.reason is Stop.USER)
            control.settled = True
        except asyncio.CancelledError:
            if control.reason is Stop.USER:
                _uncancel()
                return Ending(
                    outcome=Outcome.CANCELLED,
                    reply=run.text,
                    notice=STOPPED,
                    engine=run.engine,
                )
            if control.reason is Stop.HAND_BACK:
                _uncancel()
                return None
            raise
        else:
            return ending
        finally:
            try:
                await asyncio.gather(opening, return_exceptions=True)
            finally:  # also when the lease is lost meanwhile: the previews must not outlive us
                if run.reply is not None:
                    await run.reply.close()

    async def _answer(self, run: Attempt, *, stopped: bool) -> Ending | Waiting:
        turn = run.turn
        if turn.cancelled or stopped:
            text = await self._shown_before(turn)
            notice = STOPPED if text else STOPPED_EARLY
            return Ending(outcome=Outcome.CANCELLED, reply=text, notice=notice)
        if hopeless(turn):
            return given_up(turn, await self._shown_before(turn))
        if turn.kind is TurnKind.COMMAND:
            return await self.commands.run(turn)
        try:
            chosen = await self.briefing.choose(turn)
        except EngineFailure as failure:
            return Ending(outcome=Outcome.FAILED, reply=failure.sentence, failure=failure.reason)
        if isinstance(chosen, str):
            return Ending(outcome=Outcome.REFUSED, reply=chosen, failure="engine_unavailable")
        if turn.files:
            brought = await self.intake.bring(turn)
            if isinstance(brought, Rejected):
                return refused(brought)
            run.turn = brought
        return await self._answer_with(chosen, run)

    async def _shown_before(self, turn: Turn) -> str:
        """What earlier attempts committed of the answer."""
        if turn.attempt == 1:
            return ""
        try:
            return joined_text((await self.conversations.recall(turn)).steps)
        except (Fenced, StorageFailure):
            raise
        except Exception:  # noqa: BLE001  # what crashed the turn must not keep it from ending
            _log.exception("turn.unreadable")
            return ""

    async def _answer_with(self, chosen: Chosen, run: Attempt) -> Ending | Waiting:
        engine = chosen.engine
        run.engine, run.reason = engine.name, chosen.why
        self._announce(run)
        try:
            request = await self.briefing.request(
                run.turn, chosen, run.meter, lambda event: self._emit(run, event)
            )
            self._restore(run, request)
            async with aclosing(engine.run(request)) as events:
                async for event in events:
                    await self._take(run, event)
        except Waiting as waiting:
            return waiting
        except EngineFailure as failure:
            telemetry.ENGINE_ERRORS.labels(engine.name, failure.reason).inc()
            _log.warning("engine.failed", engine=engine.name, reason=failure.reason)
            return Ending(
                outcome=Outcome.FAILED,
                reply=run.text,
                notice=said_of(failure, run.turn, chosen),
                engine=run.engine,
                failure=failure.reason,
            )
        completed = run.completed or Completed()
        if completed.refusal is not None:
            run.live.emit(*encode_refusal(completed.refusal))
        return concluded(
            completed,
            text=run.text,
            why=run.why,
            engine=run.engine,
            session=run.session,
            language=run.turn.language,
        )

    def _restore(self, run: Attempt, request: EngineRequest) -> None:
        """A later attempt starts from the text that earlier attempts committed."""
        if run.turn.attempt > 1:
            run.text = joined_text(request.steps)
            self._emit(run, TextReset(text=run.text, reason=_GOES_ON))

    async def _take(self, run: Attempt, event: TurnEvent) -> None:
        """Commit what must be committed, then show the event."""
        if not self.still_leased():
            raise Fenced("This worker lost its lease.")
        match event:
            case TextDelta(text=text):
                run.text += text
                run.meter.streamed(text)
                if not run.seen_text:
                    run.seen_text = True
                    waited = (self.clock.now_ms() - run.turn.created_at_ms) / 1000
                    telemetry.FIRST_TEXT_SECONDS.observe(max(waited, 0))
            case TextReset(text=text):
                run.text = text
            case ModelCallFinished(step=step):
                settlement = run.meter.finished(step)
                await self.log.record(run.turn, step, settlement=settlement)
                telemetry.count_tokens(step.engine, dump_usage(settlement.usage))
            case Completed():
                run.completed = event
            case ThinkingDelta(text=text):
                run.meter.streamed(text)
            case ToolFinished(tool=tool, ok=ok):
                known = tool if tool in self.tools.tools else "unknown"
                telemetry.TOOL_CALLS.labels(known, "ok" if ok else "error").inc()
            case _:
                run.note(event)
        self._emit(run, event)

    def _emit(self, run: Attempt, event: TurnEvent) -> None:
        words = Words(run.turn.language)
        encoded = encode(event, words)
        if encoded is not None:
            run.live.emit(*encoded)
        if run.reply is None:
            return
        if isinstance(event, TextDelta | TextReset):
            run.reply.show(run.text)
        elif isinstance(event, ToolStarted):
            run.reply.status(event.summary)
        elif (line := status_line(event, words)) is not None:
            run.reply.status(line)

    def _forecast(self, run: Attempt, note: str) -> None:
        """Tell what the turn will take of the quota, once, before its first word."""
        if run.forecast:
            return
        run.forecast = Words(run.turn.language).of(note)
        self._emit(run, Notice(text=run.forecast))
        if run.reply is not None:
            run.reply.status(run.forecast)

    def _announce(self, run: Attempt) -> None:
        turn = run.turn
        data = {
            "turn_id": turn.id,
            "conversation_id": turn.conversation_id,
            "engine": run.engine,
            "engine_reason": Words(turn.language).of(run.reason),
        }
        run.live.emit("turn", json.dumps(data))

    async def _flush(self, run: Attempt) -> None:
        """Commit live events in batches while the turn runs."""
        while True:
            await asyncio.sleep(FLUSH_S)
            events = run.live.unsaved()
            if not events:
                continue
            try:
                await self.log.save_events(run.turn, events)
            except Fenced:
                return  # the next commit of the turn itself will say so
            except StorageFailure:
                continue
            run.live.saved += len(events)

    async def _pause(self, run: Attempt, waiting: Waiting, control: Control) -> Pause:
        """Show what waits for a human, where the question was asked."""
        words, now_ms = Words(run.turn.language), self.clock.now_ms()
        for event in questions(waiting, words, now_ms):
            self._emit(run, event)
        to, reply = destination(run.turn), run.reply or self._reply(run.turn, control)
        cards = waiting_cards(waiting, words, now_ms)
        shown = reply is None or await asked(reply, run.text, cards, lambda: self.hold(to))
        _log.info("turn.waits", approvals=waiting.ids)
        return pause_of(waiting, shown=shown)

    # -- the end ------------------------------------------------------------------------

    async def _finish(self, run: Attempt, ending: Ending) -> None:
        turn = run.turn
        if not run.live.events:
            self._announce(run)
        reason = Words(turn.language).of(run.reason) if ending.engine else ""
        ending = replace(presentable(ending, turn.language), engine_reason=reason)
        streamed = run.reply is None and turn.address.platform in STREAMED
        # Where a card was shown, something has to follow it.
        quiet = turn.attempt == 1 and untold(turn, ending, self.briefing.engines)
        deliver = not streamed and not quiet
        final = await self.log.finish(
            turn,
            ending,
            events=run.live.unsaved(),
            settlements=run.meter.leftovers(),
            deliver=deliver,
        )
        run.live.emit(final.name, final.data)
        telemetry.TURNS.labels(str(ending.outcome)).inc()
        seconds = (self.clock.now_ms() - turn.created_at_ms) / 1000
        telemetry.TURN_SECONDS.observe(max(seconds, 0))
        _log.info("turn.finished", outcome=str(ending.outcome), engine=ending.engine)
        if run.reply is not None:
            self.streams.close(run.live)
            to = destination(turn)
            await deliver_now(self.delivery, run.reply, turn, ending, lambda: self.hold(to))
        elif deliver:
            # Another process has the platform's token: its sweeper delivers.
            await self.delivery.release(turn)

    def _reply(self, turn: Turn, control: Control) -> Reply | None:
        sink = self.sinks.get(turn.address.platform)
        if sink is None:
            return None
        return Reply(
            sink,
            self.parts,
            destination(turn),
            turn.epoch,
            leased=lambda: not control.lost and self.still_leased(),
        )

    async def _open_reply(self, run: Attempt) -> None:
        """Show the placeholder; a platform that is down must not stop the work."""
        if run.reply is None:
            return
        try:
            await run.reply.open(first_attempt=run.turn.attempt == 1)
        except DeliveryFailed as failure:
            telemetry.DELIVERY_ERRORS.labels("preview").inc()
            _log.warning("placeholder.failed", permanent=failure.permanent)
        if run.text:
            run.reply.show(run.text)


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
