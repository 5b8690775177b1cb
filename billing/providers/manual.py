"""Payment by hand: the customer follows the operator's instructions, the operator confirms.

``it0 billing mark-paid INVOICE`` says that the money came. Nothing can be paid, and nobody
can be notified, over the network: there is no signature to check, so every body is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from billing.money import Money
from billing.payments import (
    BadNotification,
    Notification,
    PaymentNews,
    PaymentRequest,
    PaymentSession,
    PaymentStatus,
)
from core.words import sentence

NAME: Final = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualConfig:
    """How customers pay by hand."""

    instructions: str
    """The operator's words, such as an account to transfer to. ``{number}`` and ``{amount}``
    stand for the invoice's; where the number is not among them, both are added below."""


class Marks(Protocol):
    """What the operator has marked as paid."""

    async def marked(self, payment_id: str) -> Money | None:
        """The amount that came; None while nothing was marked."""


class ManualProvider:
    """Implements ``billing.payments.PaymentProvider``; its payments have our own ids."""

    name = NAME
    account = ""

    def __init__(self, config: ManualConfig, marks: Marks) -> None:
        """``marks`` is where the operator's word is kept."""
        self._config = config
        self._marks = marks

    @property
    def description(self) -> str:
        """A sentence for the customer who chooses."""
        return sentence("By transfer, as the operator instructs; it is confirmed by hand.")

    async def session(self, request: PaymentRequest) -> PaymentSession:
        """The instructions; they hold until the invoice is closed."""
        text, amount = self._config.instructions.strip(), str(request.amount)
        if "{number}" not in text:
            text = f"{text}\n{{number}}: {{amount}}".lstrip()
        return PaymentSession(
            provider_payment_id=request.payment_id,
            instructions=text.replace("{number}", request.number).replace("{amount}", amount),
        )

    async def status(self, provider_payment_id: str) -> PaymentNews:
        """What the operator has marked."""
        received = await self._marks.marked(provider_payment_id)
        return PaymentNews(
            provider_payment_id=provider_payment_id,
            payment_id=provider_payment_id,
            status=PaymentStatus.SUCCEEDED if received else PaymentStatus.CREATED,
            received=received,
        )

    async def close(self, provider_payment_id: str) -> None:
        """Nothing to do: a transfer cannot be recalled, and one that comes is still marked."""

    def parse(self, body: bytes, headers: Mapping[str, str]) -> Notification:
        """Raises ``BadNotification``, always."""
        del body, headers
        message = "payments by hand are marked by the operator, never notified"
        raise BadNotification(message)
