"""How people get in: one-time codes, strangers who ask, and what is said to them.

A code is 60 random bits, shown once and stored as a hash. A *link* code makes its sender the
user who made it (and, sent in a workspace or group by an admin, links that place to the team);
an *invite* makes its sender a new user. A stranger who writes gets a *pairing* code, which an
admin types to let them in. Strangers start no turn and see nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.messages import Actor, InboundMessage
from core.refusals import NOT_LINKED, Rejected
from core.words import Sentence, sentence

T = TypeVar("T")

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so that a code survives being read aloud."""
CONFIRM = "confirm"
"""``/link CODE confirm``: somebody who is known already becomes another person."""
CODE_CHARS = 12
PAIRING_CHARS = 8
LINK_TTL_MS = 15 * 60 * 1000
FIRST_LINK_TTL_MS = 24 * 3600 * 1000
"""The code that a first start prints."""
INVITE_TTL_MS = 7 * 24 * 3600 * 1000
PAIRING_TTL_MS = 24 * 3600 * 1000

_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0", "U": "V", "-": None, "`": None})
_TOLD_EVERY_S = 3600.0
_WINDOW_S = 600.0
_MOST_FAILURES = 5
_MOST_REMEMBERED = 10_000


def new_code(chars: int = CODE_CHARS) -> str:
    """A code in groups of four, such as ``7KQ2-M9XD-04TR``."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(chars))
    return "-".join(drawn[at : at + 4] for at in range(0, chars, 4))


def parse_code(text: str) -> str:
    """What somebody typed, without dashes and with misread letters put right."""
    return "".join(text.split()).upper().translate(_MISREAD)[:64]


def split_confirmation(typed: str) -> tuple[str, bool]:
    """The code of ``CODE confirm``, and whether the word was there."""
    *code, last = typed.split() or [""]
    return (" ".join(code), True) if code and last.casefold() == CONFIRM else (typed, False)


def hash_code(code: str) -> str:
    """What is stored. A plain hash is enough: 60 random bits cannot be searched."""
    return hashlib.sha256(parse_code(code).encode()).hexdigest()


@dataclass(slots=True)
class Doorman:
    """What this process remembers of strangers, so that they cost next to nothing."""

    now: Callable[[], float] = time.monotonic
    _told: OrderedDict[Actor, float] = field(default_factory=OrderedDict)
    _failures: OrderedDict[Actor, list[float]] = field(default_factory=OrderedDict)

    async def answer(
        self,
        message: InboundMessage,
        rejected: Rejected,
        ask_in: Callable[[InboundMessage], Awaitable[str]],
    ) -> Rejected:
        """Say once an hour how to get in; in between nothing."""
        if message.actor.platform == "it0":  # a token of a disabled user: there is no way in
            return rejected
        who = _who(message.actor)
        told = self._told.get(who)
        if told is not None and self.now() - told < _TOLD_EVERY_S:
            return replace(rejected, quiet=True)
        # Remembered before the wait: what arrives meanwhile gets no answer of its own.
        _remember(self._told, who, self.now())
        try:
            return replace(rejected, sentence=await _way_in(message, rejected, ask_in))
        except BaseException:
            self._told.pop(who, None)  # they were told nothing
            raise

    def try_code(self, actor: Actor) -> Rejected | None:
        """Count an attempt as wrong until it was right; refuse whoever guessed too often.

        Counted before the look at the database, so that many at once are no way around it.
        """
        who = _who(actor)
        recent = self._recent(who)
        if len(recent) >= _MOST_FAILURES:
            return Rejected(
                code="too_many_codes",
                sentence=sentence("Too many wrong codes. Try again in ten minutes."),
            )
        _remember(self._failures, who, [*recent, self.now()])
        return None

    def take_back(self, actor: Actor) -> None:
        """The attempt was no wrong guess."""
        attempts = self._failures.get(_who(actor))
        if attempts:
            attempts.pop()

    def _recent(self, who: Actor) -> list[float]:
        return [at for at in self._failures.get(who, []) if self.now() - at < _WINDOW_S]


async def _way_in(
    message: InboundMessage,
    rejected: Rejected,
    ask_in: Callable[[InboundMessage], Awaitable[str]],
) -> Sentence:
    if rejected.code == NOT_LINKED:
        return sentence(
            "{problem} An admin of the team whom I know sends `/link` here, without a code. One "
            "whom I do not know yet sends `/link CODE` here; `it0 link` on the server makes the "
            "code.",
            problem=rejected.sentence,
        )
    return sentence(
        "{problem} They let you in with `/invite {code}`. If you have a code already, "
        "send `/link CODE`.",
        problem=rejected.sentence,
        code=await ask_in(message),
    )


def _who(actor: Actor) -> Actor:
    return replace(actor, name="", language="")


def _remember(memory: OrderedDict[Actor, T], who: Actor, value: T) -> None:
    memory[who] = value
    memory.move_to_end(who)
    while len(memory) > _MOST_REMEMBERED:
        memory.popitem(last=False)
