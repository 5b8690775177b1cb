"""The gateway in its own process, with a meter that does nothing or one with quotas on SQLite.

Asked ``{"meter": "none" | "sqlite", "clients": N}``, it begins a turn on N routes and says
where they are; asked ``{}``, it ends them and says how long each ``reserve`` of each route took,
and the CPU time of the whole process meanwhile. On SQLite every call is settled too, in a
transaction, as the turn that reads the answer would.
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
from billing.meter import BillingService
from billing.periods import month_of
from billing.quota import Limits
from core.clock import SystemClock
from core.engines.gateway import (
    CallFinished,
    Gateway,
    GatewayConfig,
    GatewayEvent,
    Route,
    RouteTurn,
)
from core.metering import CallMeter, Grant, Meter, QuotaRefusal, Settlement, Usage
from core.turnmeter import TurnMeter
from core.turns import Turn
from storage.admission import SqlQuota
from storage.metering import settle
from storage.quota import set_limits
from storage.sqlite import SqliteDatabase
from storage.subscriptions import current
from tests.storage.kit import install, sqlite_database
from tests.storage.racing import leased

MOST_CLIENTS = 50
_MUCH = 10**12
"""Tokens."""


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
    db: SqliteDatabase | None = None
    """Where finished calls are settled."""
    took: list[float] = field(default_factory=list)
    settling: list[asyncio.Task[None]] = field(default_factory=list)

    def tell(self, event: GatewayEvent) -> None:
        """Settle a call that ended."""
        if self.db is not None and isinstance(event, CallFinished):
            settlement = Settlement(call_id=event.call_id, usage=event.usage)
            self.settling.append(asyncio.create_task(self.db.transaction(settle, settlement)))

    async def settled(self) -> None:
        """Wait until all of them are."""
        await asyncio.gather(*self.settling)
        self.settling.clear()

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


async def _billing(db: SqliteDatabase, tenant_id: str) -> Meter:
    """The product's meter, with a month that is larger than the benchmark."""
    clock = SystemClock()
    limits = Limits(soft=_MUCH, hard=2 * _MUCH)
    await db.transaction(current, tenant_id, clock.now_ms())
    await db.transaction(set_limits, tenant_id, month_of(clock.now_ms()), limits)
    return BillingService(SqlQuota(db), clock)


async def _main(url: str, data_dir: str) -> None:
    gateway = Gateway(GatewayConfig(api_key="sk-bench", base_url=url))
    await gateway.start()
    routes = [gateway.open() for _ in range(MOST_CLIENTS)]
    running: list[Timed] = []
    async with _turns(Path(data_dir) / "bench.db") as (db, turns):
        billing = await _billing(db, turns[0].tenant_id)
        meters = {
            "none": [Timed(NoMeter()) for _ in turns],
            "sqlite": [Timed(TurnMeter(billing, turn), db) for turn in turns],
        }
        began_s = 0.0
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            question = json.loads(line)
            if not question:
                await asyncio.gather(*(route.end() for route in routes))
                await asyncio.gather(*(meter.settled() for meter in running))
                cpu_s = time.process_time() - began_s
                took = [meter.took for meter in running]
                print(json.dumps({"took": took, "cpu_s": cpu_s}), flush=True)
                continue
            running = meters[question["meter"]][: question["clients"]]
            for route, meter in zip(routes, running, strict=False):
                meter.took = []
                _begin(route, meter)
            secrets = [route.secret for route in routes[: question["clients"]]]
            began_s = time.process_time()
            print(json.dumps({"url": routes[0].url, "secrets": secrets}), flush=True)
    await gateway.aclose()


def _begin(route: Route, meter: Timed) -> None:
    route.begin(
        RouteTurn(
            meter=meter, engine="bench", model=MODEL, max_output_tokens=MAX_TOKENS, tell=meter.tell
        )
    )


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
