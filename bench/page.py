"""How fast what IT0 writes is on the screen, beside a page that does nothing else.

Three processes and a Chromium on one machine: IT0 with its page, a fake provider that also
serves a bare page (an ``EventSource`` that appends to ``textContent``), and this one. Rounds of
20 deltas a second alternate between the two pages. A delta's time runs from the moment the
server hands it to its response until the frame that shows it was drawn: a mutation is seen, its
animation frame runs, and the first task after that frame begins. Both clocks are this machine's;
how far they differ is measured before each round and taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Locator, Page

from bench._child import Child
from bench._report import Report, quantile, verdict
from tests.browser import chromium
from tests.browser.weight import load

PLAIN, MARKDOWN = "words", "Markdown"
PAUSE_S: Final = 0.05
"""20 deltas a second, which is what a fast model writes."""
_CLOCK_TRIES: Final = 20

_WATCH: Final = """(prefix) => {
  const marker = new RegExp(String.raw`${prefix}(\\d+)(?!\\d)`, "g");
  const painted = {};
  let next = 0, due = false;
  const drawn = new MessageChannel();
  drawn.port1.onmessage = ({ data: last }) => {
    const at = performance.timeOrigin + performance.now();
    for (; next <= last; next += 1) painted[`${prefix}${next}`] = at;
  };
  const look = () => {
    due = false;
    const said = [...document.querySelector("main").textContent.matchAll(marker)];
    drawn.port2.postMessage(Math.max(-1, ...said.map((one) => Number(one[1]))));
  };
  window.watcher?.disconnect();
  window.watcher = new MutationObserver(() => {
    if (window.frame.runs) look();
    else if (!due) {
      due = true;
      requestAnimationFrame(look);
    }
  });
  window.watcher.observe(document.body, { subtree: true, childList: true, characterData: true });
  window.painted = painted;
}"""
_FRAMES: Final = """() => {
  const ask = window.requestAnimationFrame.bind(window);
  const over = new MessageChannel();
  window.frame = { runs: false };
  over.port1.onmessage = () => { window.frame.runs = false; };
  window.requestAnimationFrame = (run) => ask((at) => {
    if (!window.frame.runs) over.port2.postMessage(0);
    window.frame.runs = true;
    run(at);
  });
}"""
"""Lets the watch know whether the frame that is drawn next is being prepared already: what is
changed in an animation frame is on the screen with that frame, not with the one after it."""


@dataclass(slots=True)
class Measured:
    """Of one page and one kind of answer, over all rounds; milliseconds."""

    written: list[float] = field(default_factory=list)
    """From the server's write to the screen."""
    answered: list[float] = field(default_factory=list)
    """From the provider's write to the screen; empty for the bare page."""


def deltas_of(kind: str, prefix: str, count: int) -> list[str]:
    """An answer of so many deltas, each with its marker."""
    if kind == PLAIN:
        return [f"{prefix}{number} " for number in range(count)]
    return [_marked_up(number, f"{prefix}{number}") for number in range(count)]


def _marked_up(number: int, marker: str) -> str:
    """A part of a text with headings, lists, emphasis and code."""
    match number % 24:
        case 0:
            return f"\n\n## {marker} "
        case 4:
            return f"\n\nA paragraph with **{marker}** "
        case 8 | 10 | 12:
            return f"\n- {marker} in a list "
        case 14:
            return f"\n\n```sh\n# {marker}\n"
        case 18:
            return f"{marker}\n```\n\n"
        case _:
            return f"{marker} "


async def clock_offset_ms(page: Page) -> float:
    """How far the browser's clock is ahead, from the quickest of several questions."""
    best = (float("inf"), 0.0)
    for _ in range(_CLOCK_TRIES):
        before = time.time() * 1000
        theirs = await page.evaluate("() => performance.timeOrigin + performance.now()")
        after = time.time() * 1000
        best = min(best, (after - before, theirs - (before + after) / 2))
    return best[1]


@dataclass(slots=True)
class Stage:
    """The two pages and the processes behind them."""

    other: Child
    house: Child
    bare: Page
    chat: Page
    count: int
    rounds: int = 0
    offsets: list[float] = field(default_factory=list)
    missing: int = 0
    """Deltas that were never seen on the screen."""

    async def round(self, kind: str, found: dict[str, Measured]) -> None:
        """One answer on each page, one after the other."""
        for name, page in (("bare", self.bare), ("IT0", self.chat)):
            prefix = f"r{self.rounds}w"
            self.rounds += 1
            await self._take(deltas_of(kind, prefix, self.count), prefix)
            await page.bring_to_front()
            offset = await clock_offset_ms(page)
            self.offsets.append(offset)
            await page.evaluate(_WATCH, prefix)
            if name == "bare":
                await page.evaluate("() => begin()")
            else:
                await _send(page, f"Tell me about {prefix}")
            painted = await self._painted(page, offset)
            self._note(found[name], painted)

    def _note(self, measured: Measured, painted: dict[str, float]) -> None:
        provider = self.other.ask({})
        served = self.house.ask({})
        through_house = bool(served)
        written = served if through_house else provider
        self.missing += self.count - len(painted)
        measured.written += [at - written[marker] for marker, at in painted.items()]
        if through_house:
            measured.answered += [at - provider[marker] for marker, at in painted.items()]

    async def _take(self, deltas: list[str], key: str) -> None:
        await asyncio.to_thread(self.other.ask, {"key": key, "deltas": deltas, "pause_s": PAUSE_S})

    async def _painted(self, page: Page, offset: float) -> dict[str, float]:
        """When each marker was painted, on this process's clock; waits for the last one."""
        patience_ms = self.count * PAUSE_S * 1000 + 20_000
        ready = f"() => Object.keys(window.painted).length === {self.count}"
        await page.wait_for_function(ready, timeout=patience_ms)
        painted: dict[str, float] = await page.evaluate("() => window.painted")
        return {marker: at - offset for marker, at in painted.items()}


