"""Which engines there are, and what each of them can do for a team now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from core import models
from core.agent_config import AgentConfig, AgentConfigs, Billing, StoredConfig, UnusableAccount
from core.clock import Clock
from core.engine_choice import HOW_TO_GET, Engines, Outage
from core.engines.engine import Credentials, Engine, account_of
from core.words import Sentence, sentence

TITLES: Final[Mapping[str, Sentence]] = {
    "claude_api": sentence("Claude"),
    "claude_agent_sdk": sentence("Claude with the Agent SDK"),
    "claude_code_cli": sentence("Claude Code"),
    "runbook": sentence("Offline routines"),
}
"""Engines by the names that people know; one that is not here is called as it is."""


class Answers(StrEnum):
    """What a message to an engine would meet."""

    READY = "ready"
    NO_KEY = "no_key"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """An engine, as a team sees it."""

    name: str
    title: str
    answers: Answers
    sentence: str
    """What it does, or what is missing and how to get it, or why it is left alone."""
    until_ms: int | None
    """When it is tried again."""
    model: str
    """Empty when it needs none."""
    installation_key: bool
    team_key: bool
    default: bool
    """The installation's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesNow:
    """All of them."""

    default: str
    """The installation's."""
    team: str | None
    """What the team chose instead."""
    engines: tuple[EngineState, ...]
    unusable: str = ""
    """Why the account that the team chose pays for nothing, so that no model answers it."""


class TeamChoices(Protocol):
    """What a team chose."""

    async def read(self, tenant_id: str) -> StoredConfig:
        """The team's configuration, without its key. Raises ``StorageFailure``."""


class EngineStates:
    """Looks at them for a team. Outages are those that this process met."""

    def __init__(
        self, engines: Engines, configs: AgentConfigs, choices: TeamChoices, clock: Clock
    ) -> None:
        """Wire the ports."""
        self._engines = engines
        self._configs = configs
        self._choices = choices
        self._clock = clock

    async def of(self, tenant_id: str) -> EnginesNow:
        """What there is for this team. Raises ``StorageFailure``."""
        stored = await self._choices.read(tenant_id)
        unusable = ""
        try:
            config = await self._configs.of(tenant_id)
        except UnusableAccount as failure:
            config, unusable = failure.config, failure.sentence
        return EnginesNow(
            default=self._engines.default,
            team=stored.engine,
            engines=tuple(
                self._state(name, engine, stored, config, unusable if engine.has_model else "")
                for name, engine in self._engines.engines.items()
            ),
            unusable=unusable,
        )

    def _state(
        self, name: str, engine: Engine, stored: StoredConfig, config: AgentConfig, unusable: str
    ) -> EngineState:
        own = config.billing is Billing.OWN_KEY
        model = models.api_name(config.model or self._engines.model) if engine.has_model else ""
        outage = self._outage(name, config) if engine.has_model else None
        answers = Answers.READY
        if unusable or isinstance(self._engines.choose(name, named=True, own_key=own), str):
            answers = Answers.NO_KEY
        elif outage is not None:
            answers = Answers.PAUSED
        until = None if outage is None else self._clock.now_ms() + math.ceil(outage.left_s * 1000)
        return EngineState(
            name=name,
            title=TITLES.get(name, sentence("{name}", name=name)),
            answers=answers,
            sentence=unusable or _says(name, answers, model, outage),
            until_ms=until if answers is Answers.PAUSED else None,
            model=model,
            installation_key=engine.has_model and name not in self._engines.own_key_only,
            team_key=engine.has_model and own and stored.has_api_key,
            default=name == self._engines.default,
        )

    def _outage(self, name: str, config: AgentConfig) -> Outage | None:
        own = config.billing is Billing.OWN_KEY
        account = Credentials(api_key=config.api_key if own else None, billing=config.billing)
        return self._engines.circuits.outage(name, account_of(account))


def _says(name: str, answers: Answers, model: str, outage: Outage | None) -> Sentence:
    if answers is Answers.NO_KEY:
        how = HOW_TO_GET.get(name, sentence("ask the operator of this installation"))
        return sentence(
            "It has no account with the provider: {how}. Or an admin gives the team's own key.",
            how=how,
        )
    if outage is not None:
        return sentence(
            "{problem}. It is tried again in {seconds} s; meanwhile the next engine answers.",
            problem=outage.problem,
            seconds=math.ceil(outage.left_s),
        )
    if not model:
        return sentence("It answers common questions with fixed routines, without any model.")
    return sentence("It answers with {model}.", model=model)
