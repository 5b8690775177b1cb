"""Quotes: what the preview says is what is charged, and only while it is true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.desk import Changed
from billing.invoices import InvoiceStatus, LineKind
from billing.operator import Account, AccountChanges
from billing.plans import CURRENCIES, SEED, PlanVersion, Price
from billing.subscriptions import Happening
from core.refusals import Rejected
from storage.database import Database
from storage.subscriptions import happened
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.plan_kit import HOUR, NOVEMBER, Shop, shop

__all__ = ["db", "migrated_file", "migrated_url", "place"]
MINUTE = 60_000


async def refused(team: Shop, quote_id: str) -> str:
    """The code with which a confirmation is refused."""
    answer = await team.plans.confirm(team.tenant, quote_id, user_id=team.admin.id)
    assert isinstance(answer, Rejected)
    return answer.code


async def test_a_quote_from_free_charges_the_rest_of_the_month(db: Database) -> None:
    """To the second, without a credit; what it says is on the invoice."""
    team = await shop(db)
    team.day(15)
    team.clock.at += 400
    quote = await team.quote("pro")
    assert (quote.kind, quote.total, quote.from_balance) == ("upgrade", 2500, 0)
    assert [line.kind for line in quote.lines] == [LineKind.PRORATION_CHARGE]
    assert quote.effective_at_ms == team.clock.at - 400
    invoice = (await team.confirm(quote)).invoice
    assert invoice is not None
    assert (invoice.total, invoice.lines, invoice.status) == (2500, quote.lines, "open")


async def test_what_was_quoted_is_charged_nine_minutes_later(db: Database) -> None:
    """The same lines, also when the price changed and the version is no longer sold."""
    team = await shop(db)
    await team.buy("pro")
    team.day(10)
    quote = await team.quote("enterprise")
    dearer = {currency: Price(base=1, overage=1) for currency in CURRENCIES}
    newer = replace(SEED[2], id="enterprise-2", version=2, prices=dearer)
    assert isinstance(await team.plans.publish(newer), PlanVersion)
    team.clock.at += 9 * MINUTE
    invoice = (await team.confirm(quote)).invoice
    assert invoice is not None
    assert invoice.lines == quote.lines
    assert [line.amount for line in quote.lines] == [-3333, 13333]
    await team.pay(invoice)
    assert (await team.now()).version_id == "enterprise-1"


async def test_a_quote_is_good_for_ten_minutes(db: Database) -> None:
    """Not a millisecond longer."""
    team = await shop(db)
    quote = await team.quote("pro")
    team.clock.at = quote.expires_at_ms
    assert await refused(team, quote.id) == "quote_expired"
    team.clock.at -= 1
    await team.confirm(quote)


async def test_confirming_twice_gives_the_same_answer(db: Database) -> None:
    """Also after it expired and was paid; there is one invoice."""
    team = await shop(db)
    quote = await team.quote("pro")
    invoice = (await team.confirm(quote)).invoice
    assert invoice is not None
    await team.pay(invoice)
    team.clock.at += HOUR
    again = (await team.confirm(quote)).invoice
    assert again is not None
    assert (again.id, again.status) == (invoice.id, InvoiceStatus.PAID)


async def test_a_quote_is_void_when_the_subscription_changed(db: Database) -> None:
    """And one of another team, or of none, is not found."""
    team = await shop(db)
    await team.buy("pro")
    quote = await team.quote("enterprise")
    await team.plans.cancel(team.tenant, user_id=team.admin.id)
    assert await refused(team, quote.id) == "quote_outdated"
    assert await refused(team, "quote_none") == "unknown_quote"
    other = await team.plans.confirm("t_other", quote.id, user_id="u")
    assert isinstance(other, Rejected)
    assert other.code == "unknown_quote"


async def test_a_quote_does_not_outlive_its_month(db: Database) -> None:
    """The last minutes of a month do not buy the next one."""
    team = await shop(db)
    team.clock.at = NOVEMBER.end_ms - 5 * MINUTE
    quote = await team.quote("pro")
    assert quote.total == 1
    team.clock.at += 6 * MINUTE
    assert await refused(team, quote.id) == "quote_outdated"


async def test_plans_that_cannot_be_quoted(db: Database) -> None:
    """Unknown, the same one, and one without a price in the currency."""
    team = await shop(db)
    assert await team.refused("gold") == "unknown_plan"
    assert await team.refused("free") == "same_plan"
    await team.write("UPDATE plan_versions SET prices = '{}' WHERE plan = 'pro'")
    assert await team.refused("pro") == "no_price"


async def test_a_newer_unpaid_upgrade_makes_the_older_void(db: Database) -> None:
    """Money for the old one goes to the balance; the plan is the new one's."""
    team = await shop(db)
    old, new = await team.order("pro"), await team.order("enterprise")
    assert (await team.invoice(old)).status is InvoiceStatus.VOID
    assert await team.pay(old, old.total) == "balance"
    assert await team.credit() == old.total
    assert (await team.now()).version_id == "free-1"
    assert await team.pay(new) == "invoice"
    assert (await team.now()).version_id == "enterprise-1"


async def test_who_owes_pays_first(db: Database) -> None:
    """No upgrade and no downgrade while an invoice is overdue."""
    team = await shop(db)
    await team.buy("pro")
    it = await team.now()
    await team.db.transaction(happened, it, Happening.OVERDUE, team.clock.at)
    assert await team.refused("enterprise") == "unpaid_invoice"
    assert await team.refused("free") == "unpaid_invoice"


