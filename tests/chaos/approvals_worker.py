"""A process of the test that kills around an approval.

``python -m tests.chaos.approvals_worker EFFECTS STAGE DECISION`` opens the installation of its
environment with one tool that appends a line to the file EFFECTS. It hands the one message in,
decides as told (approve, deny, wait) as soon as a question is there, and dies of SIGKILL at the
stage, or prints ``ended`` when the turn is over.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import app
from core.approvals import Decision
from core.messages import Actor, ConversationAddress, InboundMessage
from core.risk import Assessment, Level
from core.scheduling import Pace
from core.steps import ToolCall, ToolStartedStep
from core.tenants import User
from core.tools import Arguments, Tool, ToolContext, ToolResult, ToolSpec
from settings import Settings
from storage.database import Database, execute
from tests.fakes.scripted_engine import Say, ScriptedEngine

PACE = Pace(beat_s=0.2, ttl_s=1.5, poll_s=0.05, sweep_s=0.5)
STAGES = ("asked", "parked", "decided", "begun", "ran", "none")


def die() -> None:
    """No handler, no flush, no goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def doom(db: Database, stage: str) -> None:
    """Die after the commit that ends the stage."""
    commit: Callable[..., Awaitable[object]] = db.transaction
    names = {"_ask": "asked", "_park": "parked", "decide": "decided"}

    async def transaction(fn: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        result = await commit(fn, *args, **kwargs)
        begun = any(isinstance(value, ToolStartedStep) for value in args)
        if names.get(fn.__name__) == stage or (begun and stage == "begun"):
            die()
        return result

    db.transaction = transaction  # type: ignore[assignment,method-assign]  # an observer


def wreck(effects: Path, stage: str) -> Tool:
    """A disruptive tool whose every run is seen in a file."""

    async def assess(_context: ToolContext, _arguments: Arguments) -> Assessment:
        return Assessment(level=Level.L2)

    async def run(_context: ToolContext, _arguments: Arguments) -> ToolResult:
        with effects.open("a") as file:
            file.write("ran\n")
        if stage == "ran":
            die()
        return ToolResult(output="wrecked")

    spec = ToolSpec(name="wreck", description="Wreck it.")
    return Tool(spec=spec, assess=assess, run=run, mutates=True)


async def decide(core: app.Core, by: User, decision: str) -> None:
    """Decide what waits, as soon as something does."""
    while decision != "wait":
        for approval in await core.fleet.desk.pending(by.tenant_id):
            await core.fleet.desk.decide(
                by, approval.id, Decision(approve=decision == "approve", where="test")
            )
        await asyncio.sleep(0.02)


async def work(effects: Path, stage: str, decision: str) -> None:
    """Play one process of the story."""
    settings = Settings.from_environment(dict(os.environ), None)
    call = ToolCall(id="t1", name="wreck")
    engine = ScriptedEngine([Say("Trying.", tools=(call,)), Say("Tried.")])
    parts = app.Parts(engines={engine.name: engine}, tools=(wreck(effects, stage),), pace=PACE)
    async with app.open_storage(settings) as storage:
        admin = await storage.people.install(tenant_name="My team", admin_email="a@example.org")
        doom(storage.db, stage)
        async with app.open_core(settings, storage, parts) as core:
            deciding = asyncio.create_task(decide(core, admin, decision))
            await core.inbox.accept(
                InboundMessage(
                    event_id="api:the one",
                    address=ConversationAddress(
                        platform="api", workspace="", channel=admin.id, thread="1"
                    ),
                    actor=Actor(platform="it0", workspace="", external_id=admin.id),
                    text="wreck it",
                    engine="scripted",
                )
            )
            while not await storage.db.read(_over):  # noqa: ASYNC110  # another task ends it, in the database
                await asyncio.sleep(0.02)
            deciding.cancel()
    print("ended", flush=True)


def _over(conn: Any) -> bool:
    rows = execute(conn, "SELECT COUNT(*) FROM turns WHERE status = 'done'").all()
    return rows[0][0] == 1


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
