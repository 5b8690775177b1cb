"""Refusals at the door: values, because the sender did something expected."""

from __future__ import annotations

from dataclasses import dataclass

from core.words import sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Not stored. ``code`` is stable; the sentence says what to do."""

    code: str
    sentence: str
    quiet: bool = False
    """They were told before; saying it again and again would only cost."""


UNKNOWN = "unknown_person"
NOT_LINKED = "group_not_linked"
BAD_CODE = "bad_code"
STRANGER_CODES = frozenset({UNKNOWN, NOT_LINKED})

STRANGER = Rejected(
    code=UNKNOWN,
    sentence=sentence("I do not know you yet. Ask an admin of your team to invite you."),
)
UNLINKED = Rejected(
    code=NOT_LINKED,
    sentence=sentence("This place is not linked to a team yet."),
)
NO_CONVERSATION = Rejected(
    code="not_found",
    sentence=sentence("There is no such conversation. List yours with /sessions."),
)
