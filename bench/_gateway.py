"""The gateway in its own process, with a meter that does nothing or one that writes to SQLite.

Asked ``{"meter": "none" | "sqlite", "clients": N}``, it begins a turn on N routes and says
where they are; asked ``{}``, it ends them and says how long each ``reserve`` of each route took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench._child import MAX_TOKENS, MODEL
from core.engines.gateway import Gateway, GatewayConfig, GatewayEvent, Route, RouteTurn
from core.metering import CallMeter, Grant, QuotaRefusal, Usage
from core.turnmeter import TurnMeter
from core.turns import Turn
from storage.metering import RecordingMeter
from storage.sqlite import SqliteDatabase
from tests.storage.kit import install, sqlite_database
from tests.storage.racing import leased

MOST_CLIENTS = 50


@dataclass(slots=True)
class NoMeter:
    """Admits everything at once."""

    ids: count[int] = field(default_factory=count)

    async def reserve(
        self, *, engine: str, model: str, estimated_input: int, max_output: int
    ) -> Grant | QuotaRefusal:
        """Admit."""
        del engine, model, estimated_input
        return Grant(call_id=str(next(self.ids)), max_output=max_output)

    def saw(self, call_id: str, usage: Usage) -> None:
        """Forget."""


@dataclass(slots=True)
class Timed:
    """A meter, and how long it took to admit each call, in milliseconds."""

    meter: CallMeter
    took: list[float] = field(default_factory=list)

    async def reserve(
        self, *, engine: str, model: str, estimated_input: int, max_output: int
    ) -> Grant | QuotaRefusal:
        """Admit as the meter does."""
        start = time.monotonic()
        granted = await self.meter.reserve(
            engine=engine, model=model, estimated_input=estimated_input, max_output=max_output
        )
        self.took.append((time.monotonic() - start) * 1000)
        return granted

    def saw(self, call_id: str, usage: Usage) -> None:
        """Pass it on."""
        self.meter.saw(call_id, usage)


@asynccontextmanager
async def _turns(path: Path) -> AsyncGenerator[tuple[SqliteDatabase, list[Turn]]]:
    """Running turns in a database: the meter admits no calls of others."""
    async with sqlite_database(path) as db:
        user = await install(db)
        yield db, [await leased(db, user, number) for number in range(MOST_CLIENTS)]


async def _main(url: str, data_dir: str) -> None:
    gateway = Gateway(GatewayConfig(api_key="sk-bench", base_url=url))
    await gateway.start()
    routes = [gateway.open() for _ in range(MOST_CLIENTS)]
    running: list[Timed] = []
    async with _turns(Path(data_dir) / "bench.db") as (db, turns):
        meters = {
            "none": [Timed(NoMeter()) for _ in turns],
            "sqlite": [Timed(TurnMeter(RecordingMeter(db), turn)) for turn in turns],
        }
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            question = json.loads(line)
            if not question:
                await asyncio.gather(*(route.end() for route in routes))
                print(json.dumps([meter.took for meter in running]), flush=True)
                continue
            running = meters[question["meter"]][: question["clients"]]
            for route, meter in zip(routes, running, strict=False):
                meter.took = []
                _begin(route, meter)
            secrets = [route.secret for route in routes[: question["clients"]]]
            print(json.dumps({"url": routes[0].url, "secrets": secrets}), flush=True)
    await gateway.aclose()


def _begin(route: Route, meter: CallMeter) -> None:
    told: list[GatewayEvent] = []
    route.begin(
        RouteTurn(
            meter=meter, engine="bench", model=MODEL, max_output_tokens=MAX_TOKENS, tell=told.append
        )
    )


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
