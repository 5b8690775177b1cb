"""What a model call cost: recorded with its usage, at the prices of its day, or as unknown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
import structlog
from prometheus_client import REGISTRY

from core import telemetry
from core.metering import CallRequest, Settlement, Usage
from core.turns import Turn
from storage.database import Database, execute
from storage.inspection import ChosenModel, model_use
from storage.metering import RecordingMeter, UnpricedCalls, settle, settle_lost, unpriced
from storage.postgres import PostgresDatabase
from tests.storage.kit import install
from tests.storage.racing import blocked, in_flight, leased, rows

USAGE = Usage(
    input_tokens=3,
    output_tokens=5,
    cache_read_tokens=7,
    cache_write_5m_tokens=11,
    cache_write_1h_tokens=13,
)
SONNET = 3 * 2_000_000 + 5 * 10_000_000 + 7 * 100_000 + 11 * 2_500_000 + 13 * 4_000_000
NOW_ID = "claude-sonnet-5-5/2026-10-07/0+"


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is a process of its own: no model was complained about."""
    monkeypatch.setattr(telemetry, "_unpriced", set())
    monkeypatch.setattr("storage.metering._log", structlog.get_logger())  # none keeps an old setup


async def reserve(
    db: Database, turn: Turn, model: str, number: int = 1, *, own_key: bool = False
) -> str:
    """Admit a call of the turn on a day of November 2026; returns its id."""
    call = CallRequest(
        id=f"{turn.id}.{turn.attempt}.{number}",
        tenant_id=turn.tenant_id,
        conversation_id=turn.conversation_id,
        turn_id=turn.id,
        user_id=turn.user.id,
        engine="e",
        model=model,
        estimated_input=1_000,
        max_output=10,
        own_key=own_key,
    )
    await RecordingMeter(db).reserve(call)
    await made_at(db, call.id, datetime(2026, 11, 22, tzinfo=UTC))
    return call.id


async def made_at(db: Database, call_id: str, when: datetime) -> None:
    """The call was admitted then."""
    at = int(when.timestamp()) * 1000

    def write(conn: sa.Connection) -> None:
        execute(conn, "UPDATE model_calls SET created_at = :at WHERE id = :id", at=at, id=call_id)

    await db.transaction(write)


async def settled(db: Database, call_id: str, usage: Usage = USAGE) -> None:
    """Settle the call."""
    await db.transaction(settle, Settlement(call_id=call_id, usage=usage))


async def bill(db: Database, call_id: str) -> tuple[object, ...]:
    """What the row of the call says of its cost."""
    sql = "SELECT state, cost_pico, price FROM model_calls WHERE id = :id"
    return (await rows(db, sql, id=call_id))[0]


def counted(model: str) -> float:
    """The alarm's counter."""
    return REGISTRY.get_sample_value("it0_unpriced_calls_total", {"model": model}) or 0


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "sonnet", "claude-sonnet-5-5[1m]"])
async def test_a_settled_call_has_its_cost_and_its_prices(db: Database, model: str) -> None:
    """Exact pico-USD over all five buckets, and which prices they are; open calls have none."""
    call = await reserve(db, await leased(db, await install(db)), model)
    assert await bill(db, call) == ("reserved", None, None)
    await settled(db, call)
    assert await bill(db, call) == ("settled", SONNET, NOW_ID)
    assert await db.read(unpriced) == ()


async def test_the_first_settlement_counts(db: Database) -> None:
    """A second one changes neither usage nor cost, and raises no alarm."""
    call = await reserve(db, await leased(db, await install(db)), "claude-sonnet-5-5")
    await settled(db, call)
    await settled(db, call, Usage(input_tokens=10**6))
    await settled(db, "turn_x.1.1")
    assert await bill(db, call) == ("settled", SONNET, NOW_ID)


@pytest.mark.postgres
async def test_of_two_settlements_at_once_one_counts(pg: PostgresDatabase) -> None:
    """The one that waited for the other's commit finds the call settled, and changes nothing."""
    call = await reserve(pg, await leased(pg, await install(pg)), "claude-sonnet-5-5")
    async with in_flight(pg) as conn:
        await conn.run_sync(settle, Settlement(call_id=call, usage=USAGE))
        late = asyncio.create_task(settled(pg, call, Usage(input_tokens=10**6)))
        await blocked(pg)
    await late
    assert await bill(pg, call) == ("settled", SONNET, NOW_ID)


async def test_a_call_is_priced_as_on_its_day(db: Database) -> None:
    """What counts is when it was admitted, not when it was settled."""
    call = await reserve(db, await leased(db, await install(db)), "claude-sonnet-5-5")
    await made_at(db, call, datetime(2026, 10, 6, 23, 59, 59, tzinfo=UTC))
    await settled(db, call)
    older = "claude-sonnet-5-5/2026-01-01/0+"
    assert await bill(db, call) == ("settled", SONNET + 7 * 100_000, older)


