"""Payments of invoices: begun, notified, asked for, marked by hand; money is booked once.

A payment's row, with the key that its provider knows it by, is committed before the provider
is called: after a crash or a fault the same key is used again, and one payment comes of it.
What providers say, unasked (webhooks) or asked (polls), goes through one door,
``PaymentRows.apply``, which books the money in the transaction that raises the status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from billing.money import Money
from billing.payment_rules import (
    TRIES,
    Problem,
    Verdict,
    next_poll,
    pause_ms,
    poll_after_fault,
)
from billing.payment_store import Begun, Mark, PaymentStore, StoredEvent, Wanted
from billing.payments import (
    BadNotification,
    Payment,
    PaymentNews,
    PaymentProvider,
    PaymentRequest,
    PaymentStatus,
    ProviderFault,
    Providers,
)
from billing.providers.manual import NAME as MANUAL
from core.clock import Clock
from core.refusals import Rejected
from core.words import sentence

PROVIDER_S: Final = 30.0
"""Longest answer of a provider; after that the outcome is unknown."""
_BATCH: Final = 20
_LOOKS: Final = 3
"""A payment that moves on each time its provider is asked is left to the next try."""
T = TypeVar("T")
_log = structlog.get_logger()


class Unsettled(Exception):
    """Nothing could be made of a notification now: it is tried again, then put aside."""

    def __init__(self, problem: Problem) -> None:
        """``problem`` is what the operator reads."""
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedPaid:
    """What the operator's word led to."""

    payment: Payment
    number: str
    """The invoice's."""


