"""Children that are asked and answer in lines of JSON, each measuring itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent
MODEL = "claude-sonnet-5-5"
MAX_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One turn on ``time.monotonic``: message in, first visible text, end; in seconds."""

    tag: str
    start: float
    first: float
    end: float


class Child:
    """A module run as ``python -m NAME ARGUMENTS``; it prints one line when it is ready."""

    def __init__(
        self, module: str, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> None:
        """Start it and wait for its first line, which is ``greeting``."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "BENCH_LOGS" in os.environ else subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**_clean_environment(), **(environ or {})},
        )
        self.pid = self._process.pid
        self.greeting = self._line()

    def ask(self, question: Mapping[str, Any]) -> Any:  # noqa: ANN401  # JSON
        """Send a question and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self._process.args} ended; set BENCH_LOGS=1 to see why")
        return line.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _clean_environment() -> dict[str, str]:
    """Nothing of the operator's own configuration, and loopback without a proxy."""
    ours = ("IT0_", "ANTHROPIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


async def serve_rounds(turn: Callable[[str, str], Awaitable[Timing]]) -> None:
    """In a child: run the rounds of turns that are asked for, one turn after another.

    ``turn`` gets a tag and a text that begins with it. The CPU time is that of this process,
    all its threads included.
    """
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        question = json.loads(line)
        before = time.process_time()
        timings = [
            await turn(tag, f"{tag} {question['text']}")
            for tag in (f"{question['tag']}-{number}" for number in range(question["turns"]))
        ]
        cpu_s = time.process_time() - before
        print(
            json.dumps({"cpu_s": cpu_s, "turns": [asdict(timing) for timing in timings]}),
            flush=True,
        )
