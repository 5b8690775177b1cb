"""What a team may choose for its agent here, and what to warn of: one rule for API and chat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core import models
from core.agent_config import (
    KEEP,
    Billing,
    ConfigChanges,
    ModelNotes,
    NoModelNotes,
    StoredConfig,
)
from core.clock import Clock
from core.engine_choice import Engines
from core.refusals import Rejected
from core.words import Sentence, sentence

NEEDS_KEY = Rejected(
    code="own_key_missing",
    sentence=sentence(
        "The billing mode own_key needs an API key of your team's own: send api_key with it, or "
        "choose another mode before you remove the key."
    ),
)
NO_LOGIN = Rejected(
    code="no_operator_login",
    sentence=sentence(
        "The billing mode subscription needs a login of the operator's: set "
        "CLAUDE_CODE_OAUTH_TOKEN and restart IT0."
    ),
)
SEVERAL_TEAMS = Rejected(
    code="several_tenants",
    sentence=sentence(
        "The billing mode subscription is for an installation with one team; this one has "
        "several. Use an API key of your team's own (own_key)."
    ),
)
_WITHOUT_LOGIN = frozenset({"claude_api"})
"""Engines that speak to the provider themselves: a login is for its own client alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRules:
    """The rules of this installation."""

    engines: Engines
    tools: Collection[str]
    """The names of the tools there are."""
    operator_login: bool
    """Whether the operator is logged in with the provider (CLAUDE_CODE_OAUTH_TOKEN)."""
    models: ModelNotes = field(default_factory=NoModelNotes)

    def refusal(self, stored: StoredConfig, changes: ConfigChanges) -> Rejected | None:
        """Why these changes cannot be made to what is stored; None when they can.

        Only what changes is judged: what stopped being right meanwhile keeps nobody from
        changing the rest.
        """
        after = changes.applied_to(stored)
        if isinstance(changes.engine, str) and (missing := self._missing(after)) is not None:
            return Rejected(code="unknown_engine", sentence=missing)
        if changes.billing is KEEP and changes.api_key is KEEP:
            return None
        match after.config.billing:
            case Billing.OWN_KEY if not after.has_api_key:
                return NEEDS_KEY
            case Billing.SUBSCRIPTION if not self.operator_login:
                return NO_LOGIN
            case Billing.SUBSCRIPTION if not stored.only_tenant:
                return SEVERAL_TEAMS
            case _:
                return None

    def warnings(self, stored: StoredConfig) -> tuple[str, ...]:
        """What is allowed, and may yet be a mistake."""
        missing = self._missing(stored)
        found: list[str] = [] if missing is None else [missing]
        config, engine = stored.config, stored.engine or self.engines.default
        if config.billing is Billing.SUBSCRIPTION and engine in _WITHOUT_LOGIN:
            found.append(
                sentence(
                    "The engine {engine} cannot use the operator's login (billing mode "
                    "subscription): choose another engine.",
                    engine=engine,
                )
            )
        if config.model is not None and (note := self.models.warning(config.model)) is not None:
            found.append(note)
        found += self._unknown("allowed_tools", config.allowed_tools or ())
        found += self._unknown("denied_tools", config.denied_tools)
        return tuple(found)

    def _missing(self, config: StoredConfig) -> str | None:
        """Why the team's engine cannot answer it; None when it can."""
        own_key = config.config.billing is Billing.OWN_KEY
        chosen = self.engines.choose(config.engine, own_key=own_key)
        return chosen if isinstance(chosen, str) else None

    def _unknown(self, where: str, names: Sequence[str]) -> list[Sentence]:
        return [
            sentence("There is no tool {tool} here ({field}).", tool=repr(name), field=where)
            for name in names
            if name not in self.tools
        ]


class KnownModels:
    """``ModelNotes`` from the table in ``core.models``."""

    def __init__(self, clock: Clock) -> None:
        """The clock says which day it is."""
        self._clock = clock

    def warning(self, model: str) -> Sentence | None:
        """See the port."""
        if not models.known(model):
            return sentence(
                "IT0 does not know the model {model}: check its name. What it costs is not known "
                "either.",
                model=model,
            )
        today = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).date()
        return models.ends_soon(model, today, setting=sentence("your team's model"))
