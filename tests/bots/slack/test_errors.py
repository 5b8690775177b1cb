"""What Slack's refusals mean for an answer: given up for good, or tried again."""

from __future__ import annotations

import pytest

from bots.slack.errors import LATER_S, Refused, Unclear, refused, replaceable


@pytest.mark.parametrize(
    "code",
    [
        "not_in_channel",
        "channel_not_found",
        "is_archived",
        "message_not_found",
        "restricted_action",
        "user_not_found",
        "cannot_dm_bot",
        "account_inactive",
        "token_revoked",
        "invalid_auth",
        "missing_scope",
    ],
)
def test_what_is_documented_as_lost_is_given_up(code: str) -> None:
    """Nobody tries for a day to write where nobody can read it."""
    assert refused(code).permanent


@pytest.mark.parametrize("code", ["a_code_of_tomorrow", "msg_too_long", "posting_to_general"])
def test_other_refusals_are_tried_again(code: str) -> None:
    """Not at once: nothing was posted, and somebody may have to put it right."""
    failure = refused(code)
    assert isinstance(failure, Refused)
    assert (failure.permanent, failure.retry_after_s) == (False, LATER_S)
    assert not failure.limited
    assert code in failure.sentence


def test_trouble_of_slacks_own_may_have_had_an_effect() -> None:
    """So it is looked for before it is sent again."""
    assert isinstance(refused("internal_error"), Unclear)


def test_only_a_refused_token_can_be_replaced() -> None:
    """Other refusals stay what they are."""
    gone = Refused("is_archived", "Archived.", permanent=True)
    assert replaceable(gone) is gone
    assert not replaceable(Refused("invalid_auth", "Refused.", permanent=True)).permanent
