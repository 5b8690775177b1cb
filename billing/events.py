"""Events: what happened, told to whoever has to act on it; the bus that carries them.

An event reaches each of its consumers at least once, in no promised order. A consumer makes
its effect once: it notes the event's id in the transaction of the effect. In one process the
bus is ``InProcessBus``; a broker between processes fills the same port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog

from core.errors import StorageFailure

_log = structlog.get_logger()


class Kind(StrEnum):
    """What events tell of; in brackets what their payload holds."""

    USAGE_RECORDED = "usage.recorded"
    """A model call was settled (``call_id``)."""
    QUOTA_THRESHOLD = "quota.threshold"
    """80 or 100 % of the included tokens are used (``percent``, ``period_start``)."""
    QUOTA_EXCEEDED = "quota.exceeded"
    """A call was refused for the month's limit (``period_start``)."""
    QUOTA_ALARM = "quota.alarm"
    """The operator's safety cap was reached (``period_start``)."""
    SUBSCRIPTION_CHANGED = "subscription.changed"
    """Another plan is in effect (``subscription_id``, ``plan``, ``from``)."""
    INVOICE_ISSUED = "invoice.issued"
    """(``invoice_id``)."""
    INVOICE_OVERDUE = "invoice.overdue"
    """(``invoice_id``, ``step``)."""
    PAYMENT_RECEIVED = "payment.received"
    """(``payment_id``, ``invoice_id``, ``applied``: invoice, balance, review)."""
    BILLING_ALARM = "billing.alarm"
    """The operator has to look (``reason``)."""
    NOTICE = "notice"
    """An announcement's sentence; nobody consumes it, its turn reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact, as it was stored beside what it tells of."""

    id: str
    tenant_id: str
    """Empty for what concerns the installation alone."""
    kind: str
    payload: Mapping[str, object]
    created_at_ms: int
    attempts: int = 0
    """How often its delivery failed."""

    def text(self, name: str) -> str:
        """A text of the payload. Raises ``BadEvent``."""
        value = self.payload.get(name)
        if not isinstance(value, str):
            raise BadEvent(self, name)
        return value

    def number(self, name: str) -> int:
        """A whole number of the payload. Raises ``BadEvent``."""
        value = self.payload.get(name)
        if not isinstance(value, int):
            raise BadEvent(self, name)
        return value


class BadEvent(Exception):
    """The payload lacks what its kind promises: a mistake of ours, which no retry mends."""

    def __init__(self, event: Event, name: str) -> None:
        """Name the event and what it lacks; payloads are not repeated in logs."""
        super().__init__(f"{event.kind} {event.id} has no usable {name!r}")


class EventBus(Protocol):
    """Carries events to their consumers."""

    async def publish(self, event: Event) -> None:
        """Return when the event is safe with the bus; raise when it may not be."""


class Consumer(Protocol):
    """Acts on events of some kinds, once each."""

    @property
    def name(self) -> str:
        """Part of what is stored: it never changes."""

    @property
    def kinds(self) -> frozenset[str]:
        """What it wants to hear of."""

    async def consume(self, event: Event) -> None:
        """Make the effect, unless it was made before. Raises whatever went wrong."""


class NotConsumed(Exception):
    """A consumer failed with an event; the others have it."""

    def __init__(self, names: Sequence[str]) -> None:
        """Name the consumers."""
        super().__init__(f"failed: {', '.join(names)}")


class InProcessBus:
    """Hands each event to the consumers of this process, and waits until they are done."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        """Wire the consumers."""
        self._consumers = tuple(consumers)

    async def publish(self, event: Event) -> None:
        """See the port. One consumer's failure keeps the event from no other.

        Raises ``StorageFailure`` when the database was the reason, else ``NotConsumed``.
        """
        failed, storage = list[str](), None
        for consumer in self._consumers:
            if event.kind not in consumer.kinds:
                continue
            try:
                await consumer.consume(event)
            except StorageFailure as failure:
                storage = failure
            except Exception:  # noqa: BLE001  # a bug in one consumer must not reach another
                failed.append(consumer.name)
                _log.exception("event.failed", consumer=consumer.name, id=event.id, kind=event.kind)
        if storage is not None:
            raise storage
        if failed:
            raise NotConsumed(failed)
