"""``python -m tests.chaos``: the full run, on both databases unless one is named.

Exit status 1 when something does not hold; what does not is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from pathlib import Path

from tests.chaos.checks import WINDOWS
from tests.chaos.run import Options, Outcome, run

MOST_PROBLEMS = 30


def report(outcome: Outcome) -> str:
    """The run's figures, for people."""
    options, verdict = outcome.options, outcome.verdict
    hits = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.hits.items()))
    lines = [
        f"== {options.database}: {options.turns} turns in {options.conversations} conversations",
        f"seed {options.seed}, {outcome.seconds:.0f} s",
        f"blows: {hits}" + (f"; points never reached: {outcome.missed}" if outcome.missed else ""),
        f"messages sent again: {outcome.resent}",
        f"tool changes: {outcome.tools}, reply parts: {outcome.parts}",
        f"model requests: {outcome.requests}, model calls on record: {outcome.calls}",
        _latency(verdict.answers_s),
        *(f"  {name}: {verdict.windows[name]}" for name in WINDOWS),
        f"problems: {len(verdict.problems)}",
        *(f"  PROBLEM {problem}" for problem in verdict.problems[:MOST_PROBLEMS]),
    ]
    return "\n".join(lines)


def _latency(times: list[float]) -> str:
    if not times:
        return "kill to answer: no turn was in flight"
    p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
    return (
        f"last kill to answer, {len(times)} turns were hit: p50 {statistics.median(times):.1f} s, "
        f"p95 {p95:.1f} s, max {times[-1]:.1f} s"
    )


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--conversations", type=int, default=50)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--engine",
        choices=("claude_api", "claude_agent_sdk", "claude_code_cli"),
        default="claude_api",
    )
    parser.add_argument("--short", action="store_true", help="80 turns, 5 kills")
    parser.add_argument("--logs", type=Path, help="keep logs and SQLite database in this directory")
    given = parser.parse_args()
    if given.short:
        given.turns, given.conversations, given.kills = 80, 10, 5
    both = ("sqlite", "postgres")
    failed = False
    for database in both if given.database == "both" else (given.database,):
        outcome = asyncio.run(
            run(
                Options(
                    database=database,
                    turns=given.turns,
                    conversations=given.conversations,
                    kills=given.kills,
                    seed=given.seed,
                    engine=given.engine,
                    keep=given.logs,
                )
            )
        )
        print(report(outcome), flush=True)
        if given.logs is not None:
            (given.logs / f"chaos-{database}.log").write_text(outcome.logs)
        failed = failed or bool(outcome.verdict.problems)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
