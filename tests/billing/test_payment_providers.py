"""The providers behind the payments port: the one by hand, and the fake that tests rely on."""

from __future__ import annotations

import pytest

from billing.money import Money
from billing.payments import (
    BadNotification,
    PaymentProvider,
    PaymentRequest,
    PaymentStatus,
    ProviderFault,
    Providers,
)
from billing.providers.manual import ManualConfig, ManualProvider
from tests.fakes.payments import SIGNATURE, FakePayments

DUE = Money(4_999, "USD")
REQUEST = PaymentRequest(
    payment_id="pay_1",
    invoice_id="inv_1",
    number="IT0-2026-000001",
    amount=DUE,
    idempotency_key="inv:inv_1:1:card",
    expires_at_ms=90_000_000,
)


class Hands:
    """A clock that stands."""

    at = 1_000_000

    def now_ms(self) -> int:
        """Where it stands."""
        return self.at


class Marked:
    """What the operator marked."""

    def __init__(self, money: Money | None = None) -> None:
        """One amount for every payment."""
        self._money = money

    async def marked(self, payment_id: str) -> Money | None:
        """The amount, for the payment of the request."""
        return self._money if payment_id == "pay_1" else None


def manual(instructions: str = "Transfer to 123.", money: Money | None = None) -> ManualProvider:
    """Payment by hand."""
    return ManualProvider(ManualConfig(instructions=instructions), Marked(money))


PROVIDERS = [manual(), FakePayments(Hands())]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)
async def test_one_key_means_one_payment(provider: PaymentProvider) -> None:
    """Asked twice, a provider shows the same session."""
    first = await provider.session(REQUEST)
    assert await provider.session(REQUEST) == first
    assert first.instructions or first.url or first.qr


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)
async def test_a_new_payment_is_unpaid(provider: PaymentProvider) -> None:
    """Its status says so, without an amount."""
    session = await provider.session(REQUEST)
    news = await provider.status(session.provider_payment_id)
    assert (news.status, news.received) == (PaymentStatus.CREATED, None)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)
@pytest.mark.parametrize("headers", [{}, {SIGNATURE: "t=1000,v1=00"}, {SIGNATURE: "ü"}])
def test_unsigned_words_are_refused(provider: PaymentProvider, headers: dict[str, str]) -> None:
    """Whatever the body says."""
    with pytest.raises(BadNotification):
        provider.parse(b'{"id": "x", "payment": null}', headers)


async def test_instructions_name_the_invoice_and_the_amount() -> None:
    """Where the operator put them, or below; other braces are left as they are."""
    below = await manual("Transfer to {IBAN}.").session(REQUEST)
    assert below.instructions == "Transfer to {IBAN}.\nIT0-2026-000001: USD 49.99"
    inside = await manual("{amount} to 123, reference {number}").session(REQUEST)
    assert inside.instructions == "USD 49.99 to 123, reference IT0-2026-000001"
    assert (await manual("").session(REQUEST)).instructions == "IT0-2026-000001: USD 49.99"
    assert below.expires_at_ms is None


async def test_payment_by_hand_says_what_the_operator_marked() -> None:
    """The amount that the operator saw; closing changes nothing of it."""
    provider = manual(money=DUE)
    await provider.close("pay_1")
    news = await provider.status("pay_1")
    assert (news.status, news.received, news.payment_id) == (S.SUCCEEDED, DUE, "pay_1")


S = PaymentStatus


async def test_the_fake_signs_and_dates_what_it_sends() -> None:
    """A true body is read; a changed one, another secret and one that is too old are refused."""
    clock = Hands()
    fake = FakePayments(clock)
    await fake.session(REQUEST)
    sent = fake.pay(fake.held["fp_card_1"])
    headers = {SIGNATURE.lower(): sent.headers[SIGNATURE]}
    read = fake.parse(sent.body, headers)
    assert read.event_id == sent.event_id
    assert read.news == await fake.status("fp_card_1")
    with pytest.raises(BadNotification):
        fake.parse(sent.body.replace(b"4999", b"9999"), sent.headers)
    clock.at += 300_000
    assert fake.parse(sent.body, sent.headers) == read
    clock.at += 1_000
    with pytest.raises(BadNotification):
        fake.parse(sent.body, sent.headers)
    fake.secret = b"other"
    with pytest.raises(BadNotification):
        fake.parse(sent.body, sent.headers)


async def test_the_fake_refuses_a_key_for_something_else() -> None:
    """As providers do: the second amount was never asked for."""
    fake = FakePayments(Hands())
    await fake.session(REQUEST)
    other = PaymentRequest(
        payment_id="pay_1",
        invoice_id="inv_1",
        number="IT0-2026-000001",
        amount=Money(1, "USD"),
        idempotency_key=REQUEST.idempotency_key,
        expires_at_ms=90_000_000,
    )
    with pytest.raises(ProviderFault):
        await fake.session(other)


def test_our_account_is_known_by_the_ways_name() -> None:
    """Empty for a way that is not configured any more: nothing can be compared."""
    ways = Providers(by_name={"card": FakePayments(Hands())})
    assert (ways.account("card"), ways.account("gone")) == ("acct_ours", "")
