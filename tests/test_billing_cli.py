"""``it0 billing``: what is typed, asked of the server, and said."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from billing.invoices import InvoiceStatus
from billing_cli import carry_out, table
from bots.operator import RequestRefused
from cli import build_parser
from tests.bots.web.operator_kit import OperatorSite, operator_site
from tests.fakes.operator_desk import LeftOut, Report, Wrong

PLAN = {
    "plan": "pro",
    "version": 2,
    "included_tokens": 2_000_000,
    "hard_percent": 150,
    "max_servers": 50,
    "max_users": 25,
    "max_standing_orders": 50,
    "prices": {"USD": {"base": 5999, "overage": 800}, "CNY": {"base": 42800, "overage": 5700}},
}


async def run(site: OperatorSite, *typed: str) -> tuple[int, str]:
    """The exit status and what was printed."""
    out = io.StringIO()
    arguments = build_parser().parse_args(["billing", *typed])
    status = await carry_out(site.client(), arguments, out)
    return status, out.getvalue()


async def test_an_invoice_is_listed_paid_and_no_longer_open() -> None:
    """The columns are aligned; the sentence says what became of the money."""
    async with operator_site() as site:
        assert await run(site, "list") == (0, "There are no invoices yet.\n")
        site.bill()
        status, listed = await run(site, "list")
        head, row = listed.splitlines()
        assert status == 0
        assert row.index("USD 51.99") == head.index("TOTAL")
        assert row.index("2026-11-23") == head.index("DUE ON")
        assert await run(site, "mark-paid", "IT0-2026-000001") == (
            0,
            "Invoice IT0-2026-000001 is paid.\n",
        )
        assert await run(site, "list", "--status", "open") == (
            0,
            "There are no such invoices.\n",
        )


async def test_an_amount_that_does_not_fit_is_for_review() -> None:
    """The amount is taken as it is written, in the invoice's currency if none is told."""
    async with operator_site() as site:
        site.bill()
        for typed in (["--amount", "40"], ["--amount", "51.99", "--currency", "CNY"]):
            _, said = await run(site, "mark-paid", "IT0-2026-000001", *typed)
            assert "needs your review. (short)" in said
        assert site.memory.team.bills[0].status is InvoiceStatus.OPEN


async def test_credit_and_void() -> None:
    """Both name what they did."""
    async with operator_site() as site:
        site.bill()
        typed = ("credit", "IT0-2026-000001", "2.00", "--reason", "an outage")
        assert "Credit note IT0-2026-C00001: USD 2.00" in (await run(site, *typed))[1]
        assert (await run(site, "void", "IT0-2026-000001"))[1].endswith("is void.\n")
        with pytest.raises(RequestRefused, match="cannot void"):
            await run(site, "void", "IT0-2026-000001")


async def test_a_run_says_what_it_did_and_fails_when_a_team_could_not_be_billed() -> None:
    """A moment without a zone is UTC; whoever runs it from cron gets the exit status."""
    async with operator_site() as site:
        status, said = await run(site, "run", "--at", "2026-12-01T00:05")
        assert status == 0
        assert "Invoices issued:                       1\n" in said
        assert site.memory.runs == [1_796_083_500_000]
        site.memory.report = Report(failed=1, problems=(LeftOut(),))
        status, said = await run(site, "run")
        assert status == 1
        assert "ten_1: UnsafeInvoice: 21 lines" in said
        assert site.memory.runs[-1] is None
        with pytest.raises(ValueError, match="no moment"):
            await run(site, "run", "--at", "tomorrow")


async def test_differences_are_shown_and_fail() -> None:
    """Silence would be taken for agreement."""
    async with operator_site() as site:
        assert await run(site, "reconcile") == (0, "Everything agrees with its records.\n")
        site.memory.wrong = (Wrong(),)
        status, said = await run(site, "reconcile")
        assert status == 1
        assert "1970-01" in said
        assert "1,200" in said


async def test_who_is_invoiced_is_shown_and_changed() -> None:
    """Only what is named changes; a rate is per cent, exactly."""
    async with operator_site() as site:
        await run(site, "account", "--name", "ACME", "--tax-rate", "8.25")
        _, said = await run(site, "account", "--currency", "CNY", "--address", "Street 1")
        assert "ACME" in said
        assert "8.25 %" in said
        assert site.memory.account.tax_rate == 825
        assert site.memory.account.currency == "CNY"


@pytest.mark.parametrize("rate", ["19%", "101", "8.255", "-1", "x"])
def test_a_rate_that_is_none(rate: str) -> None:
    """The parser refuses it."""
    with pytest.raises(SystemExit):
        build_parser().parse_args(["billing", "account", f"--tax-rate={rate}"])


async def test_a_new_price_is_a_new_version(tmp_path: Path) -> None:
    """It is sold at once; who has an older one is moved by a command of its own."""
    async with operator_site() as site:
        file = tmp_path / "pro-2.json"
        file.write_text(json.dumps(PLAN))
        assert "pro-2 is sold now" in (await run(site, "publish", str(file)))[1]
        assert site.memory.sold["pro-2"].prices["USD"].base == 5999
        assert (await run(site, "move", "pro-2"))[1].startswith("7 subscriptions")
        assert (await run(site, "move", "pro-2", "--tenant", "ten_1"))[1].startswith("1 ")
        file.write_text(json.dumps({**PLAN, "prices": {"USD": {"base": 1}}}))
        with pytest.raises(RequestRefused, match="price in USD and CNY"):
            await run(site, "publish", str(file))
        for wrong in ("[]", "{"):
            file.write_text(wrong)
            with pytest.raises(ValueError, match="JSON"):
                await run(site, "publish", str(file))


async def test_a_trial_says_until_when() -> None:
    """Fourteen days, if nothing else is said."""
    async with operator_site() as site:
        said = (await run(site, "trial", "pro"))[1]
        assert said == "Team ten_1 tries pro until 2026-11-30.\n"


def test_a_table_is_aligned_and_cut() -> None:
    """A long cell does not push the others away."""
    lines = table(("A", "B"), [("x" * 99, "1"), ("y", "2")])
    assert len({line.index(end) for line, end in zip(lines, "B12", strict=True)}) == 1
    assert len(lines[1]) < 50
