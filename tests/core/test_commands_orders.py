"""``/orders``: what runs by itself, and a person's word on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.commands_orders import OrderCommands, split_condition
from core.standing_orders import Misfire, OrderState, RunState
from core.tenants import Role
from core.turns import Ending, Outcome
from tests.core.orders_kit import NOW_MS, MemoryDesk, Still, new_order, run_of, stored
from tests.core.test_prompts import turn_of

ADD = 'add "0 8 * * MON-FRI" europe/berlin How full are the disks?'


async def say(
    desk: MemoryDesk, rest: str = "", role: Role = Role.OPERATOR, *, order_id: str = ""
) -> Ending:
    """What the command answers."""
    turn = turn_of()
    turn = replace(turn, user=replace(turn.user, role=role), order_id=order_id)
    return await OrderCommands(desk, Still()).handlers()["orders"](turn, rest)


def desk_of(*names: str, state: OrderState = OrderState.ACTIVE) -> MemoryDesk:
    """Orders of the person who asks."""
    turn = turn_of()
    orders = [
        replace(
            stored(replace(new_order(), name=name), order_id=f"ord_aaaaaa{n}", by=turn.user.id),
            tenant_id=turn.tenant_id,
            state=state,
        )
        for n, name in enumerate(names)
    ]
    return MemoryDesk(orders={order.id: order for order in orders})


async def test_an_order_is_added_with_its_next_times_and_a_button() -> None:
    """It is only proposed; the answer says when it would run, and how to confirm it."""
    desk = MemoryDesk()
    ending = await say(desk, ADD)
    (order,) = desk.orders.values()
    assert (order.prompt, order.state) == ("How full are the disks?", OrderState.PROPOSED)
    assert "every weekday at 08:00 (Europe/Berlin)" in ending.reply
    assert "Next: 2026-11-19 08:00, 2026-11-20 08:00, 2026-11-23 08:00" in ending.reply
    assert "2,000,000 tokens" in ending.reply
    assert f"`/orders confirm {order.id}`" in ending.reply
    assert ending.offer is not None
    assert (ending.offer.label, ending.offer.command) == ("Confirm", f"/orders confirm {order.id}")
    confirmed = await say(desk, f"confirm {order.id}")
    assert "It runs from now on." in confirmed.reply
    assert desk.orders[order.id].state is OrderState.ACTIVE


@pytest.mark.parametrize(
    "rest",
    [
        "add 0 8 * * MON-FRI Europe/Berlin Disks, and tell me only if one is above 80 %.",
        "add `0 8 * * MON-FRI` Europe/Berlin Disks. Only tell me when one is above 80 %",
        "add “0 8 * * MON-FRI” Europe/Berlin Disks notify us only if one is above 80 %",
    ],
)
async def test_however_it_is_written(rest: str) -> None:
    """Quotes of any kind or none; the condition is taken out of the sentence."""
    desk = MemoryDesk()
    ending = await say(desk, rest)
    (order,) = desk.orders.values()
    assert (order.prompt, order.condition) == ("Disks", "one is above 80 %")
    assert "You are told only if: one is above 80 %" in ending.reply


def test_a_condition_in_chinese() -> None:
    """Only the sentence's end counts; without a question before it, it is the question."""
    assert split_condition("检查磁盘\uff0c只有超过 80 % 时才告诉我") == ("检查磁盘", "超过 80 %")
    alone = "Tell me only if a disk is full"
    assert split_condition(alone) == (alone, "")
    assert split_condition(" " * 4_000) == (" " * 4_000, "")


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("add", "/orders add"),
        ('add "0 8 * * *" UTC', "/orders add"),
        ('add "0 8 * * *"', "/orders add"),
        ("add 0 8 * * * Berlin Disks?", "no time zone"),
        ('add "* * * * *" UTC Disks?', "5 minutes"),
        ('add "0 8 * *" UTC Disks?', "five fields"),
        ("wat", "/orders add"),
        ("confirm ord_0", "no such standing order"),
        ("run", "no such standing order"),
    ],
)
async def test_what_cannot_be_done_is_refused(rest: str, words: str) -> None:
    """With a sentence that shows how it is done."""
    desk = desk_of("Disks")
    ending = await say(desk, rest)
    assert ending.outcome is Outcome.REFUSED
    assert words in ending.reply
    assert len(desk.orders) == 1


