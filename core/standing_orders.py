"""Standing orders: a prompt, or the phrase of a routine, on a schedule.

An order is proposed, and does nothing until a person confirms it. Then each due time becomes
one ordinary turn of whoever asked for it, with their role of that moment, in the conversation
where they did. What cannot run says why: missed, skipped, paused with a problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from core.messages import clean_text
from core.names import plain_name
from core.refusals import Rejected
from core.schedule import BadSchedule, Schedule, next_times, parse
from core.tenants import Role, User
from core.words import Sentence, sentence

MAX_NAME_CHARS: Final = 80
MAX_PROMPT_CHARS: Final = 4_000
MAX_CONDITION_CHARS: Final = 300
DEFAULT_BUDGET_TOKENS: Final = 2_000_000
"""A calendar month, where nobody says another: nothing that runs alone runs without a limit."""
MOST_BUDGET_TOKENS: Final = 10**12
MOST_FAILURES: Final = 5
"""So many failed runs in a row pause an order."""
SHOWN_TIMES: Final = 3


class OrderState(StrEnum):
    """Where an order stands."""

    PROPOSED = "proposed"
    """It waits for a person's word."""
    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"
    """Its history is kept for a while, its words are not."""


class Misfire(StrEnum):
    """What becomes of runs that could not begin in time."""

    SKIP = "skip"
    """They are recorded as missed."""
    ONCE = "once"
    """One run makes up for all of them."""


class RunState(StrEnum):
    """What became of a due time."""

    STARTED = "started"
    """It is a turn."""
    ENDED = "ended"
    """That turn is over."""
    MISSED = "missed"
    """IT0 did not run then."""
    SKIPPED = "skipped"
    """The run before was not over."""
    REFUSED = "refused"
    """It could not become a turn."""


class OrderProblem(StrEnum):
    """Why an order was paused by itself; part of the API's contract."""

    CREATOR_LEFT = "creator_left"
    PLACE_LEFT = "place_left"
    QUOTA = "quota"
    ACCOUNT = "account"
    FAILURES = "failures"
    SCHEDULE = "schedule"


