"""What the users of a chaos run write, in the directives of the fake Messages API."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

TENANTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One message; ``keys`` are those its mutating tool calls will name."""

    event: str
    conversation: str
    kind: str
    text: str
    keys: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One conversation, in the order its messages are sent."""

    name: str
    tenant: int
    platform: str
    """``finding`` can look posts up, ``blind`` cannot."""
    messages: tuple[Planned, ...]


def plan(turns: int, conversations: int, rng: random.Random, prefix: str = "") -> tuple[Chat, ...]:
    """Spread the turns evenly over the conversations, and those over the tenants.

    ``prefix`` goes before the names of tools, as the engine's model knows them.
    """
    return tuple(
        Chat(
            name=f"c{index}",
            tenant=index % TENANTS,
            platform=("finding", "blind")[index % 2],
            messages=tuple(
                _message(f"c{index}", number, rng, prefix)
                for number in range(index, turns, conversations)
            ),
        )
        for index in range(conversations)
    )


def _message(conversation: str, number: int, rng: random.Random, prefix: str) -> Planned:
    event = f"chaos:{conversation}:{number}"
    kind = rng.choices(["plain", "long", "tool", "steps"], weights=[4, 2, 2, 2])[0]
    pause, chunk = rng.randint(0, 400), rng.randint(1, 8)
    say = f"[[delay {pause}]][[chunk {chunk}]]"
    bump = f'[[tool {prefix}bump {{"key": "{event}/%d"}}]]'
    peek = f'[[tool {prefix}peek {{"key": "{event}"}}]]'
    match kind:
        case "plain":
            text = f"{say}[[text {rng.randint(5, 60)}]] {event}"
        case "long":
            text = f"[[delay {pause}]][[chunk 2]][[text {rng.randint(150, 400)}]] {event}"
        case "tool":
            text = f"{say}{bump % 1} do {event}[[then]]{say} done {event}"
        case _:
            text = (
                f"{say}{peek} look at {event}[[then]]{bump % 1}[[then]]{say}{peek}{bump % 2}"
                f"[[then]]{say}[[text {rng.randint(20, 120)}]] {event}"
            )
    count = {"tool": 1, "steps": 2}.get(kind, 0)
    keys = tuple(f"{event}/{index}" for index in range(1, count + 1))
    return Planned(event=event, conversation=conversation, kind=kind, text=text, keys=keys)
