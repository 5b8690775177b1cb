"""What can go wrong with a call to the Messages API, in our words.

``fault_of_status`` and its siblings translate; they never repeat the provider's text, which
may name a gateway host. Nothing here imports the SDK.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus

from core.errors import EngineFailure
from core.words import sentence

_HELPED_OFFLINE = frozenset({"unreachable", "stalled", "overloaded", "rate_limited", "bad_key"})
"""Reasons for which no message gets an answer from a model for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failed call."""

    reason: str
    """A static label for metrics and logs."""
    sentence: str
    """What happened and what to do."""
    retry: bool = False
    retry_after_s: float | None = None
    """What the provider asked for, in seconds."""
    spent: bool = True
    """Whether the provider may have counted tokens for it."""
    request_id: str | None = None
    """The provider's own id of the request, for its support."""

    def failure(self) -> EngineFailure:
        """The exception that tells the user, and what still works when no model does."""
        if self.reason not in _HELPED_OFFLINE:
            return EngineFailure(self.sentence, reason=self.reason)
        said = sentence(
            "{problem} To look at the servers without a model, choose the engine runbook "
            "(`it0 chat --engine runbook`).",
            problem=self.sentence,
        )
        return EngineFailure(said, reason=self.reason)


class CallFailed(Exception):
    """A call failed; never leaves the engine."""

    def __init__(self, fault: Fault) -> None:
        """Keep the fault."""
        super().__init__(fault.reason)
        self.fault = fault


UNREACHABLE = Fault(
    reason="unreachable",
    sentence=sentence(
        "Anthropic cannot be reached from this machine. Check the network, the proxy and "
        "ANTHROPIC_BASE_URL, then send the message again."
    ),
    retry=True,
    spent=False,
)
UNTRUSTED = Fault(
    reason="untrusted_certificate",
    sentence=sentence(
        "The certificate of the Anthropic address is not trusted. If a private authority "
        "signed it, put that authority's file into IT0_ANTHROPIC_CA_FILE and restart IT0."
    ),
    spent=False,
)
BAD_CA_FILE = Fault(
    reason="bad_ca_file",
    sentence=sentence(
        "The file in IT0_ANTHROPIC_CA_FILE cannot be read as PEM certificates. Correct it "
        "and restart IT0."
    ),
    spent=False,
)
DROPPED = Fault(
    reason="dropped",
    sentence=sentence(
        "The connection to Anthropic broke in the middle of the answer. Send the message again."
    ),
    retry=True,
)
CUT = Fault(
    reason="cut",
    sentence=sentence("Anthropic ended the answer before it was complete. Send the message again."),
    retry=True,
)
STALLED = Fault(
    reason="stalled",
    sentence=sentence("Anthropic stopped answering. Send the message again in a few minutes."),
    retry=True,
)
MALFORMED = Fault(
    reason="malformed",
    sentence=sentence(
        "Anthropic sent something that is not a valid answer. Send the message again; if "
        "this repeats, check the proxy or gateway in front of it."
    ),
    retry=True,
)
OVERLOADED = Fault(
    reason="overloaded",
    sentence=sentence(
        "Anthropic is overloaded right now. Send the message again in a few minutes."
    ),
    retry=True,
)
SERVER_ERROR = Fault(
    reason="server_error",
    sentence=sentence(
        "Anthropic has an internal problem right now. Send the message again in a few minutes."
    ),
    retry=True,
)
RATE_LIMITED = Fault(
    reason="rate_limited",
    sentence=sentence(
        "Anthropic's rate limit for this API key is reached. Send the message again in a "
        "few minutes."
    ),
    retry=True,
)
CRASHED = Fault(
    reason="engine_crashed",
    sentence=sentence(
        "The engine's process ended in the middle of the work. Send the message again; if this "
        "repeats, choose another engine (`/engine`)."
    ),
    retry=True,
)
BUSY = Fault(
    reason="engine_busy",
    sentence=sentence(
        "All of the engine's processes are at work. Send the message again in a minute, or "
        "choose the engine claude_api, which needs none."
    ),
    retry=True,
    spent=False,
)
UNUSABLE = Fault(
    reason="engine_unusable",
    sentence=sentence(
        "The engine's process could not be started. `it0 check` says why; until then choose "
        "another engine (`/engine`)."
    ),
    spent=False,
)
NO_KEY = Fault(
    reason="no_key",
    sentence=sentence(
        "There is no Anthropic API key for this team. The operator sets ANTHROPIC_API_KEY, or an "
        "admin gives the team its own key in /api/v1/agent-config. To look at the servers "
        "without a model, choose the engine runbook."
    ),
    spent=False,
)
NOT_WITH_LOGIN = Fault(
    reason="not_with_login",
    sentence=sentence(
        "This team is billed by the operator's own login, which the engine claude_api cannot "
        "use. Choose claude_agent_sdk or claude_code_cli (`/engine`)."
    ),
    spent=False,
)
NO_LOGIN = Fault(
    reason="no_login",
    sentence=sentence(
        "This team is billed by the operator's own login, and this installation has none. Set "
        "CLAUDE_CODE_OAUTH_TOKEN and restart IT0, or choose another way in /api/v1/agent-config."
    ),
    spent=False,
)
_BAD_KEY = Fault(
    reason="bad_key",
    sentence=sentence(
        "Anthropic refused the API key. Put a valid key into ANTHROPIC_API_KEY and restart IT0."
    ),
)
_NO_CREDIT = Fault(
    reason="no_credit",
    sentence=sentence(
        "The Anthropic account of this API key has no credit left. Add credit in the "
        "Anthropic console, then send the message again."
    ),
)
_TOO_LARGE = Fault(
    reason="too_large",
    sentence=sentence(
        "The message with its files and history is too large for Anthropic. Send fewer or "
        "smaller files, or start a new conversation with /new."
    ),
)
SESSION_FULL = replace(_TOO_LARGE, reason="session_full", spent=False)
"""A process of Claude Code says it by its own count; another one may see it otherwise."""
_WRONG_ADDRESS = Fault(
    reason="wrong_address",
    sentence=sentence(
        "The Anthropic address does not offer the Messages API. Correct ANTHROPIC_BASE_URL "
        "and restart IT0."
    ),
)
_REJECTED = Fault(
    reason="rejected",
    sentence=sentence(
        "Anthropic rejected the request as invalid. Leave out attached files or start a "
        "new conversation with /new; if that does not help, report it to the operator."
    ),
)
_OVERLOADED_STATUS = 529
_BY_STATUS = {
    HTTPStatus.UNAUTHORIZED: _BAD_KEY,
    HTTPStatus.PAYMENT_REQUIRED: _NO_CREDIT,
    HTTPStatus.REQUEST_TIMEOUT: SERVER_ERROR,
    HTTPStatus.CONFLICT: SERVER_ERROR,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS: RATE_LIMITED,
    _OVERLOADED_STATUS: OVERLOADED,
}


