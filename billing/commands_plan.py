"""``/plan`` and ``/usage``: where the team stands; everybody may read both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from billing.commands_text import is_admin, only_admins, rejected
from billing.desk import BillingDesk, Budget, PlanStanding, QuotaStanding
from billing.money import Money
from billing.periods import DAY_MS, month_of
from billing.plans import PlanName, PlanVersion
from billing.subscriptions import Status
from billing.texts import (
    day,
    limits_sentence,
    money,
    plan_title,
    price_sentence,
    service_sentence,
    span,
    usage_line,
)
from core.clock import Clock
from core.commands_text import Handler, answered, code, escape, is_shared, refused
from core.refusals import Rejected
from core.tenants import User
from core.turns import Ending, Turn
from core.words import Sentence, Words, sentence

_SCOPES: Final[Mapping[str, Sentence]] = {
    "user": sentence("each user in a month"),
    "conversation": sentence("each conversation in a month"),
    "order": sentence("each standing order in a month"),
    "turn": sentence("each answer"),
}
_BUDGET_USAGE: Final = sentence(
    "`/usage budget user 50000` limits each user to 50,000 tokens a month; `conversation`, "
    "`order` and `turn` (one answer) work the same. `/usage budget user EMAIL 50000` is for one "
    "person, `/usage budget conversation here 50000` for this conversation, and `off` instead of "
    "the number removes a limit."
)
_UNITS: Final = {"k": 1_000, "m": 1_000_000}
_MOST_TOKENS: Final = 10**12


class TeamPeople(Protocol):
    """Who there is, to find a person by their address."""

    async def users(self, tenant_id: str) -> Sequence[User]:
        """The team's people."""


class PlanCommands:
    """Answers them."""

    def __init__(self, desk: BillingDesk, clock: Clock, people: TeamPeople) -> None:
        """Wire the ports."""
        self._desk = desk
        self._clock = clock
        self._people = people

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"plan": self._plan, "usage": self._usage}

    async def _plan(self, turn: Turn, rest: str) -> Ending:
        del rest
        words = Words(turn.language)
        standing = await self._desk.plans.standing(turn.tenant_id)
        owed = is_admin(turn) and not is_shared(turn.address)
        lines = [_headline(standing, words), "", *_facts(standing, words, owed=owed)]
        service = service_sentence(standing, words)
        if service is not None:
            lines += ["", f"**{service}**"]
        if is_admin(turn):
            lines += ["", *_price_list(await self._desk.plans.plans(), standing, words)]
        return answered("\n".join(lines))

    async def _usage(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        first, *more = rest.split() or [""]
        if first.casefold() == "budget":
            return await self._budget(turn, more)
        usage = await self._desk.usage.current(turn.tenant_id)
        lines = [
            f"**{span(month_of(usage.period.start_ms), words)}**",
            "",
            usage_line(usage, words),
            "",
            *(f"- {line}" for line in _details(usage, self._clock.now_ms(), words)),
        ]
        if is_admin(turn):
            lines += await self._limits_of_their_own(turn, words)
        return answered("\n".join(lines))

    # -- budgets --------------------------------------------------------------------------

    async def _limits_of_their_own(self, turn: Turn, words: Words) -> list[str]:
        budgets = await self._desk.usage.budgets(turn.tenant_id)
        if not budgets:
            return []
        return ["", words("Your team's own limits:"), *await self._listed(turn, budgets, words)]

    async def _listed(self, turn: Turn, budgets: Sequence[Budget], words: Words) -> list[str]:
        users = await self._people.users(turn.tenant_id)
        names = {user.id: user.email for user in users}
        return [
            words(
                "- {whom}: {tokens:,} tokens",
                whom=_whom(budget, names, words),
                tokens=budget.tokens,
            )
            for budget in budgets
        ]

    async def _budget(self, turn: Turn, asked: Sequence[str]) -> Ending:
        words = Words(turn.language)
        refusal = only_admins(turn, words)
        if refusal is not None:
            return refusal
        if not asked:
            listed = await self._limits_of_their_own(turn, words)
            known = "\n".join(listed).strip() or words("Your team has no limits of its own.")
            return answered(f"{known}\n\n{words.of(_BUDGET_USAGE)}")
        budget = await self._asked(turn, asked)
        if isinstance(budget, Rejected):
            return refused(words.of(budget.sentence))
        done = await self._desk.usage.set_budget(turn.tenant_id, budget, user_id=turn.user.id)
        if isinstance(done, Rejected):
            return rejected(done, words)
        users = await self._people.users(turn.tenant_id)
        whom = _whom(done, {user.id: user.email for user in users}, words)
        if not done.tokens:
            return answered(words("No limit any more: {whom}.", whom=whom))
        return answered(
            words("The limit is set: {whom}, {tokens:,} tokens.", whom=whom, tokens=done.tokens)
        )

    async def _asked(self, turn: Turn, asked: Sequence[str]) -> Budget | Rejected:
        """Read ``SCOPE [SUBJECT] TOKENS``."""
        scope, *named, amount = asked if len(asked) > 1 else (*asked, "")
        tokens = parse_tokens(amount)
        subject = named[0].strip("`") if named else ""
        one_of_all = scope == "turn" and subject
        if scope not in _SCOPES or tokens is None or len(named) > 1 or one_of_all:
            return Rejected(code="bad_budget", sentence=_BUDGET_USAGE)
        if scope == "conversation" and subject.casefold() == "here":
            subject = turn.conversation_id
        if scope == "user" and subject:
            users = await self._people.users(turn.tenant_id)
            found = [user.id for user in users if subject.casefold() in {user.email, user.id}]
            if not found:
                return Rejected(
                    code="unknown_user",
                    sentence=sentence(
                        "There is no user {email} in your team.", email=code(subject)
                    ),
                )
            subject = found[0]
        return Budget(scope=scope, subject=subject, tokens=tokens)


def parse_tokens(text: str) -> int | None:
    """A number of tokens as people write it: ``50000``, ``50,000``, ``50k``, ``1m``; off is 0."""
    written = text.casefold().replace(",", "").replace("_", "")
    if written == "off":
        return 0
    unit = _UNITS.get(written[-1:], 1)
    digits = written[:-1] if unit > 1 else written
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(_MOST_TOKENS))):
        return None
    tokens = int(digits) * unit
    return tokens if 0 < tokens <= _MOST_TOKENS else None


