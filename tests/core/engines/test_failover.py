"""FailoverEngine over scripted engines: who answers, what is told, what the circuits learn."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

import pytest

from core import telemetry
from core.agent_config import Billing
from core.engines.breaker import BreakerConfig, Breakers, BreakerState
from core.engines.engine import Credentials, Engine, NativeSession, account_of
from core.engines.failover import FailoverEngine
from core.engines.outages import OUTAGES, Blame
from core.engines.watch import Patience
from core.errors import EngineFailure
from core.events import (
    EngineChanged,
    EngineSession,
    ModelCallFinished,
    Notice,
    TextDelta,
    TextReset,
)
from core.steps import ModelStep, SteerStep, ToolCall, ToolStartedStep, ToolStep
from tests.contracts.engine_kit import RunbookKit, Turn
from tests.core.engines.test_breaker import Seconds
from tests.fakes.scripted_engine import Crash, Fail, Move, Say, ScriptedEngine, Tell, Until

RESTART = ToolCall(id="t1", name="restart", arguments={"unit": "nginx"})
OFFLINE = "Anthropic cannot be reached; the offline engine (offline) answers."
PAUSE_S = 10


@dataclass
class Chain:
    """A failover engine, its circuits and their clock."""

    engines: list[Engine]
    patience: Patience = field(default_factory=lambda: Patience(engine_s=60, turn_s=90))
    clock: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        """Two failures in a row open a circuit for ten seconds."""
        config = BreakerConfig(failures=2, window_s=100, pause_s=PAUSE_S, longest_pause_s=40)
        self.breakers = Breakers(config, self.clock)
        self.engine = FailoverEngine(self.engines, breakers=self.breakers, patience=self.patience)

    async def play(
        self,
        turn: Turn | None = None,
        *,
        credentials: Credentials | None = None,
        session: NativeSession | None = None,
        ephemeral: bool = False,
    ) -> Turn:
        """One turn to its end."""
        turn = turn or Turn()
        request = replace(
            turn.request("how is it?"),
            credentials=credentials or Credentials(),
            session=session,
            ephemeral=ephemeral,
        )
        await turn.play(self.engine, request)
        return turn

    def state(self, engine: str = "first", account: str = "installation") -> BreakerState:
        """Where a circuit stands."""
        return self.breakers.of(engine, f"{account}/{Turn().request('').model}").state


def first(*moves: Move) -> ScriptedEngine:
    """The preferred engine."""
    return ScriptedEngine(moves, name="first")


def offline(*moves: Move) -> ScriptedEngine:
    """The engine without a model at the end."""
    return ScriptedEngine(moves or [Say("Disk is fine.")], name="offline", has_model=False)


def down(reason: str = "unreachable") -> Fail:
    """A provider that cannot be reached."""
    return Fail("Anthropic cannot be reached. Try later.", reason=reason)


async def test_while_the_first_engine_answers_nothing_is_added() -> None:
    """Its events pass unchanged; the name is its name."""
    moves = (Say("Let me look.", tools=(ToolCall(id="t1", name="look"),)), Say("Fine."))
    bare = Turn()
    await bare.play(first(*moves), bare.request("how is it?"))
    chain = Chain([first(*moves), offline()])
    turn = await chain.play()
    assert turn.events == bare.events
    assert chain.engine.name == "first"
    assert chain.engine.has_model


async def test_another_engine_says_that_it_answers_and_why_before_its_text() -> None:
    """The change is the first event; the sentence names cause and engine."""
    turn = await Chain([first(down()), offline()]).play()
    assert turn.events[0] == EngineChanged(engine="offline", reason=OFFLINE)
    assert turn.shown == "Disk is fine."
    assert not turn.of(TextReset)


@pytest.mark.parametrize("reason", [*OUTAGES, "scripted"])
async def test_what_each_reason_leads_to(reason: str) -> None:
    """The account's trouble opens the circuit; a choice changes the engine; a message neither."""
    blame = OUTAGES[reason].blame if reason in OUTAGES else Blame.ACCOUNT
    engine = first(down(reason))
    chain = Chain([engine, offline()])
    for _ in range(3):
        if blame is Blame.MESSAGE:
            with pytest.raises(EngineFailure, match="Try later") as failure:
                await chain.play()
            assert failure.value.reason == reason
        else:
            turn = await chain.play()
            assert turn.shown == "Disk is fine."
            assert len(turn.of(EngineChanged)) == 1
    opened = blame is Blame.ACCOUNT
    assert (chain.state() is BreakerState.OPEN) is opened
    assert len(engine.requests) == (2 if opened else 3)


async def test_text_that_was_shown_is_taken_back_and_committed_work_is_kept() -> None:
    """The next engine goes on after the committed steps; the change that was made is not repeated."""
    plan = [Say("Restarting.", tools=(RESTART,)), Say("It is up now", fail_after=2)]
    second = ScriptedEngine([plan[0], Say("Done.")], name="second")
    turn = await Chain([first(*plan), second, offline()]).play()
    assert [type(step) for step in second.requests[0].steps] == [ModelStep, ToolStep]
    assert turn.ran == {"restart": 1}
    (reset,) = turn.of(TextReset)
    assert reset == TextReset(
        text="Restarting.",
        reason="The engine first failed in the middle of the answer; another engine goes on.",
    )
    (changed,) = turn.of(EngineChanged)
    assert changed.reason == "The engine first failed; the engine second answers."
    assert turn.events.index(changed) == turn.events.index(reset) + 1
    assert turn.shown == "Restarting.\n\nDone."


