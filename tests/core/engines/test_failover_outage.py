"""FailoverEngine in outages: the real claude_api and scripted engines that give no sign."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from core.engines.breaker import BreakerConfig, Breakers, BreakerState
from core.engines.claude_api import ClaudeApiEngine
from core.engines.failover import FailoverEngine
from core.engines.watch import Patience
from core.errors import EngineFailure
from core.events import EngineChanged, Notice, TextReset, ToolStarted
from core.steps import ToolCall
from tests.contracts.engine_kit import RunbookKit, Turn, claude_config
from tests.core.engines.test_breaker import Seconds
from tests.core.engines.test_failover import Chain, down, first, offline
from tests.fakes.anthropic import SECRET_WORD, FakeAnthropic
from tests.fakes.scripted_engine import Fail, Say, ScriptedEngine, Tell, Until

HURRIED = Patience(engine_s=0.25, turn_s=0.4, share_s=0.15, start_s=0.25)
LOOK = ToolCall(id="t1", name="look")
SILENT = (
    "The engine first got no answer from Anthropic in time; the offline engine (offline) answers."
)


def never() -> Until:
    """Wait for something that does not come."""
    return Until(asyncio.Event())


async def test_an_engine_that_gives_no_sign_is_given_up() -> None:
    """The next one answers; two such turns open the circuit, then nobody waits."""
    engine = first(never())
    chain = Chain([engine, offline()], patience=HURRIED)
    for _ in range(3):
        turn = await chain.play()
        assert turn.events[0] == EngineChanged(engine="offline", reason=SILENT)
    assert len(engine.requests) == engine.closed_early == 2
    assert chain.state() is BreakerState.OPEN


async def test_two_silent_engines_share_the_patience_of_the_turn() -> None:
    """The offline engine answers after both, and says it once."""
    silent = ScriptedEngine([never()], name="second")
    chain = Chain([first(never()), silent, offline()], patience=HURRIED)
    turn = await chain.play()
    assert turn.shown == "Disk is fine."
    assert [change.engine for change in turn.of(EngineChanged)] == ["offline"]
    assert silent.closed_early == 1


async def test_a_model_that_thinks_is_not_disturbed() -> None:
    """Once the provider has said a word, silence is not an outage."""
    chain = Chain([first(Say("I thought.", pause_s=0.5)), offline()], patience=HURRIED)
    turn = await chain.play()
    assert turn.shown == "I thought."
    assert not turn.of(EngineChanged)


async def test_a_retry_in_the_middle_of_a_turn_has_the_same_patience() -> None:
    """The provider went away after a tool ran: what is committed stays, the tool ran once."""
    again = Tell(Notice(text="Anthropic is busy; trying again."))
    chain = Chain(
        [first(Say("Looking.", tools=(LOOK,)), again, never()), offline(Say(""), Say("Fine."))],
        patience=HURRIED,
    )
    turn = await chain.play()
    assert turn.shown == "Looking.\n\nFine."
    assert turn.ran == {"look": 1}
    assert not turn.of(TextReset)
    assert [change.reason for change in turn.of(EngineChanged)] == [SILENT]


async def test_a_tool_may_take_its_time() -> None:
    """Waiting for an approval is not waiting for the provider."""

    class SlowTurn(Turn):
        async def _run(self, call: ToolCall) -> object:  # type: ignore[override]
            await asyncio.sleep(0.5)
            return await super()._run(call)

    chain = Chain([first(Say("", tools=(LOOK,)), Say("Fine.")), offline()], patience=HURRIED)
    turn = await chain.play(SlowTurn())
    assert turn.shown == "Fine."
    assert not turn.of(EngineChanged)


async def test_a_summary_is_left_to_models_and_takes_its_wait_from_the_turn() -> None:
    """An offline engine cannot summarise; the turn after it does not wait a second time."""
    engine = first(never())
    chain = Chain([engine, offline()], patience=replace(HURRIED, turn_s=0.25))
    turn = Turn()
    with pytest.raises(EngineFailure) as failure:
        await chain.play(turn, ephemeral=True)
    assert failure.value.reason == "stalled"
    assert not turn.events
    assert (await chain.play(turn)).events[0] == EngineChanged(engine="offline", reason=SILENT)
    assert len(engine.requests) == 1
    assert (await chain.play()).shown == "Disk is fine."
    assert len(engine.requests) == 2


async def test_a_summary_with_an_open_circuit_fails_at_once() -> None:
    """Compaction goes on without it."""
    engine = first(down())
    chain = Chain([engine, offline()])
    for _ in range(2):
        await chain.play()
    with pytest.raises(EngineFailure, match="cannot be reached"):
        await chain.play(ephemeral=True)
    assert len(engine.requests) == 2


# -- the real engine ------------------------------------------------------------------------


@asynccontextmanager
async def real_chain(url: str, patience: Patience) -> AsyncIterator[Chain]:
    """claude_api as it ships (three tries, a minute of silence), then the real runbook."""
    engine = ClaudeApiEngine(claude_config(url, stall_timeout_s=60))
    await asyncio.to_thread(engine.warm)
    async with RunbookKit().start() as runbook:
        yield Chain([engine, runbook], patience=patience)
    await engine.aclose()


async def check_outage(url: str, said: str, problem: str, patience: Patience) -> None:
    """Two turns answered by the runbook with the cause; the third asks nobody else first."""
    async with real_chain(url, patience) as chain:
        turns = [Turn(), Turn(), Turn()]
        for turn in turns:
            await turn.play(chain.engine, turn.request(f"look around {said}"))
            assert turn.shown.startswith("look is fine")
            (changed,) = turn.of(EngineChanged)
            assert changed.reason == f"{problem}; the offline engine (runbook) answers."
            assert turn.events.index(changed) < turn.events.index(turn.of(ToolStarted)[0])
            assert SECRET_WORD not in changed.reason
        assert chain.state("claude_api") is BreakerState.OPEN
        assert not turns[2].meter.reserved


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("[[status 529]]", "Anthropic is overloaded"),
        ("[[status 500]]", "Anthropic has an internal problem"),
        ("[[drop 0]]", "The connection to Anthropic broke"),
        ("[[status 429 retry-after=900]]", "The rate limit of the Anthropic API key is reached"),
        ("[[status 401]]", "Anthropic refuses the API key"),
    ],
)
async def test_an_outage_that_is_told_is_answered_by_the_runbook(said: str, problem: str) -> None:
    """The engine's own tries come to their end before the patience does."""
    async with FakeAnthropic() as fake:
        await check_outage(fake.url, said, problem, Patience())


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("[[hang]]", "The engine claude_api got no answer from Anthropic in time"),
        ("[[status 429 retry-after=15]]", "Anthropic is busy"),
    ],
)
async def test_an_outage_that_takes_long_is_answered_by_the_runbook(
    said: str, problem: str
) -> None:
    """A server that hangs, or asks for a patience that a person at night does not have."""
    async with FakeAnthropic() as fake:
        await check_outage(fake.url, said, problem, HURRIED)