class PaymentService:
    """Implements ``billing.desk.PaymentDesk``; ``work`` is called again and again by a loop."""

    def __init__(self, store: PaymentStore, providers: Providers, clock: Clock) -> None:
        """``providers``: the ways to pay that are configured."""
        self._store = store
        self._providers = providers
        self._clock = clock

    # -- the desk ---------------------------------------------------------------------------

    async def methods(self, tenant_id: str) -> Mapping[str, str]:
        """The names of the ways to pay, each with a sentence; the same for every team."""
        del tenant_id
        return {name: way.description for name, way in self._providers.by_name.items()}

    async def pay(
        self, tenant_id: str, id_or_number: str, method: str | None = None
    ) -> Payment | Rejected:
        """Begin to pay an invoice; an unfinished session of that way is shown again.

        The sessions of other attempts are closed first, as far as their providers can.
        """
        provider = self._provider(method)
        if isinstance(provider, Rejected):
            return provider
        wanted = Wanted(tenant_id=tenant_id, invoice=id_or_number, provider=provider.name)
        begun = await self._store.begin(wanted, self._clock.now_ms())
        if isinstance(begun, Rejected):
            return begun
        if begun.payment.session is not None:
            return begun.payment
        for older in begun.older:
            await self._close(older)
        try:
            return await self._open(begun, provider)
        except ProviderFault as fault:
            _log.warning("payment.provider_fault", provider=provider.name, step="session")
            return Rejected(code="provider_unreachable", sentence=fault.sentence)

    async def payments(self, tenant_id: str, invoice_id: str) -> Sequence[Payment]:
        """The attempts, oldest first."""
        return await self._store.payments(tenant_id, invoice_id)

    async def notified(
        self, provider: str, body: bytes, headers: Mapping[str, str]
    ) -> Rejected | None:
        """Verify the raw body and keep it, once for each of the provider's ids."""
        way = self._providers.by_name.get(provider)
        if way is None:
            return Rejected(
                code="unknown_provider",
                sentence=sentence("There is no way to pay of that name here."),
            )
        try:
            notification = way.parse(body, headers)
        except BadNotification as error:
            _log.warning("payment.bad_notification", provider=provider, reason=str(error))
            return Rejected(
                code="bad_signature",
                sentence=sentence("The notification's signature does not hold."),
            )
        await self._store.keep(provider, notification, body, self._clock.now_ms())
        return None

    # -- the operator -----------------------------------------------------------------------

    async def mark_paid(
        self,
        id_or_number: str,
        *,
        by: str,
        amount: Money | None = None,
        reference: str = "",
        at_ms: int | None = None,
    ) -> MarkedPaid | Rejected:
        """The operator saw the money of an invoice of any team; all that is due, if not told.

        Refused, and nothing is changed, for an invoice that is paid (also by an earlier mark)
        or void. The mark is committed before it is worked on: a crash between loses nothing.
        """
        at_ms = self._clock.now_ms() if at_ms is None else at_ms
        if amount is not None and amount.minor <= 0:
            return Rejected(
                code="bad_amount", sentence=sentence("The amount must be more than nothing.")
            )
        wanted = Wanted(tenant_id=None, invoice=id_or_number, provider=MANUAL, by_hand=True)
        begun = await self._store.begin(wanted, at_ms)
        if isinstance(begun, Rejected):
            return begun
        mark = Mark(
            payment_id=begun.payment.id,
            received=amount or begun.payment.amount,
            by=by,
            reference=reference,
        )
        event = await self._store.mark(mark, at_ms)
        payment = await self._learn(begun.payment, event.news, at_ms)
        await self._store.processed(event, at_ms)
        for older in begun.older:
            await self._close(older)
        return MarkedPaid(payment=payment, number=begun.number)

    # -- the work -----------------------------------------------------------------------------

    async def work(self) -> int:
        """Work on what notifications and polls are due; how many there were.

        Any number of processes may do it at once. Raises ``It0Error`` without the database.
        """
        events = await self._store.waiting(self._clock.now_ms(), _BATCH)
        for event in events:
            await self._process(event)
        polls = await self._store.due(self._clock.now_ms(), _BATCH)
        for begun in polls:
            await self._poll(begun)
        return len(events) + len(polls)

    async def _process(self, event: StoredEvent) -> None:
        """Work on one notification; whatever it raises must not stop the others."""
        try:
            await self._settle(event)
        except Unsettled as error:
            await self._put_off(event, error.problem)
        except ProviderFault:
            await self._put_off(event, Problem.UNKNOWN_OUTCOME)
        except Exception:  # noqa: BLE001  # it is logged, tried again and put aside
            _log.exception("payment.event_failed", provider=event.provider)
            await self._put_off(event, Problem.FAILED_PROCESSING)
        else:
            await self._store.processed(event, self._clock.now_ms())

    async def _settle(self, event: StoredEvent) -> None:
        """Let the payment learn the news. Raises ``Unsettled`` and ``ProviderFault``."""
        if event.attempts > TRIES:  # it ended the process each time
            raise Unsettled(Problem.FAILED_PROCESSING)
        payment = await self._store.find(event.provider, event.news)
        if payment is None:
            raise Unsettled(Problem.UNKNOWN_PAYMENT)
        if payment.provider_payment_id not in {None, event.news.provider_payment_id}:
            raise Unsettled(Problem.SECOND_PAYMENT)
        await self._learn(payment, event.news, self._clock.now_ms())

    async def _put_off(self, event: StoredEvent, problem: Problem) -> None:
        at_ms = self._clock.now_ms()
        again = at_ms + pause_ms(event.attempts) if event.attempts < TRIES else None
        if again is None:
            _log.error("payment.event_put_aside", provider=event.provider, problem=str(problem))
        await self._store.failed(event, str(problem), at_ms, retry_at_ms=again)

    async def _poll(self, begun: Begun) -> None:
        """Ask how a payment stands, or for the session whose answer was lost."""
        payment, at_ms = begun.payment, self._clock.now_ms()
        try:
            payment = await self._asked(begun, at_ms)
        except (ProviderFault, Unsettled):
            await self._ask_later(payment, at_ms)
        except Exception:  # noqa: BLE001  # it is logged, and asked for again
            _log.exception("payment.poll_failed", provider=payment.provider)
            await self._ask_later(payment, at_ms)
        else:
            await self._store.plan(payment.id, next_poll(payment, at_ms), at_ms)

    async def _asked(self, begun: Begun, at_ms: int) -> Payment:
        """The payment as its provider says it stands. Raises ``ProviderFault``, ``Unsettled``."""
        payment = begun.payment
        provider = self._providers.by_name.get(payment.provider)
        if provider is None:
            raise Unsettled(Problem.UNKNOWN_OUTCOME)
        if payment.provider_payment_id is not None:
            news = await _within(provider.status(payment.provider_payment_id))
            return await self._learn(payment, news, at_ms)
        if payment.expires_at_ms is not None and at_ms >= payment.expires_at_ms:
            # The provider may have forgotten the key: to use it again could begin another.
            raise Unsettled(Problem.UNKNOWN_OUTCOME)
        return await self._open(begun, provider)

    async def _ask_later(self, payment: Payment, at_ms: int) -> None:
        again = poll_after_fault(payment, at_ms)
        if again is None:
            await self._store.give_up(payment.id, at_ms)
        else:
            await self._store.plan(payment.id, again, at_ms)

    # -- steps --------------------------------------------------------------------------------

    def _provider(self, method: str | None) -> PaymentProvider | Rejected:
        ways = self._providers.by_name
        if not ways:
            return Rejected(
                code="no_payment_method",
                sentence=sentence("No way to pay is set up here. Ask whoever runs this service."),
            )
        names = ", ".join(ways)
        if method is None:
            if len(ways) == 1:
                return next(iter(ways.values()))
            return Rejected(
                code="choose_method",
                sentence=sentence("Say how you want to pay: {names}.", names=names),
            )
        if method not in ways:
            return Rejected(
                code="unknown_method",
                sentence=sentence("You can pay with: {names}.", names=names),
            )
        return ways[method]

    async def _open(self, begun: Begun, provider: PaymentProvider) -> Payment:
        """Ask for the session and keep it. Raises ``ProviderFault``: the outcome is unknown."""
        payment = begun.payment
        request = PaymentRequest(
            payment_id=payment.id,
            invoice_id=payment.invoice_id,
            number=begun.number,
            amount=payment.amount,
            idempotency_key=payment.idempotency_key,
            expires_at_ms=payment.expires_at_ms or 0,
        )
        session = await _within(provider.session(request))
        payment = await self._store.opened(payment.id, session, self._clock.now_ms())
        if session.status is PaymentStatus.CREATED:
            return payment
        news = PaymentNews(provider_payment_id=session.provider_payment_id, status=session.status)
        try:
            return await self._learn(payment, news, self._clock.now_ms())
        except ProviderFault:  # a charge without its amount: the polls will ask
            return payment

    async def _close(self, payment: Payment) -> None:
        """Close an older session and learn how it ended, as far as its provider can tell."""
        provider = self._providers.by_name.get(payment.provider)
        if provider is None or payment.provider_payment_id is None:
            return
        try:
            await _within(provider.close(payment.provider_payment_id))
            news = await _within(provider.status(payment.provider_payment_id))
            await self._learn(payment, news, self._clock.now_ms())
        except (ProviderFault, Unsettled):  # should it be paid after all, the balance gets it
            _log.warning("payment.not_closed", provider=payment.provider)

    async def _learn(self, payment: Payment, news: PaymentNews, at_ms: int) -> Payment:
        """Apply news; what contradicts the payment is looked up first.

        Raises ``ProviderFault`` and ``Unsettled``.
        """
        account = self._providers.account(payment.provider)
        weighed = await self._store.apply(payment.id, news, account, at_ms)
        for _ in range(_LOOKS):
            if weighed.verdict is not Verdict.LOOK_UP:
                return weighed.payment
            provider = self._providers.by_name.get(payment.provider)
            if provider is None:
                raise Unsettled(Problem.CONTRADICTION)
            seen = weighed.payment.status
            news = await _within(provider.status(news.provider_payment_id))
            weighed = await self._store.apply(payment.id, news, account, at_ms, seen=seen)
        raise Unsettled(Problem.CONTRADICTION)


async def _within(answer: Awaitable[T]) -> T:
    """The provider's answer, if it comes in time. Raises ``ProviderFault``."""
    try:
        async with asyncio.timeout(PROVIDER_S):
            return await answer
    except TimeoutError as error:
        late = sentence("The payment provider did not answer in time. Try again in a few minutes.")
        raise ProviderFault(late) from error
