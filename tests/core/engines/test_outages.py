"""What each reason of a failure means for the engines after it."""

from __future__ import annotations

import pytest

from core.engines import claude_faults
from core.engines.claude_faults import Fault, fault_of_event, fault_of_status
from core.engines.outages import OUTAGES, Blame, blame_of, changed_to, problem_of
from core.words import Sentence
from tests.fakes.scripted_engine import ScriptedEngine

KINDS = (None, "overloaded_error", "billing_error", "invalid_request_error", "api_error")


def reasons() -> set[str]:
    """Every reason that ``claude_faults`` can give."""
    found = {fault.reason for fault in vars(claude_faults).values() if isinstance(fault, Fault)}
    for kind in KINDS:
        found.add(fault_of_event(kind).reason)
        for told in ("", "prompt is too long", "credit balance is too low"):
            found |= {
                fault_of_status(status, kind, model="m", told=told).reason
                for status in range(400, 600)
            }
    return found


def test_every_reason_of_the_claude_engines_was_decided() -> None:
    """A new fault must be put into the table, and nothing else is in it."""
    assert set(OUTAGES) == reasons()


@pytest.mark.parametrize(
    ("blame", "expected"),
    [
        (Blame.MESSAGE, {"too_large", "rejected", "session_full"}),
        (Blame.CHOICE, {"unknown_model", "forbidden", "engine_busy", "not_with_login"}),
    ],
)
def test_few_reasons_are_not_the_accounts(blame: Blame, expected: set[str]) -> None:
    """A message that is too large, a model that is gone: other messages still work."""
    assert {reason for reason in OUTAGES if blame_of(reason) is blame} == expected


def test_an_unknown_reason_is_the_engines_own_trouble() -> None:
    """It fails over and counts, and the sentence names the engine."""
    assert blame_of("scripted") is Blame.ACCOUNT
    assert problem_of("scripted", "claude_api") == "The engine claude_api failed"


@pytest.mark.parametrize("reason", [*OUTAGES, "scripted"])
@pytest.mark.parametrize("has_model", [True, False])
def test_each_sentence_names_engine_and_cause(reason: str, has_model: bool) -> None:
    """It can be translated, and says whether a model answers."""
    engine = ScriptedEngine([], name="other", has_model=has_model)
    problem = problem_of(reason, "first")
    changed = changed_to(engine, problem)
    assert isinstance(changed.reason, Sentence)
    assert changed.engine == "other"
    assert changed.reason.startswith(f"{problem}; ")
    assert changed.reason.endswith("answers.")
    assert "other" in changed.reason
    assert ("offline" in changed.reason) is not has_model