async def test_the_list_shows_what_stands_still_and_why() -> None:
    """Everybody in the team sees it; nothing in a name is markup."""
    desk = desk_of("*Disks* <b>", "Memory")
    first, second = desk.orders.values()
    desk.orders[second.id] = replace(second, state=OrderState.PAUSED, problem="quota")
    reply = (await say(desk, role=Role.VIEWER)).reply
    assert f"- **\\*Disks\\* \\<b\\>** `{first.id}` (active): every weekday" in reply
    assert "(paused)" in reply
    assert "stands still because its budget or your team's allowance is used up" in reply
    assert "There are no standing orders." in (await say(MemoryDesk())).reply


async def test_one_is_shown_with_its_history() -> None:
    """W21: missed and skipped runs among the others, on the clock of its zone."""
    desk = desk_of("Disks")
    (order,) = desk.orders.values()
    hour = 3_600_000
    for number, (state, reason) in enumerate(
        [
            (RunState.MISSED, "late:7"),
            (RunState.MISSED, "late"),
            (RunState.SKIPPED, "still_running"),
            (RunState.ENDED, "answered"),
            (RunState.ENDED, "bad_key"),
            (RunState.STARTED, ""),
        ]
    ):
        desk.ran.append(run_of(order.id, NOW_MS + number * hour, state, reason, manual=number == 3))
    reply = (await say(desk, order.id)).reply
    assert reply.split("\n\n")[-1].splitlines() == [
        "- 2026-11-18 17:06: running",
        "- 2026-11-18 16:06: failed (bad_key)",
        "- 2026-11-18 15:06: answered, asked for by hand",
        "- 2026-11-18 14:06: skipped: the run before was not over",
        "- 2026-11-18 13:06: missed",
        "- 2026-11-18 12:06: missed, with the runs after it 7 in all",
    ]
    assert "left out and shown as missed" in reply
    desk.orders[order.id] = replace(order, misfire=Misfire.ONCE)
    assert "made up for by one late run" in (await say(desk, order.id)).reply


async def test_one_is_named_by_id_its_end_or_its_name() -> None:
    """Where two fit, neither is touched."""
    desk = desk_of("Disks", "Memory", "memory")
    for named in ("ord_aaaaaa0", "aaaaa0", "disks", "`Disks`"):
        assert (await say(desk, f"pause {named}")).outcome is Outcome.ANSWERED
        assert desk.orders["ord_aaaaaa0"].state is OrderState.PAUSED
        assert (await say(desk, f"resume {named}")).outcome is Outcome.ANSWERED
    assert (await say(desk, "pause memory")).outcome is Outcome.REFUSED
    assert (await say(desk, "pause a0")).outcome is Outcome.REFUSED
    assert desk.orders["ord_aaaaaa0"].state is OrderState.ACTIVE


async def test_pause_resume_run_delete() -> None:
    """Each says what it did; a run is one, however often the command is run again."""
    desk = desk_of("Disks")
    for rest, state, words in (
        ("pause disks", OrderState.PAUSED, "`/orders resume ord_aaaaaa0`"),
        ("resume disks", OrderState.ACTIVE, "It runs from now on."),
        ("run disks", OrderState.ACTIVE, "It runs now"),
        ("delete disks", OrderState.DELETED, "deleted"),
    ):
        assert words in (await say(desk, rest)).reply
        assert desk.orders["ord_aaaaaa0"].state is state
    assert [run.due_at_ms for run in desk.ran] == [turn_of().created_at_ms]


async def test_who_may_not_is_told_so() -> None:
    """A viewer adds none; a colleague and an order's own turn change none."""
    desk = desk_of("Disks")
    refusal = await say(desk, ADD, Role.VIEWER)
    assert "role operator" in refusal.reply
    (order,) = desk.orders.values()
    desk.orders[order.id] = replace(order, created_by="usr_other")
    assert "Only whoever asked" in (await say(desk, "pause disks")).reply
    by_itself = await say(desk, "delete disks", Role.ADMIN, order_id="ord_1")
    assert "may not make, change or run" in by_itself.reply
    assert desk.orders[order.id].state is OrderState.ACTIVE
