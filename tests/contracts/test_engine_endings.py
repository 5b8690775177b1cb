"""Answers that end early end the turn, the same through every engine with a model."""

from __future__ import annotations

import pytest

from core.events import StopReason
from tests.contracts.engine_kit import KITS, EngineKit, Turn

CLAUDE = [pytest.param(kit, id=kit.name) for kit in KITS if kit.name.startswith("claude_")]


@pytest.mark.parametrize("kit", CLAUDE)
@pytest.mark.parametrize(
    ("said", "stop", "shown"),
    [
        ("[[text 3]][[max_tokens]]", StopReason.MAX_TOKENS, "w0 w1 w2"),
        ("[[text 2]][[refusal]]", StopReason.REFUSED, "w0 w1"),
        ("[[empty]]", StopReason.END, ""),
    ],
)
async def test_an_answer_that_ends_early_is_asked_for_once(
    kit: EngineKit, said: str, stop: StopReason, shown: str
) -> None:
    """The user hears why; nobody asks the model again in words that are not on record."""
    turn = Turn()
    async with kit.start() as engine:
        end = await turn.play(engine, turn.request(said))
    assert end.stop_reason is stop
    assert end.notice
    assert turn.shown.strip() == shown
    assert len(turn.meter.reserved) == 1
