"""What a team may choose for its agent, and what it is warned of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.agent_config import (
    AgentConfig,
    Billing,
    ConfigChanges,
    DefaultAgentConfigs,
    StoredConfig,
)
from core.agent_rules import AgentRules, KnownModels
from core.engine_choice import Engines
from tests.fakes.scripted_engine import ScriptedEngine


class At:
    """A clock that stands still."""

    def __init__(self, year: int, month: int, day: int) -> None:
        """At midnight, UTC."""
        self._at = datetime(year, month, day, tzinfo=UTC)

    def now_ms(self) -> int:
        """That moment."""
        return int(self._at.timestamp() * 1000)


def rules(*, login: bool = True) -> AgentRules:
    """Those of an installation with one engine and two tools."""
    engines = Engines(
        engines={"scripted": ScriptedEngine([]), "costly": ScriptedEngine([], name="costly")},
        default="scripted",
        model="claude-sonnet-5-5",
        own_key_only=frozenset({"costly"}),
    )
    return AgentRules(
        engines=engines,
        tools=frozenset({"look", "restart"}),
        operator_login=login,
        models=KnownModels(At(2026, 11, 22)),
    )


ALONE = StoredConfig(only_tenant=True)
OWN = StoredConfig(config=AgentConfig(billing=Billing.OWN_KEY), api_key_hint="LAST")

CASES: tuple[tuple[StoredConfig, ConfigChanges, bool, str | None], ...] = (
    (ALONE, ConfigChanges(), True, None),
    (ALONE, ConfigChanges(billing=Billing.OWN_KEY), True, "own_key_missing"),
    (ALONE, ConfigChanges(billing=Billing.OWN_KEY, api_key="k"), True, None),
    (ALONE, ConfigChanges(api_key="k"), True, None),
    (OWN, ConfigChanges(api_key=None), True, "own_key_missing"),
    (OWN, ConfigChanges(api_key=None, billing=Billing.INSTALLATION), True, None),
    (OWN, ConfigChanges(billing=Billing.OWN_KEY), True, None),
    (ALONE, ConfigChanges(billing=Billing.SUBSCRIPTION), True, None),
    (ALONE, ConfigChanges(billing=Billing.SUBSCRIPTION), False, "no_operator_login"),
    (StoredConfig(), ConfigChanges(billing=Billing.SUBSCRIPTION), True, "several_tenants"),
    (ALONE, ConfigChanges(engine="scripted"), True, None),
    (ALONE, ConfigChanges(engine=None), True, None),
    (ALONE, ConfigChanges(engine="claude_api"), True, "unknown_engine"),
    (ALONE, ConfigChanges(engine="costly"), True, "unknown_engine"),
    (OWN, ConfigChanges(engine="costly"), True, None),
    (OWN, ConfigChanges(engine="costly", billing=Billing.INSTALLATION), True, "unknown_engine"),
    (ALONE, ConfigChanges(engine="x\n**y**"), True, "unknown_engine"),
)


@pytest.mark.parametrize(("stored", "changes", "login", "code"), CASES)
def test_what_cannot_work_is_refused(
    stored: StoredConfig, changes: ConfigChanges, login: bool, code: str | None
) -> None:
    """Each refusal has a code and says what to do instead."""
    refused = rules(login=login).refusal(stored, changes)
    assert (refused and refused.code) == code


def test_what_stopped_being_right_stops_no_other_change() -> None:
    """An account or an engine that is no longer possible is judged when it is chosen, not later."""
    config = AgentConfig(billing=Billing.SUBSCRIPTION)
    stored = StoredConfig(config=config, engine="gone")
    assert rules(login=False).refusal(stored, ConfigChanges(model="m", denied_tools=())) is None


def test_mistakes_that_may_be_none_are_warned_of() -> None:
    """Unknown tools and models, and a model that ends soon, are allowed and pointed out."""
    config = AgentConfig(
        model="claude-sonnet-4-5", allowed_tools=("look", "lok"), denied_tools=("restart", "rm")
    )
    said = [str(warning) for warning in rules().warnings(StoredConfig(config=config))]
    ends = "The model claude-sonnet-4-5 ends on 2026-11-30."
    assert said == [
        f"{ends} Set your team's model to claude-sonnet-5-5 before.",
        "There is no tool 'lok' here (allowed_tools).",
        "There is no tool 'rm' here (denied_tools).",
    ]
    unknown = rules().warnings(StoredConfig(config=AgentConfig(model="gpt-oss")))
    assert "does not know the model gpt-oss" in str(unknown[0])
    fine = AgentConfig(model="claude-opus-5-5", denied_tools=("look",))
    assert rules().warnings(StoredConfig(config=fine)) == ()


@pytest.mark.parametrize(
    ("engine", "warned"), [("claude_api", 1), ("scripted", 0), (None, 0), ("gone", 0)]
)
def test_an_engine_that_cannot_use_the_login_is_pointed_out(
    engine: str | None, warned: int
) -> None:
    """With the operator's login alone; an account with a key serves every engine."""
    for billing, expected in ((Billing.SUBSCRIPTION, warned), (Billing.OWN_KEY, 0)):
        stored = StoredConfig(config=AgentConfig(billing=billing), engine=engine)
        said = [text for text in rules().warnings(stored) if "operator's login" in text]
        assert len(said) == expected


@pytest.mark.parametrize(
    ("engine", "billing", "warned"),
    [
        ("gone", Billing.OWN_KEY, True),
        ("costly", Billing.INSTALLATION, True),
        ("costly", Billing.OWN_KEY, False),
        (None, Billing.INSTALLATION, False),
    ],
)
def test_an_engine_that_cannot_answer_any_more_is_pointed_out(
    engine: str | None, billing: Billing, warned: bool
) -> None:
    """It was chosen before it was taken away, or before the account was changed."""
    stored = StoredConfig(config=AgentConfig(billing=billing), engine=engine)
    assert any("Configured: scripted" in text for text in rules().warnings(stored)) == warned


async def test_without_a_store_everybody_has_the_defaults() -> None:
    """Nothing is denied, the installation pays."""
    assert await DefaultAgentConfigs().of("ten_1") == AgentConfig()