async def test_a_lost_call_costs_its_estimate(db: Database) -> None:
    """What a crash cut off is priced like everything else."""
    turn = await leased(db, await install(db))
    call = await reserve(db, turn, "claude-opus-5-5")
    await db.transaction(settle_lost, turn.id)
    price = "claude-opus-5-5/2026-01-01/0+"
    assert await bill(db, call) == ("estimated", 1_000 * 4_000_000, price)


async def test_usage_and_cost_are_written_together_or_not_at_all(db: Database) -> None:
    """A transaction that fails after the settlement leaves the call open and without cost."""
    call = await reserve(db, await leased(db, await install(db)), "claude-opus-5-5")

    def fail(conn: sa.Connection) -> None:
        settle(conn, Settlement(call_id=call, usage=USAGE))
        raise LookupError

    with pytest.raises(LookupError):
        await db.transaction(fail)
    assert await bill(db, call) == ("reserved", None, None)


async def test_an_unknown_model_raises_an_alarm(db: Database) -> None:
    """Its cost stays unknown, each call counts, and the log says it once."""
    turn = await leased(db, await install(db))
    calls = [await reserve(db, turn, "my-model", number) for number in range(3)]
    before = counted("my-model")
    with structlog.testing.capture_logs() as logged:
        await settled(db, calls[0])
        await settled(db, calls[0])
        await settled(db, calls[1], Usage())
        await db.transaction(settle_lost, turn.id)
    for call, state in zip(calls, ["settled", "settled", "estimated"], strict=True):
        assert await bill(db, call) == (state, None, None)
    assert counted("my-model") == before + 3
    alarm = {"event": "usage.unpriced", "log_level": "error", "model": "my-model"}
    assert logged == [alarm | {"reason": "unknown_model"}]


@pytest.mark.parametrize("usage", [Usage(output_tokens=2**60), Usage(input_tokens=-1)])
async def test_nonsense_of_a_provider_is_settled_as_the_estimate(
    db: Database, usage: Usage
) -> None:
    """What nobody can have used is neither recorded nor billed; the turn goes on."""
    call = await reserve(db, await leased(db, await install(db)), "claude-opus-5-5")
    with structlog.testing.capture_logs() as logged:
        await settled(db, call, usage)
    price = "claude-opus-5-5/2026-01-01/0+"
    assert await bill(db, call) == ("estimated", 1_000 * 4_000_000 + 10 * 20_000_000, price)
    assert [entry["event"] for entry in logged] == ["usage.impossible"]
    assert await rows(db, "SELECT used, reserved FROM quota_counters") == [(1_010, 0)]


async def test_the_check_lists_calls_without_a_cost(db: Database) -> None:
    """By model, most calls first; open calls and priced ones are not among them."""
    turn = await leased(db, await install(db))
    for number, model in enumerate(("b", "a", "c", "b", "claude-opus-5", "claude-opus-5")):
        call = await reserve(db, turn, model, number)
        if number != 4:
            await settled(db, call)
    await reserve(db, turn, "open", 9)
    one = [UnpricedCalls(model=model, calls=1) for model in ("a", "c")]
    assert await db.read(unpriced) == (UnpricedCalls(model="b", calls=2), *one)
    assert await db.read(unpriced, limit=1) == (UnpricedCalls(model="b", calls=2),)


async def test_whose_account_pays_is_recorded(db: Database) -> None:
    """A call on the tenant's own key is told from one on the installation's."""
    turn = await leased(db, await install(db))
    await reserve(db, turn, "claude-opus-5", 1)
    await reserve(db, turn, "claude-opus-5", 2, own_key=True)
    assert await rows(db, "SELECT own_key FROM model_calls ORDER BY id") == [(0,), (1,)]


async def test_the_models_that_teams_chose_are_found(db: Database) -> None:
    """By model, with the names of the teams; who chose nothing is not among them."""
    user = await install(db)

    def choose(conn: sa.Connection) -> None:
        for tenant, name, model in (
            ("ten_b", "B", "claude-2.1"),
            ("ten_c", "C", None),
            (user.tenant_id, "", "claude-2.1"),
        ):
            if name:
                execute(
                    conn,
                    "INSERT INTO tenants (id, name, created_at) VALUES (:id, :name, 1)",
                    id=tenant,
                    name=name,
                )
            execute(
                conn,
                "INSERT INTO agent_configs (tenant_id, billing, api_key_hint, model, denied_tools,"
                " approval_timeout_s, on_timeout, prompt_addition, version, updated_at, updated_by)"
                " VALUES (:id, 'installation', '', :model, '[]', 120, 'deny', '', 1, 1, '')",
                id=tenant,
                model=model,
            )

    await db.transaction(choose)
    found = await db.read(model_use)
    assert found.chosen == (ChosenModel(model="claude-2.1", teams=("B", "Team Ü")),)


def test_people_cannot_fill_the_metrics_with_names() -> None:
    """So many models get a label; what else is asked for is counted together, and said once."""
    named = [telemetry.count_unpriced(f"model-{number}") for number in range(60)]
    assert named == [True] * 51 + [False] * 9
    assert counted("model-55") == 0
    assert counted("other") >= 10
    assert not telemetry.count_unpriced("model-1")
    assert counted("model-1") == 2
