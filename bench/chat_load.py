"""A hundred private chats at once, through each chat adapter, beside a bare bot.

The product (``it0 up`` on SQLite), the platform's fake, the fake model and the bare bot are
processes of their own. Everybody writes at the same moment, waits for the final answer, and
writes again. The fakes punish like the real platforms; the bare bot is also measured with
punishment off, which is what the ratios compare with. *First text* is the first of the answer
that a person can see (draft, preview or message), *final* is the whole answer in a message.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import _chat_house
from bench._chat_house import Place
from bench._chat_stage import Person
from bench._child import MAX_TOKENS, MODEL, Child
from bench._report import Report, median, quantile, verdict
from bench.startup import cpu_of

REST_BOUND_MS = 150
RATE_BOUND = 7.2
"""Eight times what comparable bots reach with ten chats (0.9 messages a second)."""
CPU_BOUND = 20
"""Messages that one core could answer in a second, were the platform's limits not in the way."""
REFILL_S = 6.0
"""After this time Telegram's buckets, and those of Slack's channels, are full again."""
MINUTE_S = 61.0
"""Slack also counts the calls of a minute in a whole workspace."""
BARE_TIMEOUT_S = 60.0
"""A penalty that is provoked again and again never ends."""
IT0, BARE, FREE = "IT0", "bare", "bare, unpunished"
_LIBRARY = {"telegram": "python-telegram-bot", "slack": "slack-bolt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How the model answers: so many words, one by one after so many milliseconds each."""

    name: str
    words: int
    chunk_ms: int

    @property
    def text(self) -> str:
        """What people write."""
        return f"[[text {self.words}]] [[chunk {self.chunk_ms}]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who writes how often; ``rest`` is the number of messages in the chat at rest."""

    chats: int
    messages: int
    rest: int
    scenarios: tuple[Scenario, ...]
    pauses: bool
    """Whether to wait until the platform has forgotten what came before."""
    profile: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One contestant in one scenario. Times are milliseconds after the message."""

    missing: int
    """Messages without a final answer, or never written because an earlier one had none."""
    extra: int
    """Answers shown beyond one for each message; below zero where nobody waited for one."""
    first: list[float]
    final: list[float]
    rate: float
    cpu_ms: float
    fakes_cpu_ms: float
    peak_mb: float
    calls: Mapping[str, int]
    penalties: int
    provoked_again: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A bot under load."""

    stage: Child
    pid: int
    fakes: tuple[int, ...]
    """The platform and the model, which share the machine with it."""
    patience_s: float

    def talk(self, scenario: Scenario, *, chats: int, messages: int, pause_s: float = 0) -> Any:  # noqa: ANN401  # JSON
        """Let people talk with it."""
        return self.stage.ask(
            {
                "do": "talk",
                "chats": chats,
                "messages": messages,
                "text": scenario.text,
                "words": scenario.words,
                "pause_s": pause_s,
                "timeout_s": self.patience_s,
            }
        )

    def measure(self, scenario: Scenario, load: Load) -> Measured:
        """One scenario."""
        before, fakes_before = cpu_of(self.pid), sum(map(cpu_of, self.fakes))
        said = self.talk(scenario, chats=load.chats, messages=load.messages)
        cpu_s = cpu_of(self.pid) - before
        fakes_cpu_s = sum(map(cpu_of, self.fakes)) - fakes_before
        progress = f"{scenario.name}: {said['penalties']} penalties, calls {said['calls']}"
        print(progress, file=sys.stderr, flush=True)
        turns = [turn for turn in said["turns"] if turn is not None]
        answered = len(turns)
        turns = turns or [(0.0, math.inf, math.inf)]  # nobody was answered
        seconds = max(final for *_, final in turns) - min(start for start, *_ in turns)
        return Measured(
            missing=load.chats * load.messages - answered,
            extra=said["shown"] - answered,
            first=[(first - start) * 1000 for start, first, _ in turns],
            final=[(final - start) * 1000 for start, _, final in turns],
            rate=len(turns) / seconds,
            cpu_ms=cpu_s * 1000 / len(turns),
            fakes_cpu_ms=fakes_cpu_s * 1000 / len(turns),
            peak_mb=_chat_house.peak_mb(self.pid),
            calls=said["calls"],
            penalties=said["penalties"],
            provoked_again=said["provoked_again"],
        )


@contextmanager
def it0(
    platform: str, model: Child, work: Path, chats: int, profile: Path | None
) -> Iterator[Contestant]:
    """The product, with people it knows."""
    with Child(f"bench._chat_{platform}") as stage:
        place = Place(platform=platform, given=json.loads(stage.greeting))
        people = [Person(**told) for told in stage.ask({"do": "people", "chats": chats})]
        _chat_house.furnish(work, platform, people)
        with _chat_house.start(work, place, model.greeting, profile) as process:
            yield _contestant(stage, process.pid, model, patience_s=120)


@contextmanager
def bare(platform: str, model: Child, chats: int, *, free: bool) -> Iterator[Contestant]:
    """The library's own loop."""
    arguments = ["free"] if free else []
    with Child(f"bench._chat_{platform}", *arguments) as stage:
        stage.ask({"do": "people", "chats": chats})
        with Child("bench._chat_bare", platform, model.greeting, stage.greeting) as bot:
            yield _contestant(stage, bot.pid, model, patience_s=BARE_TIMEOUT_S)


def _contestant(stage: Child, pid: int, model: Child, *, patience_s: float) -> Contestant:
    return Contestant(stage=stage, pid=pid, fakes=(stage.pid, model.pid), patience_s=patience_s)


def warm(contestant: Contestant, load: Load) -> None:
    """Two messages, so that what is loaded late is loaded."""
    contestant.talk(Scenario(name="warm", words=5, chunk_ms=0), chats=2, messages=1)
    if load.pauses:
        time.sleep(REFILL_S)


def rest_table(contestant: Contestant, model: Child, library: str, messages: int) -> Report:
    """One chat, one message at a time, with pauses that leave the platform's buckets full."""
    scenario = Scenario(name="short", words=12, chunk_ms=0)
    said = contestant.talk(scenario, chats=1, messages=messages, pause_s=2.5)
    final = [(turn[2] - turn[0]) * 1000 for turn in said["turns"] if turn is not None]
    alone = model_ms(model.greeting, scenario)
    report = Report(f"one chat at rest ({library})", ("figure",))
    report.row("messages answered", f"{len(final)} of {messages}")
    report.row("the fake model alone, median ms", f"{alone:.1f}")
    added = median(final) - alone
    what = "message to reply beyond the fake model, median ms"
    report.row(what, f"{added:.1f}", value=added, at_most=REST_BOUND_MS)
    report.row("the same, p95 ms", f"{quantile(final, 0.95) - alone:.1f}")
    return report


def model_ms(url: str, scenario: Scenario) -> float:
    """The fake model's own time for an answer, asked directly."""
    body = {
        "model": MODEL,
        "max_tokens": MAX_TOKENS,
        "stream": True,
        "messages": [{"role": "user", "content": f"alone {scenario.text}"}],
    }
    headers = {
        "x-api-key": "sk-bench",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    times: list[float] = []
    for _ in range(15):
        start = time.monotonic()
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/messages", json.dumps(body), headers)
        connection.getresponse().read()
        times.append((time.monotonic() - start) * 1000)
        connection.close()
    return median(times)


def load_table(title: str, found: Mapping[str, Measured]) -> Report:
    """All contestants side by side."""
    report = Report(title, (*found, f"{IT0} / {FREE}"))
    own = found[IT0]

    def cells(pick: Callable[[Measured], float], digits: int) -> list[str]:
        figures = {name: pick(measured) for name, measured in found.items()}
        ratio = f"{figures[IT0] / figures[FREE]:.2f}" if figures[FREE] and digits >= 0 else ""
        return [*(f"{figure:.{max(digits, 0)}f}" for figure in figures.values()), ratio]

    figures = cells(lambda m: m.missing, -1)
    report.row("without an answer", *figures, value=own.missing, at_most=0)
    figures = cells(lambda m: m.extra, -1)
    report.row("second answers", *figures, value=own.extra, at_most=0)
    figures = cells(lambda m: m.rate, 1)
    report.row("messages a second", *figures, value=own.rate, at_least=RATE_BOUND)
    report.row("first text, median ms", *cells(lambda m: median(m.first), 0))
    report.row("first text, p95 ms", *cells(lambda m: quantile(m.first, 0.95), 0))
    report.row("final answer, median ms", *cells(lambda m: median(m.final), 0))
    report.row("final answer, p95 ms", *cells(lambda m: quantile(m.final, 0.95), 0))
    report.row("CPU of the bot, ms a message", *cells(lambda m: m.cpu_ms, 1))
    figures = cells(lambda m: 1000 / m.cpu_ms, 0)
    what = "messages a second of its CPU"
    report.row(what, *figures, value=1000 / own.cpu_ms, at_least=CPU_BOUND)
    figures = cells(lambda m: m.fakes_cpu_ms, 1)
    report.row("CPU of both fakes, ms a message", *figures)
    report.row("peak memory, MB", *cells(lambda m: m.peak_mb, 0))
    figures = cells(lambda m: sum(m.calls.values()) / len(m.final), 1)
    report.row("platform calls a message", *figures)
    figures = cells(lambda m: m.penalties, -1)
    report.row("penalties", *figures, value=own.penalties, at_most=0)
    report.row("calls into running penalties", *cells(lambda m: m.provoked_again, -1))
    by_method = ", ".join(f"{name} {count}" for name, count in sorted(own.calls.items()))
    report.row(f"calls of {IT0}: {by_method}")
    return report


def platform_tables(platform: str, model: Child, work: Path, load: Load) -> list[Report]:
    """Everything about one platform."""
    library = _LIBRARY[platform]
    found: dict[str, dict[str, Measured]] = {scenario.name: {} for scenario in load.scenarios}
    reports: list[Report] = []
    with it0(platform, model, work / platform, load.chats, load.profile) as own:
        warm(own, load)
        reports.append(rest_table(own, model, library, load.rest))
        for number, scenario in enumerate(load.scenarios):
            if number and load.pauses:
                time.sleep(MINUTE_S if platform == "slack" else REFILL_S)
            found[scenario.name][IT0] = own.measure(scenario, load)
    if load.profile is not None:
        return reports
    for name, free in ((BARE, False), (FREE, True)):
        for scenario in load.scenarios:  # a new one each: penalties outlast a scenario
            with bare(platform, model, load.chats, free=free) as contestant:
                warm(contestant, load)
                found[scenario.name][name] = contestant.measure(scenario, load)
    for scenario in load.scenarios:
        title = f"{platform}, {load.chats} chats, {scenario.name}"
        reports.append(load_table(title, found[scenario.name]))
    return reports


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", choices=("telegram", "slack", "both"), default="both")
    parser.add_argument("--chats", type=int, default=100)
    parser.add_argument("--messages", type=int, default=3, help="of each chat")
    parser.add_argument("--rest", type=int, default=30, help="messages in the chat at rest")
    parser.add_argument("--short", action="store_true", help="a few chats, to see that it runs")
    parser.add_argument("--profile", type=Path, help="only IT0, under cProfile, into this file")
    given = parser.parse_args()
    load = _load(given)
    platforms = ("telegram", "slack") if given.platform == "both" else (given.platform,)
    reports: list[Report] = []
    with (
        tempfile.TemporaryDirectory(prefix="it0-bench-") as place,
        Child("bench._upstream") as upstream,
    ):
        for platform in platforms:
            reports += platform_tables(platform, upstream, Path(place), load)
    for report in reports:
        report.show()
    return verdict(*reports)


def _load(given: argparse.Namespace) -> Load:
    streamed = Scenario(name="answers of 120 words in 1.5 s", words=120, chunk_ms=12)
    instant = Scenario(name="short instant answers", words=12, chunk_ms=0)
    if given.short:
        streamed = Scenario(name="answers of 20 words in 0.2 s", words=20, chunk_ms=10)
    return Load(
        chats=4 if given.short else given.chats,
        messages=1 if given.short else given.messages,
        rest=2 if given.short else given.rest,
        scenarios=(streamed, instant),
        pauses=not given.short,
        profile=given.profile,
    )


if __name__ == "__main__":
    sys.exit(main())