def fault_of_status(status: int, kind: str | None, *, model: str, told: str = "") -> Fault:
    """Translate an error answer: HTTP status, ``error.type`` and the provider's own text.

    ``told`` is only searched for the two causes that have no type of their own.
    """
    return replace(_fault_of(status, kind, model, told), spent=False)


def fault_at_end(status: int | None, model: str) -> Fault:
    """Why a process of Claude Code ended badly, by the last HTTP status that it met, if any."""
    return CRASHED if status is None else fault_of_status(status, None, model=model)


def fault_of_event(kind: str | None) -> Fault:
    """Translate an ``error`` event in the middle of a stream."""
    match kind:
        case "overloaded_error":
            return OVERLOADED
        case "rate_limit_error":
            return RATE_LIMITED
        case _:
            return SERVER_ERROR


def too_long_to_wait(fault: Fault) -> Fault:
    """The same fault, given up because the provider asked for more patience than we have."""
    seconds = fault.retry_after_s or 0
    minutes = max(1, round(seconds / 60))
    when = sentence("{count} minutes", count=minutes) if minutes > 1 else sentence("1 minute")
    if seconds >= 2 * 3600:
        when = sentence("{count} hours", count=round(seconds / 3600))
    if fault.reason == RATE_LIMITED.reason:
        said = sentence(
            "Anthropic has reached the rate limit of this API key and asks to wait about {when}. "
            "Send the message again after that.",
            when=when,
        )
    else:
        said = sentence(
            "Anthropic is overloaded and asks to wait about {when}. Send the message again after "
            "that.",
            when=when,
        )
    return Fault(reason=fault.reason, sentence=said)


def _fault_of(status: int, kind: str | None, model: str, told: str) -> Fault:
    if fixed := _BY_STATUS.get(status):
        return fixed
    if status == HTTPStatus.FORBIDDEN:
        return Fault(
            reason="forbidden",
            sentence=sentence(
                "Anthropic does not allow this API key to use the model {model}. Use a key with "
                "access to it, or set IT0_MODEL to another model and restart IT0.",
                model=repr(model),
            ),
        )
    if status == HTTPStatus.NOT_FOUND and kind is None:
        return _WRONG_ADDRESS
    if status == HTTPStatus.NOT_FOUND:
        return Fault(
            reason="unknown_model",
            sentence=sentence(
                "Anthropic does not know the model {model}. Set IT0_MODEL to a model that your key "
                "may use and restart IT0.",
                model=repr(model),
            ),
        )
    if kind == "overloaded_error":
        return OVERLOADED
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return SERVER_ERROR
    if kind == "billing_error" or "credit balance" in told:
        return _NO_CREDIT
    return _TOO_LARGE if "too long" in told or "context window" in told else _REJECTED