async def test_a_black_hole_is_an_outage() -> None:
    """An address that accepts connections and never says a word."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        await check_outage(
            url, "", "The engine claude_api got no answer from Anthropic in time", HURRIED
        )
    finally:
        for writer in held:
            writer.close()
        server.close()
        await server.wait_closed()


async def test_a_closed_port_is_an_outage() -> None:
    """Refused connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    await check_outage(url, "", "Anthropic cannot be reached", Patience())


async def test_the_real_engine_may_think_after_its_first_word() -> None:
    """A pause before its text may be longer than the patience, and no outage."""
    async with FakeAnthropic() as fake, real_chain(fake.url, Patience(engine_s=1.0)) as chain:
        turn = Turn()
        await turn.play(chain.engine, turn.request("[[text 1]] [[chunk 1300]]"))
    assert turn.shown == "w0 "
    assert not turn.of(EngineChanged)


async def test_a_provider_that_dies_after_a_tool_leaves_the_answer_to_the_runbook() -> None:
    """The first answer and its change are committed; the second fails."""
    said = 'look around [[text 2]] [[tool restart {"unit": "nginx"}]] [[then]] [[status 500]]'
    async with FakeAnthropic() as fake, real_chain(fake.url, Patience()) as chain:
        turn = Turn()
        await turn.play(chain.engine, turn.request(said))
    assert turn.shown.startswith("w0 w1 \n\nlook is fine")
    assert turn.ran == {"restart": 1, "look": 1}
    assert len(turn.of(EngineChanged)) == 1


async def test_a_provider_that_dies_in_mid_sentence_is_taken_over() -> None:
    """Text of the broken tries is taken back before another engine speaks."""
    async with FakeAnthropic() as fake, real_chain(fake.url, Patience()) as chain:
        turn = Turn()
        await turn.play(chain.engine, turn.request("look around [[drop 2]]"))
    resets = turn.of(TextReset)
    assert resets[-1].reason == (
        "The connection to Anthropic broke in the middle of the answer; another engine goes on."
    )
    assert turn.shown.startswith("look is fine")


@pytest.mark.parametrize(
    ("reason", "asked"), [("unreachable", 0), ("bad_key", 0), ("engine_crashed", 1), ("bug", 1)]
)
async def test_a_provider_that_is_down_is_not_asked_through_another_engine(
    reason: str, asked: int
) -> None:
    """Engines on one provider share its outage; a broken process of one is its own trouble."""
    plain = ScriptedEngine([Say("Plain.")], name="plain")
    offline = ScriptedEngine([Say("Offline.")], name="offline", has_model=False)
    agent = ScriptedEngine([Fail(reason=reason)], name="agent")
    engine = FailoverEngine(
        [agent, plain, offline],
        breakers=Breakers(BreakerConfig(), Seconds()),
        one_provider=True,
    )
    turn = Turn()
    await turn.play(engine, turn.request("how is it?"))
    assert len(plain.requests) == asked
    assert turn.shown == ("Plain." if asked else "Offline.")
