"""Buttons: what is sealed comes back; nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.buttons import DECISIONS, MAX_DATA_BYTES, Action, BadButton, Buttons
from core.ids import new_id
from core.messages import ConversationAddress

BUTTONS = Buttons(b"k" * 32)
PLACES = st.builds(
    ConversationAddress,
    platform=st.sampled_from(["slack", "telegram"]),
    workspace=st.text(max_size=8),
    channel=st.text(max_size=12),
    thread=st.text(max_size=4),
)


def address(channel: str = "C1", thread: str = "") -> ConversationAddress:
    """A place."""
    return ConversationAddress(platform="slack", workspace="T1", channel=channel, thread=thread)


@given(st.sampled_from(Action), PLACES)
def test_a_button_says_what_was_sealed_and_fits(action: Action, place: ConversationAddress) -> None:
    """Action and subject come back; the data fits Telegram's 64 bytes, in ASCII."""
    subject = new_id("appr" if action in DECISIONS else "turn")
    data = BUTTONS.seal(action, subject, place)
    assert len(data.encode("ascii")) <= MAX_DATA_BYTES
    assert BUTTONS.unseal(data, place) == (action, subject)


@given(st.sampled_from(sorted(DECISIONS)))
def test_a_button_of_a_turn_cannot_decide(action: Action) -> None:
    """The data of Stop with another letter, about the same digits, is refused."""
    stop = BUTTONS.seal(Action.STOP, new_id("turn"), address())
    with pytest.raises(BadButton):
        BUTTONS.unseal(f"{action}{stop[1:]}", address())


@given(st.sampled_from(Action), PLACES, PLACES)
def test_a_button_works_nowhere_else(
    action: Action, here: ConversationAddress, there: ConversationAddress
) -> None:
    """Copied to another channel, workspace or platform it is refused."""
    assume(
        (here.platform, here.workspace, here.channel)
        != (there.platform, there.workspace, there.channel)
    )
    with pytest.raises(BadButton):
        BUTTONS.unseal(BUTTONS.seal(action, new_id("turn"), here), there)


@given(st.data())
def test_any_change_of_the_data_is_refused(data: st.DataObject) -> None:
    """One character more, less or other, and the button is not ours."""
    sealed = BUTTONS.seal(Action.STOP, new_id("turn"), address())
    at = data.draw(st.integers(0, len(sealed) - 1))
    put = data.draw(st.text(max_size=2))
    changed = sealed[:at] + put + sealed[at + 1 :]
    assume(changed != sealed)
    with pytest.raises(BadButton):
        BUTTONS.unseal(changed, address())


@given(st.text(max_size=80))
def test_any_text_may_come_as_a_button(text: str) -> None:
    """Whatever a platform hands in is refused, not a fault."""
    with pytest.raises(BadButton):
        BUTTONS.unseal(text, address())


def test_another_installation_cannot_press() -> None:
    """The key decides."""
    data = Buttons(b"x" * 32).seal(Action.STOP, new_id("turn"), address())
    with pytest.raises(BadButton):
        BUTTONS.unseal(data, address())


def test_a_thread_may_be_renumbered() -> None:
    """A button still works when its topic or thread got another id."""
    turn = new_id("turn")
    data = BUTTONS.seal(Action.GOOD, turn, address(thread="1"))
    assert BUTTONS.unseal(data, address(thread="2")) == (Action.GOOD, turn)
