from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from core.fleet.fanout import fan_out, roll_out, stages
from core.fleet.host import ConnectionLost, HostUnreachable
from core.fleet.inventory import Server, ServerKind

SERVERS = tuple(
    Server(id=f"srv_{number}", tenant_id="ten_1", name=f"web-{number}", kind=ServerKind.SSH)
    for number in range(10)
)


async def _name(server: Server) -> str:
    await asyncio.sleep(0)
    if server.name == "web-3":
        raise HostUnreachable("web-3 is down.")
    if server.name == "web-4":
        raise ConnectionLost("web-4 was cut off.")
    return server.name


async def test_every_server_has_its_answer_in_its_place() -> None:
    """A server that cannot be reached costs the others nothing; an unknown outcome is marked."""
    answers = await fan_out(SERVERS, _name)
    assert [answer.server for answer in answers] == list(SERVERS)
    assert [answer.value for answer in answers if answer.value] == [
        server.name for server in SERVERS if server.name not in {"web-3", "web-4"}
    ]
    assert (answers[3].problem, answers[3].unknown) == ("web-3 is down.", False)
    assert (answers[4].problem, answers[4].unknown) == ("web-4 was cut off.", True)


async def test_an_unexpected_failure_ends_nothing_on_the_other_servers() -> None:
    """It is one server's unknown outcome, and the log has the rest."""
    failed, done = asyncio.Event(), []

    async def work(server: Server) -> str:
        if server.name == "web-0":
            failed.set()
            raise RuntimeError("a fault of ours")
        await failed.wait()
        await asyncio.sleep(0.01)
        done.append(server.name)
        return server.name

    with capture_logs() as logged:
        answers = await fan_out(SERVERS[:3], work)
    assert [answer.value for answer in answers] == [None, "web-1", "web-2"]
    assert done == ["web-1", "web-2"]
    assert answers[0].unknown
    assert "web-0" in answers[0].problem
    assert [entry["event"] for entry in logged] == ["fleet.failed"]


async def test_no_more_than_so_many_at_once() -> None:
    """A large fleet is worked through in bounded parallel."""
    running = peak = 0

    async def work(server: Server) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return 1

    await fan_out(SERVERS, work, most_at_once=3)
    assert peak == 3


async def test_a_cancelled_fan_out_leaves_no_work_behind() -> None:
    """Whoever cancels it knows that everything under it has ended."""
    began, ended = asyncio.Event(), []

    async def work(server: Server) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(server.name)

    task = asyncio.create_task(fan_out(SERVERS[:4], work))
    await began.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(ended) == 4


def test_one_some_all() -> None:
    """The stages of a rollout: one server, about a quarter, the rest."""
    assert stages(10) == (1, 4, 10)
    assert stages(100) == (1, 26, 100)
    assert [stages(count) for count in (0, 1, 2, 3)] == [(0,), (1,), (1, 2), (1, 2, 3)]


async def _rolled(*bad: int, down: tuple[int, ...] = ()) -> tuple[list[str], list[str]]:
    async def work(server: Server) -> str:
        await asyncio.sleep(0)
        if int(server.name[4:]) in down:
            raise HostUnreachable("It is down.")
        return server.name

    rolled = await roll_out(SERVERS, work, lambda name: int(name[4:]) not in bad)
    return [each.server.name for each in rolled.reached], [each.name for each in rolled.left]


async def test_a_rollout_without_failures_reaches_all() -> None:
    """Nobody is left when everything is well."""
    reached, left = await _rolled()
    assert reached == [server.name for server in SERVERS]
    assert left == []


async def test_a_rollout_stops_at_the_first_failure() -> None:
    """What fails on the first server touches no second one; in a stage, no further stage."""
    assert await _rolled(0) == (["web-0"], [f"web-{number}" for number in range(1, 10)])
    reached, left = await _rolled(2)
    assert (reached, len(left)) == (["web-0", "web-1", "web-2", "web-3"], 6)


async def test_an_unreachable_server_stops_a_rollout_too() -> None:
    """Not to know is no success."""
    reached, left = await _rolled(down=(0,))
    assert (reached, len(left)) == (["web-0"], 9)


async def test_what_waits_for_room_in_a_stage_is_not_begun_after_a_failure() -> None:
    """The failure counts at once, not only at the end of the stage."""
    rolled = await roll_out(SERVERS, _name, lambda name: name != "web-1", most_at_once=1)
    assert [each.server.name for each in rolled.reached] == ["web-0", "web-1"]
    assert len(rolled.left) == 8


async def test_a_rollout_over_nothing_is_nothing() -> None:
    """No servers, no stages."""
    rolled = await roll_out((), _name, bool)
    assert (rolled.reached, rolled.left) == ((), ())
