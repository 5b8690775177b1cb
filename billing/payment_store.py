"""What ``PaymentService`` needs to have kept; ``storage`` implements it.

Each method is one transaction. Amounts are minor units, times epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from billing.money import Money
from billing.payment_rules import Verdict
from billing.payments import Notification, Payment, PaymentNews, PaymentSession, PaymentStatus
from core.refusals import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A payment somebody wants to begin."""

    tenant_id: str | None
    """None: the operator's own command, whichever team's invoice it is."""
    invoice: str
    """Its id or number."""
    provider: str
    by_hand: bool = False
    """Marked by the operator, who may also take the money of what was written off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A payment whose row is committed: now the provider may be asked."""

    payment: Payment
    number: str
    """The invoice's."""
    older: tuple[Payment, ...] = ()
    """Others of the same invoice that may still be paid: to be closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What became of news."""

    verdict: Verdict
    payment: Payment
    """As it stands now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The operator saw the money."""

    payment_id: str
    received: Money
    by: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A verified notification that waits to be worked on."""

    provider: str
    event_id: str
    news: PaymentNews
    attempts: int
    """This one included."""


class PaymentRows(Protocol):
    """The payments."""

    async def begin(self, wanted: Wanted, at_ms: int) -> Begun | Rejected:
        """The unfinished payment of that way, or a new one. Rejected: there is nothing to pay."""

    async def opened(self, payment_id: str, session: PaymentSession, at_ms: int) -> Payment:
        """Keep the provider's session."""

    async def apply(
        self,
        payment_id: str,
        news: PaymentNews,
        account: str,
        at_ms: int,
        *,
        seen: PaymentStatus | None = None,
    ) -> Weighed:
        """Weigh news (``billing.payment_rules.weigh``) and do what they say, money included."""

    async def find(self, provider: str, news: PaymentNews) -> Payment | None:
        """The payment that news are about: by the provider's id, else by our reference."""

    async def payments(self, tenant_id: str, invoice_id: str) -> Sequence[Payment]:
        """Those of an invoice, oldest first."""


class PollRows(Protocol):
    """Payments whose provider is to be asked."""

    async def due(self, at_ms: int, limit: int) -> Sequence[Begun]:
        """Take those whose time has come, for two minutes: no other worker asks meanwhile."""

    async def plan(self, payment_id: str, poll_at_ms: int | None, at_ms: int) -> None:
        """When to ask next; nothing where the money has come meanwhile."""

    async def give_up(self, payment_id: str, at_ms: int) -> None:
        """The outcome stays unknown: noted, and the operator is alarmed."""


class EventRows(Protocol):
    """The inbox of notifications."""

    async def keep(
        self, provider: str, notification: Notification, body: bytes, at_ms: int
    ) -> None:
        """Store it, unless its id is known."""

    async def mark(self, mark: Mark, at_ms: int) -> StoredEvent:
        """Store what the operator says; the first word on a payment counts and is returned."""

    async def waiting(self, at_ms: int, limit: int) -> Sequence[StoredEvent]:
        """Take those whose time has come, for two minutes; each taking is an attempt."""

    async def processed(self, event: StoredEvent, at_ms: int) -> None:
        """It is done with."""

    async def failed(
        self, event: StoredEvent, problem: str, at_ms: int, *, retry_at_ms: int | None
    ) -> None:
        """Try again then; None: put it aside and alarm the operator."""


class PaymentStore(PaymentRows, PollRows, EventRows, Protocol):
    """All of it."""
