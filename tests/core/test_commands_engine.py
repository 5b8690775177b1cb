"""``/engine``: what answers, why, what else could, and who may change it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from core.agent_config import AgentConfig, Billing, StoredConfig
from core.agent_rules import KnownModels
from core.clock import SystemClock
from core.commands_engine import EngineCommand
from core.engine_choice import HOW_TO_GET, Engines
from core.messages import ConversationAddress, Overlap
from core.tenants import Role, User
from core.turns import Ending, Outcome, Turn, TurnKind
from tests.fakes.scripted_engine import ScriptedEngine

ENGINES = Engines(
    engines={
        "runbook": ScriptedEngine([], name="runbook", has_model=False),
        "scripted": ScriptedEngine([]),
        "costly": ScriptedEngine([], name="costly"),
    },
    default="scripted",
    model="claude-sonnet-5-5",
    own_key_only=frozenset({"costly"}),
)


@dataclass
class Team:
    """Both ports, in memory; ``changes`` are what it was asked to do."""

    stored: StoredConfig = field(default_factory=StoredConfig)
    changes: list[tuple[str, str | None]] = field(default_factory=list)

    async def set_engine(self, turn: Turn, engine: str | None) -> None:
        """Remember it."""
        self.changes.append((f"engine of {turn.tenant_id}", engine))
        self.stored = replace(self.stored, engine=engine)

    async def set_model(self, turn: Turn, model: str | None) -> None:
        """Remember it."""
        self.changes.append((f"model of {turn.tenant_id}", model))
        self.stored = replace(self.stored, config=AgentConfig(model=model))

    async def read(self, tenant_id: str) -> StoredConfig:
        """What was remembered."""
        assert tenant_id == "ten_1"
        return self.stored

    async def ask(self, rest: str = "", *, role: Role = Role.ADMIN, **turn: object) -> Ending:
        """Send ``/engine rest``."""
        command = EngineCommand(ENGINES, self, self, KnownModels(SystemClock()))
        return await command.handlers()["engine"](_turn(role, **turn), rest)


def _turn(role: Role, **more: object) -> Turn:
    made = Turn(
        id="trn_1",
        tenant_id="ten_1",
        conversation_id="cnv_1",
        seq=1,
        epoch=1,
        attempt=1,
        failures=0,
        kind=TurnKind.COMMAND,
        event_id="e",
        user=User(id="usr_1", tenant_id="ten_1", email="a@example.com", name="A", role=role),
        address=ConversationAddress(platform="api", workspace="", channel="c", thread=""),
        text="/engine",
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=0,
    )
    return replace(made, **more)  # type: ignore[arg-type]  # the test names the fields


async def test_it_says_what_answers_and_why() -> None:
    """Message before team before installation, for engine and model alike; to everybody."""
    team = Team()
    said = (await team.ask(role=Role.VIEWER)).reply
    assert "- Engine: **scripted** (the installation's default)" in said
    assert "- Model: **claude-sonnet-5-5** (the installation's default)" in said
    team.stored = StoredConfig(engine="scripted", config=AgentConfig(model="claude-opus-5-5"))
    said = (await team.ask(engine="scripted")).reply
    assert "- Engine: **scripted** (your team's choice)" in said
    assert "- Model: **claude-opus-5-5** (your team's choice)" in said
    said = (await team.ask(engine="runbook", engine_named=True)).reply
    assert "- Engine: **runbook** (chosen for this message)" in said
    assert "- Model: none; this engine answers without one" in said
    said = (await team.ask(model="claude-haiku-5-5")).reply
    assert "- Model: **claude-haiku-5-5** (chosen for this message)" in said
    assert team.changes == []


async def test_it_lists_the_engines_and_how_to_get_the_others() -> None:
    """What is configured by name; what is not with what it needs; then how to change it."""
    said = (await Team().ask()).reply
    assert "Engines here: `runbook`, `scripted`." in said
    for name, how in HOW_TO_GET.items():
        assert f"- `{name}`: {how}" in said
    assert "`/engine NAME MODEL`" in said


async def test_an_engine_without_an_account_serves_teams_with_their_own_key() -> None:
    """The installation cannot pay for it: others neither see it here nor get it."""
    team = Team()
    assert "costly" not in (await team.ask()).reply
    assert (await team.ask("costly")).outcome is Outcome.REFUSED
    own = AgentConfig(billing=Billing.OWN_KEY)
    rich = Team(StoredConfig(config=own, api_key_hint="LAST"))
    assert "Engines here: `runbook`, `scripted`, `costly`." in (await rich.ask()).reply
    assert (await rich.ask("costly")).outcome is Outcome.ANSWERED
    assert "- Engine: **costly** (your team's choice)" in (await rich.ask()).reply
    assert team.changes == []


async def test_a_choice_that_is_gone_is_explained() -> None:
    """A team whose engine is no longer configured is told so, and what there is."""
    team = Team(StoredConfig(engine="gone"))
    said = (await team.ask()).reply
    assert "There is no engine 'gone'." in said
    assert "Engines here:" in said


@pytest.mark.parametrize(
    ("rest", "changes"),
    [
        ("scripted", [("engine of ten_1", "scripted")]),
        ("`Runbook`", [("engine of ten_1", "runbook")]),
        ("default", [("engine of ten_1", None)]),
        ("model claude-opus-5-5", [("model of ten_1", "claude-opus-5-5")]),
        ("MODEL `claude-opus-5-5[1m]`", [("model of ten_1", "claude-opus-5-5[1m]")]),
        ("model default", [("model of ten_1", None)]),
        (
            "scripted claude-opus-5-5",
            [("engine of ten_1", "scripted"), ("model of ten_1", "claude-opus-5-5")],
        ),
        ("default default", [("engine of ten_1", None), ("model of ten_1", None)]),
    ],
)
async def test_an_admin_changes_engine_and_model(
    rest: str, changes: list[tuple[str, str | None]]
) -> None:
    """Each alone or both at once, and back to what the installation has."""
    team = Team()
    ending = await team.ask(rest)
    assert ending.outcome is Outcome.ANSWERED
    assert team.changes == changes
    assert ending.reply.count("**") == 2 * len(changes)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("nonsense", "There is no engine 'nonsense'"),
        ("scripted not,a,model", "no name of a model"),
        ("nonsense claude-opus-5-5", "There is no engine 'nonsense'"),
        ("model `;DROP`", "no name of a model"),
        ("model " + "m" * 129, "no name of a model"),
        ("model", "An admin changes it with"),
        ("model a b", "An admin changes it with"),
        ("scripted a b", "An admin changes it with"),
    ],
)
async def test_what_cannot_be_chosen_changes_nothing(rest: str, said: str) -> None:
    """Neither the engine nor the model, when one of them is wrong."""
    team = Team()
    ending = await team.ask(rest)
    assert ending.outcome is Outcome.REFUSED
    assert said in ending.reply
    assert team.changes == []


@pytest.mark.parametrize("rest", ["scripted", "default", "model default", "model", "x y z"])
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_admins_change_anything(rest: str, role: Role) -> None:
    """Others get a sentence that says who may."""
    team = Team()
    ending = await team.ask(rest, role=role)
    assert ending.outcome is Outcome.REFUSED
    assert "Only an admin" in ending.reply
    assert team.changes == []


async def test_a_doubtful_model_is_taken_with_a_warning() -> None:
    """An unknown or ended model is set, and the answer says what is wrong; so does ``/engine``."""
    team = Team()
    unknown = (await team.ask("model gpt-oss")).reply
    assert "**gpt-oss** from now on" in unknown
    assert "does not know the model gpt-oss" in unknown
    assert "does not know the model gpt-oss" in (await team.ask()).reply
    ended = (await team.ask("model claude-3-opus-20240229")).reply
    assert "ended on 2026-01-05" in ended
    assert "Set your team's model to claude-opus-5-5" in ended


async def test_nobody_writes_markup_into_the_answer() -> None:
    """Names that people chose stay text."""
    for ending in (
        await Team(StoredConfig(engine="[x](http://evil)")).ask(),
        await Team().ask("[x](http://evil)"),
    ):
        assert "[x](" not in ending.reply
    refused = await Team().ask("model [x](http://evil)")
    assert refused.reply.startswith("`[x](http://evil)` is no name")
