"""Metrics of the core, in Prometheus' own registry; logs carry ids, never text."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

TURN_SECONDS = Histogram(
    "it0_turn_seconds", "From acceptance to the committed end of a turn.", buckets=_SECONDS
)
FIRST_TEXT_SECONDS = Histogram(
    "it0_first_text_seconds", "From acceptance to the first visible text.", buckets=_SECONDS
)
TURNS = Counter("it0_turns", "Turns that ended, by outcome.", ["outcome"])
ENGINE_ERRORS = Counter("it0_engine_errors", "Engine failures, by reason.", ["engine", "reason"])
ENGINE_BREAKER_STATE = Gauge(
    "it0_engine_breaker_state",
    "The installation's circuit to an engine: 0 closed, 1 half-open, 2 open.",
    ["engine"],
)
ENGINE_FAILOVERS = Counter(
    "it0_engine_failovers", "Answers that another engine gave or went on with.", ["engine", "to"]
)
TOKENS = Counter("it0_tokens", "Tokens of settled model calls.", ["engine", "bucket"])
UNPRICED_CALLS = Counter(
    "it0_unpriced_calls", "Settled model calls whose cost is unknown; should be 0.", ["model"]
)
TOOL_CALLS = Counter("it0_tool_calls", "Tool calls, by tool and result.", ["tool", "result"])
FENCED = Counter("it0_fenced", "Writes refused because another worker has the conversation.")
REAPED = Counter("it0_reaped_leases", "Leases freed because their owner died or lost them.")
ADOPTED_POSTS = Counter("it0_adopted_posts", "Posts found on the platform after a crash.")
DELIVERY_ERRORS = Counter("it0_delivery_errors", "Replies a platform did not take.", ["kind"])
LOOP_ERRORS = Counter("it0_loop_errors", "Errors that a background loop survived.", ["loop"])
ALARMS = Counter("it0_alarms", "Events that the operator has to look at, by kind.", ["kind"])
RUNNING = Gauge("it0_running_turns", "Turns running in this process.")
AGENT_PROCESSES = Gauge(
    "it0_agent_processes", "Live processes of the agent engines.", ["engine", "state"]
)
QUEUED = Gauge("it0_queued_turns", "Accepted turns that wait for a worker.")
OVERDUE = Gauge(
    "it0_overdue_turns", "Accepted turns without a terminal state after 60 seconds; should be 0."
)
UNDELIVERED = Gauge("it0_undelivered_replies", "Finished turns whose reply is not delivered.")


def count_tokens(engine: str, buckets: Mapping[str, int]) -> None:
    """Add a settled call's tokens, bucket by bucket."""
    for bucket, tokens in buckets.items():
        if tokens:
            TOKENS.labels(engine, bucket.removesuffix("_tokens")).inc(tokens)


_MOST_LABELS = 50
_unpriced: set[str] = set()


def count_unpriced(model: str) -> bool:
    """Count a call whose cost is unknown; tell whether it is this process's first of the model.

    People choose models by name, so only so many get a label of their own: the rest is
    ``other``.
    """
    label = model if model in _unpriced or len(_unpriced) < _MOST_LABELS else "other"
    UNPRICED_CALLS.labels(label).inc()
    if label in _unpriced:
        return False
    _unpriced.add(label)
    return True
