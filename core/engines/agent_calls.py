"""How the model calls of a Claude Code process get their ids and their usage.

Behind the gateway every request is admitted and measured there; on the operator's own login
the process talks to the provider itself, and what it says of its calls is what is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from core.engines.gateway import Route
from core.metering import CallMeter, Grant, QuotaRefusal, Usage


class ModelCalls(Protocol):
    """The calls of one turn."""

    @property
    def explained(self) -> bool:
        """Whether failures are told of by the gateway; else the process's word is taken."""

    @property
    def error(self) -> Exception | None:
        """What kept a call from being admitted, when it was no refusal (storage, the lease)."""

    async def admit(self) -> QuotaRefusal | None:
        """Before the process is given anything to do."""

    async def began(self, message_id: str) -> str | QuotaRefusal:
        """An answer begins; returns the id of its call."""

    def ended(self, message_id: str, told: Usage) -> Usage:
        """It ended well; returns its usage, given what the answer itself told."""

    def spoke(self, message_id: str, told: Usage) -> None:
        """What is known of its usage so far."""

    def total(self, told: Usage) -> None:
        """The process added up what its answer to a message used."""


@dataclass(slots=True)
class RoutedCalls:
    """``ModelCalls`` behind the gateway, which has admitted and measured them already."""

    route: Route
    explained: bool = True

    @property
    def error(self) -> Exception | None:
        """The gateway caught it: the request had to be answered."""
        return self.route.error

    async def admit(self) -> QuotaRefusal | None:
        """Each request is admitted when it comes."""
        return None

    async def began(self, message_id: str) -> str | QuotaRefusal:
        """The gateway gave it its id."""
        call = self.route.call(message_id)
        return "" if call is None else call.call_id

    def ended(self, message_id: str, told: Usage) -> Usage:
        """The gateway read it from the provider's own bytes."""
        call = self.route.call(message_id)
        return told if call is None else call.usage

    def spoke(self, message_id: str, told: Usage) -> None:
        """The gateway told the meter."""

    def total(self, told: Usage) -> None:
        """Every call was measured on its own."""


@dataclass(slots=True, kw_only=True)
class ReportedCalls:
    """``ModelCalls`` by what the process reports, for the operator's own login.

    A call can only be refused before the process is asked, or once it has begun: nothing of
    ours is between it and the provider. What its total shows beyond its complete answers was
    used by tries that were given up.
    """

    meter: CallMeter
    engine: str
    model: str
    estimated_input: int
    max_output: int
    explained: bool = False
    error: Exception | None = None
    """Never: what the meter raises is raised where it is asked."""
    _held: Grant | None = None
    _ids: dict[str, str] = field(default_factory=dict)
    """Of the calls that have not ended, by message."""
    _known: Usage = field(default_factory=Usage)

    async def admit(self) -> QuotaRefusal | None:
        """Reserve the first call."""
        granted = await self._reserve()
        if isinstance(granted, QuotaRefusal):
            return granted
        self._held = granted
        return None

    async def began(self, message_id: str) -> str | QuotaRefusal:
        """The first call is reserved; later ones are when they begin."""
        granted = self._held or await self._reserve()
        self._held = None
        if isinstance(granted, QuotaRefusal):
            return granted
        self._ids[message_id] = granted.call_id
        return granted.call_id

    def spoke(self, message_id: str, told: Usage) -> None:
        """Note it, should the call be cut off."""
        if (call_id := self._ids.get(message_id)) is not None:
            self.meter.saw(call_id, told)

    def ended(self, message_id: str, told: Usage) -> Usage:
        """The answer's own figures."""
        self.spoke(message_id, told)
        self._ids.pop(message_id, None)
        self._known += told
        return told

    def total(self, told: Usage) -> None:
        """Note the difference on the calls that did not end: on the newest, all of it."""
        given_up = list(self._ids.values())
        if self._held is not None:
            given_up.append(self._held.call_id)
        more = _beyond(told, self._known)
        if not given_up or not (more.total or self._held is not None):
            return  # nothing to explain, or a result that tells no figures
        for call_id in given_up[:-1]:
            self.meter.saw(call_id, Usage())
        self.meter.saw(given_up[-1], more)

    async def _reserve(self) -> Grant | QuotaRefusal:
        return await self.meter.reserve(
            engine=self.engine,
            model=self.model,
            estimated_input=self.estimated_input,
            max_output=self.max_output,
        )


def _beyond(total: Usage, known: Usage) -> Usage:
    """Bucket by bucket what the total has more, never less than nothing."""
    return replace(
        total,
        input_tokens=max(total.input_tokens - known.input_tokens, 0),
        output_tokens=max(total.output_tokens - known.output_tokens, 0),
        cache_read_tokens=max(total.cache_read_tokens - known.cache_read_tokens, 0),
        cache_write_5m_tokens=max(total.cache_write_5m_tokens - known.cache_write_5m_tokens, 0),
        cache_write_1h_tokens=max(total.cache_write_1h_tokens - known.cache_write_1h_tokens, 0),
    )
