"""One chat chaos run on one database, from an empty directory to a verdict."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.chat_checks import History, judge
from tests.chaos.chat_history import Said, answered, parts_by_marker
from tests.chaos.chat_killer import ChatKiller
from tests.chaos.chat_messages import plan
from tests.chaos.chat_network import Network, Place
from tests.chaos.chat_people import People
from tests.chaos.chat_records import read_stored
from tests.chaos.chat_site import ChatSite, let_in, open_chat_site
from tests.chaos.chat_slack import SlackNetwork
from tests.chaos.chat_telegram import TelegramNetwork
from tests.chaos.checks import Verdict
from tests.chaos.records import read_records
from tests.chaos.site import start_upstream
from tests.fakes.slack import SlackFake
from tests.fakes.telegram import TelegramFake

DELAY_S = 0.02
"""The longest pause of the platforms before, and after, an effect."""
SETTLE_S = 180.0
"""How long the last answers may take after the last blow."""
QUIET_S = 4.0
"""For stragglers: longer than two sweeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """What a run is made of."""

    database: str
    platforms: tuple[str, ...]
    turns: int
    """On each platform."""
    kills: int
    seed: int
    pace_s: float = 5.0
    """The longest pause before a blow."""
    keep: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOutcome:
    """A run's verdict and its figures."""

    options: ChatOptions
    verdict: Verdict
    strikes: Counter[str]
    said: int
    repeated: int
    shown: int
    refused: int
    """Calls that the weather refused, or whose answer it lost."""
    requests: int
    calls: int
    seconds: float
    logs: str


async def run_chat(options: ChatOptions) -> ChatOutcome:
    """Do it."""
    began = time.monotonic()
    rng = random.Random(options.seed)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(_directory(options)))
        networks = await stack.enter_async_context(_open_networks(options))
        upstream, upstream_url = start_upstream()
        stack.enter_context(upstream)
        site = await stack.enter_async_context(
            open_chat_site(options.database, directory, networks, upstream_url)
        )
        places, commands = await let_in(site, networks, max(6, options.turns // 6))
        before = {shown.ref for network in networks for shown in network.shown()}
        people, killer = await _rage(options, site, networks, places, rng)
        await site.stop()
        await asyncio.to_thread(upstream.terminate)
        requests = int((await asyncio.to_thread(upstream.wait_for, r"^requests (\d+)$"))[1])
        shown = [item for network in networks for item in network.shown()]
        history = History(
            said=tuple(people.said),
            shown=tuple(item for item in shown if item.ref not in before),
            stored=await read_stored(site.settings),
            commands=commands,
            records=await read_records(site.settings),
            requests=requests,
            logs=site.logs(),
            strikes=tuple(killer.strikes),
            leftovers=sum((Counter(network.leftovers()) for network in networks), Counter()),
        )
    return ChatOutcome(
        options=options,
        verdict=judge(history),
        strikes=Counter(strike.kind for strike in killer.strikes),
        said=len(history.said),
        repeated=people.repeated,
        shown=len(history.shown),
        refused=sum(network.refused() for network in networks),
        requests=requests,
        calls=len(history.records.calls),
        seconds=time.monotonic() - began,
        logs=history.logs,
    )


def _directory(options: ChatOptions) -> AbstractContextManager[str]:
    if options.keep is not None:
        return nullcontext(str(options.keep))
    return tempfile.TemporaryDirectory(prefix="it0-chaos-chat-")


@asynccontextmanager
async def _open_networks(options: ChatOptions) -> AsyncGenerator[tuple[Network, ...]]:
    networks: list[Network] = []
    async with AsyncExitStack() as stack:
        if "telegram" in options.platforms:
            telegram = TelegramFake(max_delay_s=DELAY_S, seed=options.seed)
            networks.append(TelegramNetwork(await stack.enter_async_context(telegram)))
        if "slack" in options.platforms:
            slack = SlackFake(max_delay_s=DELAY_S, seed=options.seed)
            networks.append(SlackNetwork(await stack.enter_async_context(slack)))
        yield tuple(networks)


async def _rage(
    options: ChatOptions,
    site: ChatSite,
    networks: Sequence[Network],
    places: Sequence[tuple[Network, Place]],
    rng: random.Random,
) -> tuple[People, ChatKiller]:
    """People write and the killer kills until both are done and everything is answered."""
    killer = ChatKiller(
        seats=site.seats,
        networks=networks,
        rng=rng,
        kills=options.kills,
        pace_s=options.pace_s,
    )
    people = People(rng=rng, progress=killer.progress)
    talks = plan(options.turns * len(networks), len(places), rng)
    storm = asyncio.create_task(_storm(networks, rng))
    async with asyncio.TaskGroup() as group:
        group.create_task(killer.run())
        for (network, place), messages in zip(places, talks, strict=True):
            group.create_task(people.talk(network, place, messages))
    storm.cancel()
    await asyncio.wait([storm])
    for network in networks:
        network.calm()
    await _settle(networks, people.said)
    return people, killer


async def _storm(networks: Sequence[Network], rng: random.Random) -> None:
    for network in networks:
        network.drizzle()
    while True:
        await asyncio.sleep(rng.uniform(0.5, 3.0))
        await rng.choice(list(networks)).gust(rng)


async def _settle(networks: Sequence[Network], said: Sequence[Said]) -> None:
    """Wait until every message has an answer, then for stragglers; the checks say what has not."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        parts = parts_by_marker(shown for network in networks for shown in network.shown())
        if all(answered(item, parts) for item in said):
            break
        await asyncio.sleep(0.5)
    await asyncio.sleep(QUIET_S)
