"""One turn on a Claude Code process: what it says becomes our events, each exactly once.

The process says everything up to three times (stream, message, result) and starts its tools
before its answer is complete. Here the stream alone is shown, an answer becomes a step when
its stream is complete, a tool runs when that step is committed, and the result only ends the
turn. A message that was never streamed (the CLI repeats a failed request so) is taken whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import assert_never

import structlog

from core.approvals import Waiting
from core.engines.agent_calls import ModelCalls
from core.engines.agent_process import QUIET_S, Block, Child, Gone, ToolDone
from core.engines.agent_said import (
    Ended,
    Opened,
    Retrying,
    Said,
    Streamed,
    ToolResulted,
    Whole,
    as_stream,
    says_full,
)
from core.engines.agent_tools import Asked, ToolDesk, with_bare_name
from core.engines.claude_endings import EMPTY_ANSWER, LIMIT, announcement, ending_of
from core.engines.claude_faults import (
    CRASHED,
    SESSION_FULL,
    UNREACHABLE,
    CallFailed,
    Fault,
    fault_at_end,
)
from core.engines.claude_messages import output_for_model
from core.engines.claude_stream import FINAL_STOPS, ClaudeAnswer
from core.engines.engine import EngineRequest
from core.engines.gateway import CallBegan, CallFinished, CallRefused, GatewayEvent
from core.engines.gateway import CallFailed as GatewayFailed
from core.engines.replies import joined_text, separator_after
from core.engines.toolcalls import Waits, run_rest, tool_step
from core.events import (
    Completed,
    EngineSession,
    ModelCallFinished,
    StopReason,
    ToolFinished,
    ToolStarted,
    TurnEvent,
    refused,
)
from core.metering import QuotaRefusal, Usage
from core.steps import SteerStep, Step, ToolCall
from core.tools import ToolResult

_log = structlog.get_logger()

_Item = Said | Asked | ToolDone | Gone | GatewayEvent | BaseException


@dataclass(slots=True, kw_only=True)
class AgentTurn:
    """One run of one turn."""

    request: EngineRequest
    child: Child
    desk: ToolDesk
    calls: ModelCalls
    engine: str
    halt: Callable[[], Awaitable[None]]
    """Keeps the process from asking the provider for anything more."""
    working: Callable[[], bool]
    """Whether it waits for the provider, as far as is known; that has limits of its own."""
    settled: bool = False
    """The process has answered to the end: it can take the next message."""
    _queue: asyncio.Queue[_Item] = field(default_factory=asyncio.Queue)
    _steps: list[Step] = field(default_factory=list)
    _answer: ClaudeAnswer | None = None
    _message_id: str = ""
    _call_id: str = ""
    _streamed: set[str] = field(default_factory=set)
    _passing: str = ""
    _void: set[str] = field(default_factory=set)
    """The answer that the gateway passes on, and those that broke there, by message id."""
    _whole: list[Whole] = field(default_factory=list)
    _open: dict[str, ToolCall] = field(default_factory=dict)
    """Committed calls without a result, by the model's id."""
    _early: list[Asked] = field(default_factory=list)
    """Calls that came before their answer was complete."""
    _turned_down: list[ToolResulted] = field(default_factory=list)
    """Calls that the process answered by itself before their answer was complete."""
    _begun: set[str] = field(default_factory=set)
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _waits: Waits = field(default_factory=Waits)
    _fault: Fault | None = None
    _full: bool = False
    heard: bool = False
    """The process has said something of its answer."""
    _ending: Completed | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is committed so far."""
        return tuple(self._steps)

    def tell(self, event: GatewayEvent) -> None:
        """Hear from the gateway."""
        self._queue.put_nowait(event)

    async def run(self, prompt: Sequence[Block]) -> AsyncGenerator[TurnEvent, None]:
        """Ask, and yield what follows, up to ``Completed``. Raises ``EngineFailure``."""
        self._steps = list(self.request.steps)
        refusal = await self.calls.admit()
        if refusal is not None:
            yield refused(refusal)
            return
        self.desk.take = self._queue.put_nowait
        reader = asyncio.create_task(self._read())
        try:
            await self._say(prompt)
            while self._ending is None:
                item = await self._next()
                async with aclosing(self._take(item)) as events:
                    async for event in events:
                        yield event
                if self._whole and self._early and self._queue.empty():
                    async with aclosing(self._flush()) as events:
                        async for event in events:
                            yield event
            yield self._ending
        finally:
            # Before any open call gets an answer: a process that hears "ended" would go on
            # with it, and be paid for, while a change that has begun is let finish.
            if not self.settled:
                await asyncio.shield(self.halt())
            self.desk.close()
            tasks = [reader, *self._running]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _next(self) -> _Item:
        """The next that happens. A process that neither works nor speaks is given up."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET_S):
                    return await self._queue.get()
            if not (self.working() or self._running):
                _log.warning("agent.process_hangs", engine=self.engine)
                raise CRASHED.failure()

    async def _say(self, content: Sequence[Block]) -> None:
        try:
            await self.child.ask(content)
        except OSError as error:
            _log.warning("agent.process_ended", engine=self.engine, error=type(error).__name__)
            raise (self._fault or CRASHED).failure() from error

    async def _read(self) -> None:
        """Everything the process says, into the one queue that keeps the order."""
        try:
            async with aclosing(self.child.said()) as words:
                async for said in words:
                    self._queue.put_nowait(said)
        except Exception as error:  # noqa: BLE001  # whatever broke the pipe ends the turn
            self._queue.put_nowait(Gone(type(error).__name__))
        else:
            self._queue.put_nowait(Gone())

    async def _take(self, item: _Item) -> AsyncGenerator[TurnEvent, None]:  # noqa: C901, PLR0912  # one case a kind
        match item:
            case Streamed(event=event):
                async for shown in self._stream(event):
                    yield shown
            case Asked():
                async for shown in self._ask(item):
                    yield shown
            case ToolDone(asked=asked, result=result):
                async for shown in self._finish(asked, result):
                    yield shown
            case ToolResulted():
                async for shown in self._resulted(item):
                    yield shown
            case Whole(failed=True):
                self._full = self._full or says_full(item)
            case Whole():
                if item.message_id not in self._streamed | self._void:
                    self._whole.append(item)
            case Ended():
                async for shown in self._end(item):
                    yield shown
            case Retrying(status=status):
                if not self.calls.explained:
                    at_end = fault_at_end(status, self.request.model)
                    self._fault = UNREACHABLE if status is None else at_end
                    yield self._take_back(self._fault)
            case GatewayFailed(fault=fault, final=final):
                self._fault = fault
                if final:
                    raise self.calls.error or fault.failure()
                yield self._broken(fault)
            case CallBegan() | CallFinished():
                self._passing = item.message_id if isinstance(item, CallBegan) else ""
            case CallRefused():
                self._ending = refused(item.refusal)
            case Opened(session_id=session_id):
                # One that begins in mid-turn holds notes of ours that are for this process.
                yield EngineSession(token="" if self.request.steps else session_id)
            case Gone(error=error):
                _log.warning("agent.process_ended", engine=self.engine, error=error)
                raise (self._fault or CRASHED).failure()
            case Waiting():
                rest = [each for each in self._open.values() if each.id not in self._begun]
                async for shown in run_rest(self.request.tools, rest, self._steps, item):
                    yield shown
            case BaseException():
                raise item
            case _:
                assert_never(item)

    # -- the answer ---------------------------------------------------------------------

    async def _stream(self, event: Block) -> AsyncGenerator[TurnEvent, None]:
        self.heard = True
        kind = event.get("type")
        if kind == "message_start":
            async for shown in self._begin(event):
                yield shown
        answer = self._answer
        if answer is None:
            return
        try:
            events = answer.fold(with_bare_name(event))
        except CallFailed as failed:
            self._fault = failed.fault
            yield self._take_back(failed.fault)
            return
        if answer.usage is not None and kind in {"message_start", "message_delta"}:
            self.calls.spoke(self._message_id, answer.usage)
        for shown in events:
            yield shown
        if answer.ended and answer.stop_reason is not None:
            async for shown in self._commit(answer):
                yield shown

    async def _begin(self, event: Block) -> AsyncGenerator[TurnEvent, None]:
        """Another answer begins. One that did not end before is void: it is given again."""
        async for shown in self._flush():
            yield shown
        if self._answer is not None:
            yield self._take_back(self._fault or CRASHED)
        message_id = str(event["message"]["id"])
        if message_id not in self._void:
            self._answer = await self._admitted(message_id)

    async def _admitted(self, message_id: str) -> ClaudeAnswer | None:
        """Begin to fold an answer; None when its call is refused, which ends the turn."""
        self._message_id = message_id
        self._streamed.add(message_id)
        begun = await self.calls.began(message_id)
        if isinstance(begun, QuotaRefusal):
            self._ending = refused(begun)
            return None
        self._call_id, self._fault = begun, None
        return ClaudeAnswer(separator_after(self._steps))

    def _broken(self, fault: Fault) -> TurnEvent:
        """Void the answer that the gateway lost: the process may still tell the one before."""
        broken, self._passing = self._passing, ""
        self._void.add(broken)
        if self._answer is not None and broken != self._message_id:
            return announcement(fault, self._steps, shown=False)
        return self._take_back(fault)

    def _take_back(self, fault: Fault) -> TurnEvent:
        """Void the answer that was cut off."""
        shown = self._answer is not None and self._answer.has_text
        self._answer = None
        return announcement(fault, self._steps, shown=shown)

    async def _commit(self, answer: ClaudeAnswer) -> AsyncGenerator[TurnEvent, None]:
        self._answer = None
        usage = self.calls.ended(self._message_id, answer.usage or Usage())
        step = answer.step(call_id=self._call_id, engine=self.engine, model=self.request.model)
        step = replace(step, usage=usage)
        yield ModelCallFinished(step=step)
        self._steps.append(step)
        self._open |= {call.id: call for call in step.tool_calls}
        if step.stop_reason in FINAL_STOPS or not (step.tool_calls or step.text.strip()):
            # The CLI would ask again in words of its own, which nobody sees.
            self._ending = ending_of(self._steps)
        early, self._early = self._early, []
        for asked in early:
            async for shown in self._ask(asked):
                yield shown
        turned_down, self._turned_down = self._turned_down, []
        for said in turned_down:
            async for shown in self._resulted(said):
                yield shown

    async def _flush(self) -> AsyncGenerator[TurnEvent, None]:
        """Take the answer that was never streamed, now that it is complete."""
        whole, self._whole = self._whole, []
        if not whole:
            return
        if self._answer is not None:
            yield self._take_back(self._fault or CRASHED)
        answer = await self._admitted(whole[0].message_id)
        if answer is None:
            return
        for event in as_stream(whole):
            for shown in answer.fold(with_bare_name(event)):
                yield shown
        async for done in self._commit(answer):
            yield done

    # -- tools --------------------------------------------------------------------------

    async def _ask(self, asked: Asked) -> AsyncGenerator[TurnEvent, None]:
        """Run a call whose step is committed; let one wait that is ahead of its step."""
        call = self._open.get(asked.call.id)
        if call is None or call.id in self._begun:
            self._early.append(asked)
            return
        self._begun.add(call.id)
        yield ToolStarted(call_id=call.id, tool=call.name, summary=self.request.tools.summary(call))
        self._running.add(asyncio.create_task(self._run_tool(call, asked)))

    async def _run_tool(self, call: ToolCall, asked: Asked) -> None:
        try:
            result = await self.request.tools.call(call)
        except Waiting as waiting:
            self._waits.add(waiting)
        except Exception as error:  # noqa: BLE001  # fenced, storage: the turn raises it
            self._queue.put_nowait(error)
        else:
            self._queue.put_nowait(ToolDone(asked, result))
        if (paused := self._waits.when_alone(self._running)) is not None:
            self._queue.put_nowait(paused)

    async def _finish(self, asked: Asked, result: ToolResult) -> AsyncGenerator[TurnEvent, None]:
        call = self._open.pop(asked.call.id)
        yield self._told(call, result)
        if not self._open:
            texts = await self.request.steering.take()
            if texts:
                # Given before the result, it is there when the next model call is made.
                self._steps += [SteerStep(text=text) for text in texts]
                await self._say([{"type": "text", "text": text} for text in texts])
        output = output_for_model(self.request.tools, call, result.output)
        asked.answer(replace(result, output=output))

    def _told(self, call: ToolCall, result: ToolResult) -> ToolFinished:
        self._steps.append(tool_step(call, result))
        return ToolFinished(
            call_id=call.id, tool=call.name, ok=not result.is_error, output=result.output
        )

    async def _resulted(self, said: ToolResulted) -> AsyncGenerator[TurnEvent, None]:
        """A call that the process answered by itself (no such tool) goes on record as such."""
        async for shown in self._flush():
            yield shown
        if said.tool_call_id in self._begun:
            return
        if said.tool_call_id not in self._open:
            self._turned_down.append(said)  # it may come before the end of its answer
            return
        call = self._open.pop(said.tool_call_id)
        result = await self.request.tools.unrun(call, said.output)
        summary = self.request.tools.summary(call)
        yield ToolStarted(call_id=call.id, tool=call.name, summary=summary)
        yield self._told(call, result)

    # -- the end ------------------------------------------------------------------------

    async def _end(self, ended: Ended) -> AsyncGenerator[TurnEvent, None]:
        async for shown in self._flush():
            yield shown
        self.calls.total(ended.usage)
        if self._ending is not None:
            return
        if ended.kind == "error_max_turns":
            self.settled = True
            self._ending = Completed(stop_reason=StopReason.LIMIT, notice=LIMIT)
            return
        if ended.failed or ended.kind != "success":
            fault = SESSION_FULL if self._full else fault_at_end(ended.status, self.request.model)
            raise (self._fault or fault).failure()
        self.settled = True
        empty = "" if joined_text(self._steps).strip() else EMPTY_ANSWER
        self._ending = ending_of(self._steps) or Completed(notice=empty)
