"""Matching what a person wrote against the triggers of skills, without a model.

A trigger is a few words in order (``disk full``), with alternatives (``log|logs``) and
slots (``who listens on {port}``). Text is cut into tokens: a Latin word, a number, a path,
or a single Chinese character. Words may stand between the words of a trigger, but not
between Chinese characters that belong together.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MAX_TOKENS = 60
"""Only the beginning of a long message is looked at."""

SLOTS = frozenset({"server", "service", "port", "lines", "path"})
NUMBERS = frozenset({"port", "lines"})
"""The slots whose values are whole numbers."""
_MAX_GAP = 3
_GAP_COST = 0.5
_TYPO_CHARS = 5
_PLURAL_CHARS = 3
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(
    rf"(?<![A-Za-z0-9])/[^\s{_HAN},;?!'\"。、]+|[{_HAN}]|[^\W_{_HAN}](?:[\w.@:\-](?<![{_HAN}]))*"
)
_TRIGGER_PART = re.compile(r"\{(\w+)\}|([^\s{}]+)")
_SLOT_SHAPES = {
    "server": re.compile(r"[^/].*"),
    "service": re.compile(r"[A-Za-z0-9:_.@-]*[A-Za-z][A-Za-z0-9:_.@-]*"),
    "port": re.compile(r"[0-9]{1,5}"),
    "lines": re.compile(r"[0-9]{1,5}"),
    "path": re.compile(r"/.*"),
}


_EVERYDAY_WORDS = """
    a about after again all also am an and any anything are as at be been before but by can check
    could did do does doing down everything fine for from full get give going good got had
    happened has have he health healthy help here hey hi how hows i in into is isnt it its
    just kind know last latest left let like list long look lot many me more most much my new
    night no not now of off ok okay old on one or our out over per please quick recent right
    running say see server servers service services she should show so some somebody someone
    something still system tell than thanks that the their them then there they thing things
    this time to today too up us used using very want was we well were what whats when where
    which who whos why will with work working would wrong yesterday yet you your box machine
    machines host hosts daemon unit line lines log logs entry entries error errors message
    messages status state report alive dead crash crashed fail failed stop stopped start
    started restart restarted die died
"""
NO_NAMES = frozenset(_EVERYDAY_WORDS.split())
"""Everyday words that are never the name of a service or a server in a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One place of a trigger: any of these words, or a slot."""

    choices: tuple[str, ...] = ()
    slot: str = ""
    joined: bool = False
    """Must follow the word before it at once (characters of one Chinese word)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Where a trigger fits: token positions of its words, values of its slots."""

    words: frozenset[int]
    slots: tuple[tuple[str, str], ...]
    score: float


def tokens(text: str) -> tuple[str, ...]:
    """The message in pieces, spelled as they were; ``what's`` becomes ``whats``."""
    plain = unicodedata.normalize("NFKC", text[:4_000])
    plain = re.sub(r"(?<=\w)['\u2019`](?=\w)", "", plain)
    found = (match.group().rstrip(".:-") for match in _TOKEN.finditer(plain))
    return tuple(token for token in found if token)[:MAX_TOKENS]


def parse_trigger(text: str) -> tuple[Word, ...]:
    """Cut a trigger into words. Raises ValueError with a sentence when it makes no sense."""
    words: list[Word] = []
    for slot, literal in _TRIGGER_PART.findall(text):
        if slot:
            if slot not in SLOTS:
                message = f"there is no slot {{{slot}}}; slots are {', '.join(sorted(SLOTS))}"
                raise ValueError(message)
            words.append(Word(slot=slot))
        elif "|" in literal:
            choices = tuple("".join(tokens(choice.casefold())) for choice in literal.split("|"))
            words.append(Word(choices=tuple(choice for choice in choices if choice)))
        else:
            parts = tokens(literal.casefold())
            words += [
                Word(choices=(part,), joined=index > 0 and _is_han(part))
                for index, part in enumerate(parts)
            ]
    if not any(word.choices for word in words):
        message = f"the trigger {text!r} has no word in it"
        raise ValueError(message)
    return tuple(words)


def fit(trigger: tuple[Word, ...], said: tuple[str, ...]) -> Hit | None:
    """The best place of a trigger in a message, or None. More and closer words score higher."""
    best: Hit | None = None
    for start in range(len(said)):
        hit = _fit_from(trigger, said, start)
        if hit and (best is None or hit.score > best.score):
            best = hit
    return best


def same_word(choice: str, token: str) -> bool:
    """Equal but for case, a plural or, in longer words, one slip of the finger."""
    token = token.casefold()
    if choice == token:
        return True
    is_long = min(len(choice), len(token)) >= _PLURAL_CHARS  # "is" is not many "i"
    if is_long and (choice + "s" == token or choice == token + "s"):
        return True
    return min(len(choice), len(token)) >= _TYPO_CHARS and _one_slip(choice, token)


def slot_accepts(slot: str, token: str) -> bool:
    """Whether a token can be the value of a slot."""
    if slot in {"service", "server"} and token.casefold() in NO_NAMES:
        return False
    return bool(_SLOT_SHAPES[slot].fullmatch(token))


def _fit_from(trigger: tuple[Word, ...], said: tuple[str, ...], start: int) -> Hit | None:
    position, gaps, score = start, 0, 0.0
    words: set[int] = set()
    slots: list[tuple[str, str]] = []
    for index, word in enumerate(trigger):
        reach = 0 if index == 0 or word.joined else _MAX_GAP
        found = next(
            (
                (at, used)
                for at in range(position, min(position + reach + 1, len(said)))
                if (used := _takes(word, said, at))
            ),
            None,
        )
        if found is None:
            return None
        at, used = found
        gaps += at - position
        if word.slot:
            slots.append((word.slot, said[at]))
            score += 1.0
        else:
            score += 1.0 if _is_han(said[at]) else 2.0
        words.update(range(at, at + used))
        position = at + used
    return Hit(words=frozenset(words), slots=tuple(slots), score=score - _GAP_COST * gaps)


def _takes(word: Word, said: tuple[str, ...], at: int) -> int:
    """How many tokens this word takes here; a choice of several characters takes several."""
    if word.slot:
        return int(slot_accepts(word.slot, said[at]))
    for choice in word.choices:
        length = len(choice) if _is_han(choice[0]) else 1
        if length > 1:
            if "".join(said[at : at + length]) == choice:  # Chinese has no case
                return length
        elif same_word(choice, said[at]):
            return 1
    return 0


def _is_han(text: str) -> bool:
    return bool(re.match(f"[{_HAN}]", text))


def _one_slip(left: str, right: str) -> bool:
    """One letter more, less, different, or two neighbours swapped."""
    if abs(len(left) - len(right)) > 1 or left[0] != right[0]:
        return False
    at = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    if at is None:
        return True
    swapped = left[at + 1 : at + 2] + left[at] + left[at + 2 :]
    return right[at:] == swapped or any(
        a == b
        for a, b in (
            (left[at + 1 :], right[at:]),
            (left[at:], right[at + 1 :]),
            (left[at + 1 :], right[at + 1 :]),
        )
    )
