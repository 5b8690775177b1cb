"""``it0 billing``: the operator bills, books and corrects, through the process that runs.

On SQLite that process holds the data directory, so that every command is a request to it (or
to one that is embedded for the moment), with a proof that only a holder of the key can make.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from billing.money import Money

if TYPE_CHECKING:
    from bots.operator_billing import AccountRow, BillingOperator, MarkedRow
    from settings import Settings

_APPLIED: Final = {
    "invoice": "Invoice {number} is paid.",
    "balance": "Invoice {number} needed nothing more: the money is on the customer's balance.",
    "review": "The amount does not fit invoice {number}: it is booked and needs your review.",
}
_RATE: Final = re.compile(r"\d{1,2}(\.\d{1,2})?|100")
_STATUSES: Final = ("open", "paid", "void", "uncollectible")
_LONGEST: Final = 40
"""Characters of a cell."""


def add_billing(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """The options of every subcommand; ``arguments.action`` says which one it is."""
    parser = commands.add_parser("billing", help="plans, invoices and payments")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run = actions.add_parser("run", help="bill everything that is due")
    run.add_argument("--at", metavar="ISO", help="as of this moment, such as 2026-12-01T00:05Z")
    _add_invoices(actions)
    _add_plans(actions)
    actions.add_parser("reconcile", help="compare the sums with the records they are made of")
    return parser


def _add_invoices(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    listing = actions.add_parser("list", help="list the newest invoices of all teams")
    listing.add_argument("--status", choices=_STATUSES)
    paid = actions.add_parser("mark-paid", help="book money that came in for an invoice")
    paid.add_argument("invoice", metavar="INVOICE")
    paid.add_argument("--amount", metavar="N", help="such as 49.99; default all that is due")
    paid.add_argument("--currency", metavar="C", help="of the amount; default the invoice's")
    credit = actions.add_parser("credit", help="take a part of an invoice back")
    credit.add_argument("invoice", metavar="INVOICE")
    credit.add_argument("amount", metavar="AMOUNT", help="with tax, such as 49.99")
    credit.add_argument("--reason", metavar="TEXT", required=True)
    void = actions.add_parser("void", help="void an invoice that nobody paid")
    void.add_argument("invoice", metavar="INVOICE")


def _add_plans(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    trial = actions.add_parser("trial", help="let a team try a plan")
    trial.add_argument("plan", metavar="PLAN", choices=["pro", "enterprise"])
    trial.add_argument("--days", type=int, default=14, help="default 14")
    trial.add_argument("--tenant", metavar="ID", help="default your own team")
    account = actions.add_parser("account", help="show or change who is invoiced, and how")
    account.add_argument("--tenant", metavar="ID", help="default your own team")
    account.add_argument("--currency", metavar="C", choices=["USD", "CNY"])
    account.add_argument("--tax-rate", metavar="PERCENT", type=_rate, help="such as 19.0")
    for name in ("name", "address", "tax-number", "email"):
        account.add_argument(f"--{name}", metavar="TEXT")
    publish = actions.add_parser("publish", help="sell a new version of a plan (a JSON file)")
    publish.add_argument("file", metavar="FILE", type=Path)
    move = actions.add_parser("move", help="move subscriptions to a version of their plan")
    move.add_argument("version", metavar="PLAN_VERSION", help="such as pro-2")
    move.add_argument("--tenant", metavar="ID", help="this team alone; default all of the plan")


async def billing(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 billing``. Raises ``It0Error`` with a sentence."""
    # --help must not import the product.
    from bots.operator import RequestRefused  # noqa: PLC0415
    from bots.operator_billing import BillingOperator  # noqa: PLC0415
    from core.errors import It0Error  # noqa: PLC0415
    from reach import connected  # noqa: PLC0415

    if not settings.billing.enabled:
        raise It0Error("There are no plans here: IT0_BILLING is off.")
    async with connected(settings) as server:
        client = BillingOperator(client=server.operator(), proof=server.proof)
        try:
            return await carry_out(client, arguments, sys.stdout)
        except (RequestRefused, ValueError) as problem:
            raise It0Error(str(problem)) from problem


async def carry_out(client: BillingOperator, arguments: argparse.Namespace, out: TextIO) -> int:
    """Do what was asked and say it. Raises ``RequestRefused``, ``ValueError``, ``OSError``."""
    match arguments.action:
        case "run":
            return await _run(client, arguments.at, out)
        case "reconcile":
            return await _reconcile(client, out)
        case "list":
            return await _list(client, arguments.status, out)
        case "account":
            account = await client.account(_changes(arguments))
            return _say(_account_lines(account), out)
        case action:
            return _say([await _done(client, action, arguments)], out)


async def _done(client: BillingOperator, action: str, arguments: argparse.Namespace) -> str:
    """Carry out what is answered with one sentence."""
    match action:
        case "mark-paid":
            return _marked(
                await client.mark_paid(
                    arguments.invoice, amount=arguments.amount, currency=arguments.currency
                )
            )
        case "credit":
            note = await client.credit(
                arguments.invoice, amount=arguments.amount, reason=arguments.reason
            )
            amount = Money(note["total"], note["currency"])
            return f"Credit note {note['number']}: {amount} of invoice {arguments.invoice}."
        case "void":
            row = await client.void(arguments.invoice)
            return f"Invoice {row['number']} is void."
        case "trial":
            trial = await client.trial(arguments.plan, days=arguments.days, tenant=arguments.tenant)
            return f"Team {trial['tenant']} tries {arguments.plan} until {_when(trial['until'])}."
        case "publish":
            version = await client.publish(_read_plan(arguments.file))
            return (
                f"{version} is sold now. `it0 billing move {version}` moves who has an older one."
            )
        case "move":
            count = await client.move(arguments.version, arguments.tenant)
            return f"{count} subscriptions change to {arguments.version} with their next period."
        case _:
            message = f"There is no action {action}."
            raise ValueError(message)


