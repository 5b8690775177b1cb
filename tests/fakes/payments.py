"""A payment provider with a memory: what it holds is the truth that our side must arrive at.

It is spoken to over ``billing.payments.PaymentProvider`` and notifies with HMAC-signed bodies.
The payer's side is driven by ``pay``, ``decline`` and the like; each writes a notification,
which the test delivers when, how often and in which order it likes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from billing.money import Money
from billing.payments import (
    BadNotification,
    Notification,
    PaymentNews,
    PaymentRequest,
    PaymentSession,
    PaymentStatus,
    ProviderFault,
)
from core.clock import Clock

TOLERANCE_MS = 300_000
SIGNATURE = "X-Fake-Signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A notification as it goes over the wire."""

    event_id: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Held:
    """A payment as the provider holds it."""

    id: str
    request: PaymentRequest
    status: PaymentStatus = PaymentStatus.CREATED
    received: Money | None = None
    account: str
    hard_decline: bool = False
    closed: bool = False
    history: list[PaymentStatus] = field(default_factory=list)


Script = Callable[["FakePayments", Held], Sent]
"""What happens to a payment in the moment it is begun."""


class FakePayments:
    """Implements ``billing.payments.PaymentProvider``."""

    description = "By card."

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "card",
        account: str = "acct_ours",
        repeats_reference: bool = True,
    ) -> None:
        """``repeats_reference``: whether its news carry our own id of the payment."""
        self.name = name
        self.account = account
        self.secret = b"whsec_fake"
        self.held: dict[str, Held] = {}
        self.sent: list[Sent] = []
        self.scripts: list[Script] = []
        self.unreachable = 0
        """So many calls fail before they do anything."""
        self.answers_lost = 0
        """So many sessions are begun, and nobody hears of it."""
        self.calls: list[str] = []
        self._by_key: dict[str, str] = {}
        self._clock = clock
        self._repeats = repeats_reference

    # -- the port ---------------------------------------------------------------------------

    async def session(self, request: PaymentRequest) -> PaymentSession:
        """Begin a payment, or find the one of that key."""
        self._called("session")
        known = self._by_key.get(request.idempotency_key)
        if known is None:
            known = f"fp_{self.name}_{len(self.held) + 1}"
            self._by_key[request.idempotency_key] = known
            self.held[known] = Held(id=known, request=request, account=self.account)
            if self.scripts:
                self.scripts.pop(0)(self, self.held[known])
        held = self.held[known]
        if held.request != request:
            message = "The key was used before for something else."
            raise ProviderFault(message)
        if self.answers_lost:
            self.answers_lost -= 1
            message = "The connection was lost."
            raise ProviderFault(message)
        return PaymentSession(
            provider_payment_id=known,
            status=held.status,
            url=f"https://pay.example/{known}",
            expires_at_ms=request.expires_at_ms,
        )

    async def status(self, provider_payment_id: str) -> PaymentNews:
        """How it stands; a session that is over is one that failed."""
        self._called("status")
        held = self.held.get(provider_payment_id)
        if held is None:
            message = "There is no such payment."
            raise ProviderFault(message)
        over = self._clock.now_ms() >= held.request.expires_at_ms
        if over and held.status is PaymentStatus.CREATED:
            self._becomes(held, PaymentStatus.FAILED)
        return self._news(held)

    async def close(self, provider_payment_id: str) -> None:
        """Let nothing more be paid; money that is under way cannot be stopped."""
        self._called("close")
        held = self.held[provider_payment_id]
        if held.status not in {PaymentStatus.CREATED, PaymentStatus.FAILED}:
            message = "The payment cannot be closed any more."
            raise ProviderFault(message)
        held.closed = True
        self._becomes(held, PaymentStatus.FAILED)

    def parse(self, body: bytes, headers: Mapping[str, str]) -> Notification:
        """Check the signature and its age; header names in any case."""
        written = {name.lower(): value for name, value in headers.items()}
        parts = dict(
            part.split("=", 1)
            for part in written.get(SIGNATURE.lower(), "").split(",")
            if "=" in part
        )
        stamp, signature = parts.get("t", ""), parts.get("v1", "")
        expected = self._signature(stamp, body).encode()
        if not hmac.compare_digest(expected, signature.encode()):
            message = "the signature does not hold"
            raise BadNotification(message)
        if abs(self._clock.now_ms() - int(stamp) * 1000) > TOLERANCE_MS:
            message = "the signature is too old, or of the future"
            raise BadNotification(message)
        document = json.loads(body)
        payment = document["payment"]
        return Notification(event_id=document["id"], news=_news_of(payment) if payment else None)

    # -- the payer, and the world -------------------------------------------------------------

    def act(self, held: Held) -> Sent:
        """The payer must do something first: the money is pending."""
        return self._becomes(held, PaymentStatus.PROCESSING)

    def decline(self, held: Held, *, hard: bool = False) -> Sent:
        """The payer's means are refused; hard: for good."""
        held.hard_decline = hard
        return self._becomes(held, PaymentStatus.FAILED)

    def pay(
        self,
        held: Held,
        received: Money | None = None,
        *,
        account: str | None = None,
        even_closed: bool = False,
    ) -> Sent:
        """The money comes: all of it, or as told; to our account, or another one.

        ``even_closed``: it was under way when the session was closed.
        """
        assert even_closed or not held.closed, "nobody can pay a closed session"
        held.received = received or held.request.amount
        held.account = account or held.account
        held.hard_decline = False
        return self._becomes(held, PaymentStatus.SUCCEEDED)

    def refund(self, held: Held) -> Sent:
        """The money goes back."""
        return self._becomes(held, PaymentStatus.REFUNDED)

    def dispute(self, held: Held) -> Sent:
        """The payer takes it back through the bank."""
        return self._becomes(held, PaymentStatus.DISPUTED)

    def other_event(self) -> Sent:
        """A notification that concerns no payment."""
        return self._signed(None)

    def again(self, sent: Sent) -> Sent:
        """The same notification, delivered later: signed anew, as providers do."""
        return replace(sent, headers=self._headers(sent.body))

    # -- inside -------------------------------------------------------------------------------

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.unreachable:
            self.unreachable -= 1
            message = "The provider cannot be reached."
            raise ProviderFault(message)

    def _becomes(self, held: Held, status: PaymentStatus) -> Sent:
        held.status = status
        held.history.append(status)
        return self._signed(held)

    def _news(self, held: Held) -> PaymentNews:
        return PaymentNews(
            provider_payment_id=held.id,
            status=held.status,
            received=held.received,
            account=held.account,
            payment_id=held.request.payment_id if self._repeats else "",
            hard_decline=held.hard_decline and held.status is PaymentStatus.FAILED,
        )

    def _signed(self, held: Held | None) -> Sent:
        event_id = f"evt_{self.name}_{len(self.sent) + 1}"
        payment = _written(self._news(held)) if held else None
        body = json.dumps({"id": event_id, "payment": payment}).encode()
        self.sent.append(Sent(event_id=event_id, body=body, headers=self._headers(body)))
        return self.sent[-1]

    def _headers(self, body: bytes) -> dict[str, str]:
        stamp = str(self._clock.now_ms() // 1000)
        return {SIGNATURE: f"t={stamp},v1={self._signature(stamp, body)}"}

    def _signature(self, stamp: str, body: bytes) -> str:
        return hmac.new(self.secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def _written(news: PaymentNews) -> dict[str, object]:
    received = news.received
    return {
        "id": news.provider_payment_id,
        "status": str(news.status),
        "received": [received.minor, received.currency] if received else None,
        "account": news.account,
        "reference": news.payment_id,
        "hard": news.hard_decline,
    }


def _news_of(payment: Mapping[str, object]) -> PaymentNews:
    received = payment["received"]
    return PaymentNews(
        provider_payment_id=str(payment["id"]),
        status=PaymentStatus(str(payment["status"])),
        received=Money(int(received[0]), str(received[1])) if isinstance(received, list) else None,
        account=str(payment["account"]),
        payment_id=str(payment["reference"]),
        hard_decline=bool(payment["hard"]),
    )
