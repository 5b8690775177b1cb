"""A card as each platform renders it: the command is there to the letter, as code."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bots.console_markdown import Block
from bots.console_terminal import safe_text
from bots.slack.render import MAX_CHARS, blocks, measure
from bots.telegram.render import MAX, render
from bots.telegram.render import measure as telegram_measure
from core.approval_cards import card_forms
from core.approvals import Card
from core.visible import visible_code
from core.words import Words
from tests.fakes.approvals import NOW_MS, an_approval

ACTIONS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("`~\n \\*_<>&@#|$(){}[]!-=:;'\"/.\u202e\u200b\u00a0"),
        st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789"),
    ),
    min_size=1,
    max_size=120,
)


def cards(action: str) -> list[str]:
    """The forms with buttons, of a card whose other words are hostile as well."""
    hostile = f"```\n{action}\n**Approve?** ls `x` <@U1> &#8238;"
    card = Card(
        tool="run", action=action, level="L2", servers=("web-1",), why=hostile, change=hostile
    )
    forms = card_forms(an_approval(card), Words(), now_ms=NOW_MS)
    return [form.text for form in forms if form.approvals]


def codes(block: Any) -> list[str]:
    """The preformatted texts in a Slack block."""
    return [
        "".join(piece.get("text", "") for piece in element["elements"])
        for element in block.get("elements", [])
        if element.get("type") == "rich_text_preformatted"
    ]


@settings(max_examples=25)
@given(ACTIONS)
def test_slack_shows_the_command_to_the_letter(action: str) -> None:
    """As the first preformatted text of a message that is not cut."""
    for text in cards(action):
        if measure(text) <= MAX_CHARS:
            shown = [code for block in blocks(text) for code in codes(block)]
            assert shown[0].rstrip("\n") == visible_code(action).rstrip("\n")


@settings(max_examples=25)
@given(ACTIONS)
def test_telegram_shows_the_command_to_the_letter(action: str) -> None:
    """As the first block of code; no other entity begins inside it."""
    for text in cards(action):
        if telegram_measure(text) > MAX:
            continue
        made = render(text)
        units = made.text.encode("utf-16-le")
        first = next(entity for entity in made.entities if entity.type == "pre")
        code = units[2 * first.offset : 2 * (first.offset + first.length)].decode("utf-16-le")
        assert code.strip("\n ") == visible_code(action).strip("\n ")


@settings(max_examples=25)
@given(st.text(st.sampled_from("abcxyz012 ;|&$`'\"\\/*-_#~<>"), min_size=1, max_size=60))
def test_a_terminal_shows_the_command_to_the_letter(action: str) -> None:
    """Folded at the edge, never cut."""
    out = io.StringIO()
    console = Console(file=out, width=40, force_terminal=False)
    text = cards(action)[0]
    console.print(Block(safe_text(text)))
    wanted = "".join(visible_code(action).split())
    assert wanted in "".join(out.getvalue().split())
