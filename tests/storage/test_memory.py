"""What a turn is told of the turns before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.conversations import Memory
from core.steps import ToolStep
from core.turns import Turn
from storage.conversations import SqlConversations
from storage.database import Database
from tests.storage.kit import accept, install, message
from tests.storage.racing import (
    finish,
    turn_log,
)


async def _long_conversation(db: Database, outputs: tuple[tuple[str, ...], ...]) -> Turn:
    """A conversation with a turn for each tuple of tool outputs, and the turn after them."""
    said = message(await install(db), 1)
    log = turn_log(db)
    for number, steps in enumerate(outputs):
        turn = (await accept(db, replace(said, event_id=f"api:long{number}"))).leased
        assert turn is not None
        for output in steps:
            await log.record(turn, ToolStep(tool_call_id="t", name="disk", output=output))
        await finish(db, turn)
    last = (await accept(db, replace(said, event_id="api:last"))).leased
    assert last is not None
    return last


def _outputs(memory: Memory) -> list[list[str]]:
    return [
        [step.output for step in past.exchange.steps if isinstance(step, ToolStep)]
        for past in memory.past
    ]


async def test_memory_keeps_the_newest_steps_that_fit(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns beyond the bound are remembered without their tool results, never with half."""
    monkeypatch.setattr("storage.steps.STEP_CHARS", 3_000)
    big = "x" * 1000
    turn = await _long_conversation(db, (("a",), (big, "b", big), ("c", "d"), (big, "e")))
    memory = await SqlConversations(db).remember(turn, max_turns=10)
    assert _outputs(memory) == [[], [], ["c", "d"], [big, "e"]]
    assert [past.exchange.reply for past in memory.past] == ["part\n\n_Stopped._"] * 4
    assert not memory.older


async def test_memory_reads_many_steps_in_their_order(db: Database) -> None:
    """However many steps there are, they come back as they were committed."""
    first, second = tuple(map(str, range(100))), tuple(map(str, range(100, 140)))
    turn = await _long_conversation(db, (first, second))
    memory = await SqlConversations(db).remember(turn, max_turns=10)
    assert _outputs(memory) == [list(first), list(second)]


async def test_memory_says_that_there_are_older_turns(db: Database) -> None:
    """Core can tell a long conversation from one that is whole."""
    turn = await _long_conversation(db, (("a",), ("b",), ("c",)))
    store = SqlConversations(db)
    cut = await store.remember(turn, max_turns=2)
    assert (_outputs(cut), cut.older) == ([["b"], ["c"]], True)
    assert not (await store.remember(turn, max_turns=3)).older
    await store.save_summary(turn, upto_seq=1, text="s", settlement=None)
    assert not (await store.remember(turn, max_turns=2)).older
