"""The meter as one turn sees it: makes the call ids, remembers the calls that are open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from core.metering import (
    CallRequest,
    CallState,
    Grant,
    Meter,
    QuotaRefusal,
    Settlement,
    Usage,
    byte_count,
)
from core.steps import ModelStep
from core.turns import Turn


@dataclass(slots=True)
class _Open:
    seen: Usage
    streamed_bytes: int = 0
    unrecorded: CallRequest | None = None
    """The call itself, where the database was away when it was admitted."""


def _to_nobody(note: str) -> None:
    """Where nobody shows notes."""


@dataclass(slots=True)
class TurnMeter:
    """Implements ``CallMeter`` for one attempt of one turn."""

    meter: Meter
    turn: Turn
    made: int = 0
    own_key: bool = False
    """Whether the attempt runs on the tenant's own account with the provider."""
    noted: Callable[[str], None] = _to_nobody
    """Gets what is to be told the user before an answer: ``Grant.note``."""
    unrecorded: list[Settlement] = field(default_factory=list)
    """Of calls without a row: what is lost when the commit that brings them is."""
    _open: dict[str, _Open] = field(default_factory=dict)

    async def reserve(
        self, *, engine: str, model: str, estimated_input: int, max_output: int
    ) -> Grant | QuotaRefusal:
        """Admit the next call under the id (turn, attempt, call)."""
        self.made += 1
        call = CallRequest(
            id=f"{self.turn.id}.{self.turn.attempt}.{self.made}",
            tenant_id=self.turn.tenant_id,
            conversation_id=self.turn.conversation_id,
            turn_id=self.turn.id,
            user_id=self.turn.user.id,
            engine=engine,
            model=model,
            estimated_input=estimated_input,
            max_output=max_output,
            own_key=self.own_key,
            order_id=self.turn.order_id,
        )
        # Known before the answer: one that is cancelled meanwhile was never made, and costs
        # nothing, though its reservation may be committed.
        self._open[call.id] = _Open(seen=Usage())
        granted = await self.meter.reserve(call)
        if isinstance(granted, Grant):
            opened = self._open[call.id]
            opened.seen = Usage(input_tokens=estimated_input)
            opened.unrecorded = None if granted.recorded else call
            if granted.note:
                self.noted(granted.note)
        else:
            del self._open[call.id]
        return granted

    def saw(self, call_id: str, usage: Usage) -> None:
        """Note the provider's own figures so far."""
        if (call := self._open.get(call_id)) is not None:
            call.seen = usage

    def streamed(self, text: str) -> None:
        """Count visible output of the newest open call: what is known when it is cut off."""
        if self._open:
            self._open[next(reversed(self._open))].streamed_bytes += byte_count(text)

    def finished(self, step: ModelStep) -> Settlement:
        """The settlement of a call that ended well, to be committed with its step."""
        opened = self._open.pop(step.call_id, None)
        call = opened.unrecorded if opened is not None else None
        settlement = Settlement(call_id=step.call_id, usage=step.usage, call=call)
        self._remember(settlement)
        return settlement

    def leftovers(self) -> tuple[Settlement, ...]:
        """Settle every call that was cut off as estimated: what was seen of it."""
        settlements = tuple(
            Settlement(
                call_id=call_id,
                usage=_estimate(call),
                state=CallState.ESTIMATED,
                call=call.unrecorded,
            )
            for call_id, call in self._open.items()
        )
        self._open.clear()
        for settlement in settlements:
            self._remember(settlement)
        return settlements

    def _remember(self, settlement: Settlement) -> None:
        if settlement.call is not None:
            self.unrecorded.append(settlement)


def _estimate(call: _Open) -> Usage:
    """The provider's figures, with the output raised to what was streamed (4 bytes a token)."""
    output = max(call.seen.output_tokens, -(-call.streamed_bytes // 4))
    return Usage(
        input_tokens=call.seen.input_tokens,
        output_tokens=output,
        cache_read_tokens=call.seen.cache_read_tokens,
        cache_write_5m_tokens=call.seen.cache_write_5m_tokens,
        cache_write_1h_tokens=call.seen.cache_write_1h_tokens,
    )