def _box(page: Page) -> Locator:
    """Where one writes; when it is there, the page is ready."""
    return page.get_by_role("textbox", name="Message")


async def _send(page: Page, text: str) -> None:
    await _box(page).fill(text)
    await _box(page).press("Enter")


def table(kind: str, found: dict[str, Measured]) -> Report:
    """Milliseconds from the write to the screen."""
    report = Report(f"20 deltas a second, {kind}: to the screen, ms", ("bare", "IT0", "IT0 / bare"))
    bare, house = found["bare"].written, found["IT0"].written
    for what, share, bound in (("median", 0.5, None), ("p95", 0.95, 50.0), ("p99", 0.99, None)):
        theirs, ours = quantile(bare, share), quantile(house, share)
        cells = (f"{theirs:.1f}", f"{ours:.1f}", f"{ours / theirs:.2f}")
        value = None if bound is None else ours
        report.row(f"server's write, {what}", *cells, value=value, at_most=bound)
    answered = found["IT0"].answered
    for what, share in (("median", 0.5), ("p95", 0.95)):
        report.row(f"model's write, {what}", "", f"{quantile(answered, share):.1f}")
    return report


async def first_paint(browser: Browser, chat: Page, url: str) -> Report:
    """What a browser that was never here loads until somebody can write, and again."""
    report = Report("first paint", ("figure",))
    context = await browser.new_context(storage_state=await chat.context.storage_state())
    page = await context.new_page()
    cold = await load(page, url, _box(page).wait_for)
    drawn = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
    shown_ms = await page.evaluate(drawn)
    again = await load(await context.new_page(), url, _box(page).wait_for)
    report.row("transferred, KB", f"{cold.total / 1000:.1f}", value=cold.total, at_most=100_000)
    report.row("requests", str(len(cold.urls())))
    report.row("first contentful paint, ms", f"{shown_ms:.0f}")
    report.row("transferred the second time, KB", f"{again.total / 1000:.1f}")
    await context.close()
    return report


async def measure(given: argparse.Namespace) -> list[Report]:
    """Everything, with one browser."""
    path = chromium.found()
    if path is None:
        sys.exit("There is no Chromium here; on Debian and Ubuntu: apt-get install chromium")
    with (
        tempfile.TemporaryDirectory(prefix="it0-bench-") as place,
        Child("bench._page_bare") as other,
    ):
        theirs = json.loads(other.greeting)
        with Child("bench._page_house", theirs["provider"], str(Path(place) / "data")) as house:
            ours = json.loads(house.greeting)
            async with chromium.launched(path) as browser:
                bare = await (await browser.new_context()).new_page()
                await bare.goto(theirs["bare"])
                chat = await (await browser.new_context(locale="en-US")).new_page()
                await chat.goto(ours["link"])
                await _box(chat).wait_for()
                for page in (bare, chat):
                    await page.evaluate(_FRAMES)
                stage = Stage(other, house, bare, chat, given.deltas)
                reports = [await _rounds(stage, kind, given.rounds) for kind in (PLAIN, MARKDOWN)]
                reports.append(await first_paint(browser, chat, ours["url"]))
                reports.append(_honesty(stage))
    return reports


async def _rounds(stage: Stage, kind: str, rounds: int) -> Report:
    found = {"bare": Measured(), "IT0": Measured()}
    for _ in range(rounds):
        await stage.round(kind, found)
    return table(kind, found)


def _honesty(stage: Stage) -> Report:
    """Whether the figures can be believed."""
    report = Report("the measurement itself", ("figure",))
    worst = max(abs(offset) for offset in stage.offsets)
    report.row(
        "clocks of browser and servers apart, worst, ms", f"{worst:.2f}", value=worst, at_most=5
    )
    report.row("deltas that never came", str(stage.missing), value=stage.missing, at_most=0)
    return report


def main() -> int:
    """Run all rounds and show the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each kind, on each page")
    parser.add_argument("--deltas", type=int, default=200, help="of an answer; 20 take a second")
    reports = asyncio.run(measure(parser.parse_args()))
    for report in reports:
        report.show()
    return verdict(*reports)


if __name__ == "__main__":
    sys.exit(main())
