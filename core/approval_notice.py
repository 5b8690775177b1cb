"""What approvers elsewhere are told: a notice whose text is the approval's card."""

from __future__ import annotations

from typing import Final

from core.approvals import Approval
from core.words import Sentence, sentence

NOTICE: Final = "approval/"
"""Of the keys of such notices; the approval's id follows."""


def announced(approval: Approval) -> Sentence:
    """What is said where the card itself is no longer kept."""
    return sentence(
        "{who} needed an approval; it is over. `/approve` lists what waits now.",
        who=approval.card.asked_by,
    )
