"""The printed invoice: a PDF from the stored snapshot, the same bytes each time.

The font comes with the package, so nothing of the system is needed; characters that it lacks
are printed as boxes. fpdf2 and the font take 60 MB and 0.4 s of a core for each invoice: they
are imported when the first one is printed, and whoever calls does it in a thread.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from billing import texts
from billing.invoices import CreditNote, Invoice, InvoiceStatus, Line, LineKind, Party
from billing.money import Money
from billing.periods import moment
from core.words import Words, language_of

if TYPE_CHECKING:
    from fpdf import FPDF

FONT: Final = Path(__file__).parent / "fonts" / "invoice-sans.ttf"
BOX: Final = "□"
"""Stands for a character that the font lacks."""
MAX_CHARS: Final = 2000
"""Of a printed name or address: nobody prints a book under an invoice."""

_FAMILY: Final = "invoice"
_MARGIN: Final = 18.0
_WIDTH: Final = 210.0 - 2 * _MARGIN
_INK: Final = (25, 28, 35)
_GREY: Final = (110, 116, 128)
_RULE: Final = (205, 209, 216)
_MARKS: Final[Mapping[InvoiceStatus, tuple[int, int, int]]] = {
    InvoiceStatus.PAID: (22, 128, 74),
    InvoiceStatus.VOID: (190, 40, 40),
    InvoiceStatus.UNCOLLECTIBLE: (190, 40, 40),
}
"""The colour of the mark; an open invoice has none."""
_DAY_S: Final = 86_400
_PAGES: Final = "\x02pages\x03"
"""Becomes the number of pages; no text of ours or theirs has control characters."""


def render(
    invoice: Invoice, *, plan_names: Mapping[str, str], notes: Sequence[CreditNote], language: str
) -> bytes:
    """The invoice as PDF. ``plan_names``: what versions of plans are called, by their ids."""
    return _Page(invoice, Words(language), plan_names).printed(notes)


class _Page:
    """One invoice on paper; from top to bottom."""

    def __init__(self, invoice: Invoice, words: Words, plan_names: Mapping[str, str]) -> None:
        """Open the document and the font."""
        self._invoice = invoice
        self._words = words
        self._plan_names = plan_names
        self._pdf = _document(invoice, words)
        self._known = frozenset(self._pdf.fonts[_FAMILY].cmap)  # type: ignore[union-attr]  # a TTF

    def printed(self, notes: Sequence[CreditNote]) -> bytes:
        """Draw everything."""
        self._pdf.add_page()
        self._head()
        self._parties()
        self._dates()
        self._lines()
        self._totals()
        if notes:
            self._credit_notes(notes)
        return bytes(self._pdf.output())

    def _head(self) -> None:
        pdf, words, invoice = self._pdf, self._words, self._invoice
        pdf.set_font(_FAMILY, size=22)
        pdf.cell(_WIDTH / 2, 11, words("Invoice"))
        mark = _MARKS.get(invoice.status)
        if mark is not None:
            pdf.set_text_color(*mark)
            pdf.set_draw_color(*mark)
            said = self._text(words.of(texts.STATUSES[invoice.status])).upper()
            width = pdf.get_string_width(said) + 10
            pdf.set_x(210 - _MARGIN - width)
            pdf.cell(width, 11, said, border=1, align="C")
        pdf.ln(12)
        self._small(words("No. {number}", number=invoice.number or invoice.id))
        pdf.ln(10)

    def _parties(self) -> None:
        pdf, words, top = self._pdf, self._words, self._pdf.get_y()
        self._party(words("From"), self._invoice.seller, _MARGIN)
        bottom = pdf.get_y()
        pdf.set_y(top)
        self._party(words("Billed to"), self._invoice.buyer, _MARGIN + _WIDTH / 2)
        pdf.set_y(max(bottom, pdf.get_y()) + 6)

    def _party(self, title: str, party: Party, left: float) -> None:
        pdf, words = self._pdf, self._words
        width = _WIDTH / 2 - 6
        pdf.set_x(left)
        self._small(title, width)
        pdf.ln(5)
        tax = words("Tax number: {number}", number=party.tax_number) if party.tax_number else ""
        shown = [(party.name, 11), (party.address, 9), (tax, 9), (party.email, 9)]
        for written, size in shown:
            if written:
                pdf.set_font(_FAMILY, size=size)
                pdf.set_text_color(*_INK)
                pdf.set_x(left)
                pdf.multi_cell(
                    width, 5, self._text(written), align="L", new_x="LMARGIN", new_y="NEXT"
                )

    def _dates(self) -> None:
        pdf, words, invoice = self._pdf, self._words, self._invoice
        facts = [(words("Period"), texts.span(invoice.period, words))]
        for title, at_ms in (
            (words("Issued"), invoice.issued_at_ms),
            (words("Due"), invoice.due_at_ms),
            (words("Closed"), invoice.closed_at_ms),
        ):
            if at_ms is not None:
                facts.append((title, texts.day(at_ms, words)))
        top = pdf.get_y()
        for column, (title, said) in enumerate(facts):
            left = _MARGIN + column * _WIDTH / 4
            pdf.set_xy(left, top)
            self._small(title, _WIDTH / 4)
            pdf.set_xy(left, top + 5)
            pdf.set_font(_FAMILY, size=9)
            pdf.set_text_color(*_INK)
            pdf.multi_cell(_WIDTH / 4 - 2, 5, self._text(said), align="L", new_y="NEXT")
        pdf.set_xy(_MARGIN, top + 18)

    def _lines(self) -> None:
        words, invoice = self._words, self._invoice
        rows = [
            (
                texts.line_text(self._named(line), words),
                _quantity(line, words),
                self._unit(line),
                self._money(line.amount),
            )
            for line in invoice.lines
        ]
        titles = (words("Description"), words("Quantity"), words("Unit price"), words("Amount"))
        self._table((92, 26, 30, 26), ("LEFT", "RIGHT", "RIGHT", "RIGHT"), [titles, *rows])

    def _totals(self) -> None:
        pdf, words, invoice = self._pdf, self._words, self._invoice
        rate = f"{invoice.tax_rate // 100}.{invoice.tax_rate % 100:02}".rstrip("0").rstrip(".")
        rows = [(words("Subtotal"), invoice.subtotal)]
        if invoice.tax_rate:
            rows.append((words("Tax, {rate} %", rate=rate), invoice.tax))
        rows.append((words("Total"), invoice.total))
        for title, part in (
            (words("Paid from the balance"), invoice.from_balance),
            (words("Paid"), invoice.paid),
            (words("Credited"), invoice.credited),
        ):
            if part:
                rows.append((title, -part))
        if pdf.will_page_break(6 * (len(rows) + 1) + 6):
            pdf.add_page()
        pdf.ln(3)
        for title, minor in rows:
            self._sum(title, minor, 9)
        self._sum(words("Amount due"), invoice.due, 12)

    def _sum(self, title: str, minor: int, size: int) -> None:
        pdf = self._pdf
        pdf.set_font(_FAMILY, size=size)
        pdf.set_text_color(*_INK)
        pdf.set_x(_MARGIN + _WIDTH / 2)
        pdf.cell(_WIDTH / 4, size * 0.65, self._text(title), align="R")
        pdf.cell(_WIDTH / 4, size * 0.65, self._money(minor), align="R", new_x="LMARGIN")
        pdf.ln(size * 0.65)

    def _credit_notes(self, notes: Sequence[CreditNote]) -> None:
        words = self._words
        self._pdf.ln(8)
        titles = (words("Credit note"), words("Issued"), words("Reason"), words("Amount"))
        rows = [
            (
                note.number,
                texts.day(note.created_at_ms, words),
                note.reason,
                self._money(-note.total),
            )
            for note in notes
        ]
        self._table((42, 30, 76, 26), ("LEFT", "LEFT", "LEFT", "RIGHT"), [titles, *rows])

    def _table(
        self,
        widths: tuple[int, ...],
        aligns: tuple[str, ...],
        rows: Sequence[tuple[str, ...]],
    ) -> None:
        """Rows with a rule under each; the first one is repeated on each page."""
        from fpdf.enums import TableBordersLayout, WrapMode  # noqa: PLC0415  # see the module
        from fpdf.fonts import FontFace  # noqa: PLC0415  # as above

        pdf, chinese = self._pdf, language_of(self._words.language) == "zh"
        pdf.set_font(_FAMILY, size=9)
        pdf.set_text_color(*_INK)
        pdf.set_draw_color(*_RULE)
        with pdf.table(
            width=_WIDTH,
            col_widths=widths,
            text_align=aligns,
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(color=_GREY),
            line_height=5,
            padding=(1.5, 1),
            wrapmode=WrapMode.CHAR if chinese else WrapMode.WORD,
        ) as table:
            for row in rows:
                table.row([self._text(cell) for cell in row])

    def _small(self, said: str, width: float = _WIDTH) -> None:
        self._pdf.set_font(_FAMILY, size=8)
        self._pdf.set_text_color(*_GREY)
        self._pdf.cell(width, 4, self._text(said))

    def _unit(self, line: Line) -> str:
        price = self._money(line.unit_minor)
        if line.kind in {LineKind.OVERAGE, LineKind.LATE_USAGE}:
            return self._words("{price} / 1M", price=price)
        return price

    def _named(self, line: Line) -> Line:
        """The line under its plan's name."""
        return replace(line, version_id=self._plan_names.get(line.version_id, line.version_id))

    def _money(self, minor: int) -> str:
        return self._text(texts.money(Money(minor, self._invoice.currency), self._words))

    def _text(self, written: str) -> str:
        """What the font can print of it, without control characters."""
        shown = (
            character if ord(character) in self._known or character == "\n" else BOX
            for character in unicodedata.normalize("NFC", written[:MAX_CHARS])
            if character == "\n" or unicodedata.category(character)[0] != "C"
        )
        return "".join(shown)