async def _run(client: BillingOperator, at: str | None, out: TextIO) -> int:
    """1 when a team could not be billed: whoever runs this from cron hears of it."""
    done = await client.run(None if at is None else _moment(at))
    counts = {
        "Invoices issued": done["billed"],
        "Periods renewed": done["renewed"],
        "Teams that wait for their usage": done["skipped"],
        "Trials ended": done["trials_ended"],
        "Upgrades that lapsed": done["voided"],
        "Reminders": done["reminded"],
        "Given up unpaid": done["given_up"],
        "Teams that could not be billed": done["failed"],
    }
    lines = [f"{label + ':':32}{count:>8,}" for label, count in counts.items()]
    if done["failed"]:
        lines += ["", *(f"{it['tenant']}: {it['reason']}" for it in done["problems"])]
        lines.append("The next run tries them again.")
    _say(lines, out)
    return 1 if done["failed"] else 0


async def _reconcile(client: BillingOperator, out: TextIO) -> int:
    rows = await client.reconcile()
    if not rows:
        return _say(["Everything agrees with its records."], out)
    head = ("TEAM", "MONTH", "WHAT", "BY THE RECORDS", "STORED")
    cells = [
        (row["tenant"], row["month"], row["what"], f"{row['expected']:,}", f"{row['found']:,}")
        for row in rows
    ]
    _say([*table(head, cells), f"{len(rows)} figures differ from their records."], out)
    return 1


async def _list(client: BillingOperator, status: str | None, out: TextIO) -> int:
    rows, more = await client.invoices(status)
    if not rows:
        return _say(
            ["There are no such invoices." if status else "There are no invoices yet."], out
        )
    head = ("NUMBER", "ISSUED", "STATUS", "TOTAL", "DUE", "DUE ON", "TEAM", "BUYER")
    cells = [
        (
            row["number"] or row["id"],
            _when(row["issued_at"]),
            row["status"] + (" (review)" if row["needs_review"] else ""),
            str(Money(row["total"], row["currency"])),
            str(Money(row["due"], row["currency"])),
            _when(row["due_at"]),
            row["tenant"],
            row["buyer"],
        )
        for row in rows
    ]
    older = [f"The newest {len(rows)}; there are more."] if more else []
    return _say([*table(head, cells), *older], out)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns; a cell that is too long is cut."""
    cut = [
        [cell if len(cell) <= _LONGEST else cell[: _LONGEST - 1] + "…" for cell in row]
        for row in rows
    ]
    widths = [max(len(row[at]) for row in (head, *cut)) for at in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *cut)
    ]


def _marked(done: MarkedRow) -> str:
    said = _APPLIED.get(done["applied"], "The money for invoice {number} is noted.")
    problem = f" ({done['problem']})" if done["problem"] else ""
    return said.format(number=done["number"]) + problem


def _changes(arguments: argparse.Namespace) -> dict[str, object]:
    """Only what was named: nothing else is changed."""
    named: dict[str, object] = {
        "tenant": arguments.tenant,
        "currency": arguments.currency,
        "name": arguments.name,
        "address": arguments.address,
        "tax_number": arguments.tax_number,
        "email": arguments.email,
        "tax_rate": arguments.tax_rate,
    }
    return {name: value for name, value in named.items() if value is not None}


def _account_lines(account: AccountRow) -> list[str]:
    whole, part = divmod(account["tax_rate"], 100)
    shown = {
        "Team": account["tenant"],
        "Currency": account["currency"],
        "Tax rate": f"{whole}.{part:02} %",
        "Name": account["name"],
        "Address": account["address"].replace("\n", ", "),
        "Tax number": account["tax_number"],
        "Email": account["email"],
    }
    return [f"{label + ':':12}{value or '-'}" for label, value in shown.items()]


def _read_plan(file: Path) -> dict[str, object]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{file} is no JSON: {error}."
        raise ValueError(message) from error
    if not isinstance(read, dict):
        message = f"{file} describes no plan: it must hold one JSON object."
        raise ValueError(message)  # noqa: TRY004  # the file's content is wrong, not a type of ours
    return read


def _rate(text: str) -> int:
    """A tax rate in per cent, as hundredths of a per cent."""
    if not _RATE.fullmatch(text):
        message = f"{text} is no tax rate: give per cent, such as 19 or 8.25"
        raise argparse.ArgumentTypeError(message)
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int(part.ljust(2, "0"))


def _moment(text: str) -> str:
    """A moment as typed, in ISO 8601; without a zone it is UTC. Raises ``ValueError``."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text} is no moment: give it as 2026-12-01T00:05Z."
        raise ValueError(message) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


def _when(at: str | None) -> str:
    return "-" if at is None else at[:10]


def _say(lines: Iterable[str], out: TextIO) -> int:
    from bots.console_terminal import safe_text  # noqa: PLC0415  # --help needs no terminal

    for line in lines:
        print(safe_text(line), file=out)
    return 0
