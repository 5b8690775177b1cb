"""A short chaos run on each database: what ``make chaos`` does at length."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import report
from tests.chaos.run import Options, run


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
async def test_nothing_is_lost_and_nothing_happens_twice(database: str) -> None:
    """Workers are killed, frozen and stopped; every message gets its one answer, in order."""
    outcome = await run(Options(database=database, turns=80, conversations=10, kills=5, seed=3))
    assert not outcome.verdict.problems, report(outcome)
    assert outcome.hits["SIGKILL, aimed"] + outcome.hits["SIGKILL, random"] >= 5
