"""A handover: what happened, told so that somebody else can go on. Facts in, Markdown out.

No model writes it: everything in it is what was stored, so nothing is invented or smoothed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from core.commands_text import code, escape
from core.messages import ConversationAddress
from core.names import plain_name
from core.redact import redact
from core.refusals import Rejected
from core.tenants import User
from core.visible import visible_code
from core.words import Words

MOST_LINES: Final = 20
"""Of each section; what is left out is counted."""
MOST_CHARS: Final = 16_000
"""Of all of it: with fewer lines a section where it would be more."""
_FEWER: Final = (MOST_LINES, 10, 5, 2)
_MOST_COMMAND: Final = 300
_MOST_TEXT: Final = 160
_T = TypeVar("_T")


class Outcome(StrEnum):
    """What became of an action."""

    RAN = "ran"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question, and the beginning of what was answered."""

    at_ms: int
    who: str
    text: str
    answer: str
    """Empty while there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What was done or would have been, above reading."""

    at_ms: int
    who: str
    what: str
    """The exact command."""
    level: str
    outcome: Outcome
    servers: str = ""
    exit_status: int | None = None
    ms: int | None = None
    decided_by: str = ""
    """Who approved or denied it."""
    by_timeout: bool = False
    """Nobody did, and that counted as an approval."""
    why: str = ""
    """Why it was refused, or the comment of who denied it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNews:
    """What became of a standing order's due times, of one state each."""

    name: str
    state: str
    """As ``core.standing_orders.RunState``, or how its turn ended."""
    times: int
    last_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What waits for a decision."""

    approval_id: str
    what: str
    servers: str
    level: str
    who: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is told, the newest first."""

    since_ms: int
    until_ms: int
    asked: Sequence[Asked] = ()
    actions: Sequence[Action] = ()
    orders: Sequence[OrderNews] = ()
    open: Sequence[Asked] = ()
    """Questions that are being worked on."""
    pending: Sequence[Pending] = ()
    hidden: int = 0
    """Conversations of which the reader may know only that there were some."""
    cut: bool = False
    """There was more than is gathered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody asks for."""

    since_ms: int | None
    """None: this conversation, from its beginning."""
    to: str = ""
    """An e-mail address, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who asks, and where it is read."""

    user: User
    conversation_id: str = ""
    place: ConversationAddress | None = None
    """None: over HTTP, in private."""
    turn_id: str = ""
    """The same turn, run again, writes the same handover."""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One as it is stored."""

    id: str
    tenant_id: str
    from_user: str
    to_user: str | None
    conversation_id: str
    since_ms: int
    body: str
    created_at_ms: int
    accepted_at_ms: int | None
    to_name: str = ""
    told: bool = True
    """Whether whom it is for was reached, when it was written."""


class HandoverDesk(Protocol):
    """Where handovers are written and accepted. Raises ``StorageFailure``."""

    async def write(self, by: Writer, wanted: Wanted) -> Handover | Rejected:
        """Gather, store, and tell whom it is for."""

    async def accept(self, user: User, handover_id: str) -> Handover | Rejected:
        """As the person it is for; again it changes nothing. Pending approvals are told them."""

    async def find(self, user: User, handover_id: str) -> Handover | Rejected:
        """One that is from the user or for them."""

    async def listed(self, user: User, limit: int) -> tuple[Handover, ...]:
        """Those, the newest first."""


# -- as Markdown ------------------------------------------------------------------------------


def markdown(facts: Facts, words: Words) -> str:
    """The handover: what is open first, then what changed, then the rest."""
    written = ""
    for most in _FEWER:
        written = _written(facts, words, most)
        if len(written) <= MOST_CHARS:
            break
    return written


def _written(facts: Facts, words: Words, most: int) -> str:
    def section(title: str, found: Sequence[_T], line: Callable[[_T, Words], str]) -> str:
        if not found:
            return ""
        lines = [f"- {line(one, words)}" for one in found[:most]]
        if len(found) > most:
            lines.append(f"- {words('and {count} more', count=len(found) - most)}")
        return "\n".join([f"**{title}**", "", *lines])

    by_outcome = {
        outcome: [one for one in facts.actions if one.outcome is outcome] for outcome in Outcome
    }
    not_done = [one for one in facts.actions if one.outcome in _NOT_DONE]
    sections = [
        words(
            "**Handover**: {since} to {until} (UTC)",
            since=clock(facts.since_ms),
            until=clock(facts.until_ms),
        ),
        section(words("Waiting for a decision"), facts.pending, _pending),
        section(words("Still being worked on"), facts.open, _question),
        section(
            words("Outcome unknown: look before anybody repeats it"),
            by_outcome[Outcome.UNKNOWN],
            _action,
        ),
        section(words("Changed"), by_outcome[Outcome.RAN], _action),
        section(words("Failed"), by_outcome[Outcome.FAILED], _action),
        section(words("Not done"), not_done, _action),
        section(words("Standing orders"), facts.orders, _order),
        section(words("Asked and found"), facts.asked, _question),
        _rest(facts, words),
    ]
    return "\n\n".join(part for part in sections if part)


_NOT_DONE: Final = frozenset({Outcome.REFUSED, Outcome.DENIED, Outcome.EXPIRED})


def _rest(facts: Facts, words: Words) -> str:
    said = []
    if not (facts.asked or facts.actions or facts.orders or facts.open or facts.pending):
        said.append(words("Nothing happened that you may see, and nothing is open."))
    if facts.hidden == 1:
        said.append(words("Not shown: one conversation that was held elsewhere."))
    elif facts.hidden:
        said.append(
            words("Not shown: {count} conversations that were held elsewhere.", count=facts.hidden)
        )
    if facts.cut:
        said.append(words("There was more than fits here; ask for a shorter time."))
    return " ".join(said)


def _pending(one: Pending, words: Words) -> str:
    said = words(
        "{command} ({level}), asked by {who}, until {when}: `/approve {id}`",
        command=_command(one.what),
        level=one.level,
        who=_name(one.who),
        when=clock(one.expires_at_ms),
        id=one.approval_id,
    )
    return _on(said, one.servers, words)


def _question(one: Asked, words: Words) -> str:
    said = words(
        "{when} {who}: {text}", when=clock(one.at_ms), who=_name(one.who), text=_text(one.text)
    )
    return f"{said} → {_text(one.answer)}" if one.answer else said


def _action(one: Action, words: Words) -> str:
    parts = [
        words(
            "{when} {command} ({level}), asked by {who}",
            when=clock(one.at_ms),
            command=_command(one.what),
            level=one.level,
            who=_name(one.who),
        )
    ]
    if one.outcome in _NOT_DONE:
        parts.append(_not_done(one, words))
    elif one.by_timeout:
        parts.append(words("approved, because nobody decided in time"))
    elif one.decided_by:
        parts.append(words("approved by {who}", who=_name(one.decided_by)))
    if one.exit_status is not None:
        parts.append(words("exit status {status}", status=one.exit_status))
    if one.ms is not None and one.outcome is not Outcome.UNKNOWN:
        parts.append(words("{seconds} s", seconds=f"{one.ms / 1000:.1f}"))
    return _on(words(", ").join(parts), one.servers, words)


def _not_done(one: Action, words: Words) -> str:
    match one.outcome:
        case Outcome.DENIED:
            said = words("denied by {who}", who=_name(one.decided_by))
        case Outcome.EXPIRED:
            said = words("nobody decided in time")
        case _:
            said = words("refused")
    return f"{said} ({_text(one.why)})" if one.why else said


def _order(one: OrderNews, words: Words) -> str:
    named = {
        "answered": words("ran"),
        "started": words("runs now"),
        "missed": words("missed"),
        "skipped": words("skipped: the run before was not over"),
        "refused": words("refused"),
        "cancelled": words("stopped"),
        "failed": words("failed"),
    }
    name, state = escape(plain_name(one.name)), named.get(one.state, escape(one.state))
    if one.times == 1:
        return words("{name}: {state}, {when}", name=name, state=state, when=clock(one.last_ms))
    return words(
        "{name}: {state}, {times} times, last {when}",
        name=name,
        state=state,
        times=one.times,
        when=clock(one.last_ms),
    )


def _on(said: str, servers: str, words: Words) -> str:
    if not servers:
        return said
    return words("{action}, on {servers}", action=said, servers=escape(servers[:_MOST_TEXT]))


def clock(at_ms: int) -> str:
    """Such as ``2026-11-23 08:15``, UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _command(what: str) -> str:
    """On one line, with everything visible that is in it."""
    shown = visible_code(" ⏎ ".join(what.splitlines()))
    return code(shown if len(shown) <= _MOST_COMMAND else f"{shown[: _MOST_COMMAND - 1]}…")


def _text(text: str) -> str:
    """The first line that says something, without secrets, as text and nothing else."""
    lines = (" ".join(line.split()) for line in redact(text).splitlines())
    first = next((line for line in lines if line), "")
    return escape(first if len(first) <= _MOST_TEXT else f"{first[: _MOST_TEXT - 1].rstrip()}…")


def _name(name: str) -> str:
    return escape(plain_name(name))
