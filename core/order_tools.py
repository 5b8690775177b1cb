"""Tools by which a model proposes standing orders, and reads those that there are.

A proposal does nothing: a person confirms it. Still it is level L1, so that text from outside,
once a turn has read some, gets no schedule into the team's list without a human; and the turn
of a standing order gets none at all.
"""

from __future__ import annotations

from typing import Final

from core.clock import Clock
from core.commands_orders import how_to_confirm
from core.order_words import coming, details, headline, history
from core.refusals import Rejected
from core.risk import Assessment, Level
from core.standing_orders import (
    BY_ITSELF,
    DEFAULT_BUDGET_TOKENS,
    MAX_CONDITION_CHARS,
    MAX_NAME_CHARS,
    MAX_PROMPT_CHARS,
    MOST_BUDGET_TOKENS,
    Asker,
    Misfire,
    NewOrder,
    OrderDesk,
    checked,
)
from core.tenants import User
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec
from core.words import Words

PROPOSE: Final = "propose_standing_order"
LIST: Final = "list_standing_orders"
_MOST_RUNS: Final = 10
_ENGLISH: Final = Words("en")


def order_tools(desk: OrderDesk, clock: Clock) -> tuple[Tool, ...]:
    """The tools on these orders."""
    return (_proposing(desk, clock), _listing(desk, clock))


def _proposing(desk: OrderDesk, clock: Clock) -> Tool:
    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        new = _wanted(arguments)
        if isinstance(new, Rejected):
            return ToolResult(output=new.sentence, is_error=True)
        # The call's own key: the same call never makes a second proposal.
        order = await desk.propose(_asker(context), new, key=f"{context.turn_id}/{context.call_id}")
        if isinstance(order, Rejected):
            return ToolResult(output=order.sentence, is_error=True)
        said = details(order, _ENGLISH, clock.now_ms())
        return ToolResult(
            output=f"Proposed, not active.\n\n{said}\n\n{how_to_confirm(order, _ENGLISH)}\n\n"
            "Show the person the schedule, the next run times and this command. You cannot "
            "confirm it for them."
        )

    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        new = _wanted(arguments)
        if context.order_id:
            return Assessment(level=Level.L1, problem=BY_ITSELF.sentence)
        if isinstance(new, Rejected):
            return Assessment(level=Level.L1, problem=new.sentence)
        return Assessment(
            level=Level.L1,
            reasons=("it proposes something that will run by itself",),
            action=_action(new),
            undo="Delete the proposal with /orders delete ID.",
        )

    return Tool(spec=_PROPOSE_SPEC, assess=assess, run=run, mutates=False)


def _action(new: NewOrder) -> str:
    """All that will be stored: whoever approves reads it, and the approval holds for it alone."""
    said = (
        f"propose {new.schedule.cron} {new.schedule.timezone}: {new.prompt}\n"
        f"name: {new.name}\n"
        f"at most {new.budget_tokens:,} tokens a month; late runs: {new.misfire}"
    )
    return f"{said}\ntells only if: {new.condition}" if new.condition else said


_PROPOSE_SPEC = ToolSpec(
    name=PROPOSE,
    description=(
        "Propose a standing order: a prompt that is asked by itself on a schedule. It does "
        "nothing until a person confirms it. Ask for the time zone if you do not know it."
    ),
    params=(
        Param(
            name="name",
            kind="string",
            description="A short name.",
            required=True,
            minimum=1,
            maximum=MAX_NAME_CHARS,
        ),
        Param(
            name="prompt",
            kind="string",
            description="What is asked each time, complete in itself, without the schedule.",
            required=True,
            minimum=1,
            maximum=MAX_PROMPT_CHARS,
            multiline=True,
        ),
        Param(
            name="cron",
            kind="string",
            description="Five fields of cron, such as 0 8 * * MON-FRI; at least 5 minutes apart.",
            required=True,
            minimum=9,
            maximum=100,
        ),
        Param(
            name="timezone",
            kind="string",
            description="A time zone of the IANA, such as Europe/Berlin.",
            required=True,
            minimum=1,
            maximum=60,
        ),
        Param(
            name="only_if",
            kind="string",
            description="Tell the person only if this holds, such as: a disk is above 80 %.",
            maximum=MAX_CONDITION_CHARS,
        ),
        Param(
            name="budget_tokens",
            kind="integer",
            description=f"Most tokens a calendar month; without it {DEFAULT_BUDGET_TOKENS:,}.",
            minimum=1,
            maximum=MOST_BUDGET_TOKENS,
        ),
        Param(
            name="misfire",
            kind="string",
            description="Runs that came too late: skip them (the default), or make up once.",
            choices=tuple(str(it) for it in Misfire),
        ),
        Param(
            name="reason",
            kind="string",
            description="Why, in one sentence; whoever approves reads it.",
            maximum=300,
        ),
    ),
)


def _wanted(arguments: Arguments) -> NewOrder | Rejected:
    def text(name: str) -> str:
        return str(arguments.get(name, ""))

    budget = arguments.get("budget_tokens")
    return checked(
        name=text("name"),
        prompt=text("prompt"),
        cron=text("cron"),
        timezone=text("timezone"),
        misfire=text("misfire"),
        only_if=text("only_if"),
        budget_tokens=budget if isinstance(budget, int) else None,
    )


def _asker(context: ToolContext) -> Asker:
    """The person whose turn it is; the store needs no more of them than id, team and role."""
    user = User(
        id=context.user_id, tenant_id=context.tenant_id, email="", name="", role=context.role
    )
    return Asker(
        user=user,
        turn_id=context.turn_id,
        conversation_id=context.conversation_id,
        order_id=context.order_id,
    )


def _listing(desk: OrderDesk, clock: Clock) -> Tool:
    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        named = str(arguments.get("id", ""))
        if named:
            return await _one(desk, clock, context, named)
        orders = await desk.listed(context.tenant_id)
        lines = []
        for order in orders:
            next_at = coming(order, clock.now_ms())[:1] if order.next_run_at_ms else []
            lines.append(f"- {headline(order, _ENGLISH)}; next: {next_at[0] if next_at else '-'}")
        return ToolResult(output="\n".join(lines) or "There are no standing orders.")

    spec = ToolSpec(
        name=LIST,
        description="List the team's standing orders; with an id, one with its history.",
        params=(
            Param(name="id", kind="string", description="Of one order.", minimum=1, maximum=40),
        ),
    )
    return Tool(spec=spec, assess=_reads, run=run, mutates=False)


async def _one(desk: OrderDesk, clock: Clock, context: ToolContext, named: str) -> ToolResult:
    order = await desk.find(context.tenant_id, named)
    if order is None:
        said = f"There is no standing order {named!r}."
        return ToolResult(output=said, is_error=True)
    runs = await desk.runs(order.tenant_id, order.id, _MOST_RUNS)
    shown = details(order, _ENGLISH, clock.now_ms())
    return ToolResult(output=f"{shown}\n\n{history(order, runs, _ENGLISH)}")


async def _reads(_context: ToolContext, _arguments: Arguments) -> Assessment:
    return Assessment(level=Level.L0)
