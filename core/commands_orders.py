"""``/orders``: what runs by itself, when, what became of it; and a person's word on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from core.clock import Clock
from core.commands_text import Handler, answered, refused
from core.order_words import details, headline, history
from core.refusals import Rejected
from core.standing_orders import (
    UNKNOWN_ORDER,
    Asker,
    OrderDesk,
    OrderState,
    StandingOrder,
    checked,
)
from core.turns import Ending, Offer, Outcome, Turn
from core.words import Words, sentence

_STATES: Final = {
    "confirm": OrderState.ACTIVE,
    "resume": OrderState.ACTIVE,
    "pause": OrderState.PAUSED,
    "delete": OrderState.DELETED,
}
_MOST_RUNS: Final = 10
_LEAST_OF_ID: Final = 6
_QUOTED = re.compile(r"^[\"'`“”](?P<cron>[^\"'`“”]+)[\"'`“”]\s*(?P<rest>.*)$", re.DOTALL)
_BARE = re.compile(r"^(?P<cron>(?:\S+\s+){4}\S+)(?:\s+(?P<rest>.*))?$", re.DOTALL)
_ONLY_IF = re.compile(  # \uff0c and \uff1b: the comma and the semicolon of Chinese
    r"[\s,.;:\uff0c。\uff1b]{0,5}(?:and\s+|but\s+)?"
    r"(?:(?:tell|notify|inform|message|alert)\s+(?:me|us)\s+only\s+(?:if|when)"
    r"|only\s+(?:tell|notify|inform|message|alert)\s+(?:me|us)\s+(?:if|when))"
    r"\s+(?P<english>.{1,300})$"
    r"|[\s\uff0c。\uff1b]{0,5}(?:只有|仅当|只在|仅在)(?P<chinese>.{1,300}?)(?:的时候|时)?\uff0c?才?"
    r"(?:告诉|通知)我们?[。.]?$",
    re.IGNORECASE | re.DOTALL,
)


class OrderCommands:
    """Answers ``/orders``."""

    def __init__(self, desk: OrderDesk, clock: Clock) -> None:
        """Wire the ports."""
        self._desk = desk
        self._clock = clock

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"orders": self._orders}

    async def _orders(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        verb, _, named = rest.partition(" ")
        verb, named = verb.casefold(), named.strip()
        if not rest:
            return answered(await self._list(turn, words))
        if verb == "add":
            return await self._add(turn, named, words)
        if verb in _STATES or verb == "run":
            order = await self._find(turn, named.strip("` "))
            if order is None:
                return refused(words.of(UNKNOWN_ORDER.sentence))
            if verb == "run":
                return await self._run(turn, order, words)
            return await self._move(turn, order, _STATES[verb], words)
        order = await self._find(turn, rest.strip("` "))
        if order is None:
            return refused(words.of(_USAGE))
        return await self._show(order, words)

    async def _list(self, turn: Turn, words: Words) -> str:
        orders = await self._desk.listed(turn.tenant_id)
        if not orders:
            none = words("There are no standing orders.")
            return f"{none}\n\n{words.of(_USAGE)}"
        lines = "\n".join(f"- {headline(order, words)}" for order in orders)
        return f"{lines}\n\n{words('`/orders ID` shows one with its history.')}"

    async def _show(self, order: StandingOrder, words: Words) -> Ending:
        runs = await self._desk.runs(order.tenant_id, order.id, _MOST_RUNS)
        shown = details(order, words, self._clock.now_ms())
        text = f"{shown}\n\n{history(order, runs, words)}"
        return Ending(outcome=Outcome.ANSWERED, reply=text, offer=_offer(order))

    async def _add(self, turn: Turn, rest: str, words: Words) -> Ending:
        found = _QUOTED.match(rest) or _BARE.match(rest)
        zone, _, prompt = (found["rest"] or "").partition(" ") if found else ("", "", "")
        if found is None or not prompt.strip():
            return refused(words.of(_USAGE))
        prompt, condition = split_condition(prompt)
        new = checked(name="", prompt=prompt, cron=found["cron"], timezone=zone, only_if=condition)
        if isinstance(new, Rejected):
            return refused(words.of(new.sentence))
        # Run again after a crash, the command finds what it stored.
        order = await self._desk.propose(_asker(turn), new, key=turn.id)
        if isinstance(order, Rejected):
            return refused(words.of(order.sentence))
        text = f"{details(order, words, self._clock.now_ms())}\n\n{how_to_confirm(order, words)}"
        return Ending(outcome=Outcome.ANSWERED, reply=text, offer=_offer(order))

    async def _move(
        self, turn: Turn, order: StandingOrder, state: OrderState, words: Words
    ) -> Ending:
        moved = await self._desk.move(_asker(turn), order.id, state)
        if isinstance(moved, Rejected):
            return refused(words.of(moved.sentence))
        match state:
            case OrderState.ACTIVE:
                said = words("It runs from now on.")
                shown = details(moved, words, self._clock.now_ms())
                return answered(f"{shown}\n\n{said}")
            case OrderState.PAUSED:
                said = words("It is paused. `/orders resume {id}` goes on with it.", id=moved.id)
                return answered(said)
            case _:
                return answered(words("The standing order is deleted."))

    async def _run(self, turn: Turn, order: StandingOrder, words: Words) -> Ending:
        run = await self._desk.run_now(_asker(turn), order.id, key_ms=turn.created_at_ms)
        if isinstance(run, Rejected):
            return refused(words.of(run.sentence))
        return answered(words("It runs now; the answer comes where it always does."))

    async def _find(self, turn: Turn, named: str) -> StandingOrder | None:
        """By its id, the end of its id, or its name, where only one fits."""
        orders = await self._desk.listed(turn.tenant_id)
        wanted = named.casefold()
        tail = len(wanted) >= _LEAST_OF_ID
        fits = [order for order in orders if order.id == wanted] or [
            order
            for order in orders
            if order.name.casefold() == wanted or (tail and order.id.endswith(wanted))
        ]
        return fits[0] if len(fits) == 1 else None


_USAGE: Final = sentence(
    'Say `/orders`, `/orders add "CRON" ZONE PROMPT` (such as `/orders add "0 8 * * MON-FRI" '
    "Europe/Berlin how full are the disks?`), `/orders ID`, or `/orders confirm|pause|resume|run|"
    "delete ID`."
)


def split_condition(prompt: str) -> tuple[str, str]:
    """The prompt, and what follows ``tell me only if``."""
    found = _ONLY_IF.search(prompt)
    if found is None or not prompt[: found.start()].strip():
        return prompt, ""
    condition = found["english"] or found["chinese"] or ""
    return prompt[: found.start()], condition.strip().rstrip(".。")


def how_to_confirm(order: StandingOrder, words: Words) -> str:
    """What to do with a proposal."""
    return words(
        "It does nothing until you confirm it: `/orders confirm {id}`. `/orders delete {id}` "
        "forgets it.",
        id=order.id,
    )


def _offer(order: StandingOrder) -> Offer | None:
    if order.state is not OrderState.PROPOSED:
        return None
    return Offer(label=sentence("Confirm"), command=f"/orders confirm {order.id}")


def _asker(turn: Turn) -> Asker:
    return Asker(
        user=turn.user,
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        order_id=turn.order_id,
    )
