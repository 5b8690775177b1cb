"""What an engine's failure means for the engines after it, and how the user is told.

The reasons are ``EngineFailure.reason``, most of them from ``claude_faults``. A reason that
is not in the table is an engine's own trouble: the next engine answers, and it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.engines.engine import Engine
from core.events import EngineChanged
from core.metering import QuotaRefusal
from core.words import Sentence, sentence


class Blame(StrEnum):
    """Whose fault a failure is, and therefore what follows."""

    ACCOUNT = "account"
    """Every message of this account meets it: the next engine answers, the breaker counts."""
    CHOICE = "choice"
    """This message's engine or model, or this moment's load: the next answers, nothing counts."""
    MESSAGE = "message"
    """The message itself: no engine can take it, and the user must hear how to change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One reason in the table. ``problem`` is the first half of a sentence."""

    blame: Blame
    problem: Sentence


def _account(problem: Sentence) -> Outage:
    return Outage(blame=Blame.ACCOUNT, problem=problem)


OUTAGES: Mapping[str, Outage] = {
    # The provider or the line to it: nobody's message gets through.
    "unreachable": _account(sentence("Anthropic cannot be reached")),
    "stalled": _account(sentence("Anthropic does not answer")),
    "overloaded": _account(sentence("Anthropic is overloaded")),
    "server_error": _account(sentence("Anthropic has an internal problem")),
    "dropped": _account(sentence("The connection to Anthropic broke")),
    "cut": _account(sentence("Anthropic ended its answer too early")),
    "malformed": _account(sentence("Anthropic sends no valid answers")),
    # The account: its next message would meet the same answer. Other accounts do not.
    "rate_limited": _account(sentence("The rate limit of the Anthropic API key is reached")),
    "bad_key": _account(sentence("Anthropic refuses the API key")),
    "no_credit": _account(sentence("The Anthropic account has no credit left")),
    "no_login": _account(sentence("The operator's login with Anthropic is missing")),
    "no_key": _account(sentence("There is no Anthropic API key")),
    # The installation: broken for every message until the operator mends it.
    "wrong_address": _account(sentence("The Anthropic address does not offer the Messages API")),
    "untrusted_certificate": _account(
        sentence("The certificate of the Anthropic address is not trusted")
    ),
    "bad_ca_file": _account(sentence("The file in IT0_ANTHROPIC_CA_FILE cannot be read")),
    # The engine: its process is broken on this machine, another engine needs none.
    "engine_crashed": _account(sentence("The engine's process ended in the middle of the work")),
    "engine_unusable": _account(sentence("The engine's process could not be started")),
    # A slot may be free for the very next message: no reason to leave the engine alone.
    "engine_busy": Outage(
        blame=Blame.CHOICE, problem=sentence("All of the engine's processes are at work")
    ),
    # The engine does not fit the account; nobody was asked.
    "not_with_login": Outage(
        blame=Blame.CHOICE, problem=sentence("The operator's login does not fit the engine")
    ),
    # A model is chosen per message or tenant: other models of the account work. But one that
    # the provider retired overnight must not keep `disk on web-3` from being answered.
    "unknown_model": Outage(
        blame=Blame.CHOICE, problem=sentence("Anthropic does not know the chosen model")
    ),
    "forbidden": Outage(
        blame=Blame.CHOICE,
        problem=sentence("Anthropic does not allow the API key to use the chosen model"),
    ),
    # Sent again elsewhere it is refused again, and a routine would answer half of it: the
    # failure's own sentence says what to leave out.
    "too_large": Outage(blame=Blame.MESSAGE, problem=sentence("The message is too large")),
    "session_full": Outage(blame=Blame.MESSAGE, problem=sentence("The message is too large")),
    "rejected": Outage(blame=Blame.MESSAGE, problem=sentence("The request is invalid")),
}


_OF_ENGINE = frozenset({"engine_crashed", "engine_unusable", "engine_busy", "not_with_login"})


def is_providers(reason: str) -> bool:
    """Whether every engine that asks the same provider meets it."""
    return reason in OUTAGES and reason not in _OF_ENGINE


def blame_of(reason: str) -> Blame:
    """Whose fault it is."""
    outage = OUTAGES.get(reason)
    return Blame.ACCOUNT if outage is None else outage.blame


def problem_of(reason: str, engine: str) -> Sentence:
    """The first half of a sentence: what is wrong, with this engine where nothing is known."""
    outage = OUTAGES.get(reason)
    if outage is None:
        return sentence("The engine {engine} failed", engine=engine)
    return outage.problem


def given_up(engine: str) -> Sentence:
    """What is wrong when an engine was not waited for any longer; it may not know itself."""
    return sentence("The engine {engine} got no answer from Anthropic in time", engine=engine)


def taken_back(problem: Sentence) -> Sentence:
    """Why the part of an answer that was shown is void."""
    return sentence(
        "{problem} in the middle of the answer; another engine goes on.", problem=problem
    )


def over_quota(engine: Engine, refusal: QuotaRefusal) -> EngineChanged:
    """The offline engine answers what no model may be asked."""
    reason = sentence(
        "{refusal} The offline engine ({engine}) answered this one.",
        refusal=refusal.sentence,
        engine=engine.name,
    )
    return EngineChanged(engine=engine.name, reason=reason)


def changed_to(engine: Engine, problem: Sentence) -> EngineChanged:
    """Who answers instead, and why."""
    said = (
        sentence("{problem}; the engine {engine} answers.", problem=problem, engine=engine.name)
        if engine.has_model
        else sentence(
            "{problem}; the offline engine ({engine}) answers.", problem=problem, engine=engine.name
        )
    )
    return EngineChanged(engine=engine.name, reason=said)
