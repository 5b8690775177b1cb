"""The engine that talks to the Messages API: streaming, our tool loop, prompt caching.

A turn is a loop: ask the model, run the tools it asked for, ask again with their results.
Each model call is admitted by the meter first, retried within bounds, and committed by
whoever consumes ``ModelCallFinished``. A re-run goes on after the last committed step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import structlog

from core.agent_config import Billing
from core.engines.claude_client import ClaudeApiConfig, ClaudeClient
from core.engines.claude_endings import Retries, announcement, ending_of
from core.engines.claude_faults import NOT_WITH_LOGIN, CallFailed
from core.engines.claude_files import read_ahead
from core.engines.claude_messages import ENGINE, Transcript
from core.engines.claude_stream import ClaudeAnswer
from core.engines.engine import EngineRequest
from core.engines.replies import separator_after
from core.engines.toolcalls import run_tools, unanswered
from core.events import Completed, ModelCallFinished, TurnEvent, refused
from core.metering import Grant, QuotaRefusal, Usage
from core.steps import SteerStep, Step

_DRAIN_S = 0.5
_log = structlog.get_logger()

__all__ = ["ClaudeApiConfig", "ClaudeApiEngine"]


class ClaudeApiEngine:
    """Answers turns through the ``anthropic`` SDK. One instance serves all turns."""

    name = ENGINE
    has_model = True

    def __init__(self, config: ClaudeApiConfig) -> None:
        """Keep the configuration; the SDK is imported on first use or by ``warm``."""
        self._config = config
        self._client = ClaudeClient(config)

    def warm(self) -> None:
        """Import the SDK and build the client ahead of the first turn, in any thread."""
        self._client.warm()

    async def aclose(self) -> None:
        """Close the connections to the provider."""
        await self._client.aclose()

    async def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """Answer the turn."""
        if request.credentials.billing is Billing.SUBSCRIPTION:
            raise NOT_WITH_LOGIN.failure()
        await read_ahead(request)
        turn = _Turn(request=request, steps=list(request.steps))
        if turn.steps:  # an earlier attempt was cut off: first what it left open
            async with aclosing(self._settle(turn)) as events:
                async for event in events:
                    yield event
        while turn.ending is None:
            async with aclosing(self._ask(turn)) as answer:
                async for said in answer:
                    yield said
            async with aclosing(self._settle(turn)) as events:
                async for event in events:
                    yield event
        yield turn.ending

    async def _settle(self, turn: _Turn) -> AsyncGenerator[TurnEvent, None]:
        """After an answer: run the tools it asked for, then see whether the turn goes on."""
        steps, request = turn.steps, turn.request
        if turn.ending is not None:
            return
        async with aclosing(run_tools(request.tools, unanswered(steps), steps)) as events:
            async for event in events:
                yield event
        turn.ending = ending_of(steps)
        if turn.ending is None:
            steps += [SteerStep(text=text) for text in await request.steering.take()]

    async def _ask(self, turn: _Turn) -> AsyncGenerator[TurnEvent, None]:
        """One model call, with its retries; appends the finished step."""
        retries = Retries(self._config)
        while True:
            grant = await turn.reserve()
            if isinstance(grant, QuotaRefusal):
                turn.ending = refused(grant)
                return
            answer = ClaudeAnswer(separator_after(turn.steps))
            try:
                async with aclosing(self._stream(turn, grant, answer)) as events:
                    async for event in events:
                        yield event
                step = answer.step(call_id=grant.call_id, engine=ENGINE, model=turn.request.model)
            except CallFailed as failed:
                _log.warning(
                    "model_call_failed",
                    engine=ENGINE,
                    call_id=grant.call_id,
                    reason=failed.fault.reason,
                    request_id=failed.fault.request_id,
                )
                if not failed.fault.spent:
                    turn.request.meter.saw(grant.call_id, Usage())
                pause_s = retries.pause_after(failed.fault, shown=answer.has_text)
                yield announcement(failed.fault, turn.steps, shown=answer.has_text)
                await asyncio.sleep(pause_s)
            else:
                turn.steps.append(step)
                yield ModelCallFinished(step=step)
                return

    async def _stream(
        self, turn: _Turn, grant: Grant, answer: ClaudeAnswer
    ) -> AsyncGenerator[TurnEvent, None]:
        """One HTTP request: its events as they come. However it ends, it is metered."""
        request = turn.request
        transcript = turn.transcript()
        body = transcript.body(model=request.model, max_tokens=grant.max_output)
        noted: Usage | None = None
        try:
            async with self._client.open(
                body,
                model=request.model,
                size=transcript.bytes,
                api_key=request.credentials.api_key,
            ) as chunks:
                async for chunk in chunks:
                    events = answer.feed(chunk)
                    if answer.usage is not noted and answer.usage is not None:
                        noted = answer.usage
                        request.meter.saw(grant.call_id, noted)
                    for event in events:
                        yield event
                    if answer.ended:
                        break
                await _drain(chunks)
        except CallFailed:
            if not answer.ended:
                raise
        finally:
            used = answer.usage_so_far
            if used is not None and used != noted:
                request.meter.saw(grant.call_id, used)


@dataclass(slots=True, kw_only=True)
class _Turn:
    """One run of one turn. ``steps`` only grows; the transcript follows it."""

    request: EngineRequest
    steps: list[Step]
    ending: Completed | None = None
    _transcript: Transcript | None = None
    _told: int = 0

    def transcript(self) -> Transcript:
        """The body to send, up to the newest step."""
        if self._transcript is None:
            self._transcript = Transcript(self.request, self.steps)
        else:
            self._transcript.add(self.steps[self._told :])
        self._told = len(self.steps)
        return self._transcript

    async def reserve(self) -> Grant | QuotaRefusal:
        """Ask the meter for the next provider request."""
        return await self.request.meter.reserve(
            engine=ENGINE,
            model=self.request.model,
            estimated_input=self.transcript().estimated_input,
            max_output=self.request.max_output_tokens,
        )


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end, which follows at once, so that the connection can be used again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in chunks:
                pass
