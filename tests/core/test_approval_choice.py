"""Which request ``/approve`` and ``/deny`` mean; a slip of the finger approves nothing."""

from __future__ import annotations

import pytest

from core.approval_choice import choose
from core.approvals import Approval, Card
from tests.fakes.approvals import an_approval


def waits(ending: str, conversation: str = "conv_1") -> Approval:
    """A request whose id ends so."""
    card = Card(tool="t", action="a", level="L2")
    return an_approval(card, id=f"appr_01900000{ending}", conversation_id=conversation)


HERE, ELSEWHERE, TWIN = waits("77abc123"), waits("88def456", "conv_2"), waits("99abc123")


@pytest.mark.parametrize(
    ("rest", "waiting", "meant", "comment"),
    [
        ("", [HERE, ELSEWHERE], HERE, ""),
        ("looks fine to me", [HERE, ELSEWHERE], HERE, "looks fine to me"),
        ("abc123", [HERE, ELSEWHERE], HERE, ""),
        (" ABC123  go on ", [HERE, ELSEWHERE], HERE, "go on"),
        ("`abc123`", [HERE, ELSEWHERE], HERE, ""),
        ("appr_0190000088def456 yes", [HERE, ELSEWHERE], ELSEWHERE, "yes"),
        ("def456", [HERE, ELSEWHERE], ELSEWHERE, ""),
        ("77abc123", [HERE, TWIN], HERE, ""),
        ("abc123", [HERE, TWIN], None, ""),
        ("", [HERE, TWIN], None, ""),
        ("", [ELSEWHERE], None, ""),
        ("", [], None, ""),
        ("abc124", [HERE], None, ""),
        ("abc12g", [HERE], None, ""),
        ("bc12", [HERE], None, ""),
        ("appr_nothing", [HERE], None, ""),
        ("123", [HERE], None, ""),
    ],
)
def test_a_command_means_one_request_or_none(
    rest: str, waiting: list[Approval], meant: Approval | None, comment: str
) -> None:
    """By a unique ending, or alone in this conversation; what may be an id is one."""
    chosen = choose(rest, waiting, "conv_1")
    assert chosen.approval == meant
    if meant is not None:
        assert chosen.comment == comment