def _whom(budget: Budget, names: Mapping[str, str], words: Words) -> str:
    if not budget.subject:
        return words.of(_SCOPES[budget.scope])
    return escape(names.get(budget.subject, budget.subject))


# -- /plan --------------------------------------------------------------------------------


def _headline(standing: PlanStanding, words: Words) -> str:
    currency = standing.subscription.currency
    return words(
        "**Your team is on the {plan} plan:** {price}",
        plan=plan_title(standing.plan.plan),
        price=price_sentence(standing.plan, currency, words),
    )


def _facts(standing: PlanStanding, words: Words, *, owed: bool) -> list[str]:
    """What the plan is; with ``owed`` also the balance and what is to be paid."""
    subscription = standing.subscription
    facts = [words("Period: {span}", span=span(subscription.period, words))]
    if subscription.status is Status.TRIALING and subscription.trial_end_ms is not None:
        facts.append(
            words("On trial until {day}", day=day(subscription.trial_end_ms, words)),
        )
    facts += scheduled(standing, words)
    facts.append(words("Limits: {limits}", limits=limits_sentence(standing.plan, words)))
    if owed and standing.balance.minor:
        facts.append(words("Balance: {amount}", amount=money(standing.balance, words)))
    if owed and standing.due.minor:
        facts.append(words("To be paid: {amount}", amount=money(standing.due, words)))
    return [f"- {fact}" for fact in facts]


def scheduled(standing: PlanStanding, words: Words) -> list[str]:
    """What is going to change."""
    subscription = standing.subscription
    if subscription.cancel_at_ms is not None:
        return [
            words(
                "Cancelled: it ends on {day}. `/cancel back` takes that back.",
                day=day(subscription.cancel_at_ms, words),
            )
        ]
    if standing.next_plan is not None:
        return [
            words(
                "On {day} it changes to the {plan} plan. `/cancel back` takes that back.",
                day=day(subscription.period.end_ms, words),
                plan=plan_title(standing.next_plan.plan),
            )
        ]
    return []


def _price_list(plans: Sequence[PlanVersion], standing: PlanStanding, words: Words) -> list[str]:
    currency = standing.subscription.currency
    lines = [words("Plans:")]
    lines += [
        f"- **{plan_title(plan.plan)}**: {price_sentence(plan, currency, words)} "
        f"{limits_sentence(plan, words)}"
        for plan in plans
        if currency in plan.prices
    ]
    if standing.plan.plan is not PlanName.ENTERPRISE:
        lines += ["", words("`/upgrade PLAN` says what a change costs before anything happens.")]
    return lines


# -- /usage -------------------------------------------------------------------------------


def _details(usage: QuotaStanding, now_ms: int, words: Words) -> list[str]:
    lines: list[str] = []
    if usage.hard is not None:
        lines.append(words("More than {hard:,} tokens are refused", hard=usage.hard))
    if usage.reserved:
        lines.append(words("{tokens:,} more are set aside just now", tokens=usage.reserved))
    lines.append(_forecast(usage, words))
    if usage.overage_minor:
        lines.append(
            words(
                "Over the allowance so far: {amount} before tax",
                amount=money(Money(usage.overage_minor, usage.currency), words),
            )
        )
    if usage.own_used:
        lines.append(
            words(
                "{tokens:,} of them on your own key: they count towards the limit and cost "
                "nothing here",
                tokens=usage.own_used,
            )
        )
    left = max(0, -((now_ms - usage.period.end_ms) // DAY_MS))
    lines.append(
        words(
            "{days} days left; the count begins anew on {day}",
            days=left,
            day=day(usage.period.end_ms, words),
        )
    )
    return lines


def _forecast(usage: QuotaStanding, words: Words) -> str:
    if usage.hard is not None and usage.forecast > usage.hard:
        return words(
            "At this pace the limit is reached before the end of the month "
            "(it would be {tokens:,} tokens); `/upgrade` shows what more costs",
            tokens=usage.forecast,
        )
    if usage.overage_forecast_minor:
        return words(
            "At this pace: {tokens:,} tokens by the end of the month, {amount} of it for what "
            "is over the allowance, before tax",
            tokens=usage.forecast,
            amount=money(Money(usage.overage_forecast_minor, usage.currency), words),
        )
    return words("At this pace: {tokens:,} tokens by the end of the month", tokens=usage.forecast)
