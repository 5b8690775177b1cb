"""What each engine can do for a team now, and why one of them answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from core.agent_config import AgentConfig, Billing, StoredConfig, UnusableAccount
from core.engine_choice import (
    BY_INSTALLATION,
    BY_MESSAGE,
    BY_TEAM,
    KEY_UNUSED,
    WITHOUT_KEY,
    Engines,
)
from core.engine_state import Answers, EngineStates
from core.engines.breaker import BreakerConfig, Breakers, Cause, Permit
from core.engines.engine import Credentials, account_of
from core.words import sentence
from tests.fakes.billing_desk import MovedClock
from tests.fakes.scripted_engine import ScriptedEngine

CAUSE = Cause(reason="overloaded", sentence="", problem=sentence("Anthropic is overloaded"))


def engine(name: str, *, has_model: bool = True) -> ScriptedEngine:
    """An engine that is never run."""
    return ScriptedEngine([], name=name, has_model=has_model)


@dataclass
class Team:
    """A team's configuration, as both ports tell it."""

    stored: StoredConfig = field(default_factory=StoredConfig)
    config: AgentConfig = field(default_factory=AgentConfig)
    broken: bool = False

    async def read(self, tenant_id: str) -> StoredConfig:
        """Without the key."""
        return self.stored

    async def of(self, tenant_id: str) -> AgentConfig:
        """With it."""
        if self.broken:
            raise UnusableAccount("The key cannot be read.", reason="key", config=self.config)
        return self.config


@dataclass
class World:
    """Engines of an installation, and a clock."""

    own_key_only: frozenset[str] = frozenset()
    clock: MovedClock = field(default_factory=lambda: MovedClock(1_000_000))
    team: Team = field(default_factory=Team)

    def __post_init__(self) -> None:
        """Two engines, and the circuits of this process."""
        self.breakers = Breakers(BreakerConfig(), lambda: self.clock.now_ms() / 1000)
        offline = engine("runbook", has_model=False)
        self.engines = Engines(
            engines={"claude_api": engine("claude_api"), "runbook": offline},
            default="runbook" if self.own_key_only else "claude_api",
            model="claude-sonnet-5-5",
            own_key_only=self.own_key_only,
            circuits=self.breakers,
        )

    async def told(self) -> dict[str, tuple[Answers, str]]:
        """What each engine answers, and the sentence."""
        states = EngineStates(self.engines, self.team, self.team, self.clock)
        now = await states.of("ten_1")
        return {state.name: (state.answers, state.sentence) for state in now.engines}

    def fail(self, credentials: Credentials, model: str = "m") -> None:
        """The provider fails an account twice, so that it is left alone."""
        breaker = self.breakers.of("claude_api", f"{account_of(credentials)}/{model}")
        for _ in range(2):
            permit = breaker.admit()
            assert isinstance(permit, Permit)
            breaker.failed(permit, CAUSE)


async def test_engines_say_what_they_answer_with() -> None:
    """One with a model names it; the offline one needs none."""
    world = World()
    assert await world.told() == {
        "claude_api": (Answers.READY, "It answers with claude-sonnet-5-5."),
        "runbook": (
            Answers.READY,
            "It answers common questions with fixed routines, without any model.",
        ),
    }


async def test_an_engine_without_a_key_says_how_to_get_one() -> None:
    """Until the team brings its own."""
    world = World(own_key_only=frozenset({"claude_api"}))
    answers, said = (await world.told())["claude_api"]
    assert answers is Answers.NO_KEY
    assert "set ANTHROPIC_API_KEY and restart IT0" in said
    world.team.config = AgentConfig(billing=Billing.OWN_KEY, api_key="sk-own-0123456789")
    world.team.stored = StoredConfig(config=AgentConfig(billing=Billing.OWN_KEY), api_key_hint="89")
    assert (await world.told())["claude_api"][0] is Answers.READY
    now = await EngineStates(world.engines, world.team, world.team, world.clock).of("ten_1")
    assert [(s.installation_key, s.team_key) for s in now.engines] == [
        (False, True),
        (False, False),
    ]


async def test_an_outage_tells_what_is_wrong_and_until_when() -> None:
    """Only for the account that met it; over when its pause is."""
    world = World()
    world.fail(Credentials(api_key="sk-other-0123456789"))
    assert (await world.told())["claude_api"][0] is Answers.READY
    world.fail(Credentials())
    assert (await world.told())["claude_api"] == (
        Answers.PAUSED,
        "Anthropic is overloaded. It is tried again in 10 s; meanwhile the next engine answers.",
    )
    now = await EngineStates(world.engines, world.team, world.team, world.clock).of("ten_1")
    assert [state.until_ms for state in now.engines] == [world.clock.now_ms() + 10_000, None]
    world.clock.at_ms += 10_000
    assert (await world.told())["claude_api"][0] is Answers.READY


async def test_an_unreadable_key_does_not_hide_the_engines() -> None:
    """No model answers until an admin mends it, as the sentence says; the offline engine does."""
    world = World()
    world.team.broken = True
    told = await world.told()
    assert told["claude_api"] == (Answers.NO_KEY, "The key cannot be read.")
    assert told["runbook"][0] is Answers.READY
    now = await EngineStates(world.engines, world.team, world.team, world.clock).of("ten_1")
    assert now.unusable == "The key cannot be read."


@pytest.mark.parametrize(
    ("own_key_only", "name", "named", "why"),
    [
        (frozenset[str](), "runbook", True, BY_MESSAGE),
        (frozenset[str](), "runbook", False, BY_TEAM),
        (frozenset[str](), None, False, BY_INSTALLATION),
        (frozenset({"claude_api"}), None, False, WITHOUT_KEY),
    ],
)
def test_the_reason_is_who_chose(
    own_key_only: frozenset[str], name: str | None, named: bool, why: str
) -> None:
    """The message before the team before the installation."""
    assert World(own_key_only=own_key_only).engines.reason(name, named=named) == why


def test_a_team_with_its_own_key_is_not_told_that_there_is_none() -> None:
    """Where fixed routines are the default it hears how its key comes into use."""
    keyless = World(own_key_only=frozenset({"claude_api"})).engines
    assert keyless.reason(None, named=False, own_key=True) == KEY_UNUSED
    assert World().engines.reason(None, named=False, own_key=True) == BY_INSTALLATION
