"""Which engine answers: named by the message, else by the tenant, else by the installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.engines.engine import Engine
from core.words import Sentence, sentence

HOW_TO_GET: Mapping[str, Sentence] = {
    "claude_api": sentence("set ANTHROPIC_API_KEY and restart IT0"),
    "claude_agent_sdk": sentence(
        "set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN for a single team) and restart IT0"
    ),
    "claude_code_cli": sentence(
        "set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN for a single team) and restart IT0"
    ),
}
"""What an engine that is not configured needs."""

BY_MESSAGE = sentence("It was named with the message.")
BY_TEAM = sentence("Your team chose it.")
BY_INSTALLATION = sentence("It is this installation's default.")
WITHOUT_KEY = sentence("No engine with a model has a key here, so the offline engine answers.")
KEY_UNUSED = sentence(
    "It is this installation's default. Your team has a key of its own: it is used once an admin "
    "chooses an engine with a model."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An engine that is left alone for a while."""

    problem: Sentence
    """What is wrong, as the first half of a sentence."""
    left_s: float
    """Seconds until it is tried again."""


class Circuits(Protocol):
    """What this process has learned of the providers."""

    def outage(self, engine: str, account: str) -> Outage | None:
        """The longest one of this engine for this account; None when it is asked as ever."""


class NoCircuits:
    """``Circuits`` where every engine is always asked."""

    def outage(self, engine: str, account: str) -> Outage | None:  # noqa: ARG002  # the port's signature
        """None."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The configured engines, and the default among them."""

    engines: Mapping[str, Engine]
    default: str
    model: str
    guarded: Mapping[str, Engine] = field(default_factory=dict)
    """The same by name, each with others behind it that answer when it cannot."""
    own_key_only: frozenset[str] = frozenset()
    """Engines that the installation has no account for: they answer teams with their own key."""
    circuits: Circuits = field(default_factory=NoCircuits)

    @property
    def configured(self) -> tuple[str, ...]:
        """The engines that answer everybody."""
        return tuple(name for name in self.engines if name not in self.own_key_only)

    def reason(self, name: str | None, *, named: bool, own_key: bool = False) -> Sentence:
        """Why ``choose`` gives what it gives for the same choice."""
        if name is not None:
            return BY_MESSAGE if named else BY_TEAM
        models = {name for name, engine in self.engines.items() if engine.has_model}
        if self.default in models:
            return BY_INSTALLATION
        if own_key:
            return KEY_UNUSED if models else BY_INSTALLATION
        return WITHOUT_KEY if models <= self.own_key_only else BY_INSTALLATION

    def choose(
        self, name: str | None, *, named: bool = False, own_key: bool = False
    ) -> Engine | str:
        """The engine, or a sentence that says why there is none of that name.

        One that the message itself named answers alone; any other has others behind it.
        ``own_key``: the team pays the provider itself.
        """
        wanted = name or self.default
        engine = None if named else self.guarded.get(wanted)
        engine = engine or self.engines.get(wanted)
        if engine is not None and (own_key or wanted not in self.own_key_only):
            return engine
        configured = ", ".join(self.configured)
        if wanted in HOW_TO_GET:
            return sentence(
                "The engine {engine} is not configured: {how}. Configured: {configured}.",
                engine=wanted,
                how=HOW_TO_GET[wanted],
                configured=configured,
            )
        return sentence(
            "There is no engine {engine}. Configured: {configured}.",
            engine=repr(wanted),
            configured=configured,
        )
