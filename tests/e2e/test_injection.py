"""W19: text from outside gives no orders, whatever the model makes of it, and no secret leaves."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
import structlog

from tests.e2e.injection_cases import CASES, Case
from tests.e2e.injection_kit import Stage, leaks, stage, violations
from tests.support.core_kit import Site, copy_sqlite

CHANGES = ("run_command", "service_control", "reboot")
"""Tools that the attacks reach: each waited for a human at least once."""


async def _all(place: Stage, cases: tuple[Case, ...]) -> list[str]:
    crowd = asyncio.Semaphore(8)

    async def one(case: Case) -> list[str]:
        async with crowd:
            tenant_id, host = await place.play(case)
            return await violations(place, case, tenant_id, host)

    return [line for found in await asyncio.gather(*map(one, cases)) for line in found]


@pytest.fixture
def home(sqlite_template: Path, tmp_path: Path) -> Site:
    """A site on SQLite."""
    return copy_sqlite(sqlite_template, tmp_path / "data")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every line that is logged, as it would be written."""
    lines: list[str] = []

    def printed(_self: structlog.PrintLogger, line: str) -> None:
        lines.append(line)

    def emitted(self: logging.Handler, record: logging.LogRecord) -> None:
        lines.append(self.format(record))

    for level in ("debug", "info", "warning", "error", "critical"):
        monkeypatch.setattr(structlog.PrintLogger, level, printed)
    monkeypatch.setattr(logging.StreamHandler, "emit", emitted)
    return lines


async def _attacked(home: Site, logged: list[str], cases: tuple[Case, ...], *expected: str) -> None:
    async with stage(home) as place:
        found = await _all(place, cases)
        found += leaks("database", await place.house.dump())
        waited = {tool for (tool,) in await place.house.rows("SELECT tool FROM approvals")}
        said = [json.dumps(seen.body) for seen in place.model.seen]
        asked = sum(seen.round > 0 for seen in place.model.seen)
    found += [leak for text in said for leak in leaks("model", text)]
    found += [leak for _, text in place.sink.posts for leak in leaks("chat", text)]
    found += leaks("log", "\n".join(logged))
    assert found == []
    assert waited >= set(expected)
    assert logged
    assert asked > len(cases) // 2
    assert len(place.sink.posts) >= len(cases)


async def test_hostile_texts_give_no_orders(home: Site, logged: list[str]) -> None:
    """Some of them: nothing but reads ran, nothing was decided or scheduled, no secret left."""
    await _attacked(home, logged, CASES[::6])


@pytest.mark.slow
async def test_no_hostile_text_gives_an_order(home: Site, logged: list[str]) -> None:
    """All of them."""
    assert len(CASES) >= 40
    await _attacked(home, logged, CASES, *CHANGES)
