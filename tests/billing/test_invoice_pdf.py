from __future__ import annotations

import subprocess
import sys

import pytest

from billing.invoice_pdf import BOX, FONT, render
from billing.invoices import CreditNote, Invoice, InvoiceStatus, Party
from core import words
from tests.support.invoices import LINES, credit_note, invoice
from tests.support.pdf_text import pages_of


def printed(shown: Invoice, notes: tuple[CreditNote, ...] = (), language: str = "en") -> list[str]:
    """The text of each page."""
    return pages_of(render(shown, plan_names={"pro-1": "Pro"}, notes=notes, language=language))


def test_an_invoice_says_who_what_when_and_how_much() -> None:
    """Number, parties, dates, lines with quantity and price, and every sum are on the page."""
    (page,) = printed(invoice(), (credit_note(),))
    for expected in (
        "No. IT0-2026-000001",
        "IT0 Ltd",
        "Tax number: DE1",
        "上海镕喆信息技术有限公司",
        "01 Dec 2026",
        "15 Dec 2026",
        "123,456",
        "CN¥57.00 / 1M",
        "CN¥7.04",
        "9 d 01:01:01",
        "-CN¥104.00",
        "CN¥1,428.00",
        "Subtotal",
        "CN¥676.15",
        "Tax, 6 %",
        "CN¥40.56",
        "CN¥716.71",
        "-CN¥10.00",
        "Amount due",
        "CN¥706.71",
        "IT0-CN-2026-000001",
        "Outage of 12 November",
        "-CN¥1.06",
        "Invoice IT0-2026-000001, page 1 of \n1",
    ):
        assert expected in page, expected
    assert "PAID" not in page


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue in which the words of the test stand, whatever the product's has."""
    known = {"Invoice": "发票", "Amount due": "应付金额", "{days} d {clock}": "{days} 天 {clock}"}
    monkeypatch.setattr(words, "_catalogue", lambda language: known if language == "zh" else {})


@pytest.mark.usefixtures("chinese")
def test_a_chinese_invoice_is_printed_in_chinese() -> None:
    """Words and amounts are those of the language; so are the days."""
    (page,) = printed(invoice(), language="zh-CN")
    for expected in ("发票", "应付金额", "9 天 01:01:01", "¥706.71", "12月1日", "上海镕喆"):
        assert expected in page, expected
    assert "CN¥" not in page


@pytest.mark.parametrize("status", [InvoiceStatus.PAID, InvoiceStatus.VOID])
def test_a_closed_invoice_is_marked(status: InvoiceStatus) -> None:
    """PAID or VOID stands beside the title, and nothing is due."""
    (page,) = printed(invoice(status=status, paid=70_671))
    assert status.upper() in page.split("\n")
    assert page.split("\n").count("CN¥0.00") == 1


def test_the_same_invoice_is_the_same_bytes() -> None:
    """Printed twice, nothing differs; the document's date is the invoice's."""
    first, second = (render(invoice(), plan_names={}, notes=(), language="en") for _ in range(2))
    assert first == second
    assert b"D:20261201000500Z" in first


def test_many_lines_go_over_several_numbered_pages() -> None:
    """The table goes on under its titles, and each page says which one it is."""
    pages = printed(invoice(LINES * 12))
    assert len(pages) > 1
    for number, page in enumerate(pages, 1):
        assert f"page {number} of \n{len(pages)}" in page
    assert sum(page.count("123,456\n") for page in pages) == 12
    assert "Description" in pages[1]
    assert "Amount due" in pages[-1]


def test_what_the_font_lacks_is_a_box() -> None:
    """Emoji, rare scripts and control characters neither fail nor vanish silently."""
    buyer = Party(name="A𠮷B 😀 ក\x07\u202e!", address="\n".join("x" * 300 for _ in range(20)))
    page = "\n".join(printed(invoice(buyer=buyer)))
    assert f"A{BOX}B {BOX} {BOX}!" in page


def test_a_hostile_name_prints_what_it_is() -> None:
    """Parentheses, backslashes and markup are text."""
    name = r"O'Neil & Söhne (\) **bold** <b>x</b> {nb}"
    (page,) = printed(invoice(buyer=Party(name=name)))
    assert r"O'Neil & Söhne (\) **bold** <b>x</b> {nb}" in page


def test_the_font_is_free_and_comes_with_its_licence() -> None:
    """The licence lies beside the font that it is for."""
    assert "SIL OPEN FONT LICENSE Version 1.1" in (FONT.parent / "OFL.txt").read_text("utf-8")
    assert FONT.stat().st_size < 12_000_000


def test_nothing_of_it_is_loaded_before_the_first_invoice() -> None:
    """Importing the module leaves the PDF library and the font alone."""
    script = "import sys, billing.invoice_pdf; print('fpdf' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