async def test_a_downgrade_is_noted_for_the_end_of_the_month(db: Database) -> None:
    """It costs and credits nothing, and can be taken back."""
    team = await shop(db)
    await team.buy("enterprise")
    team.day(3)
    quote = await team.quote("pro")
    assert (quote.kind, quote.lines, quote.total) == ("downgrade", (), 0)
    assert quote.effective_at_ms == NOVEMBER.end_ms
    changed = await team.confirm(quote)
    assert changed.invoice is None
    assert changed.standing.next_plan is not None
    assert changed.standing.next_plan.id == "pro-1"
    assert changed.standing.plan.id == "enterprise-1"
    back = await team.plans.reactivate(team.tenant, user_id=team.admin.id)
    assert isinstance(back, Changed)
    assert back.standing.next_plan is None


async def test_a_paid_upgrade_replaces_a_noted_downgrade(db: Database) -> None:
    """And a noted cancellation: who buys more stays."""
    team = await shop(db)
    await team.buy("pro")
    await team.confirm(await team.quote("free"))
    team.day(2)
    await team.buy("enterprise")
    it = await team.now()
    assert (it.version_id, it.next_version_id, it.cancel_at_ms) == ("enterprise-1", None, None)


async def test_the_balance_pays_what_it_can(db: Database) -> None:
    """The quote says how much; an upgrade it covers is in effect at once."""
    team = await shop(db)
    await team.give(10_000)
    quote = await team.quote("pro")
    assert (quote.total, quote.from_balance) == (4999, 4999)
    changed = await team.confirm(quote)
    assert changed.invoice is not None
    assert changed.invoice.status is InvoiceStatus.PAID
    assert changed.standing.plan.id == "pro-1"
    assert await team.credit() == 5001


async def test_the_balance_that_an_unpaid_upgrade_holds_is_quoted(db: Database) -> None:
    """A confirmation frees it, so the quote counts with it: what it says is what is due."""
    team = await shop(db)
    await team.give(1_000)
    first = await team.quote("enterprise")
    assert first.from_balance == 1_000
    await team.confirm(first)
    again = await team.quote("pro")
    assert again.from_balance == 1_000
    invoice = (await team.confirm(again)).invoice
    assert invoice is not None
    assert invoice.due == again.total - again.from_balance


async def test_tax_and_currency_are_those_of_the_account(db: Database) -> None:
    """Prices in another currency are set, not converted; tax is added on each line."""
    team = await shop(db, currency="CNY")
    changes = AccountChanges(tax_rate=1900, name="Buyer")
    assert isinstance(await team.plans.set_account(team.tenant, changes), Account)
    quote = await team.quote("pro")
    assert (quote.currency, quote.subtotal, quote.tax) == ("CNY", 358_00, 68_02)
    invoice = (await team.confirm(quote)).invoice
    assert invoice is not None
    assert (invoice.total, invoice.buyer.name) == (quote.total, "Buyer")


async def test_an_upgrade_waits_until_a_paid_month_is_closed(db: Database) -> None:
    """Between its end and the run; a month that was free throughout needs no closing."""
    team = await shop(db)
    team.clock.at = NOVEMBER.end_ms + MINUTE
    assert (await team.quote("pro")).total == 4999
    await team.buy("pro")
    team.clock.at = (await team.now()).period.end_ms
    assert await team.refused("enterprise") == "month_closing"


@pytest.mark.parametrize("plan", ["pro", "enterprise"])
async def test_in_a_trial_the_rest_of_the_month_is_charged(db: Database, plan: str) -> None:
    """Without a credit, also for the plan that is tried; paid, the trial is over."""
    team = await shop(db)
    await team.plans.trial(team.tenant, "pro")
    team.day(15)
    quote = await team.quote(plan)
    assert [line.kind for line in quote.lines] == [LineKind.PRORATION_CHARGE]
    await team.pay((await team.confirm(quote)).invoice or pytest.fail("no invoice"))
    it = await team.now()
    assert (it.status, it.trial_end_ms, it.version_id) == ("active", None, f"{plan}-1")
    assert await team.refused(plan) == "same_plan"


async def test_the_last_minutes_of_a_month_are_not_given_away(db: Database) -> None:
    """Where the rest of the month rounds to nothing there is no quote."""
    team = await shop(db)
    team.clock.at = NOVEMBER.end_ms - 120_000
    assert (await team.quote("enterprise")).total > 0
    team.clock.at = NOVEMBER.end_ms - 2_000
    assert await team.refused("pro") == "month_closing"
    assert (await team.now()).version_id == "free-1"


async def test_an_upgrade_of_cents_is_paid_first(db: Database) -> None:
    """Late in the month it costs little, and without the money there is no larger plan."""
    team = await shop(db)
    team.clock.at = NOVEMBER.end_ms - HOUR
    quote = await team.quote("enterprise")
    assert 0 < quote.total < 50
    assert quote.from_balance == 0
    invoice = (await team.confirm(quote)).invoice
    assert invoice is not None
    assert (invoice.status, invoice.due) == (InvoiceStatus.OPEN, quote.total)
    assert (await team.now()).version_id == "free-1"
    assert await team.pay(invoice) == "invoice"
    assert (await team.now()).version_id == "enterprise-1"


async def test_no_upgrade_is_confirmed_while_a_debt_is_left(db: Database) -> None:
    """Also with a quote from before the invoice was written off."""
    team = await shop(db)
    bought = await team.buy("pro")
    quote = await team.quote("enterprise")
    await team.write(
        "UPDATE invoices SET status = 'uncollectible', paid = 0 WHERE id = :id", id=bought.id
    )
    assert await refused(team, quote.id) == "unpaid_invoice"
    assert await team.refused("enterprise") == "unpaid_invoice"
