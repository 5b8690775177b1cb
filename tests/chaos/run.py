"""One chaos run on one database, from an empty directory to a verdict."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter, deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from core.engines.agent_tools import PREFIX
from tests.chaos.checks import Evidence, Verdict, judge
from tests.chaos.clients import Clients
from tests.chaos.killer import Killer, blows
from tests.chaos.messages import plan
from tests.chaos.records import read_records
from tests.chaos.site import Site, Slot, open_site, start_upstream
from tests.fakes.platform import FakePlatform

SETTLE_S = 180.0
"""How long the last turns may take after the last blow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is made of."""

    database: str
    turns: int
    conversations: int
    kills: int
    seed: int
    engine: str = "claude_api"
    keep: Path | None = None
    """Where the data directory stays after the run; it is removed when this is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run's verdict and its figures."""

    options: Options
    verdict: Verdict
    hits: Counter[str]
    missed: tuple[str, ...]
    resent: int
    seconds: float
    tools: int
    parts: int
    requests: int
    calls: int
    logs: str


async def run(options: Options) -> Outcome:
    """Do it."""
    began = time.monotonic()
    rng = random.Random(options.seed)
    with _directory(options) as directory:
        async with FakePlatform(max_delay_s=0.003, seed=options.seed) as platform:
            platform.weather.limited_share = 0.01
            upstream, upstream_url = start_upstream()
            with upstream:
                async with open_site(options.database, Path(directory), platform.url) as site:
                    site.environ["ANTHROPIC_BASE_URL"] = upstream_url
                    site.environ["IT0_ENGINE"] = options.engine
                    site.environ["IT0_AGENT_DIR"] = str(Path(directory) / "agents")
                    clients, killer = await _rage(options, site, platform, rng)
                    upstream.terminate()
                    requests = int(upstream.wait_for(r"^requests (\d+)$")[1])
                    evidence = Evidence(
                        chats=clients.chats,
                        clients=clients,
                        platform=platform,
                        records=await read_records(site.settings),
                        requests=requests,
                        logs=site.logs(),
                        hits=killer.hits,
                    )
    return Outcome(
        options=options,
        verdict=judge(evidence),
        hits=Counter(hit.kind for hit in killer.hits),
        missed=tuple(point.name for point in killer.missed),
        resent=clients.resent,
        seconds=time.monotonic() - began,
        tools=len(platform.effects),
        parts=sum(len(turn.parts) for turn in evidence.records.turns),
        requests=requests,
        calls=len(evidence.records.calls),
        logs=evidence.logs,
    )


def _directory(options: Options) -> AbstractContextManager[str]:
    if options.keep is not None:
        return nullcontext(str(options.keep))
    made = tempfile.TemporaryDirectory(prefix="it0-chaos-")
    Path(made.name).chmod(0o711)  # as root, the processes of the engines are another user's
    return made


def _prefix(engine: str) -> str:
    return "" if engine == "claude_api" else PREFIX


async def _outages(platform: FakePlatform, rng: random.Random) -> None:
    """Short enough for a worker's patience: longer ones are the sink contract's."""
    while True:
        await asyncio.sleep(rng.uniform(3, 9))
        platform.weather.down = True
        await asyncio.sleep(0.6)
        platform.weather.down = False


async def _rage(
    options: Options, site: Site, platform: FakePlatform, rng: random.Random
) -> tuple[Clients, Killer]:
    """Clients write and the killer kills until both are done and every turn is delivered."""
    alone = options.database == "sqlite"
    slots = [Slot(site=site) for _ in range(1 if alone else 2)]
    killer = Killer(
        slots=slots, plan=deque(blows(options.kills, freeze=not alone, rng=rng)), rng=rng
    )
    clients = Clients(
        chats=plan(options.turns, options.conversations, rng, _prefix(options.engine)),
        users=site.users,
        urls=[slot.url for slot in slots],
        progress=killer.progress,
        rng=rng,
    )
    outages = asyncio.create_task(_outages(platform, rng))
    async with asyncio.TaskGroup() as group:
        group.create_task(killer.run())
        group.create_task(clients.run())
    outages.cancel()
    await asyncio.wait([outages])
    platform.weather.down = False
    await _settle(slots)
    for slot in slots:
        if slot.process is not None:
            await asyncio.to_thread(slot.process.stop)
    return clients, killer


async def _settle(slots: list[Slot]) -> None:
    """Wait until no turn is open, then for stragglers; the checks say what did not end."""
    deadline = time.monotonic() + SETTLE_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            async with session.get(slots[0].url + "/open") as answer:
                if (await answer.json())["open"] == 0:
                    break
            await asyncio.sleep(0.25)
    await asyncio.sleep(2)