def _quantity(line: Line, words: Words) -> str:
    if line.kind in {LineKind.PRORATION_CREDIT, LineKind.PRORATION_CHARGE}:
        days, rest = divmod(line.quantity, _DAY_S)
        clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
        return words("{days} d {clock}", days=days, clock=clock)
    return f"{line.quantity:,}"


def _document(invoice: Invoice, words: Words) -> FPDF:
    """An empty document with the font, the date of the invoice, and numbered pages."""
    from fpdf import FPDF  # noqa: PLC0415  # see the module

    number = invoice.number or invoice.id

    class Numbered(FPDF):
        """Says on each page which one it is."""

        def footer(self) -> None:
            """The invoice's number and the page's."""
            self.set_y(-14)
            self.set_font(_FAMILY, size=8)
            self.set_text_color(*_GREY)
            said = words(
                "Invoice {number}, page {page} of {pages}",
                number=number,
                page=self.page_no(),
                pages=_PAGES,
            )
            self.cell(_WIDTH, 5, said, align="C")

    pdf = Numbered(format="A4")
    pdf.alias_nb_pages(_PAGES)
    pdf.set_margin(_MARGIN)
    pdf.set_auto_page_break(auto=True, margin=20)
    pdf.add_font(_FAMILY, "", FONT)
    pdf.set_font(_FAMILY, size=9)
    pdf.set_title(number)
    pdf.set_lang(language_of(words.language))
    issued_at_ms = invoice.created_at_ms if invoice.issued_at_ms is None else invoice.issued_at_ms
    pdf.set_creation_date(moment(issued_at_ms))
    return pdf
