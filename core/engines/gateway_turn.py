"""What the gateway knows of a running turn, and what it tells the turn's engine.

Pure bookkeeping: nothing here touches the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from core.engines.claude_endings import Patience, Retries
from core.engines.claude_faults import Fault
from core.metering import CallMeter, QuotaRefusal, Usage
from core.words import sentence

_NOT_ADMITTED = Fault(
    reason="not_admitted",
    sentence=sentence(
        "The call to the model could not be recorded, so it was not made. Send the message "
        "again in a few minutes."
    ),
    spent=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBegan:
    """The provider began to answer; from here on its message belongs to this call."""

    call_id: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished:
    """The provider told the whole answer and its usage. Told before the child reads its end."""

    call_id: str
    message_id: str
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused:
    """The meter refused the next call, and with it every further one of this turn."""

    refusal: QuotaRefusal


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed:
    """A call failed.

    ``final``: no further call of this turn is made, and each is answered with this fault.
    Otherwise the gateway tries again itself or, in the middle of an answer, the child does.
    """

    fault: Fault
    final: bool


TURN_OVER = Fault(reason="turn_over", sentence="The turn is over.", spent=False)
"""What a child hears that asks again after an answer which ends its turn; nobody else does."""

GatewayEvent = CallBegan | CallFinished | CallRefused | CallFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTurn:
    """One turn of a child process: who admits and pays its calls, and what they may use."""

    meter: CallMeter
    engine: str
    model: str
    max_output_tokens: int
    tell: Callable[[GatewayEvent], None]
    """Called on the event loop; must not block."""
    api_key: str | None = field(default=None, repr=False)
    """The tenant's own key; None for the installation's."""
    hidden: tuple[str, ...] = ()
    """Texts that begin so are not for the provider; see ``gateway_body.read_body``."""


@dataclass(slots=True, kw_only=True)
class RoutedCall:
    """One model call as far as it is known; ``usage`` is final once it is ``finished``."""

    call_id: str
    usage: Usage
    finished: bool = False


@dataclass(slots=True, kw_only=True)
class RunningTurn:
    """The state of a turn behind its route."""

    given: RouteTurn
    calls: dict[str, RoutedCall] = field(default_factory=dict)
    """By the provider's message id."""
    work: set[asyncio.Task[object]] = field(default_factory=set)
    """Requests in flight."""
    ending: Fault | QuotaRefusal | None = None
    """Why no further call is made."""
    error: Exception | None = None
    """What the meter raised, if that is why."""
    _broken: list[Retries] = field(default_factory=list)

    def refuse(self, refusal: QuotaRefusal) -> None:
        """No further call: the meter said so."""
        if self.ending is None:
            self.ending = refusal
            self.given.tell(CallRefused(refusal=refusal))

    def retries(self, patience: Patience) -> Retries:
        """The patience with a request: what a broken answer left, as the child asks again."""
        return self._broken.pop() if self._broken else Retries(patience)

    def failed(self, fault: Fault, retries: Retries, *, shown: bool) -> float:
        """Note a failed call; seconds to wait before the next try (unless it was the last).

        ``shown``: a part of the answer has reached the child, which has to ask again.
        """
        pause_s = retries.next_pause(fault, shown=shown)
        if isinstance(pause_s, Fault):
            self.give_up(pause_s)
            return 0.0
        if shown:
            self._broken.append(retries)
        self.given.tell(CallFailed(fault=fault, final=False))
        return pause_s

    def give_up(self, fault: Fault) -> None:
        """No further call: this cannot be helped by another try."""
        if self.ending is None:
            self.ending = fault
        self.given.tell(CallFailed(fault=fault, final=True))

    def abandon(self, error: Exception) -> None:
        """No further call: the meter itself failed."""
        self.error = self.error or error
        self.give_up(_NOT_ADMITTED)

    async def stop(self) -> None:
        """End what is in flight and wait until it is metered."""
        while running := [task for task in self.work if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
