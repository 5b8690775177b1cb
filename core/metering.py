"""Every model call is admitted before it is made and settled after it ended.

``Meter`` is the port; ``billing.meter.BillingService`` implements it with quotas.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call, per bucket of the provider's price list."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def total(self) -> int:
        """All buckets added: what counts towards a quota."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
        )

    def __add__(self, other: Usage) -> Usage:
        """Add bucket by bucket."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_5m_tokens=self.cache_write_5m_tokens + other.cache_write_5m_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )


def byte_count(text: str) -> int:
    """UTF-8 bytes: what output is estimated by, as a character of Chinese is about a token."""
    return len(text.encode("utf-8", "surrogatepass"))


class CallState(StrEnum):
    """Where a model call stands."""

    RESERVED = "reserved"
    SETTLED = "settled"
    """The provider told the usage."""
    ESTIMATED = "estimated"
    """The call was cut off; the figures are what was seen of it, and the bill says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A model call about to be made. ``id`` is (turn, attempt, call), made beforehand."""

    id: str
    tenant_id: str
    conversation_id: str
    turn_id: str
    user_id: str
    engine: str
    model: str
    estimated_input: int
    """Tokens; counted generously (about 3 bytes a token)."""
    max_output: int
    own_key: bool = False
    """On the tenant's own account with the provider: metered, but never billed."""
    order_id: str = ""
    """The standing order that runs the turn, if one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The call may be made, with at most this many output tokens."""

    call_id: str
    max_output: int
    note: str = ""
    """A sentence for the user: what the turn is likely to take of the quota."""
    recorded: bool = True
    """Whether the call has its row. Without one (the database was away) its settlement is to
    bring the request with it."""


class RefusalCode(StrEnum):
    """Why a call is not admitted; part of the API's contract."""

    QUOTA = "quota_exceeded"
    BUDGET = "budget_exceeded"
    SERVICE = "service_suspended"
    """An invoice is overdue for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRefusal:
    """The call may not be made; the sentence says why and what to do."""

    sentence: str
    retry_at_ms: int | None = None
    """When it may be admitted again, such as the end of the month."""
    code: RefusalCode = RefusalCode.QUOTA
    offline: bool = True
    """Whether the offline engine may answer instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a model call used, written in the transaction that commits its step."""

    call_id: str
    usage: Usage
    state: CallState = CallState.SETTLED
    call: CallRequest | None = None
    """The call itself, where its row was not written when it was admitted."""


class Meter(Protocol):
    """Admits model calls. What they used is settled by ``TurnLog`` with the turn's steps."""

    async def reserve(self, call: CallRequest) -> Grant | QuotaRefusal:
        """Admit one call, durably, before it is made."""


class CallMeter(Protocol):
    """What an engine sees of the meter: the ids and the rows are kept by the turn."""

    async def reserve(
        self, *, engine: str, model: str, estimated_input: int, max_output: int
    ) -> Grant | QuotaRefusal:
        """Admit the next model call of this turn and give it its id."""

    def saw(self, call_id: str, usage: Usage) -> None:
        """Note what is known so far, so that a call that is cut off is still metered."""
