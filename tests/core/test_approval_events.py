"""What listeners of a turn's stream are told of approvals."""

from __future__ import annotations

import json

from core.approvals import Card, Status
from core.events import ApprovalAsked, ApprovalSettled
from core.reply_views import waiting_views
from core.sinks import CardForm, SinkLimits
from core.streams import encode
from tests.fakes.approvals import an_approval

CARD = Card(
    tool="service_control",
    action="systemctl restart nginx",
    level="L2",
    servers=("web-1", "web-2"),
    why="It hangs.",
    risks=("it restarts a service",),
    change="+a",
    undo="start it",
)
LIMITS = SinkLimits(max_chars=80, edit_interval_s=1.0)


def test_a_question_is_told_whole() -> None:
    """With the card's fields uncut, its text, and when it ends, in UTC."""
    encoded = encode(ApprovalAsked(approval=an_approval(CARD), text="**Approve?**"))
    assert encoded is not None
    name, data = encoded
    assert name == "approval"
    assert json.loads(data) == {
        "id": "appr_0190aaaabbbbccccddddeeeeabc123",
        "tool": "service_control",
        "action": "systemctl restart nginx",
        "servers": ["web-1", "web-2"],
        "level": "L2",
        "why": "It hangs.",
        "risks": ["it restarts a service"],
        "change": "+a",
        "undo": "start it",
        "expires_at": "2030-03-17T17:48:40+00:00",
        "text": "**Approve?**",
    }


def test_a_decision_is_told_with_its_reason() -> None:
    """By the name of whoever decided."""
    approval = an_approval(CARD, status=Status.DENIED, decided_by_name="Ann", comment="not now")
    encoded = encode(ApprovalSettled(approval=approval))
    assert encoded is not None
    name, data = encoded
    assert name == "approval_settled"
    assert json.loads(data) == {
        "id": approval.id,
        "status": "denied",
        "decided_by": "Ann",
        "comment": "not now",
    }


def test_the_last_form_is_cut_rather_than_left_out() -> None:
    """A platform of very short messages shows all of it, in several, and no buttons."""
    form = CardForm(text="\n\n".join(f"Part {n} of a card that is long." for n in range(8)))
    views = waiting_views((), [[form]], LIMITS)
    assert len(views) > 1
    assert [view.last for view in views] == [False] * (len(views) - 1) + [True]
    assert all(view.final and view.waiting and not view.approvals for view in views)
    assert " ".join(view.text for view in views).split() == form.text.split()


def test_an_open_code_block_of_the_words_does_not_swallow_a_card() -> None:
    """What the agent had begun to write is closed where it stands."""
    card = CardForm(text="**Approve?**", approvals=("appr_1",))
    views = waiting_views(("```\nhalf a block\n```",), [[card]], LIMITS)
    assert [view.text for view in views] == ["```\nhalf a block\n```", "**Approve?**"]
    assert [view.approvals for view in views] == [(), ("appr_1",)]