PROBLEMS: Final[Mapping[str, Sentence]] = {
    OrderProblem.CREATOR_LEFT: sentence("whoever asked for it is no longer in the team"),
    OrderProblem.PLACE_LEFT: sentence("the conversation that it reports to is gone"),
    OrderProblem.QUOTA: sentence("its budget or your team's allowance is used up"),
    OrderProblem.ACCOUNT: sentence("the model provider did not accept the account"),
    OrderProblem.FAILURES: sentence("{count} runs in a row failed", count=MOST_FAILURES),
    OrderProblem.SCHEDULE: sentence("its schedule does not come again, or cannot be read"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """What somebody wants, checked by ``checked``."""

    name: str
    prompt: str
    schedule: Schedule
    misfire: Misfire = Misfire.SKIP
    condition: str = ""
    """What is noteworthy, in the person's words; empty: every answer is delivered."""
    budget_tokens: int = DEFAULT_BUDGET_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingOrder:
    """An order as stored."""

    id: str
    tenant_id: str
    name: str
    created_by: str
    """A user's id: it runs as this person."""
    conversation_id: str
    prompt: str
    schedule: Schedule
    misfire: Misfire
    condition: str
    budget_tokens: int
    next_run_at_ms: int | None
    """None unless it is active."""
    state: OrderState
    problem: str
    """An ``OrderProblem``, or empty."""
    failures: int
    revision: int
    created_at_ms: int
    updated_at_ms: int

    def coming(self, now_ms: int) -> tuple[int, ...]:
        """The next times that it would run. Raises ``BadSchedule``."""
        return next_times(self.schedule.cron, self.schedule.timezone, now_ms, SHOWN_TIMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRun:
    """What became of one due time."""

    order_id: str
    due_at_ms: int
    state: RunState
    turn_id: str | None
    reason: str
    """``late``, ``late:N`` (this and N more behind it), ``still_running``, an outcome, ..."""
    manual: bool
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Whose wish it is: a person, by a turn or over HTTP."""

    user: User
    turn_id: str = ""
    conversation_id: str = ""
    """Where they ask."""
    order_id: str = ""
    """The standing order whose turn asks; then nothing is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanges:
    """What to change; None stays."""

    name: str | None = None
    prompt: str | None = None
    cron: str | None = None
    timezone: str | None = None
    misfire: str | None = None
    only_if: str | None = None
    budget_tokens: int | None = None


class OrderBook(Protocol):
    """Reads the orders of a team."""

    async def listed(self, tenant_id: str) -> tuple[StandingOrder, ...]:
        """All but the deleted, the oldest first."""

    async def find(self, tenant_id: str, order_id: str) -> StandingOrder | None:
        """One of them."""

    async def runs(self, tenant_id: str, order_id: str, most: int) -> tuple[OrderRun, ...]:
        """What became of its due times, the newest first."""


class OrderDesk(OrderBook, Protocol):
    """Changes them, each with its audit row; a refusal says why not."""

    async def propose(self, by: Asker, new: NewOrder, *, key: str = "") -> StandingOrder | Rejected:
        """Store a proposal, which does nothing; a second one of the same key is the first."""

    async def move(self, by: Asker, order_id: str, state: OrderState) -> StandingOrder | Rejected:
        """Confirm or resume (active), pause, delete."""

    async def run_now(self, by: Asker, order_id: str, *, key_ms: int) -> OrderRun | Rejected:
        """Run it once beside its schedule; a second call of the same time is the first."""


def checked(  # one keyword for each thing that can be asked
    *,
    name: str,
    prompt: str,
    cron: str,
    timezone: str,
    misfire: str = "",
    only_if: str = "",
    budget_tokens: int | None = None,
) -> NewOrder | Rejected:
    """What somebody asks for, in one spelling, or why it cannot be."""
    prompt, condition = clean_text(prompt).strip(), clean_text(only_if).strip()
    name = plain_name(name) or plain_name(prompt[:MAX_NAME_CHARS])
    budget = DEFAULT_BUDGET_TOKENS if budget_tokens is None else budget_tokens
    problem = _problem(name, prompt, condition, misfire, budget)
    if problem is not None:
        return _bad(problem)
    try:
        schedule = parse(cron, timezone)
    except BadSchedule as bad:
        return _bad(bad.sentence)
    return NewOrder(
        name=name[:MAX_NAME_CHARS],
        prompt=prompt,
        schedule=schedule,
        misfire=Misfire(misfire or Misfire.SKIP),
        condition=" ".join(condition.split()),
        budget_tokens=budget,
    )


def changed(order: StandingOrder, changes: OrderChanges) -> NewOrder | Rejected:
    """The order with the changes, checked as a new one."""

    def of(wanted: str | None, before: str) -> str:
        return before if wanted is None else wanted

    budget = changes.budget_tokens
    return checked(
        name=of(changes.name, order.name),
        prompt=of(changes.prompt, order.prompt),
        cron=of(changes.cron, order.schedule.cron),
        timezone=of(changes.timezone, order.schedule.timezone),
        misfire=of(changes.misfire, order.misfire),
        only_if=of(changes.only_if, order.condition),
        budget_tokens=order.budget_tokens if budget is None else budget,
    )


def _problem(
    name: str, prompt: str, condition: str, misfire: str, budget_tokens: int
) -> Sentence | None:
    if not prompt or not name:
        return sentence("Say what I am to do at that time.")
    if len(prompt) > MAX_PROMPT_CHARS or len(condition) > MAX_CONDITION_CHARS:
        return sentence(
            "That is too long: at most {prompt:,} characters of what to do and {condition:,} of "
            "when to tell you.",
            prompt=MAX_PROMPT_CHARS,
            condition=MAX_CONDITION_CHARS,
        )
    if misfire and misfire not in {str(it) for it in Misfire}:
        return sentence("What becomes of late runs is `skip` or `once`.")
    if not 0 < budget_tokens <= MOST_BUDGET_TOKENS:
        return sentence(
            "The budget is a number of tokens a month, from 1 to {most:,}.",
            most=MOST_BUDGET_TOKENS,
        )
    return None


def _bad(said: Sentence) -> Rejected:
    return Rejected(code="bad_order", sentence=said)


UNKNOWN_ORDER: Final = Rejected(
    code="not_found", sentence=sentence("There is no such standing order. `/orders` lists them.")
)
BY_ITSELF: Final = Rejected(
    code="forbidden",
    sentence=sentence("A standing order may not make, change or run standing orders."),
)
NEEDS_OPERATOR: Final = Rejected(
    code="forbidden",
    sentence=sentence("Standing orders need the role operator. Ask an admin of your team."),
)
NOT_YOURS: Final = Rejected(
    code="forbidden",
    sentence=sentence("Only whoever asked for this standing order, or an admin, can change it."),
)
STILL_RUNNING: Final = Rejected(
    code="still_running", sentence=sentence("Its last run is not over. Wait for its answer.")
)
CHANGED: Final = Rejected(
    code="conflict",
    sentence=sentence("The standing order was changed meanwhile. Read it again, then change it."),
)
NOT_CONFIRMED: Final = Rejected(
    code="not_confirmed",
    sentence=sentence("This standing order is only proposed. Confirm it first."),
)


def may_change(by: Asker, order: StandingOrder) -> Rejected | None:
    """Why this person may not change the order, or None."""
    if by.order_id:
        return BY_ITSELF
    if by.user.role is Role.ADMIN:
        return None
    if by.user.id != order.created_by:
        return NOT_YOURS
    return None if by.user.role.includes(Role.OPERATOR) else NEEDS_OPERATOR


def may_propose(by: Asker) -> Rejected | None:
    """Why this person may not ask for one, or None."""
    if by.order_id:
        return BY_ITSELF
    return None if by.user.role.includes(Role.OPERATOR) else NEEDS_OPERATOR
