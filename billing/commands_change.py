"""``/upgrade``, ``/downgrade`` and ``/cancel``: said first, done when confirmed; admins alone.

What the quote says is what is charged; the button under it and the command in it are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from billing.commands_plan import scheduled
from billing.commands_text import (
    how_to_pay,
    invoice_due,
    offering,
    only_admins,
    rejected,
)
from billing.desk import BillingDesk, Changed, PlanStanding, Quote
from billing.invoices import Invoice
from billing.money import Money
from billing.periods import moment
from billing.plans import PlanName, PlanVersion
from billing.subscriptions import Status
from billing.texts import day, line_text, money, plan_title
from core.commands_text import Handler, answered, code, is_shared, refused
from core.fleet.inventory import Server
from core.refusals import Rejected
from core.tenants import User
from core.turns import Ending, Offer, Turn
from core.words import Words

CONFIRM: Final = "confirm"
BACK: Final = "back"


class TeamSize(Protocol):
    """What there is that a plan limits."""

    async def servers(self, tenant_id: str) -> Sequence[Server]:
        """The team's servers."""

    async def users(self, tenant_id: str) -> Sequence[User]:
        """The team's people."""


class ChangeCommands:
    """Answers them."""

    def __init__(self, desk: BillingDesk, team: TeamSize) -> None:
        """Wire the ports."""
        self._desk = desk
        self._team = team

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"upgrade": self._upgrade, "downgrade": self._downgrade, "cancel": self._cancel}

    async def _upgrade(self, turn: Turn, rest: str) -> Ending:
        return await self._change(turn, rest, up=True)

    async def _downgrade(self, turn: Turn, rest: str) -> Ending:
        return await self._change(turn, rest, up=False)

    async def _change(self, turn: Turn, rest: str, *, up: bool) -> Ending:
        words = Words(turn.language)
        refusal = only_admins(turn, words)
        if refusal is not None:
            return refusal
        match [part.strip("`") for part in rest.split()]:
            case [first, quote_id] if first.casefold() == CONFIRM:
                return await self._confirm(turn, quote_id)
            case [plan]:
                return await self._offer(turn, plan.casefold(), up=up)
            case []:
                return await self._offer(turn, None, up=up)
            case _:
                return refused(words("One plan at a time: `/upgrade PLAN` or `/downgrade PLAN`."))

    # -- the quote ------------------------------------------------------------------------

    async def _offer(self, turn: Turn, plan: str | None, *, up: bool) -> Ending:
        """A quote for a plan; without a name for the only one there is in that direction."""
        words = Words(turn.language)
        standing = await self._desk.plans.standing(turn.tenant_id)
        plans = {version.plan: version for version in await self._desk.plans.plans()}
        fitting = [name for name in plans if _is_up(standing, name) is up]
        if plan is None and len(fitting) != 1:
            return refused(_which(standing, fitting, words, up=up))
        wanted = plan or fitting[0]
        if wanted in plans and wanted not in fitting:
            return refused(_not_that_way(standing, PlanName(wanted), words, up=up))
        quote = await self._desk.plans.quote(
            turn.tenant_id, wanted, user_id=turn.user.id, conversation_id=turn.conversation_id
        )
        if isinstance(quote, Rejected):
            return rejected(quote, words)
        command = f"/{'upgrade' if up else 'downgrade'} {CONFIRM} {quote.id}"
        over = await self._over(turn, quote.wanted, words)
        text = upgrade_text(quote, words) if up else downgrade_text(quote, over, words)
        closing = words(
            "Good for 10 minutes, until {time} UTC. To go on, confirm: `{command}`",
            time=f"{moment(quote.expires_at_ms):%H:%M}",
            command=command,
        )
        return offering(f"{text}\n\n{closing}", Offer(label=words("Confirm"), command=command))

    async def _over(self, turn: Turn, plan: PlanVersion, words: Words) -> list[str]:
        """What there is more of than the plan allows."""
        servers = len(await self._team.servers(turn.tenant_id))
        users = len(await self._team.users(turn.tenant_id))
        over: list[str] = []
        if servers > plan.max_servers:
            over.append(
                words(
                    "You have {count:,} servers; the {plan} plan allows {most:,}.",
                    count=servers,
                    plan=plan_title(plan.plan),
                    most=plan.max_servers,
                )
            )
        if users > plan.max_users:
            over.append(
                words(
                    "You are {count:,} people; the {plan} plan allows {most:,}.",
                    count=users,
                    plan=plan_title(plan.plan),
                    most=plan.max_users,
                )
            )
        return over

    # -- the confirmation -----------------------------------------------------------------

    async def _confirm(self, turn: Turn, quote_id: str) -> Ending:
        words = Words(turn.language)
        changed = await self._desk.plans.confirm(turn.tenant_id, quote_id, user_id=turn.user.id)
        if isinstance(changed, Rejected):
            return rejected(changed, words)
        if changed.invoice is None or not changed.invoice.due:
            return answered(_done(changed, words))
        return answered(await self._to_pay(turn, changed.invoice, words))

    async def _to_pay(self, turn: Turn, invoice: Invoice, words: Words) -> str:
        said = [
            invoice_due(invoice, words),
            words("Your plan changes as soon as it is paid; I say so here."),
        ]
        how = words(
            "`/pay {number}` in a private chat with me says how to pay.",
            number=invoice.number or invoice.id,
        )
        if not is_shared(turn.address):
            found = await how_to_pay(self._desk.payments, turn, invoice)
            how = words.of(found.sentence) if isinstance(found, Rejected) else found
        return "\n\n".join([*said, how])

    # -- the end --------------------------------------------------------------------------

    async def _cancel(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        refusal = only_admins(turn, words)
        if refusal is not None:
            return refusal
        match rest.strip("` ").casefold():
            case "":
                return await self._say_what_ends(turn, words)
            case "confirm":
                done = await self._desk.plans.cancel(turn.tenant_id, user_id=turn.user.id)
            case "back":
                done = await self._desk.plans.reactivate(turn.tenant_id, user_id=turn.user.id)
            case _:
                return refused(
                    words(
                        "`/cancel` says what would end and when, `/cancel confirm` does it, "
                        "and `/cancel back` takes it back."
                    )
                )
        return rejected(done, words) if isinstance(done, Rejected) else answered(_done(done, words))

    async def _say_what_ends(self, turn: Turn, words: Words) -> Ending:
        standing = await self._desk.plans.standing(turn.tenant_id)
        if standing.subscription.cancel_at_ms is not None:
            return answered("\n".join(scheduled(standing, words)))
        if standing.plan.plan is PlanName.FREE:
            return refused(words("Your team is on the Free plan: there is nothing to cancel."))
        ends = standing.subscription.period.end_ms
        free = next((it for it in await self._desk.plans.plans() if it.plan is PlanName.FREE), None)
        said = words(
            "Your {plan} plan would end on {day}; until then everything stays as it is, and "
            "what was paid is not paid back. Tokens over the allowance are invoiced then. "
            "After that your team is on the Free plan.",
            plan=plan_title(standing.plan.plan),
            day=day(ends, words),
        )
        over = await self._over(turn, free, words) if free is not None else []
        command = f"/cancel {CONFIRM}"
        closing = words("To go on, confirm: `{command}`", command=command)
        text = "\n\n".join([said, *_warned(over, words), closing])
        return offering(text, Offer(label=words("Confirm"), command=command))


def upgrade_text(quote: Quote, words: Words) -> str:
    """The quote of an upgrade: its lines, and what happens."""

    def amount(minor: int) -> str:
        return money(Money(minor, quote.currency), words)

    lines = [_change_line(quote, words), ""]
    lines += [f"- {line_text(line, words)}: {amount(line.amount)}" for line in quote.lines]
    if quote.tax:
        lines.append(words("- Tax: {amount}", amount=amount(quote.tax)))
    if quote.from_balance:
        lines.append(words("- From your balance: {amount}", amount=amount(-quote.from_balance)))
    left = max(0, quote.total - quote.from_balance)
    lines += ["", words("**To be paid now: {amount}**", amount=amount(left)), ""]
    if left:
        lines.append(words("Confirming makes an invoice; your plan changes as soon as it is paid."))
    else:
        lines.append(words("There is nothing to pay: your plan changes when you confirm."))
    return "\n".join(lines)


def downgrade_text(quote: Quote, over: Sequence[str], words: Words) -> str:
    """The quote of a downgrade: when, and what is too much then."""
    said = words(
        "It changes on {day}, at the end of what is paid; until then everything stays as it is.",
        day=day(quote.effective_at_ms, words),
    )
    return "\n\n".join([_change_line(quote, words), said, *_warned(over, words)])


def _change_line(quote: Quote, words: Words) -> str:
    if quote.wanted.plan is quote.current.plan:  # what was tried
        return words("**To keep the {plan} plan**", plan=plan_title(quote.wanted.plan))
    return words(
        "**From {current} to {wanted}**",
        current=plan_title(quote.current.plan),
        wanted=plan_title(quote.wanted.plan),
    )


def _warned(over: Sequence[str], words: Words) -> list[str]:
    if not over:
        return []
    listed = "\n".join(f"- {line}" for line in over)
    return [words("More than that plan allows:") + f"\n\n{listed}"]


def _which(standing: PlanStanding, fitting: Sequence[PlanName], words: Words, *, up: bool) -> str:
    """Why no plan was chosen for the writer."""
    if not fitting:
        plan = plan_title(standing.plan.plan)
        if up:
            return words("Your team is on the {plan} plan, and there is no larger one.", plan=plan)
        return words("Your team is on the {plan} plan, and there is no smaller one.", plan=plan)
    word = "upgrade" if up else "downgrade"
    choices = ", ".join(code(f"/{word} {name}") for name in fitting)
    return words("To which plan? {choices}", choices=choices)


def _is_up(standing: PlanStanding, name: PlanName) -> bool | None:
    """Which way the plan is, None: neither; in a trial as ``billing.changes.direction`` has it."""
    if standing.subscription.status is Status.TRIALING:
        return name is not PlanName.FREE
    current = standing.plan.plan
    return None if name is current else name.rank > current.rank


def _not_that_way(standing: PlanStanding, wanted: PlanName, words: Words, *, up: bool) -> str:
    current = standing.plan.plan
    if standing.subscription.status is Status.TRIALING and not up:
        return words(
            "Your team is on trial: {command} says what the {plan} plan costs.",
            command=code(f"/upgrade {wanted}"),
            plan=plan_title(wanted),
        )
    if wanted is current:
        return words("Your team is on the {plan} plan already.", plan=plan_title(wanted))
    title = plan_title(wanted)
    if up:
        command = code(f"/downgrade {wanted}")
        return words(
            "The {plan} plan is smaller than yours: {command}.", plan=title, command=command
        )
    command = code(f"/upgrade {wanted}")
    return words("The {plan} plan is larger than yours: {command}.", plan=title, command=command)


def _done(changed: Changed, words: Words) -> str:
    """What the subscription is now, and what is noted."""
    standing = changed.standing
    said = words("Your team is on the {plan} plan.", plan=plan_title(standing.plan.plan))
    return "\n\n".join([said, *scheduled(standing, words)])