async def test_the_offline_engine_goes_on_after_a_models_steps() -> None:
    """The real runbook keeps the committed text, says its own and repeats no change."""
    plan = [Say("Restarting.", tools=(RESTART,)), Say("It is up now", fail_after=2)]
    kit = RunbookKit()
    async with kit.start() as runbook:
        turn = Turn()
        request = turn.request("look around")
        await turn.play(Chain([first(*plan), runbook]).engine, request)
    assert turn.shown.startswith("Restarting.\n\nlook is fine")
    assert turn.ran == {"restart": 1, "look": 1}
    assert [change.engine for change in turn.of(EngineChanged)] == ["runbook"]


async def test_a_failed_tool_and_a_message_that_joined_are_handed_on() -> None:
    """The next engine gets every committed step, in the order of their commit."""
    refused = ToolCall(id="t1", name="forbidden")
    second = ScriptedEngine([Say(""), Say("Done.")], name="second")
    turn = Turn(steers=["and memory?"])
    await Chain([first(Say("Hm.", tools=(refused,)), down()), second]).play(turn)
    assert second.requests[0].steps == tuple(turn.log[:3])
    assert [type(step) for step in turn.log[:3]] == [ModelStep, ToolStep, SteerStep]


async def test_a_rerun_keeps_the_steps_of_earlier_attempts() -> None:
    """Also when the first engine fails at once; a change of unknown outcome is not made again."""
    asked = ModelStep(
        call_id="c0", engine="first", model="m", text="Restarting.", tool_calls=(RESTART,)
    )
    begun = ToolStartedStep(tool_call_id="t1", name="restart")
    second = ScriptedEngine([Say(""), Say("Checked.")], name="second")
    turn = Turn(steps=(asked, begun))
    await Chain([first(Say(""), down()), second]).play(turn)
    assert not turn.ran
    assert [step for step in turn.log if isinstance(step, ToolStep)] == [
        ToolStep(tool_call_id="t1", name="restart", output="Its outcome is unknown.", is_error=True)
    ]
    assert turn.shown == "Restarting.\n\nChecked."


async def test_when_all_fail_the_last_failure_is_told_and_the_text_stays() -> None:
    """What was shown is not taken back for an engine that never said a word."""
    second = ScriptedEngine([down("overloaded")], name="second")
    turn = Turn()
    with pytest.raises(EngineFailure) as failure:
        await Chain([first(Say("one two", fail_after=1)), second]).play(turn)
    assert failure.value.reason == "overloaded"
    assert turn.shown == "one "
    assert not turn.of(EngineChanged)


@pytest.mark.parametrize(
    ("reasons", "explained"),
    [
        (("unreachable", "not_with_login"), "unreachable"),
        (("engine_busy", "unreachable"), "unreachable"),
        (("engine_crashed", "unreachable"), "unreachable"),
        (("engine_busy", "not_with_login"), "engine_busy"),
    ],
)
async def test_the_cause_that_is_told_is_the_outage(
    reasons: tuple[str, str], explained: str
) -> None:
    """That another engine does not fit the account hides not why it was asked at all."""
    engines = [ScriptedEngine([down(reason)], name=reason) for reason in reasons]
    turn = await Chain([*engines, offline()]).play()
    (changed,) = turn.of(EngineChanged)
    assert changed.reason.startswith(f"{OUTAGES[explained].problem}; ")
    with pytest.raises(EngineFailure) as failure:
        await Chain(list(engines)).play()
    assert failure.value.reason == explained


async def test_an_open_circuit_is_not_asked_and_the_cause_is_remembered() -> None:
    """After two failures the next engine answers at once, and still says why."""
    engine = first(down())
    chain = Chain([engine, offline()])
    turns = [await chain.play() for _ in range(4)]
    assert len(engine.requests) == 2
    assert [turn.events[0] for turn in turns] == [
        EngineChanged(engine="offline", reason=OFFLINE)
    ] * 4
    assert turns[-1].meter.reserved.keys() == {"call-1"}


async def test_all_circuits_open_is_told_at_once() -> None:
    """Without an engine that needs no provider, the remembered sentence is the answer."""
    engine = first(down())
    chain = Chain([engine])
    for _ in range(3):
        with pytest.raises(EngineFailure, match="Try later") as failure:
            await chain.play()
        assert failure.value.reason == "unreachable"
    assert len(engine.requests) == 2


async def test_recovery_is_automatic() -> None:
    """After the pause one turn probes, and from then on the first engine answers again."""
    well: list[Move] = []
    engine = ScriptedEngine(lambda request: well or [down()], name="first")
    chain = Chain([engine, offline()])
    for _ in range(2):
        await chain.play()
    chain.clock.now += PAUSE_S
    assert (await chain.play()).of(EngineChanged)
    well.append(Say("Back."))
    chain.clock.now += 2 * PAUSE_S
    for _ in range(2):
        turn = await chain.play()
        assert turn.shown == "Back."
        assert not turn.of(EngineChanged)
    assert chain.state() is BreakerState.CLOSED


