"""`it0 check` warns of models that end, of unknown ones, and of calls without a cost."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from checks import check, model_warnings
from core.keys import load_or_make
from settings import Settings
from storage.database import Database, execute
from storage.inspection import ChosenModel, ModelUse
from storage.metering import UnpricedCalls
from tests.storage.kit import accept, answer, install, message
from tests.storage.places import KINDS, Places, opened

TODAY = date(2026, 11, 22)
FINE = "claude-sonnet-5-5"


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    """Installations, dropped afterwards."""
    made = Places(tmp_path, request, [])
    yield made
    for url in made.urls:
        request.getfixturevalue("postgres_server").drop_database(url)


def test_a_good_installation_gets_no_warning() -> None:
    """A known model that stays, alone or chosen by a team, is not worth a word."""
    chosen = (ChosenModel(model="claude-haiku-4-5-20251001", teams=("A",)),)
    assert model_warnings(FINE, ModelUse(), TODAY) == []
    assert model_warnings("claude-opus-4-8[1m]", ModelUse(chosen=chosen), TODAY) == []


def test_the_installations_model_is_looked_at() -> None:
    """It ends soon, has ended, or is one whose cost nobody knows."""
    soon = "The model claude-sonnet-4-5 ends on 2026-11-30. Set IT0_MODEL to claude-sonnet-5-5"
    assert model_warnings("claude-sonnet-4-5", ModelUse(), TODAY) == [f"IT0_MODEL: {soon} before."]
    (ended,) = model_warnings("claude-opus-4-0", ModelUse(), TODAY)
    assert ended.startswith("IT0_MODEL: The model claude-opus-4-0 ended on 2026-06-15")
    (unknown,) = model_warnings("claude-opsu-5", ModelUse(), TODAY)
    assert unknown.startswith("IT0_MODEL: IT0 does not know the model claude-opsu-5")
    assert "unknown" in unknown


def test_the_models_of_teams_are_looked_at() -> None:
    """One line a model, with some of the teams that chose it."""
    use = ModelUse(
        chosen=(
            ChosenModel(model="claude-sonnet-4-5", teams=("A", "B", "C", "D", "E")),
            ChosenModel(model=FINE, teams=("F",)),
            ChosenModel(model="mine", teams=("G", "H", "I")),
        )
    )
    ends, unknown = model_warnings(FINE, use, TODAY)
    assert ends == (
        "Chosen by A, B, C and 2 more: The model claude-sonnet-4-5 ends on 2026-11-30."
        " Set their model to claude-sonnet-5-5 before."
    )
    assert unknown.startswith("Chosen by G, H, I: IT0 does not know the model mine")


def test_calls_without_a_cost_are_counted() -> None:
    """By model, with the reason: a model that is known now was not, or something was wrong."""
    use = ModelUse(
        unpriced=(UnpricedCalls(model="mine", calls=1234), UnpricedCalls(model=FINE, calls=1))
    )
    unknown, known = model_warnings(FINE, use, TODAY)
    assert unknown.startswith("Unknown cost of 1,234 calls of the model mine: this version")
    assert known.startswith(f"Unknown cost of 1 call of the model {FINE}: recorded by an older")


async def _choose(db: Database, tenant_id: str, model: str) -> None:
    def write(conn: sa.Connection) -> None:
        execute(
            conn,
            "INSERT INTO agent_configs (tenant_id, billing, api_key_hint, model, denied_tools,"
            " approval_timeout_s, on_timeout, prompt_addition, version, updated_at, updated_by)"
            " VALUES (:id, 'installation', '', :model, '[]', 120, 'deny', '', 1, 1, '')",
            id=tenant_id,
            model=model,
        )
        execute(conn, "UPDATE tenants SET name = :name", name="Ops \x1b[2J\u202eTeam")

    await db.transaction(write)


@pytest.mark.parametrize("kind", KINDS)
async def test_check_reads_the_database(places: Places, kind: str) -> None:
    """What teams chose and what has no cost is said, without a byte that a terminal obeys."""
    place = places.new(kind, "data")
    async with opened(place) as db:
        admin = await install(db, place.data_dir)
        turn = (await accept(db, message(admin, 1))).leased
        assert turn is not None
        await answer(db, turn)
        await _choose(db, admin.tenant_id, "claude-2.1")
    key = (place.data_dir / "secret.key").read_text().strip() if kind != "sqlite" else ""
    more = {"IT0_DATABASE_URL": str(place.database), "IT0_SECRET_KEY": key} if key else {}
    settings = Settings.from_environment({"IT0_DATA_DIR": str(place.data_dir), **more}, None)
    out = io.StringIO()
    assert await check(settings, out) == 0
    warnings = [line for line in out.getvalue().splitlines() if line.startswith("WARNING")]
    chosen, unpriced = warnings
    assert chosen.startswith("WARNING Chosen by Ops Team: The model claude-2.1 ended on 2025-07")
    assert unpriced.startswith("WARNING Unknown cost of 1 call of the model m: this version")


async def test_an_installation_that_is_not_made_yet_has_only_its_settings(tmp_path: Path) -> None:
    """Without a database the installation's own model is still looked at; nothing is made."""
    data = tmp_path / "data"
    given = {"IT0_DATA_DIR": str(data), "IT0_MODEL": "claude-2.1"}
    out = io.StringIO()
    assert await check(Settings.from_environment(given, None), out) == 0
    assert "WARNING IT0_MODEL: The model claude-2.1 ended" in out.getvalue()
    assert not data.exists()


async def test_a_database_without_tables_is_no_fault(tmp_path: Path) -> None:
    """There are no models in it to look at; the first start makes the tables."""
    (tmp_path / "it0.db").touch()
    load_or_make(tmp_path)
    out = io.StringIO()
    settings = Settings.from_environment({"IT0_DATA_DIR": str(tmp_path)}, None)
    assert await check(settings, out) == 0
    assert "Storage  not made yet" in out.getvalue()
    assert "WARNING" not in out.getvalue()
