"""Upgrade, downgrade and cancel in chat: said, confirmed, done."""

from __future__ import annotations

import pytest

from billing.changes import NO_QUOTE
from billing.commands_text import rejected
from billing.plans import PlanName
from billing.subscriptions import Status
from core.tenants import Role
from core.turns import Outcome
from core.words import Words
from tests.billing.command_kit import Asked


async def test_what_the_quote_says_is_what_is_invoiced() -> None:
    """The button's command confirms it; the answer has the invoice and how to pay it."""
    asked = Asked()
    quote = await asked.say("/upgrade pro")
    assert "**From Free to Pro**" in quote.reply
    assert "**To be paid now: $24.16**" in quote.reply
    assert "until 12:10 UTC" in quote.reply
    done = await asked.press(quote)
    assert done.outcome is Outcome.ANSWERED
    assert "`IT0-2026-000001`: $24.16 to pay" in done.reply
    assert "DE00 1234" in done.reply
    assert asked.desk.plan is PlanName.FREE
    (invoice,) = asked.desk.bills
    asked.desk.pay_off(invoice)
    assert "Pro plan" in (await asked.say("/plan")).reply


async def test_confirming_twice_is_one_invoice() -> None:
    """Whether pressed or typed again."""
    asked = Asked()
    quote = await asked.say("/upgrade pro")
    first, second = await asked.press(quote), await asked.press(quote)
    assert first.reply == second.reply
    assert len(asked.desk.bills) == 1


async def test_a_quote_ends_after_ten_minutes() -> None:
    """Its button is refused with a sentence, and nothing is invoiced."""
    asked = Asked()
    quote = await asked.say("/upgrade pro")
    asked.desk.clock.at_ms += 600_000
    assert (await asked.press(quote)).outcome is Outcome.REFUSED
    assert not asked.desk.bills


async def test_the_balance_pays_first() -> None:
    """What it covers changes the plan at once."""
    asked = Asked()
    asked.desk.balance_minor = 10_000
    quote = await asked.say("/upgrade pro")
    assert "From your balance: -$24.16" in quote.reply
    assert "nothing to pay" in quote.reply
    assert "on the Pro plan" in (await asked.press(quote)).reply


async def test_in_a_channel_the_way_to_pay_is_not_shown() -> None:
    """The quote is fine there; account numbers come in a private chat."""
    asked = Asked()
    quote = await asked.say("/upgrade pro", channel="C1")
    assert quote.offer is not None
    done = await asked.say(quote.offer.command, channel="C1")
    assert "$24.16" in done.reply
    assert "DE00" not in done.reply
    assert "private chat" in done.reply


@pytest.mark.parametrize(
    ("plan", "text", "said"),
    [
        (PlanName.FREE, "/upgrade", "To which plan? `/upgrade pro`, `/upgrade enterprise`"),
        (PlanName.FREE, "/upgrade gold", "no such plan"),
        (PlanName.FREE, "/upgrade free", "on the Free plan already"),
        (PlanName.FREE, "/downgrade", "no smaller one"),
        (PlanName.FREE, "/downgrade pro", "larger than yours: `/upgrade pro`"),
        (PlanName.FREE, "/cancel", "nothing to cancel"),
        (PlanName.ENTERPRISE, "/upgrade", "no larger one"),
        (PlanName.ENTERPRISE, "/upgrade pro", "smaller than yours: `/downgrade pro`"),
        (PlanName.PRO, "/upgrade free pro", "One plan at a time"),
        (PlanName.PRO, "/cancel now", "/cancel confirm"),
        (PlanName.PRO, "/cancel back", "nothing to take back"),
    ],
)
async def test_what_cannot_be_changed(plan: PlanName, text: str, said: str) -> None:
    """The answer says what can be, and no quote is made."""
    asked = Asked()
    asked.desk.plan = plan
    ending = await asked.say(text)
    assert ending.outcome is Outcome.REFUSED
    assert said in ending.reply
    assert not asked.desk.quotes