async def test_one_turn_probes_and_its_first_word_lets_the_others_in() -> None:
    """Meanwhile the next engine answers them; nobody waits for the end of a long answer."""
    scripts: list[list[Move]] = [[down()], [down()], [Say("Let me think")], [Say("Me too.")]]
    chain = Chain([ScriptedEngine(lambda request: scripts.pop(0), name="first"), offline()])
    for _ in range(2):
        await chain.play()
    chain.clock.now += PAUSE_S
    async with aclosing(chain.engine.run(Turn().request("hm"))) as probe:
        waiting = asyncio.ensure_future(anext(probe))
        await asyncio.sleep(0)  # it has begun, and has the only permit
        assert (await chain.play()).shown == "Disk is fine."
        assert isinstance(await waiting, TextDelta)
        assert (await chain.play()).shown == "Me too."


@pytest.mark.parametrize("move", [Crash(), Fail(reason="too_large"), Fail(reason="engine_busy")])
async def test_a_probe_without_a_verdict_frees_its_place(move: Move) -> None:
    """A bug or a bad message of the probing turn does not keep the next one from probing."""
    scripts: list[list[Move]] = [[down()], [down()], [move], [Say("Back.")]]
    chain = Chain([ScriptedEngine(lambda request: scripts.pop(0), name="first"), offline()])
    for _ in range(2):
        await chain.play()
    chain.clock.now += PAUSE_S
    with suppress(EngineFailure, RuntimeError):
        await chain.play()
    assert (await chain.play()).shown == "Back."


async def test_a_tenants_own_key_is_its_own_trouble() -> None:
    """A bad key opens the circuit of its account alone."""

    def script(request: object) -> list[Move]:
        key = request.credentials.api_key  # type: ignore[attr-defined]
        return [down("bad_key")] if key == "sk-bad" else [Say("Fine.")]

    chain = Chain([ScriptedEngine(script, name="first"), offline()])
    bad = Credentials(api_key="sk-bad", billing=Billing.OWN_KEY)
    for _ in range(3):
        turn = await chain.play(credentials=bad)
        assert turn.of(EngineChanged)[0].reason.startswith("Anthropic refuses the API key; ")
    assert chain.state(account=account_of(bad)) is BreakerState.OPEN
    assert "sk-bad" not in account_of(bad)
    good = Credentials(api_key="sk-good", billing=Billing.OWN_KEY)
    for credentials in (good, Credentials(), Credentials(billing=Billing.SUBSCRIPTION)):
        assert (await chain.play(credentials=credentials)).shown == "Fine."


async def test_an_engine_gets_only_its_own_native_session() -> None:
    """A token of one engine means nothing to the other."""
    engine, second = first(Tell(EngineSession(token="s2")), down()), offline()
    session = NativeSession(engine="first", token="s1")
    await Chain([engine, second]).play(session=session)
    assert engine.requests[0].session == session
    assert second.requests[0].session is None


async def test_metrics_tell_changes_and_circuits() -> None:
    """A counter of changes, and where the installation's circuit stands."""
    changes = telemetry.ENGINE_FAILOVERS.labels("m1", "offline")
    before = changes._value.get()
    engine = ScriptedEngine([down()], name="m1")
    chain = Chain([engine, offline()])
    for _ in range(2):
        await chain.play()
    assert changes._value.get() == before + 2
    assert telemetry.ENGINE_BREAKER_STATE.labels("m1")._value.get() == 2
    assert telemetry.ENGINE_ERRORS.labels("m1", "unreachable")._value.get() == 2


async def test_a_notice_of_the_failing_engine_is_shown_as_it_comes() -> None:
    """Retries are announced by whoever retries; the change is told when it happens."""
    turn = await Chain([first(Tell(Notice(text="Trying again.")), down()), offline()]).play()
    assert [type(event) for event in turn.events[:4]] == [
        Notice,
        EngineChanged,
        TextDelta,
        TextDelta,
    ]
    assert len(turn.of(ModelCallFinished)) == 1


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_ends_the_inner_engine(how: str) -> None:
    """However the turn is left, the engine is closed, metered, and no task remains."""
    engine = first(Say("word " * 9, pause_s=0.001), Until(asyncio.Event()))
    chain, turn, said = Chain([engine, offline()]), Turn(), asyncio.Event()
    before = asyncio.all_tasks()

    async def run() -> None:
        async with aclosing(chain.engine.run(turn.request("hm"))) as events:
            async for event in events:
                turn.take_in(event)
                said.set()
                if how == "close":
                    break

    task = asyncio.create_task(run())
    await said.wait()
    if how == "cancel":
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled() is (how == "cancel")
    assert asyncio.all_tasks() == before
    assert engine.closed_early == 1
    assert turn.meter.seen
    assert chain.state() is BreakerState.CLOSED
