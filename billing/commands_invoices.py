"""``/invoices`` and ``/pay``: admins alone, and never where others read along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from billing.commands_text import (
    how_to_pay,
    invoice_due,
    offering,
    only_admins,
    only_in_private,
    rejected,
    ways_to_pay,
)
from billing.desk import BillingDesk, InvoicePage, LineExplanation
from billing.invoices import Invoice, InvoiceStatus
from billing.money import Money
from billing.texts import STATUSES, day, line_text, money
from core.commands_text import Handler, answered, code, escape, refused
from core.refusals import Rejected
from core.turns import Ending, Offer, Turn
from core.words import Words

PAGE: Final = 10
"""Invoices, or conversations of a line, in one answer."""
MORE: Final = "more"
_MOST_DIGITS: Final = 9
"""``int`` raises for thousands of them, and columns end at ten."""


class InvoiceCommands:
    """Answers them."""

    def __init__(self, desk: BillingDesk) -> None:
        """Wire the ports."""
        self._desk = desk

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"invoices": self._invoices, "pay": self._pay}

    async def _invoices(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        refusal = only_admins(turn, words) or only_in_private(turn, words)
        if refusal is not None:
            return refusal
        match [part.strip("`") for part in rest.split()]:
            case []:
                return await self._list(turn, None)
            case [first, cursor] if first.casefold() == MORE:
                return await self._list(turn, cursor)
            case [number]:
                return await self._show(turn, number)
            case [number, line] if _is_number(line):
                return await self._explain(turn, number, int(line), 1)
            case [number, line, page] if _is_number(line) and _is_number(page):
                return await self._explain(turn, number, int(line), max(1, int(page)))
            case _:
                return refused(
                    words(
                        "`/invoices` lists them, `/invoices NUMBER` shows one, and "
                        "`/invoices NUMBER LINE` explains a line of it."
                    )
                )

    async def _list(self, turn: Turn, cursor: str | None) -> Ending:
        words = Words(turn.language)
        page = await self._desk.invoices.invoices(turn.tenant_id, cursor=cursor, limit=PAGE)
        if isinstance(page, Rejected):
            return rejected(page, words)
        if not page.invoices:
            return answered(words("There are no invoices yet."))
        text = "\n".join(
            [
                *(_listed(invoice, words) for invoice in page.invoices),
                "",
                words("`/invoices NUMBER` shows one, `/pay NUMBER` pays it."),
            ]
        )
        return _paged(text, page, words)

    async def _show(self, turn: Turn, number: str) -> Ending:
        words = Words(turn.language)
        invoice = await self._desk.invoices.invoice(turn.tenant_id, number)
        if isinstance(invoice, Rejected):
            return rejected(invoice, words)
        text = invoice_text(invoice, words)
        for note in await self._desk.invoices.credit_notes(turn.tenant_id, invoice.id):
            text += "\n" + words(
                "- Credit note {number} of {day}: {amount}",
                number=code(note.number),
                day=day(note.created_at_ms, words),
                amount=money(Money(-note.total, note.currency), words),
            )
        shown = invoice.number or invoice.id
        text += "\n\n" + words(
            "`/invoices {number} LINE` explains a line: which conversations it came from.",
            number=shown,
        )
        if not invoice.due:
            return answered(text)
        command = f"/pay {shown}"
        text += " " + words("`{command}` pays it.", command=command)
        return offering(text, Offer(label=words("Pay"), command=command))

    async def _explain(self, turn: Turn, number: str, line: int, page: int) -> Ending:
        words = Words(turn.language)
        found = await self._desk.invoices.explain(turn.tenant_id, number, line, limit=1)
        if isinstance(found, Rejected):
            return rejected(found, words)
        text = explanation_text(found, page, words)
        if len(found.conversations) <= page * PAGE:
            return answered(text)
        command = f"/invoices {found.invoice.number or found.invoice.id} {line} {page + 1}"
        text += "\n\n" + words("`{command}` goes on.", command=command)
        return offering(text, Offer(label=words("More"), command=command))

    # -- paying ---------------------------------------------------------------------------

    async def _pay(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        refusal = only_admins(turn, words) or only_in_private(turn, words)
        if refusal is not None:
            return refusal
        number, *method = [part.strip("`") for part in rest.split()] or [""]
        if not number:
            return await self._the_open_one(turn, words)
        invoice = await self._desk.invoices.invoice(turn.tenant_id, number)
        if isinstance(invoice, Rejected):
            return rejected(invoice, words)
        return await self._begin(turn, invoice, method[0].casefold() if method else None)

    async def _the_open_one(self, turn: Turn, words: Words) -> Ending:
        """Without a number: the only invoice that is open, or which ones there are."""
        page = await self._desk.invoices.invoices(
            turn.tenant_id, status=InvoiceStatus.OPEN, limit=PAGE
        )
        if isinstance(page, Rejected):
            return rejected(page, words)
        match page.invoices:
            case ():
                return answered(words("No invoice is open: there is nothing to pay."))
            case (invoice,):
                return await self._begin(turn, invoice, None)
            case several:
                listed = "\n".join(_listed(invoice, words) for invoice in several)
                return refused(words("Which one? `/pay NUMBER`") + f"\n\n{listed}")

    async def _begin(self, turn: Turn, invoice: Invoice, method: str | None) -> Ending:
        words = Words(turn.language)
        found = await how_to_pay(self._desk.payments, turn, invoice, method)
        if isinstance(found, Rejected):
            return rejected(found, words)
        said = [invoice_due(invoice, words), found]
        if method is None and len(await self._desk.payments.methods(turn.tenant_id)) > 1:
            ways = await ways_to_pay(self._desk.payments, turn, invoice)
            said += [ways] if ways != found else []
        return answered("\n\n".join(said))


def _is_number(text: str) -> bool:
    """Whether it is a whole number of a size that lines and pages have."""
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def invoice_text(invoice: Invoice, words: Words) -> str:
    """An invoice with its lines, numbered as ``/invoices NUMBER LINE`` takes them."""

    def amount(minor: int) -> str:
        return money(Money(minor, invoice.currency), words)

    lines = [
        words(
            "**Invoice {number}** ({status})",
            number=code(invoice.number or invoice.id),
            status=words.of(STATUSES[invoice.status]),
        ),
        "",
        *(
            f"{number}. {line_text(line, words)}: {amount(line.amount)}"
            for number, line in enumerate(invoice.lines, start=1)
        ),
        "",
    ]
    if invoice.issued_at_ms is not None:
        lines.append(words("- Issued on {day}", day=day(invoice.issued_at_ms, words)))
    if invoice.tax or invoice.tax_rate:
        lines.append(
            words(
                "- Tax ({rate:.2f} %): {amount}",
                rate=invoice.tax_rate / 100,
                amount=amount(invoice.tax),
            )
        )
    lines.append(words("- Total: {amount}", amount=amount(invoice.total)))
    if invoice.from_balance:
        lines.append(words("- From your balance: {amount}", amount=amount(-invoice.from_balance)))
    if invoice.paid:
        lines.append(words("- Paid: {amount}", amount=amount(-invoice.paid)))
    if invoice.due:
        lines.append(words("- **To be paid: {amount}**", amount=amount(invoice.due)))
    if invoice.needs_review:
        lines.append(words("- A payment does not fit it: the operator looks into that."))
    return "\n".join(lines)


def explanation_text(found: LineExplanation, page: int, words: Words) -> str:
    """A page of the conversations behind a line, most tokens first; their sum is the line's."""
    lines = [
        words(
            "**{number}, line {line}:** {what}, {amount}",
            number=code(found.invoice.number or found.invoice.id),
            line=found.line_number,
            what=line_text(found.line, words),
            amount=money(Money(found.line.amount, found.invoice.currency), words),
        ),
        "",
    ]
    if not found.conversations:
        return "\n".join([*lines, words("No tokens are behind this line.")])
    tokens = sum(it.billed_tokens for it in found.conversations)
    lines += [
        words(
            "{tokens:,} tokens of {count:,} conversations:",
            tokens=tokens,
            count=len(found.conversations),
        ),
        "",
    ]
    for it in found.conversations[(page - 1) * PAGE : page * PAGE]:
        lines.append(
            words(
                "- {owner} {id}: {tokens:,} tokens, {calls:,} model calls in {turns:,} turns",
                owner=escape(words.of(it.owner)),
                id=code(it.conversation_id[-8:]),
                tokens=it.billed_tokens,
                calls=it.calls,
                turns=it.turns,
            )
        )
    return "\n".join(lines)


def _listed(invoice: Invoice, words: Words) -> str:
    issued = invoice.issued_at_ms or invoice.created_at_ms
    return words(
        "- {number} of {day}: {amount}, {status}",
        number=code(invoice.number or invoice.id),
        day=day(issued, words),
        amount=money(Money(invoice.total, invoice.currency), words),
        status=words.of(STATUSES[invoice.status]),
    )


def _paged(text: str, page: InvoicePage, words: Words) -> Ending:
    if page.next_cursor is None:
        return answered(text)
    command = f"/invoices {MORE} {page.next_cursor}"
    text += " " + words("`{command}` lists older ones.", command=command)
    return offering(text, Offer(label=words("More"), command=command))
