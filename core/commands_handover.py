"""``/handover``: what happened, for whoever goes on; written, handed to somebody, accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from core.clock import Clock
from core.commands_text import Handler, answered, code, escape, refused
from core.handover import Handover, HandoverDesk, Wanted, Writer, clock
from core.refusals import Rejected
from core.turns import Ending, Turn
from core.words import Words, sentence

DEFAULT_MS: Final = 8 * 3_600_000
MOST_MS: Final = 31 * 86_400_000
"""A handover reaches back as far as that."""
_MOST_LISTED: Final = 10
_UNITS: Final = {
    "m": 60_000,
    "min": 60_000,
    "分钟": 60_000,
    "h": 3_600_000,
    "小时": 3_600_000,
    "d": 86_400_000,
    "天": 86_400_000,
}
_SPAN = re.compile(r"^(?P<count>\d{1,4})\s?(?P<unit>min|m|h|d|分钟|小时|天)$")
_DAY = re.compile(
    r"^(?P<day>today|yesterday|今天|昨天|\d{4}-\d{2}-\d{2})?[ t]?"
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})z?$"
)
_DATE = re.compile(r"^(?P<day>today|yesterday|今天|昨天|\d{4}-\d{2}-\d{2})$")
_TO = re.compile(r"(?:^|\s)to\s+(?P<to>\S+@\S+)$", re.IGNORECASE)
_HERE: Final = frozenset({"this", "here", "本对话"})


class HandoverCommands:
    """Answers ``/handover``."""

    def __init__(self, desk: HandoverDesk, clock: Clock) -> None:
        """Wire the ports."""
        self._desk = desk
        self._clock = clock

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"handover": self._handover}

    async def _handover(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        verb, _, named = rest.partition(" ")
        match verb.casefold():
            case "accept":
                return await self._accept(turn, named.strip("` "), words)
            case "list":
                return await self._list(turn, words)
            case "show":
                found = await self._desk.find(turn.user, named.strip("` "))
                if isinstance(found, Rejected):
                    return refused(words.of(found.sentence))
                return answered(found.body)
            case _:
                return await self._write(turn, rest, words)

    async def _write(self, turn: Turn, rest: str, words: Words) -> Ending:
        wanted = parse_wanted(rest, self._clock.now_ms())
        if wanted is None:
            return refused(words.of(_USAGE))
        writer = Writer(
            user=turn.user,
            conversation_id=turn.conversation_id,
            place=turn.address,
            turn_id=turn.id,
            language=turn.language,
        )
        made = await self._desk.write(writer, wanted)
        if isinstance(made, Rejected):
            return refused(words.of(made.sentence))
        if made.to_user is None:
            return answered(made.body)
        if not made.told:
            given = words(
                "{name} has no chat with me, so tell them: they read it with `/handover show {id}` "
                "and accept it with `/handover accept {id}`.",
                name=escape(made.to_name),
                id=made.id,
            )
            return answered(f"{made.body}\n\n{given}")
        given = words(
            "It is handed to {name}, who accepts it with `/handover accept {id}`.",
            name=escape(made.to_name),
            id=made.id,
        )
        return answered(f"{made.body}\n\n{given}")

    async def _accept(self, turn: Turn, handover_id: str, words: Words) -> Ending:
        accepted = await self._desk.accept(turn.user, handover_id)
        if isinstance(accepted, Rejected):
            return refused(words.of(accepted.sentence))
        return answered(
            words("You have taken over. What waits for a decision is shown to you here now.")
        )

    async def _list(self, turn: Turn, words: Words) -> Ending:
        found = await self._desk.listed(turn.user, _MOST_LISTED)
        if not found:
            return answered(words("There are no handovers from you or for you."))
        return answered("\n".join(f"- {_line(one, words)}" for one in found))


_USAGE: Final = sentence(
    "Say `/handover` (the last 8 hours), `/handover since 12h`, `/handover since yesterday 18:00` "
    "(UTC, at most 31 days back) or `/handover this` (this conversation); with `to EMAIL` at the "
    "end it is handed to somebody. `/handover accept ID`, `/handover show ID`, `/handover list`."
)


def _line(one: Handover, words: Words) -> str:
    """``/handover list`` has it."""
    state = words("accepted") if one.accepted_at_ms is not None else words("not accepted")
    said = words(
        "{id}: written {when}, since {since}",
        id=code(one.id),
        when=clock(one.created_at_ms),
        since=clock(one.since_ms),
    )
    if one.to_user is None:
        return said
    return words(
        "{handover}, for {name} ({state})", handover=said, name=escape(one.to_name), state=state
    )


def parse_wanted(rest: str, now_ms: int) -> Wanted | None:
    """``[since WHEN | this] [to EMAIL]``; None for what cannot be read. Times are UTC."""
    to = _TO.search(rest)
    asked = " ".join((rest[: to.start()] if to else rest).split()).casefold()
    address = to["to"].strip("<>") if to else ""
    if asked in _HERE:
        return Wanted(since_ms=None, to=address)
    when = asked.removeprefix("since ").strip() if asked else ""
    since_ms = _since(when, now_ms) if when else now_ms - DEFAULT_MS
    if since_ms is None or not now_ms - MOST_MS <= since_ms <= now_ms:
        return None
    return Wanted(since_ms=since_ms, to=address)


def _since(when: str, now_ms: int) -> int | None:
    span = _SPAN.match(when)
    if span is not None:
        return now_ms - int(span["count"]) * _UNITS[span["unit"]]
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    found = _DAY.match(when)
    day = found or _DATE.match(when)
    if day is None:
        return None
    hour, minute = (int(found["hour"]), int(found["minute"])) if found else (0, 0)
    try:
        at = _midnight(day["day"], now).replace(hour=hour, minute=minute)
    except ValueError:
        return None
    if day["day"] is None and at > now:  # 18:00, said at eight in the morning
        at -= timedelta(days=1)
    return int(at.timestamp() * 1000)


def _midnight(day: str | None, now: datetime) -> datetime:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match day:
        case None | "today" | "今天":
            return today
        case "yesterday" | "昨天":
            return today - timedelta(days=1)
        case date:
            return datetime.fromisoformat(date).replace(tzinfo=UTC)
