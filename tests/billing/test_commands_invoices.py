"""Invoices and payments in chat: listed, shown, explained to the conversation, paid."""

from __future__ import annotations

from billing.desk import ExplainedConversation
from billing.invoices import Invoice, Line, LineKind
from billing.periods import month_of
from core.turns import Outcome
from tests.billing.command_kit import NOW_MS, Asked

MONTH = month_of(NOW_MS)
BASE = Line(
    kind=LineKind.BASE, version_id="pro-1", period=MONTH, quantity=1, unit_minor=4999, amount=4999
)
OVERAGE = Line(
    kind=LineKind.OVERAGE,
    version_id="pro-1",
    period=MONTH,
    quantity=250_000,
    unit_minor=800,
    amount=200,
    from_position=1_000_000,
)


def bill(asked: Asked) -> Invoice:
    """A monthly invoice."""
    return asked.desk.bill([BASE, OVERAGE])


def conversations(count: int) -> tuple[ExplainedConversation, ...]:
    """What is behind a line, most tokens first."""
    return tuple(
        ExplainedConversation(
            conversation_id=f"conv_{at:08}",
            owner=f"disk *{at}*",
            turns=1,
            calls=2,
            billed_tokens=1000 - at,
        )
        for at in range(count)
    )


async def test_a_list_goes_on_with_a_button() -> None:
    """The newest come first, ten at a time."""
    asked = Asked()
    assert "no invoices" in (await asked.say("/invoices")).reply
    for _ in range(11):
        bill(asked)
    first = await asked.say("/invoices")
    assert first.reply.startswith("- `IT0-2026-000011` of 16 Nov 2026: $51.99, open")
    rest = await asked.press(first)
    assert "IT0-2026-000001" in rest.reply
    assert rest.offer is None


async def test_an_invoice_shows_its_lines_and_how_to_pay_it() -> None:
    """Lines are numbered as the explanation takes them; a paid one has no button."""
    asked = Asked()
    invoice = bill(asked)
    shown = await asked.say("/invoices IT0-2026-000001")
    assert "1. Pro plan, November 2026: $49.99" in shown.reply
    assert "2. 250,000 tokens over the allowance, Pro plan, November 2026: $2.00" in shown.reply
    assert "DE00 1234" in (await asked.press(shown)).reply
    asked.desk.pay_off(invoice)
    paid = await asked.say("/invoices IT0-2026-000001")
    assert "(paid)" in paid.reply
    assert paid.offer is None


async def test_a_line_is_explained_by_conversation() -> None:
    """The sum is over all of them, the list is paged, and titles stay text."""
    asked = Asked()
    bill(asked)
    asked.desk.behind = conversations(12)
    first = await asked.say("/invoices IT0-2026-000001 2")
    total = sum(it.billed_tokens for it in asked.desk.behind)
    assert f"{total:,} tokens of 12 conversations" in first.reply
    assert r"- disk \*0\* `00000000`: 1,000 tokens, 2 model calls in 1 turns" in first.reply
    assert "conv" not in first.reply.replace("conversations", "")
    rest = await asked.press(first)
    assert r"disk \*11\*" in rest.reply
    assert rest.offer is None
    asked.desk.behind = ()
    assert "No tokens" in (await asked.say("/invoices IT0-2026-000001 1")).reply


async def test_what_is_not_there() -> None:
    """Numbers, lines and pages that do not exist are refused with a sentence."""
    asked = Asked()
    bill(asked)
    for text in (
        "/invoices IT0-2026-000002",
        "/invoices IT0-2026-000001 9",
        "/invoices IT0-2026-000001 x",
        "/invoices IT0-2026-000001 " + "9" * 5000,
        "/invoices IT0-2026-000001 1 " + "9" * 5000,
        "/invoices IT0-2026-000001 1 " + "9" * 10,
        "/invoices more nothing",
        "/pay IT0-2026-000002",
    ):
        assert (await asked.say(text)).outcome is Outcome.REFUSED, text


async def test_paying_without_a_number() -> None:
    """The only open invoice is meant; of several it asks which one."""
    asked = Asked()
    assert "nothing to pay" in (await asked.say("/pay")).reply
    bill(asked)
    assert "$51.99" in (await asked.say("/pay")).reply
    bill(asked)
    several = await asked.say("/pay")
    assert several.outcome is Outcome.REFUSED
    assert "IT0-2026-000002" in several.reply


async def test_of_several_ways_one_is_chosen() -> None:
    """Without a way the choice is shown with its commands; with one it begins."""
    asked = Asked()
    asked.desk.ways = {"manual": "By transfer.", "card": "By card."}
    bill(asked)
    assert "`/pay IT0-2026-000001 card`: By card." in (await asked.say("/pay")).reply
    assert "by `card`" in (await asked.say("/pay IT0-2026-000001 card")).reply
    assert (await asked.say("/pay IT0-2026-000001 gold")).outcome is Outcome.REFUSED


async def test_instructions_stay_text() -> None:
    """What the operator wrote is quoted line by line, whatever Markdown it looks like."""
    asked = Asked()
    bill(asked)
    assert "> Transfer it to DE00 1234.\n> Thank you." in (await asked.say("/pay")).reply
