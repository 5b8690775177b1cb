"""The failover engine: an ordered list, of which the first that can answers the turn.

Each engine with a model has a circuit per account, so that a provider that is down is asked
by one turn in a while instead of by all of them. A provider that gives no sign is given up
in time for an answer within 10 s (``watch``); a model that thinks is not. Another engine than
the first never answers without saying so, and it goes on after the steps that were committed:
no tool runs again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from core import telemetry
from core.engines.breaker import Breaker, Breakers, BreakerState, Cause, Permit
from core.engines.claude_faults import STALLED
from core.engines.engine import Engine, EngineRequest, Steering, account_of
from core.engines.outages import (
    Blame,
    blame_of,
    changed_to,
    given_up,
    is_providers,
    over_quota,
    problem_of,
    taken_back,
)
from core.engines.replies import joined_text
from core.engines.watch import NoSign, Patience, Running, Silence, Watch, WatchedMeter
from core.errors import EngineFailure
from core.events import (
    Completed,
    ModelCallFinished,
    Notice,
    StopReason,
    TextDelta,
    TextReset,
    ThinkingDelta,
    ToolFinished,
    TurnEvent,
)
from core.steps import ModelStep, SteerStep, Step, ToolStep
from core.words import Sentence

_MOST_SILENCES = 1_000
_GAUGE = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_log = structlog.get_logger()


class FailoverEngine:
    """Implements ``core.engines.engine.Engine`` over others. One instance serves all turns."""

    has_model = True

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        breakers: Breakers,
        patience: Patience | None = None,
        one_provider: bool = False,
    ) -> None:
        """``engines`` in the order of preference; one without a model belongs at the end.

        ``one_provider``: those with a model all ask the same one, so that when it is at fault
        none of the others is tried. Several instances may share ``breakers``: what one learns
        of an account, all know.
        """
        self._engines = tuple(engines)
        self._breakers = breakers
        self._one_provider = one_provider
        self._patience = patience or Patience()
        self._silences: OrderedDict[tuple[str, int], float] = OrderedDict()

    @property
    def name(self) -> str:
        """The first engine's: it answers unless ``EngineChanged`` says otherwise."""
        return self._engines[0].name

    async def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """Answer the turn with the first engine that can.

        A summary of the conversation needs a model: engines without one are left out, and a
        provider that gives no sign is given up too, because the turn itself is still to come.
        """
        engines = [one for one in self._engines if one.has_model or not request.ephemeral]
        run = _Run(
            request=request,
            silence=Silence(
                self._patience, self._silences.pop((request.turn_id, request.attempt), None)
            ),
            engine=self.name,
            steps=list(request.steps),
            shown=joined_text(request.steps),
            offline=not engines[-1].has_model,
        )
        for place, engine in enumerate(engines):
            if engine.has_model and (run.refused or self._pointless(run)):
                continue
            later = len(engines) - place - 1
            async with aclosing(self._try(engine, run, later)) as events:
                async for event in events:
                    yield event
            if run.answered:
                return
        if run.refused is not None:
            yield run.refused
            return
        if request.ephemeral:
            self._remember(run)
        assert run.failure is not None  # noqa: S101  # there is at least one engine
        raise run.failure

    def _pointless(self, run: _Run) -> bool:
        """Whether another engine with a model would meet what the one before it met."""
        failure = run.failure
        return self._one_provider and failure is not None and is_providers(failure.reason)

    async def _try(self, engine: Engine, run: _Run, later: int) -> AsyncGenerator[TurnEvent, None]:
        """One engine's part. Notes its failure when another one may do better."""
        breaker = self._breakers.of(engine.name, circuit_of(run.request))
        ephemeral = run.request.ephemeral
        watch = Watch(
            run.silence,
            later=later if ephemeral else max(0, later - 1),
            limited=later > 0 or ephemeral,
        )
        if watch.overdue:  # the engines before it, or the turn's summary, waited that long
            run.fail(run.failure or STALLED.failure(), run.problem or given_up(engine.name))
            return
        permit = breaker.admit() if engine.has_model else None
        if isinstance(permit, Cause):
            run.fail(EngineFailure(permit.sentence, reason=permit.reason), permit.problem)
            return
        call = _Call(breaker=breaker, permit=permit, run=run, engine=engine, later=later)
        call.show()
        try:
            async with Running(engine.run(run.request_for(engine, watch))) as running:
                while (event := await running.next(watch)) is not None:
                    if run.passes_on(event):
                        return
                    for told in call.take(event):
                        yield told
            run.answered = True
        except NoSign:
            call.failed(STALLED.failure(), watch.problem or given_up(engine.name))
        except EngineFailure as failure:
            call.failed(failure, problem_of(failure.reason, engine.name))
            if blame_of(failure.reason) is Blame.MESSAGE:
                raise
        finally:
            call.ended()

    def _remember(self, run: _Run) -> None:
        """The patience of a turn is one: what its summary waited for, its answer need not."""
        if run.silence.began is None:
            return
        self._silences[run.request.turn_id, run.request.attempt] = run.silence.began
        if len(self._silences) > _MOST_SILENCES:
            self._silences.popitem(last=False)


def circuit_of(request: EngineRequest) -> str:
    """Whose calls share a circuit: one person's model that is down is not everybody's."""
    return f"{account_of(request.credentials)}/{request.model}"


