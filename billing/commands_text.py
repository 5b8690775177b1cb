"""What the billing commands have in common: who may, where, and how a payment is shown."""

from __future__ import annotations

from billing.desk import PaymentDesk
from billing.invoices import Invoice
from billing.money import Money
from billing.payments import Payment
from billing.texts import day, money
from core.commands_text import code, escape, is_shared, refused
from core.refusals import Rejected
from core.tenants import Role
from core.turns import Ending, Offer, Outcome, Turn
from core.words import Words


def offering(text: str, offer: Offer) -> Ending:
    """An answer with a button under it; the text names the button's command too."""
    return Ending(outcome=Outcome.ANSWERED, reply=text, offer=offer)


def rejected(problem: Rejected, words: Words) -> Ending:
    """The desk's refusal, in the reader's language; its sentences are Markdown of our own."""
    return refused(words.of(problem.sentence))


def is_admin(turn: Turn) -> bool:
    """Whether the writer may change what the team pays."""
    return turn.user.role.includes(Role.ADMIN)


def only_admins(turn: Turn, words: Words) -> Ending | None:
    """The refusal for everybody else."""
    if is_admin(turn):
        return None
    return refused(words("Only an admin of the team can do that. Ask one of them."))


def only_in_private(turn: Turn, words: Words) -> Ending | None:
    """The refusal where others read along: addresses and accounts are nobody else's."""
    if not is_shared(turn.address):
        return None
    return refused(words("Ask me in a private chat: invoices are not shown where others read."))


async def how_to_pay(
    desk: PaymentDesk, turn: Turn, invoice: Invoice, method: str | None = None
) -> str | Rejected:
    """Begin a payment (or show the one that was begun), as Markdown."""
    payment = await desk.pay(turn.tenant_id, invoice.id, method)
    if isinstance(payment, Rejected) and payment.code == "choose_method":
        return await ways_to_pay(desk, turn, invoice)
    if isinstance(payment, Rejected):
        return payment
    return payment_text(payment, Words(turn.language))


async def ways_to_pay(desk: PaymentDesk, turn: Turn, invoice: Invoice) -> str:
    """Every way, with the command that takes it."""
    words = Words(turn.language)
    ways = [
        f"- {code(f'/pay {invoice.number} {name}')}: {escape(words.of(description))}"
        for name, description in (await desk.methods(turn.tenant_id)).items()
    ]
    return "\n".join([words("Ways to pay:"), "", *ways])


def payment_text(payment: Payment, words: Words) -> str:
    """What the payer is to do."""
    lines = [
        words(
            "Pay {amount} by {method}:",
            amount=money(payment.amount, words),
            method=code(payment.provider),
        )
    ]
    session = payment.session
    if session is None:
        return words("The payment is being prepared. Ask again in a minute.")
    if session.instructions:
        lines += ["", *(f"> {escape(line)}" for line in words.of(session.instructions).split("\n"))]
    if session.url:
        lines += ["", f"<{session.url}>"]
    if session.qr:
        lines += ["", words("Or as a code to scan: {code}", code=code(session.qr))]
    expires = payment.expires_at_ms if session.expires_at_ms is None else session.expires_at_ms
    if expires is not None:
        lines += ["", words("Good until {day} (UTC).", day=day(expires, words))]
    return "\n".join(lines)


def invoice_due(invoice: Invoice, words: Words) -> str:
    """Its number, what is left to pay, and until when."""
    values = {
        "number": code(invoice.number or invoice.id),
        "amount": money(Money(invoice.due, invoice.currency), words),
    }
    if invoice.due_at_ms is None:
        return words("Invoice {number}: {amount} to pay.", **values)
    return words(
        "Invoice {number}: {amount} to pay, due by {day}.",
        day=day(invoice.due_at_ms, words),
        **values,
    )
