"""A short chat chaos run: what ``make chaos`` does at length, both platforms on SQLite."""

from __future__ import annotations

import pytest

from tests.chaos.chat import SHORT_KILLS, SHORT_TURNS, report
from tests.chaos.chat_run import ChatOptions, run_chat


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_people_in_slack_and_telegram_get_one_answer_each() -> None:
    """IT0 is killed while people write; each message gets one whole answer, in its place."""
    outcome = await run_chat(
        ChatOptions(
            database="sqlite",
            platforms=("telegram", "slack"),
            turns=SHORT_TURNS,
            kills=SHORT_KILLS,
            seed=3,
        )
    )
    assert not outcome.verdict.problems, report(outcome)
    kills = sum(count for kind, count in outcome.strikes.items() if kind.startswith("SIGKILL"))
    assert kills >= SHORT_KILLS
