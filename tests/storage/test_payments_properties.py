"""Whatever is lost, repeated and out of order, we end where the provider is: money once."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count as count_from

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.money import Money
from billing.payment_rules import AFTER_EXPIRY_MS, SESSION_MS
from billing.payments import Payment, PaymentStatus
from storage.database import Database
from tests.fakes.payments import Held, Sent
from tests.storage.payment_kit import MINUTE, TOTAL, Till, add_invoice, till
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.racing import rows

S = PaymentStatus
__all__ = ["db", "migrated_file", "migrated_url", "place"]

_TRIES = st.lists(st.sampled_from(["act", "decline", "hard"]), max_size=3)
_LATER = st.lists(st.sampled_from(["dispute", "refund"]), max_size=2)
_AMOUNTS = st.sampled_from([TOTAL, TOTAL - 1, TOTAL + 7, -TOTAL])
"""Minor units of USD; a negative one stands for as many EUR."""


_NUMBERS = count_from(1)
_MOST_FAULTS = 3
"""Fewer than the tries of a notification: one that is put aside is the operator's."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What happens at the provider, in order."""

    tries: list[str]
    paid: bool
    amount: int
    later: list[str]

    @property
    def steps(self) -> list[str]:
        """All of it; what nobody pays is declined at last, or ends by itself."""
        if self.paid:
            return [*self.tries, "pay", *self.later]
        return [*self.tries, "decline"] if self.tries else []

    @property
    def received(self) -> Money:
        """What is paid."""
        return Money(abs(self.amount), "EUR" if self.amount < 0 else "USD")

    @property
    def applied(self) -> str:
        """What must become of the money."""
        if not self.paid:
            return ""
        return "invoice" if self.amount >= TOTAL else "review"

    @property
    def status(self) -> PaymentStatus:
        """Where it ends."""
        ends = {"dispute": S.DISPUTED, "refund": S.REFUNDED, "pay": S.SUCCEEDED}
        return ends[self.steps[-1]] if self.paid else S.FAILED


TRUTHS = st.builds(Truth, tries=_TRIES, paid=st.booleans(), amount=_AMOUNTS, later=_LATER)
OPS = st.lists(
    st.one_of(
        st.just(("step", 0)),
        st.tuples(st.just("deliver"), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.sampled_from([1, 4, 26])),
        st.just(("fault", 0)),
    ),
    max_size=16,
)


@dataclass(kw_only=True)
class Story:
    """One invoice, paid through whatever comes."""

    shop: Till
    truth: Truth
    payment: Payment
    held: Held
    sent: list[Sent] = field(default_factory=list)

    async def run(self, ops: list[tuple[str, int]]) -> None:
        """The steps of the truth in their order, notifications and polls in any."""
        left, faults = self.truth.steps, _MOST_FAULTS
        for op, number in ops:
            match op:
                case "step" if left:
                    self._step(left.pop(0))
                case "deliver" if self.sent:
                    await self.shop.deliver(self.sent[number % len(self.sent)])
                case "pass":
                    await self.shop.later(number)
                case "fault" if faults:
                    self.shop.card.unreachable, faults = 1, faults - 1
        for step in left:
            self._step(step)
        await self._end()

    async def _end(self) -> None:
        """What is told last arrives at last, and the polls run out.

        Of an open payment everything may be lost: it is asked for. What becomes of money that
        came is only notified, so the provider repeats that until it is taken.
        """
        self.shop.card.unreachable = 0
        if self.truth.paid and self.truth.later:
            await self.shop.deliver(self.sent[-1])
        expiry = self.payment.created_at_ms + SESSION_MS
        self.shop.clock.at = max(self.shop.clock.at, expiry)
        await self.shop.work()
        await self.shop.later(AFTER_EXPIRY_MS / MINUTE)
        await self.shop.later(24 * 60)

    def _step(self, step: str) -> None:
        fake = self.shop.card
        match step:
            case "act":
                self.sent.append(fake.act(self.held))
            case "decline" | "hard":
                self.sent.append(fake.decline(self.held, hard=step == "hard"))
            case "pay":
                self.sent.append(fake.pay(self.held, self.truth.received))
            case "dispute":
                self.sent.append(fake.dispute(self.held))
            case "refund":
                self.sent.append(fake.refund(self.held))


@pytest.fixture
async def shop(db: Database) -> Till:
    """One for all examples: each has an invoice of its own."""
    return await till(db, invoices=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(truth=TRUTHS, ops=OPS)
async def test_we_end_where_the_provider_is(
    shop: Till, truth: Truth, ops: list[tuple[str, int]]
) -> None:
    """Status, money, invoice and event are those of the true sequence, each once."""
    await _ends_right(shop, truth, ops)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(truth=TRUTHS, ops=OPS)
async def test_we_end_where_the_provider_is_over_many_stories(
    shop: Till, truth: Truth, ops: list[tuple[str, int]]
) -> None:
    """The same, over more of them."""
    await _ends_right(shop, truth, ops)


async def _ends_right(shop: Till, truth: Truth, ops: list[tuple[str, int]]) -> None:
    count = next(_NUMBERS)
    number = f"IT0-2026-{count:06}"
    await shop.db.transaction(add_invoice, shop.admin.tenant_id, count)
    before = await shop.balance()
    shop.card.unreachable = 0
    payment, held = await shop.held(number)
    await Story(shop=shop, truth=truth, payment=payment, held=held).run(ops)
    ended = await shop.payment(payment)
    received = truth.received if truth.paid else None
    assert (ended.status, ended.applied, ended.received) == (truth.status, truth.applied, received)
    assert ended.status is held.status
    told = "SELECT COUNT(*) FROM outbox WHERE id = :id"
    assert await rows(shop.db, told, id=f"payment/{payment.id}") == [(int(truth.paid),)]
    status, _, review = await shop.invoice(number)
    assert (status == "paid", review == 1) == (
        truth.applied == "invoice",
        truth.applied == "review",
    )
    if truth.applied == "invoice":
        assert await shop.balance() - before == truth.amount - TOTAL
