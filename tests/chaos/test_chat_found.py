"""What the chat chaos runs found, each as the smallest test that shows it."""

from __future__ import annotations

import asyncio

import pytest

from core.scheduling import Scheduler
from tests.core.test_scheduling import SlowLeases, WaitingRunner, _a_turn
from tests.support.core_kit import PACE, eventually


async def test_a_shutdown_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that does not end in time gets no second grace when it is asked again."""
    leases, runner = SlowLeases(), WaitingRunner()

    async def sweep(_worker: str) -> int:
        return 0

    scheduler = Scheduler(
        leases=leases, sweep=sweep, slots=1, tenant_slots=1, pace=PACE, runner=runner
    )
    assert scheduler.reserve()
    scheduler.start(_a_turn(2))
    await eventually(lambda: 2 in runner.controls)
    runner.controls[2].settled = True
    monkeypatch.setattr("core.scheduling.HAND_BACK_S", 0.01)
    await scheduler.drain(0)
    monkeypatch.setattr("core.scheduling.HAND_BACK_S", 3600)
    async with asyncio.timeout(5):
        await scheduler.drain(3600)
    assert scheduler.running
    runner.end.set()
    await eventually(lambda: not scheduler.running)