@dataclass(frozen=True, slots=True)
class _NotedSteering:
    """The turn's steering; what joined is a step that the next engine must know."""

    steering: Steering
    steps: list[Step]

    async def take(self) -> tuple[str, ...]:
        """Commit and return the messages."""
        taken = await self.steering.take()
        self.steps.extend(SteerStep(text=text) for text in taken)
        return taken


@dataclass(slots=True, kw_only=True)
class _Run:
    """One turn, through all of its engines."""

    request: EngineRequest
    silence: Silence
    engine: str
    """Which engine the user believes to be answering."""
    steps: list[Step]
    """Committed, by earlier attempts and by this one."""
    shown: str
    """The answer as the user sees it."""
    offline: bool
    """Whether the last of the engines has no model."""
    answered: bool = False
    refused: Completed | None = None
    """The meter refused the first call: the ending, unless the offline engine knows better."""
    failure: EngineFailure | None = None
    problem: Sentence | None = None
    """Of the engine whose failure explains best why another one answers."""

    def request_for(self, engine: Engine, watch: Watch) -> EngineRequest:
        """The turn as it stands; a native session belongs to the engine that made it."""
        session = self.request.session
        return replace(
            self.request,
            steps=tuple(self.steps),
            session=session if session is not None and session.engine == engine.name else None,
            meter=WatchedMeter(self.request.meter, watch),
            refusal=None if self.refused is None else self.refused.refusal,
            steering=_NotedSteering(self.request.steering, self.steps),
        )

    def fail(self, failure: EngineFailure, problem: Sentence) -> None:
        """Note why the next engine is asked. An engine that does not fit explains no outage."""
        if self.failure is None or blame_of(failure.reason) is not Blame.CHOICE:
            self.failure, self.problem = failure, problem

    def passes_on(self, event: TurnEvent) -> bool:
        """Whether this ending is not the turn's: refused before anything was done or said.

        The offline engine may then answer; when it ends so too, the refusal stands.
        """
        if not isinstance(event, Completed) or event.stop_reason is not StopReason.REFUSED:
            return False
        if self.refused is None:
            began = self.shown or any(isinstance(step, ModelStep) for step in self.steps)
            if event.refusal is None or not event.refusal.offline or began or not self.offline:
                return False
            self.refused = event
        return True

    def announced(self, engine: Engine) -> list[TurnEvent]:
        """What to tell before an engine's first word."""
        if self.refused is not None and self.refused.refusal is not None:
            if engine.name == self.engine:
                return []
            self.engine = engine.name
            return [over_quota(engine, self.refused.refusal)]
        if engine.name == self.engine or self.problem is None:
            return []
        told: list[TurnEvent] = []
        committed = joined_text(self.steps)
        if self.shown != committed:
            told.append(TextReset(text=committed, reason=taken_back(self.problem)))
        telemetry.ENGINE_FAILOVERS.labels(self.engine, engine.name).inc()
        _log.warning("engine.changed", engine=self.engine, to=engine.name)
        self.engine, self.shown = engine.name, committed
        return [*told, changed_to(engine, self.problem)]

    def commit(self, event: TurnEvent) -> None:
        """Follow what the turn runner and the door make of an event."""
        match event:
            case TextDelta(text=text):
                self.shown += text
            case TextReset(text=text):
                self.shown = text
            case ModelCallFinished(step=step):
                self.steps.append(step)
            case ToolFinished():
                self.steps.append(
                    ToolStep(
                        tool_call_id=event.call_id,
                        name=event.tool,
                        output=event.output,
                        is_error=not event.ok,
                    )
                )
            case _:
                pass


@dataclass(slots=True, kw_only=True)
class _Call:
    """One engine's part in a turn, and what its circuit learns from it."""

    breaker: Breaker
    permit: Permit | None
    """None for an engine without a model: it has no provider that could fail."""
    run: _Run
    engine: Engine
    later: int
    """How many engines are left to answer."""

    def take(self, event: TurnEvent) -> list[TurnEvent]:
        """The event, after what must be told before it."""
        before = [] if isinstance(event, Notice) else self.run.announced(self.engine)
        self.run.commit(event)
        if self.permit is not None and self._proves(event, self.permit):
            self.breaker.succeeded(self.permit)
        return [*before, event]

    def failed(self, failure: EngineFailure, problem: Sentence) -> None:
        """Note it, and let the circuit learn what the account's other messages would meet too."""
        self.run.fail(failure, problem)
        blame = blame_of(failure.reason)
        if self.permit is not None and blame is Blame.ACCOUNT:
            cause = Cause(reason=failure.reason, sentence=failure.sentence, problem=problem)
            self.breaker.failed(self.permit, cause)
        if self.later and blame is not Blame.MESSAGE:  # the turn runner counts what is raised
            telemetry.ENGINE_ERRORS.labels(self.engine.name, failure.reason).inc()
            _log.warning("engine.failed_over", engine=self.engine.name, reason=failure.reason)

    def ended(self) -> None:
        """However it ended: the permit is given back."""
        if self.permit is not None:
            self.breaker.abandoned(self.permit)
        self.show()

    def show(self) -> None:
        """Set the gauge, which is about the installation's own account."""
        if self.permit is not None and self.run.request.credentials.api_key is None:
            gauge = telemetry.ENGINE_BREAKER_STATE.labels(self.engine.name)
            gauge.set(_GAUGE[self.breaker.state])

    @staticmethod
    def _proves(event: TurnEvent, permit: Permit) -> bool:
        """A finished call; of a probe already the model's first word: others wait for it."""
        if isinstance(event, ModelCallFinished):
            return True
        return permit.probe and isinstance(event, TextDelta | ThinkingDelta)
