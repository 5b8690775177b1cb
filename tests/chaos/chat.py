"""``python -m tests.chaos.chat``: kill -9 while people write in Slack and Telegram.

Exit status 1 when something does not hold; what does not is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from pathlib import Path

from tests.chaos.chat_run import ChatOptions, ChatOutcome, run_chat

MOST_PROBLEMS = 30
FULL_TURNS, FULL_KILLS = 100, 24
"""Slack takes about 45 answers a minute in a workspace, long ones count several times."""
SHORT_TURNS, SHORT_KILLS = 24, 5


def report(outcome: ChatOutcome) -> str:
    """The run's figures, for people."""
    options, verdict = outcome.options, outcome.verdict
    strikes = [f"  {count} {kind}" for kind, count in sorted(outcome.strikes.items())]
    lines = [
        f"== {' and '.join(options.platforms)} on {options.database}: {outcome.said} messages",
        f"seed {options.seed}, {outcome.seconds:.0f} s, blows:",
        *strikes,
        f"messages delivered once more: {outcome.repeated}, messages of the bot: {outcome.shown}",
        f"calls that the platforms refused or left unanswered: {outcome.refused}",
        f"model requests: {outcome.requests}, model calls on record: {outcome.calls}",
        _latency(verdict.answers_s),
        *(f"  {name}: {count}" for name, count in sorted(verdict.windows.items())),
        f"problems: {len(verdict.problems)}",
        *(f"  PROBLEM {problem}" for problem in verdict.problems[:MOST_PROBLEMS]),
    ]
    return "\n".join(lines)


def _latency(times: list[float]) -> str:
    if not times:
        return "kill to answer: no message was waiting"
    p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
    return (
        f"last kill to answer, {len(times)} messages were waiting: "
        f"p50 {statistics.median(times):.1f} s, p95 {p95:.1f} s, max {times[-1]:.1f} s"
    )


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.chat", description=__doc__)
    parser.add_argument("--platform", choices=("telegram", "slack", "both"), default="both")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--turns", type=int, default=FULL_TURNS, help="on each platform")
    parser.add_argument("--kills", type=int, default=FULL_KILLS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help=f"{SHORT_TURNS} turns, few kills")
    parser.add_argument("--logs", type=Path, help="keep logs and SQLite database in this directory")
    given = parser.parse_args()
    if given.short:
        given.turns, given.kills = SHORT_TURNS, SHORT_KILLS
    platforms = ("telegram", "slack") if given.platform == "both" else (given.platform,)
    databases = ("sqlite", "postgres") if given.database == "both" else (given.database,)
    failed = False
    for database in databases:
        outcome = asyncio.run(
            run_chat(
                ChatOptions(
                    database=database,
                    platforms=platforms,
                    turns=given.turns,
                    kills=given.kills,
                    seed=given.seed,
                    keep=given.logs,
                )
            )
        )
        print(report(outcome), flush=True)
        if given.logs is not None:
            (given.logs / f"chaos-chat-{database}.log").write_text(outcome.logs)
        failed = failed or bool(outcome.verdict.problems)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
