"""``/approve [ID] [comment]`` and ``/deny [ID] [comment]``: which request is meant.

Whoever mistypes an id must not approve another request: a first word that may be one is
taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.approvals import Approval

_ID: Final = re.compile(r"appr_\w+|[0-9a-f]{4,28}|(?=\w*\d)\w{3,}", re.IGNORECASE | re.ASCII)
LEAST: Final = 4
"""Characters of an id's end that name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a command means."""

    approval: Approval | None
    """None: it is not clear, or not there; what waits is to be listed."""
    comment: str = ""


def choose(rest: str, waiting: Sequence[Approval], conversation_id: str) -> Choice:
    """Read what follows the command. ``waiting`` is all that waits in the tenant.

    Without an id it is the only request that waits in this conversation; with one it may be
    anywhere. The id is whole or its end, and must fit exactly one.
    """
    first, _, comment = rest.strip().partition(" ")
    name = first.strip("`")
    if _ID.fullmatch(name):
        ending = name.casefold()
        found = [one for one in waiting if len(ending) >= LEAST and one.id.endswith(ending)]
        return Choice(approval=found[0] if len(found) == 1 else None, comment=comment.strip())
    here = [one for one in waiting if one.conversation_id == conversation_id]
    return Choice(approval=here[0] if len(here) == 1 else None, comment=rest.strip())
