"""What everybody may ask of billing, who may do more, and where."""

from __future__ import annotations

import pytest

from billing.commands import BillingCommands
from billing.commands_plan import parse_tokens
from billing.money import Money
from billing.plans import PlanName
from billing.texts import bar, money
from core.commands import BILLING_COMMANDS, HELP
from core.tenants import Role
from core.turns import Outcome
from core.words import Words
from tests.billing.command_kit import Asked
from tests.billing.test_commands_invoices import BASE

CHANGING = ["/upgrade pro", "/downgrade free", "/cancel", "/invoices", "/pay", "/usage budget"]


def test_amounts_are_written_as_their_readers_write_them() -> None:
    """The home currency has the bare sign; one without a sign has its code."""
    assert money(Money(4999, "USD"), Words()) == "$49.99"
    assert money(Money(-1_234_567, "USD"), Words()) == "-$12,345.67"
    assert money(Money(35800, "CNY"), Words("zh")) == "¥358.00"
    assert money(Money(35800, "CNY"), Words("en")) == "CN¥358.00"
    assert money(Money(4999, "USD"), Words("zh-Hans")) == "US$49.99"
    assert money(Money(500, "JPY"), Words()) == "¥500"
    assert money(Money(1234, "KWD"), Words()) == "KWD 1.234"


@pytest.mark.parametrize(
    ("used", "full"), [(0, 0), (1, 1), (150_000, 1), (999_999, 9), (1_000_000, 10), (9_000_000, 10)]
)
def test_the_bar_is_full_at_the_allowance_only(used: int, full: int) -> None:
    """The first token shows, the last block waits for the last token, and it never overflows."""
    assert bar(used, 1_000_000) == "█" * full + "░" * (10 - full)


@pytest.mark.parametrize(
    ("written", "tokens"),
    [("50000", 50_000), ("50,000", 50_000), ("50k", 50_000), ("2M", 2_000_000), ("off", 0)]
    + [(wrong, None) for wrong in ("", "k", "-5", "0", "5.5", "1e9", "٣", "9" * 30, "5kk")],
)
def test_numbers_of_tokens_as_people_write_them(written: str, tokens: int | None) -> None:
    """Thousands may be marked and shortened; anything else is not a number."""
    assert parse_tokens(written) == tokens


def test_every_command_has_its_line_in_help() -> None:
    """What the registry knows of billing is what billing answers."""
    asked = Asked()
    words = BillingCommands(asked.desk.desk(), asked.desk.clock, asked.team).handlers()
    assert set(words) == BILLING_COMMANDS
    assert set(HELP) >= BILLING_COMMANDS


async def test_the_plan_says_price_limits_and_what_comes() -> None:
    """Everybody reads it; the price list is for those who may choose."""
    asked = Asked()
    asked.desk.plan, asked.desk.next_plan = PlanName.PRO, PlanName.FREE
    for role in (Role.VIEWER, Role.ADMIN):
        reply = (await asked.say("/plan", role=role)).reply
        assert "Pro plan" in reply
        assert "$49.99 a month with 1,000,000 tokens, and $8.00 for each million more" in reply
        assert "50 servers, 25 users, 50 standing orders" in reply
        assert "On 01 Dec 2026 it changes to the Free plan" in reply
        assert ("$199.99" in reply) is (role is Role.ADMIN)


@pytest.mark.parametrize(
    ("role", "channel", "shown"),
    [(Role.ADMIN, "D1", True), (Role.ADMIN, "C1", False), (Role.VIEWER, "D1", False)],
)
async def test_what_is_owed_is_for_admins_in_private(
    role: Role, channel: str, *, shown: bool
) -> None:
    """Neither another role nor a channel reads the balance and what is to be paid."""
    asked = Asked()
    asked.desk.bill([BASE])
    asked.desk.balance_minor = 250
    reply = (await asked.say("/plan", role=role, channel=channel)).reply
    assert ("To be paid: $49.99" in reply) is shown
    assert ("Balance: $2.50" in reply) is shown


async def test_an_overdue_team_reads_what_to_do() -> None:
    """The service level comes with the way out of it."""
    asked = Asked()
    asked.desk.plan, asked.desk.service = PlanName.PRO, "read_only"
    reply = (await asked.say("/plan")).reply
    assert "only read" in reply
    assert "/pay" in reply


async def test_the_usage_has_bar_forecast_and_days_left() -> None:
    """In the middle of the month the forecast is twice what was used."""
    asked = Asked()
    asked.desk.plan, asked.desk.used, asked.desk.own_used = PlanName.PRO, 620_000, 20_000
    reply = (await asked.say("/usage", role=Role.VIEWER)).reply
    assert "**November 2026**" in reply
    assert "`██████░░░░` 62 %: 620,000 of 1,000,000 tokens" in reply
    assert "More than 1,500,000 tokens are refused" in reply
    assert "1,200,000 tokens by the end of the month, $1.44" in reply
    assert "20,000 of them on your own key" in reply
    assert "15 days left" in reply


async def test_a_small_plan_is_told_before_it_stops() -> None:
    """A forecast beyond the hard limit names the way to more."""
    asked = Asked()
    asked.desk.used = 90_000
    reply = (await asked.say("/usage")).reply
    assert "limit is reached before the end of the month" in reply
    assert "/upgrade" in reply


@pytest.mark.parametrize("text", CHANGING)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_admins_change_what_is_paid(text: str, role: Role) -> None:
    """The others get a sentence, no button, and nothing of the team's invoices."""
    asked = Asked()
    ending = await asked.say(text, role=role)
    assert ending.outcome is Outcome.REFUSED
    assert "Only an admin" in ending.reply
    assert ending.offer is None
    assert not asked.desk.quotes


@pytest.mark.parametrize("text", ["/invoices", "/invoices IT0-2026-000001", "/pay"])
async def test_invoices_stay_private(text: str) -> None:
    """Where others read along even an admin is sent to a private chat."""
    ending = await Asked().say(text, channel="C1")
    assert ending.outcome is Outcome.REFUSED
    assert "private chat" in ending.reply


async def test_budgets_are_set_listed_and_removed() -> None:
    """For everybody of a scope, for one person by their address, and for this conversation."""
    asked = Asked()
    for text in (
        "/usage budget user 50,000",
        "/usage budget user u0@example.com 60k",
        "/usage budget conversation here 1m",
        "/usage budget turn 20000",
    ):
        assert (await asked.say(text)).outcome is Outcome.ANSWERED, text
    assert asked.desk.limits == {
        ("user", ""): 50_000,
        ("user", "usr_0"): 60_000,
        ("conversation", "conv_aaaa11111111"): 1_000_000,
        ("turn", ""): 20_000,
    }
    listed = (await asked.say("/usage budget")).reply
    assert "u0@example.com: 60,000 tokens" in listed
    assert "each user in a month: 50,000 tokens" in listed
    removed = await asked.say("/usage budget user off")
    assert "No limit any more" in removed.reply
    assert ("user", "") not in asked.desk.limits


@pytest.mark.parametrize(
    "rest", ["user", "user many", "planet 5", "user nobody@example.com 5", "turn x 5", "a b c d"]
)
async def test_a_budget_that_makes_no_sense_sets_nothing(rest: str) -> None:
    """The answer says how it is written."""
    asked = Asked()
    ending = await asked.say(f"/usage budget {rest}")
    assert ending.outcome is Outcome.REFUSED
    assert not asked.desk.limits
