"""A worker that can be killed: the product's own composition, plus ways in and out.

``python -m tests.chaos.worker`` reads its settings from the environment like the product.
Messages come in over ``POST /ingest``, which answers 200 only after they are stored; replies
go out to the fake platform. What is added to the product are the points to die at.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from aiohttp import web

import app
from core.errors import StorageFailure
from core.inbox import Accepted, Inbox
from core.logs import configure_logs
from core.messages import Actor, ConversationAddress, InboundMessage
from core.risk import Assessment, Level
from core.scheduling import Pace
from core.sinks import Destination, SinkLimits, View
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec
from settings import Settings
from storage.database import Database, execute
from storage.rows import integer
from tests.chaos.points import COMMITS, Point, Points
from tests.fakes.platform import HttpSink

PACE = Pace(beat_s=0.5, ttl_s=3.0, poll_s=0.25, sweep_s=0.5)
"""Four times the product's pace, so that a run takes minutes."""
PLATFORM = "CHAOS_PLATFORM"
PORT = "CHAOS_PORT"


@dataclass(slots=True)
class DoomedSink:
    """The platform's sink, with the moments after each call to die in."""

    sink: HttpSink
    points: Points

    @property
    def limits(self) -> SinkLimits:
        """The sink's own."""
        return self.sink.limits

    async def draft(self, to: Destination, view: View) -> bool:
        """This platform has no drafts."""
        return False

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Post, and perhaps die before anybody hears the id."""
        ref = await self.sink.post(to, part, view)
        self.points.reach(Point.POSTED if part == 1 else Point.PART_POSTED)
        return ref

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Edit, and perhaps die before it is noted."""
        await self.sink.edit(to, ref, view)
        self.points.reach(Point.PREVIEWED)
        if view.final:
            self.points.reach(Point.DELIVERED)

    async def find(self, to: Destination, part: int) -> str | None:
        """Look up."""
        return await self.sink.find(to, part)


def doom(db: Database, points: Points) -> None:
    """Make the database's commits points to die at, after they are durable."""
    commit: Callable[..., Awaitable[object]] = db.transaction

    async def transaction(fn: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        result = await commit(fn, *args, **kwargs)
        point = COMMITS.get(fn.__name__)
        if point is not None and (point is not Point.CLAIMED or result):
            points.reach(point)
        return result

    db.transaction = transaction  # type: ignore[assignment,method-assign]  # an observer


def tools(sink: HttpSink, points: Points) -> tuple[Tool, ...]:
    """One tool that changes the world, and one that looks at it."""

    async def bump(context: ToolContext, arguments: Arguments) -> ToolResult:
        points.reach(Point.TOOL_BEGUN)
        await sink.call("/effect", {"key": str(arguments["key"])})
        points.reach(Point.TOOL_RAN)
        return ToolResult(output=f"bumped {arguments['key']}")

    async def peek(context: ToolContext, arguments: Arguments) -> ToolResult:
        await sink.call("/read", {"key": str(arguments["key"])})
        return ToolResult(output=f"saw {arguments['key']}")

    async def low(context: ToolContext, arguments: Arguments) -> Assessment:
        return Assessment(level=Level.L0)

    async def changes(context: ToolContext, arguments: Arguments) -> Assessment:
        return Assessment(level=Level.L1)

    key = (Param(name="key", kind="string", description="Which counter", required=True),)
    return (
        Tool(
            spec=ToolSpec(name="bump", description="Bump a counter.", params=key),
            assess=changes,
            run=bump,
            mutates=True,
        ),
        Tool(
            spec=ToolSpec(name="peek", description="Read a counter.", params=key),
            assess=low,
            run=peek,
            mutates=False,
        ),
    )


@dataclass(slots=True)
class Ingest:
    """The platform's webhook, as a worker sees it."""

    inbox: Inbox
    points: Points

    async def __call__(self, request: web.Request) -> web.Response:
        """Store the message, then acknowledge; 503 when it was not stored."""
        body = await request.json()
        message = InboundMessage(
            event_id=body["event"],
            address=ConversationAddress(
                platform=body["platform"], workspace="w", channel="c", thread=body["conversation"]
            ),
            actor=Actor(platform="it0", workspace="", external_id=body["user"]),
            text=body["text"],
        )
        try:
            accepted = await self.inbox.accept(message)
        except StorageFailure:
            return web.Response(status=503)
        self.points.reach(Point.STORED)
        if not isinstance(accepted, Accepted):
            return web.Response(status=400, text=str(accepted))
        return web.json_response({"turn": accepted.turn_id, "duplicate": accepted.duplicate})


def _sink(*, can_find: bool) -> HttpSink:
    return HttpSink(
        url=os.environ[PLATFORM],
        can_find=can_find,
        worker=str(os.getpid()),
        edit_interval_s=0.4,
    )


async def _count_open(db: Database) -> int:
    def count(conn: sa.Connection) -> int:
        row = execute(
            conn, "SELECT COUNT(*) FROM turns WHERE status <> 'done' OR delivered_at IS NULL"
        ).one()
        return integer(row[0])

    return await db.read(count)


async def main() -> None:
    """Run until SIGTERM, then hand back what does not end in time."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    points = Points.from_environment(os.environ)
    settings = Settings.from_environment(os.environ, None)
    configure_logs(json=True)
    async with AsyncExitStack() as stack:
        finding, blind = (_sink(can_find=can_find) for can_find in (True, False))
        stack.push_async_callback(finding.close)
        stack.push_async_callback(blind.close)
        storage = await stack.enter_async_context(app.open_storage(settings))
        doom(storage.db, points)
        parts = app.Parts(
            sinks={"finding": DoomedSink(finding, points), "blind": DoomedSink(blind, points)},
            tools=tools(finding, points),
            pace=PACE,
        )
        core = await stack.enter_async_context(app.open_core(settings, storage, parts))
        server = web.Application()
        server.router.add_post("/ingest", Ingest(core.inbox, points))

        async def still_open(_request: web.Request) -> web.Response:
            return web.json_response({"open": await _count_open(storage.db)})

        server.router.add_get("/open", still_open)
        runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", int(os.environ[PORT]), reuse_port=True).start()
        print("chaos: ready", file=sys.stderr, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
