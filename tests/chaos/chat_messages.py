"""What the people of a chat chaos run write, in the directives of the fake Messages API."""

from __future__ import annotations

import random
from dataclasses import dataclass

FILLER = "abcdefghij"
"""Makes the words of long answers longer, so that these need several messages."""
REPEATED = 0.08
"""Share of the messages that the platform delivers once more."""
TURNED_ROUND = 0.06
"""Share of the messages that the platform delivers after the one that was said next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One message. ``kind`` is plain, long, tool, file or edited."""

    number: int
    kind: str
    text: str
    words: int
    edit: str = ""
    edited_words: int = 0
    edit_after_s: float = 0.0
    burst: bool = False
    """The next message of the place follows at once."""
    repeated: bool = False
    turned_round: bool = False
    """It and the next message reach the bot in the wrong order."""

    @property
    def marker(self) -> str:
        """What the words of its answer begin with."""
        return f"q{self.number}o"

    @property
    def edited(self) -> str:
        """The same after its edit."""
        return f"q{self.number}e" if self.edit else ""


def plan(turns: int, places: int, rng: random.Random) -> tuple[tuple[Planned, ...], ...]:
    """Spread the messages evenly over the places."""
    messages = [_message(number, rng) for number in range(turns)]
    return tuple(tuple(messages[index::places]) for index in range(places))


def _message(number: int, rng: random.Random) -> Planned:
    kind = rng.choices(["plain", "long", "tool", "file", "edited"], weights=[4, 2, 2, 1, 1])[0]
    words = rng.randint(5, 60)
    say = f"[[delay {rng.randint(0, 400)}]][[chunk {rng.randint(1, 12)}]]"
    marker = f"q{number}o"
    edit, edited_words, edit_after_s = "", 0, 0.0
    match kind:
        case "long":
            words = rng.randint(500, 1300)
            text = f"[[chunk 2]][[word {marker}{FILLER}x]][[text {words}]] tell me all"
        case "tool":
            tool = rng.choice(["system_load", "memory_usage", "list_servers"])
            text = f"{say}[[tool {tool} {{}}]][[then]]{say}[[word {marker}x]][[text {words}]] look"
        case "edited":
            edited_words, edit_after_s = rng.randint(5, 60), rng.uniform(0.0, 1.5)
            text = f"{say}[[word {marker}x]][[text {words}]] first thought"
            edit = f"{say}[[word q{number}ex]][[text {edited_words}]] second thought"
        case _:
            text = f"{say}[[word {marker}x]][[text {words}]] please"
    return Planned(
        number=number,
        kind=kind,
        text=text,
        words=words,
        edit=edit,
        edited_words=edited_words,
        edit_after_s=edit_after_s,
        burst=rng.random() < 0.15,
        repeated=rng.random() < REPEATED,
        turned_round=rng.random() < TURNED_ROUND,
    )
