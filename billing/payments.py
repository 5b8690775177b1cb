"""The payments port, in our words: a session for an invoice, a status, a notification.

A provider never changes anything of ours: it says what it knows, and ``PaymentService``
decides. Amounts are minor units; times epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from billing.money import Money


class PaymentStatus(StrEnum):
    """Where a payment stands. It only rises; what contradicts that is looked up."""

    CREATED = "created"
    PROCESSING = "processing"
    """The payer did something; the money has not come."""
    FAILED = "failed"
    """Declined, expired or closed: another attempt may follow."""
    SUCCEEDED = "succeeded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"

    @property
    def rank(self) -> int:
        """Refunded and disputed share the highest one."""
        order = ("created", "processing", "failed", "succeeded", "refunded", "disputed")
        return min(order.index(self), 4)

    @property
    def unfinished(self) -> bool:
        """Whether the payer may still go on with the session."""
        return self in {PaymentStatus.CREATED, PaymentStatus.PROCESSING}

    @property
    def paid(self) -> bool:
        """Whether the money came, whatever became of it later."""
        return self.rank >= PaymentStatus.SUCCEEDED.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """What a provider is asked for."""

    payment_id: str
    """Ours; given to the provider as its reference."""
    invoice_id: str
    number: str
    """The invoice's, for the payer's statement."""
    amount: Money
    idempotency_key: str
    """The same for every try of one attempt: whatever was lost, one payment comes of it."""
    expires_at_ms: int
    return_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSession:
    """What the payer gets: at least one of the three."""

    provider_payment_id: str
    status: PaymentStatus = PaymentStatus.CREATED
    instructions: str = ""
    """Words, such as the account to transfer to."""
    url: str = ""
    """A page to pay at."""
    qr: str = ""
    """The text of a QR code."""
    expires_at_ms: int | None = None
    """None: it holds until it is closed, as instructions do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentNews:
    """What a provider says of a payment, asked or unasked."""

    provider_payment_id: str
    status: PaymentStatus
    received: Money | None = None
    """What was paid, once it was; the same after a refund or dispute."""
    account: str = ""
    """Whose account with the provider it came to; checked against ours where it is told."""
    payment_id: str = ""
    """Our reference, where the provider repeats it."""
    hard_decline: bool = False
    """Trying again with the same means is pointless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A verified webhook, parsed. ``news`` None: nothing that concerns a payment."""

    event_id: str
    """The provider's: a second delivery has the same one."""
    news: PaymentNews | None


class BadNotification(Exception):
    """The signature does not hold, or it is too old, or not for us. Answer 400, keep nothing."""


class ProviderFault(Exception):
    """The provider could not be reached or made no sense; the outcome is unknown: look it up."""

    def __init__(self, sentence: str) -> None:
        """``sentence`` is fit for users."""
        super().__init__(sentence)
        self.sentence = sentence


class PaymentProvider(Protocol):
    """One way to pay."""

    @property
    def name(self) -> str:
        """What customers call it; one word, stored with each payment."""

    @property
    def account(self) -> str:
        """Our own account with it, as its news name it; empty where they do not."""

    @property
    def description(self) -> str:
        """A sentence for the customer who chooses."""

    async def session(self, request: PaymentRequest) -> PaymentSession:
        """Begin a payment; a key that was used before means the same one. Raises the fault."""

    async def status(self, provider_payment_id: str) -> PaymentNews:
        """How it stands. Raises ``ProviderFault``."""

    async def close(self, provider_payment_id: str) -> None:
        """Nothing is to be paid on it any more; best effort. Raises ``ProviderFault``."""

    def parse(self, body: bytes, headers: Mapping[str, str]) -> Notification:
        """Verify the raw body and read it. Raises ``BadNotification``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as it is stored."""

    id: str
    tenant_id: str
    invoice_id: str
    provider: str
    provider_payment_id: str | None
    attempt: int
    idempotency_key: str
    status: PaymentStatus
    amount: Money
    received: Money | None = None
    session: PaymentSession | None = None
    problem: str = ""
    """What the operator should look at, as a code of ``billing.payment_rules.Problem``."""
    applied: str = ""
    """What became of the money: ``invoice``, ``balance``, ``review``; empty before it came."""
    created_at_ms: int = 0
    expires_at_ms: int | None = None
    poll_at_ms: int | None = None
    polls: int = 0


@dataclass(frozen=True, slots=True)
class Providers:
    """Every way to pay that is configured, by name."""

    by_name: Mapping[str, PaymentProvider] = field(default_factory=dict)

    def account(self, name: str) -> str:
        """Our account with a provider; empty where there is none to compare."""
        provider = self.by_name.get(name)
        return provider.account if provider else ""
