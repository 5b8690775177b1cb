"""A process of the test that kills writer, relay and consumer of events.

``python -m tests.chaos.events_worker ROLES DATABASE SPOOL TURN``: ROLES is one or several of
writer, relay and consumer. A relay beside a consumer hands events over in the process, as the
product does; alone it puts them into the spool, which stands for a broker.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from billing.events import Event, EventBus, InProcessBus
from billing.relay import Relay
from core.clock import SystemClock
from core.metering import CallRequest, Settlement, Usage
from storage.consumers import consumers
from storage.database import Database
from storage.metering import RecordingMeter, settle
from storage.outbox import SqlOutbox, publish
from storage.postgres import PostgresDatabase
from storage.sqlite import SqliteDatabase

LATENCY_S = 0.01
"""Of the answers of a broker: time to die in, after the effect and before the note of it."""
LEASE_MS = 500
"""Short, so that a relay's death is not waited for, and claims run out under load, too."""


@dataclass(frozen=True)
class Spool:
    """A queue of files: at least once, like a broker's stream. Implements ``EventBus``."""

    folder: Path

    async def publish(self, event: Event) -> None:
        """One file a publication, whole or not there."""
        name = secrets.token_hex(8)
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(asdict(event)))
        part.rename(self.folder / f"{name}.new")
        await asyncio.sleep(LATENCY_S)

    async def drain(self, bus: EventBus) -> int:
        """Hand the next files over, then mark them: a death in between brings them again."""
        files = sorted(self.folder.glob("*.new"))[:10]
        for file in files:
            await bus.publish(Event(**json.loads(file.read_text())))
        await asyncio.sleep(LATENCY_S)
        for file in files:
            file.rename(file.with_suffix(".done"))
        return len(files)


@asynccontextmanager
async def opened(database: str) -> AsyncGenerator[Database]:
    """The database by URL or path; it is migrated already."""
    db: Database
    if "://" in database:
        db = PostgresDatabase(database, size=6)
    else:
        db = SqliteDatabase(Path(database), SystemClock())
    try:
        yield db
    finally:
        await db.close()


def relay_of(db: Database, bus: EventBus) -> Relay:
    """As in the product, but impatient."""
    return Relay(
        outbox=SqlOutbox(db),
        bus=bus,
        clock=SystemClock(),
        exclusive=db.exclusive,
        lease_ms=LEASE_MS,
        poll_s=0.02,
    )


async def write(db: Database, tenant: str, turn: str) -> None:
    """Make model calls for ever: each admitted, then settled, now and then twice."""
    dice = random.Random(secrets.randbits(64))  # load, no secret
    while True:
        call = CallRequest(
            id=f"{turn}.1.{secrets.randbits(48)}",
            tenant_id=tenant,
            conversation_id="conv",
            turn_id=turn,
            user_id="user",
            engine="e",
            model=dice.choice(("claude-sonnet-5-5", "claude-opus-5", "nobody's")),
            estimated_input=dice.randrange(1, 5_000),
            max_output=100,
            own_key=dice.random() < 0.2,
        )
        await RecordingMeter(db).reserve(call)
        usage = Usage(
            input_tokens=dice.randrange(5_000),
            output_tokens=dice.randrange(100),
            cache_read_tokens=dice.randrange(10_000),
            cache_write_5m_tokens=dice.randrange(1_000),
            cache_write_1h_tokens=dice.randrange(1_000),
        )
        settlement = Settlement(call_id=call.id, usage=usage)
        await db.transaction(settle, settlement)
        if dice.random() < 0.1:
            await db.transaction(settle, settlement)
        if dice.random() < 0.1:
            await db.transaction(_change, tenant, call.id)
        await asyncio.sleep(dice.random() * 0.01)


def _change(conn: sa.Connection, tenant: str, number: str) -> None:
    """Something that people are told of."""
    payload = {"subscription_id": "sub", "plan": "pro", "from": "free"}
    at_ms = SystemClock().now_ms()
    publish(conn, f"changed/{number}", tenant, "subscription.changed", payload, at_ms)


async def consume(spool: Spool, bus: EventBus) -> None:
    """Take what comes, for ever."""
    while True:
        if not await spool.drain(bus):
            await asyncio.sleep(0.02)


async def main(roles: str, database: str, folder: str, tenant: str, turn: str) -> None:
    """Play the roles until killed."""
    spool, played = Spool(Path(folder)), set(roles.split(","))
    async with opened(database) as db:
        bus = InProcessBus(consumers(db, SystemClock()))
        async with asyncio.TaskGroup() as group:
            if "writer" in played:
                for _ in range(2):
                    group.create_task(write(db, tenant, turn))
            if "relay" in played:
                target = bus if "consumer" in played else spool
                group.create_task(relay_of(db, target).run())
            if "consumer" in played:
                group.create_task(consume(spool, bus))
            print("ready", flush=True)  # the test waits for it


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6]))