async def test_a_plan_on_trial_can_be_bought() -> None:
    """It is the plan already, and begins to be paid; without a name it is among the choices."""
    asked = Asked()
    asked.desk.plan, asked.desk.status = PlanName.PRO, Status.TRIALING
    bought = await asked.say("/upgrade pro")
    assert bought.outcome is Outcome.ANSWERED
    assert bought.offer is not None
    assert "**To keep the Pro plan**" in bought.reply
    assert [quote.wanted.plan for quote in asked.desk.quotes.values()] == [PlanName.PRO]
    assert "`/upgrade pro`, `/upgrade enterprise`" in (await asked.say("/upgrade")).reply


async def test_in_a_trial_every_paid_plan_is_an_upgrade() -> None:
    """A smaller one, too: ``/downgrade`` says so and makes no quote."""
    asked = Asked()
    asked.desk.plan, asked.desk.status = PlanName.ENTERPRISE, Status.TRIALING
    assert "on trial: `/upgrade pro`" in (await asked.say("/downgrade pro")).reply
    assert not asked.desk.quotes
    assert "**From Enterprise to Pro**" in (await asked.say("/upgrade pro")).reply


async def test_the_desks_refusals_are_our_own_markdown() -> None:
    """A command in them is shown as one, without backslashes."""
    asked = Asked()
    ending = await asked.say("/upgrade confirm quo_x")
    assert "Ask for a new one." in ending.reply
    assert rejected(NO_QUOTE, Words()).reply == (
        "There is no such quote. Ask for one with `/upgrade` or `/downgrade`."
    )


async def test_without_a_name_the_only_larger_plan_is_meant() -> None:
    """The credit for the old plan is a line of the quote."""
    asked = Asked()
    asked.desk.plan = PlanName.PRO
    quote = await asked.say("/upgrade")
    assert "**From Pro to Enterprise**" in quote.reply
    assert "Credit for the Pro plan, 16 Nov 2026 to 01 Dec 2026: -$24.16" in quote.reply


async def test_a_downgrade_says_when_and_what_is_too_much() -> None:
    """It is noted when confirmed, and can be taken back."""
    asked = Asked()
    asked.desk.plan = PlanName.PRO
    asked.team.machines, asked.team.people = 7, 4
    quote = await asked.say("/downgrade")
    assert "01 Dec 2026" in quote.reply
    assert "You have 7 servers; the Free plan allows 3." in quote.reply
    assert "You are 4 people; the Free plan allows 3." in quote.reply
    assert "changes to the Free plan" in (await asked.press(quote)).reply
    assert asked.desk.plan is PlanName.PRO
    assert (await asked.say("/cancel back")).outcome is Outcome.ANSWERED
    assert asked.desk.next_plan is None


async def test_a_cancellation_is_said_first_and_can_be_taken_back() -> None:
    """The first answer changes nothing; the second one ends it with its period."""
    asked = Asked()
    asked.desk.plan = PlanName.PRO
    said = await asked.say("/cancel")
    assert "would end on 01 Dec 2026" in said.reply
    assert "Cancelled" not in (await asked.say("/plan")).reply
    assert "it ends on 01 Dec 2026" in (await asked.press(said)).reply
    assert "`/cancel back`" in (await asked.say("/cancel")).reply
    assert "Cancelled" in (await asked.say("/plan")).reply
    await asked.say("/cancel back")
    assert "Cancelled" not in (await asked.say("/plan")).reply


async def test_whoever_confirms_must_be_an_admin() -> None:
    """The button is shown to everybody in the thread; the command decides."""
    asked = Asked()
    quote = await asked.say("/upgrade pro", channel="C1")
    assert quote.offer is not None
    ending = await asked.say(quote.offer.command, role=Role.OPERATOR, channel="C1")
    assert ending.outcome is Outcome.REFUSED
    assert not asked.desk.bills
