"""What the model is told of a conversation, whoever answered before and whatever was lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import permutations
from typing import Any

import pytest
import pytest_asyncio

from core.engines.engine import NativeSession
from core.errors import EngineFailure
from core.steps import ModelStep, SteerStep, ToolCall, ToolStep
from tests.contracts.engine_kit import FILES, Turn
from tests.contracts.engine_world import (
    AGENTS_ALSO_CLI,
    ALSO_CLI,
    API,
    CLI,
    MODELS,
    RUNBOOK,
    SDK,
    Talk,
    World,
    heard,
    system_of,
    world_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
FIRST = 'Kiwi [[tool look {}]] [[tool restart {"unit": "nginx"}]] [[then]] [[word fig]] [[text 3]]'
"""A turn with text, two tools in one answer, and a final text of its own."""
MEDIA = FILES[:2]
every_model = pytest.mark.parametrize("engine", MODELS)
any_model = pytest.mark.parametrize("engine", ALSO_CLI)
any_agent = pytest.mark.parametrize("engine", AGENTS_ALSO_CLI)


def slow(value: str) -> object:
    """A parameter for the slow suite."""
    return pytest.param(value, marks=pytest.mark.slow)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """One world for the module; every test has a conversation of its own."""
    async with world_of() as made:
        yield made


def remembers(talk: Talk) -> None:
    """Each request of the last turn held the whole conversation, in order, nothing twice."""
    for calls, seen in enumerate(talk.seen):
        assert heard(seen.body) == talk.should_hear(calls=calls)


@every_model
async def test_the_second_turn_holds_the_first_one_once(world: World, engine: str) -> None:
    """Text, tool calls and their results are there in order; a waiting process is used again."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    await talk.ask("And then?", engine=engine)
    remembers(talk)
    await talk.ask("[[tool look {}]]", engine=engine)
    remembers(talk)


@every_model
async def test_a_conversation_survives_a_restart(world: World, engine: str) -> None:
    """A new process takes up the session of the one before, which is not written twice."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    await world.restart(engine)
    first = talk.session
    await talk.ask("And then?", engine=engine)
    remembers(talk)
    if engine != API:
        assert first is not None
        assert talk.session is not None
        assert talk.session.native == first.native
        place = world.homes.of(talk.tenant_id, talk.conversation_id).config_dir
        assert len(list(place.glob("projects/*/*.jsonl"))) == 1


@any_agent
async def test_a_lost_session_is_rebuilt(world: World, engine: str) -> None:
    """When the directories are gone, our steps are what the conversation goes on from."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    await world.restart(engine)
    world.homes.forget(talk.tenant_id, talk.conversation_id)
    await talk.ask("And then?", engine=engine)
    remembers(talk)
    await talk.ask("And after that?", engine=engine)
    remembers(talk)


@any_agent
async def test_a_process_that_was_killed_is_replaced(world: World, engine: str) -> None:
    """Whatever the dead process had not written yet, the conversation goes on as a whole."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    for process in talk.processes():
        os.kill(process, signal.SIGKILL)
    await world.restart(engine)
    await talk.ask("And then?", engine=engine)
    remembers(talk)


@any_agent
@pytest.mark.parametrize("left", ["", *map(slow, ("{}\n", "\0\0\0\0", "not json\n"))])
async def test_a_damaged_session_is_rebuilt(world: World, engine: str, left: str) -> None:
    """A session file without a session in it is no reason to forget the conversation."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    await world.restart(engine)
    assert talk.session is not None
    talk.home.transcript(talk.session.native.token).write_text(left)
    await talk.ask("And then?", engine=engine)
    remembers(talk)


@any_agent
async def test_a_session_that_ends_too_early_is_rebuilt(world: World, engine: str) -> None:
    """After a power loss the CLI's file may lack the newest turn: it is not believed."""
    talk = world.talk()
    await talk.ask("One", engine=engine)
    assert talk.session is not None
    path = talk.home.transcript(talk.session.native.token)
    whole = path.read_bytes()
    await talk.ask("Two", engine=engine)
    assert talk.session is not None
    path = talk.home.transcript(talk.session.native.token)
    await world.restart(engine)
    path.write_bytes(whole)
    await talk.ask("Three", engine=engine)
    assert heard(talk.seen[-1].body) == talk.should_hear()


@pytest.mark.slow
@any_agent
async def test_a_damaged_installation_is_made_again(world: World, engine: str) -> None:
    """The launcher and every home may be erased while nothing runs."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    await world.restart(engine)
    shutil.rmtree(world.root)
    await talk.ask("And then?", engine=engine)
    remembers(talk)


def pairs() -> Iterator[object]:
    """Every engine before every other one; a few in the fast suite."""
    fast = {(API, SDK), (SDK, API), (RUNBOOK, SDK), (SDK, CLI)}
    for before, after in [*permutations(MODELS, 2), *((RUNBOOK, name) for name in MODELS)]:
        marks = () if (before, after) in fast else (pytest.mark.slow,)
        yield pytest.param(before, after, id=f"{before}-{after}", marks=marks)


@pytest.mark.parametrize(("before", "after"), list(pairs()))
async def test_another_engine_goes_on(world: World, before: str, after: str) -> None:
    """A conversation is carried from one engine to another with its whole history."""
    talk = world.talk()
    await talk.ask(FIRST, engine=before)
    await talk.ask(FIRST.replace("Kiwi", "Plum"), engine=after)
    remembers(talk)
    await talk.ask("[[thinking]] And then?", engine=after)
    remembers(talk)


@pytest.mark.slow
@any_agent
async def test_a_process_does_not_miss_what_another_engine_answered(
    world: World, engine: str
) -> None:
    """One that waits from before is not used: the turns in between are not in its memory."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    await talk.ask("Two [[word grape]] [[text 2]]", engine=API)
    await talk.ask("Three", engine=engine)
    remembers(talk)


@any_model
async def test_a_summary_takes_the_place_of_older_turns(world: World, engine: str) -> None:
    """After a compaction the model gets the summary alone, and no older turn."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    talk.compact("The disk of web-3 was full.")
    await talk.ask("And then?", engine=engine)
    remembers(talk)
    assert "Kiwi" not in json.dumps(talk.seen[0].body)
    await talk.ask("And after that?", engine=engine)
    remembers(talk)


@any_agent
async def test_another_person_gets_a_process_of_their_own(world: World, engine: str) -> None:
    """In a shared conversation the history is rebuilt under the other person's prompt."""
    talk = world.talk()
    talk.system = "You are talking to Ann, an admin."
    await talk.ask(FIRST, engine=engine)
    token = talk.session
    talk.system = "You are talking to Bob, a viewer."
    await talk.ask("And I?", engine=engine, user_id="usr_2")
    remembers(talk)
    assert "Bob" in system_of(talk.seen[0].body)
    assert "Ann" not in json.dumps(talk.seen[0].body)
    assert token is not None
    assert talk.session is not None
    assert talk.session.native.token != token.native.token


@any_model
async def test_a_changed_system_prompt_counts_at_once(world: World, engine: str) -> None:
    """The next turn's model gets the new one and not the old one, waiting process or not."""
    talk = world.talk()
    for name in ("mango", "papaya", "guava"):
        talk.system = f"You are called {name}."
        await talk.ask(f"I greet {name.upper()}.", engine=engine)
        assert system_of(talk.seen[0].body).count("You are called") == 1
        assert talk.system in system_of(talk.seen[0].body)
        if name == "papaya":
            await world.restart(engine)
    remembers(talk)


@any_model
async def test_files_of_the_first_turn_are_sent_again(world: World, engine: str) -> None:
    """An image and a PDF are still before the model in the next turns, byte for byte."""
    talk = world.talk()
    await talk.ask("Look at these", engine=engine, attachments=MEDIA)
    remembers(talk)
    await talk.ask("What was in them?", engine=engine)
    remembers(talk)
    world.homes.forget(talk.tenant_id, talk.conversation_id)
    await world.restart(engine)
    await talk.ask("And now?", engine=engine)
    remembers(talk)
    kinds = [piece.partition(" ")[0] for _, piece in heard(talk.seen[0].body)]
    assert kinds[:2] == ["image", "document"]


@any_model
async def test_a_turn_that_failed_is_remembered_as_such(world: World, engine: str) -> None:
    """Its committed steps and the sentence that ended it are history for the next turn."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    with pytest.raises(EngineFailure) as failure:
        await talk.ask("Plum [[tool look {}]] [[then]] [[status 400]]", engine=engine)
    sentence = ("assistant", failure.value.sentence)
    await talk.ask("Again, please", engine=engine)
    said = heard(talk.seen[0].body)
    assert said.count(sentence) == 1
    assert [piece for piece in said if piece != sentence] == talk.should_hear()


@any_model
async def test_a_summary_of_the_conversation_leaves_no_trace(world: World, engine: str) -> None:
    """An ephemeral request is answered beside the conversation, which goes on as it was."""
    talk = world.talk()
    await talk.ask(FIRST, engine=engine)
    turn = Turn()
    request = talk.request(turn, "Summarise.", engine=engine, ephemeral=True, turn_id="turn_x")
    await turn.play(world.engine(engine), request)
    await talk.ask("And then?", engine=engine)
    remembers(talk)


class Tenants:
    """Two teams with a conversation of the same id, and a word that only one of them said."""

    def __init__(self, world: World, engine: str) -> None:
        """Nothing is asked yet."""
        self.engine, self.world = engine, world
        self.word = f"canary-{uuid.uuid4().hex}"
        name = f"conv_{uuid.uuid4().hex}"
        self.first = world.talk(tenant_id="ten_1", conversation_id=name)
        self.second = world.talk(tenant_id="ten_2", conversation_id=name)

    async def tell(self) -> None:
        """The first team says the word."""
        await self.first.ask(f"The password is {self.word}", engine=self.engine)

    async def ask(self, **changes: Any) -> None:
        """The second team asks, and hears nothing of it, neither from the model nor on disk."""
        turn = Turn()
        request = self.second.request(turn, "What is it?", engine=self.engine, **changes)
        mark = len(self.world.fake.seen)
        await turn.play(self.world.engine(self.engine), request)
        seen = self.world.fake.seen[mark:]
        assert [heard(request.body) for request in seen] == [[("user", "What is it?")]]
        assert self.word not in json.dumps([request.body for request in seen])
        assert self.word not in turn.shown
        place = self.world.root / self.second.tenant_id / self.second.conversation_id
        found: list[bytes] = []
        for path in place.rglob("*"):
            with suppress(OSError):  # directories, and what a living process erases meanwhile
                found.append(path.read_bytes())
        assert found or self.engine == API
        assert not [content for content in found if self.word.encode() in content]


@every_model
async def test_the_same_conversation_of_another_tenant_is_another(
    world: World, engine: str
) -> None:
    """Whatever ids and tokens a request carries, it reaches its own tenant's memory only."""
    tenants = Tenants(world, engine)
    await tenants.tell()
    stolen = tenants.first.session.native if tenants.first.session else None
    last = tenants.first.last_turn_id
    await tenants.ask(session=stolen, previous_turn_id=last)
    await world.restart(engine)
    await tenants.ask(session=stolen, previous_turn_id=last)


@any_agent
async def test_a_token_of_another_conversation_is_of_no_use(world: World, engine: str) -> None:
    """Nor does one that is no token at all, or that looks like a path."""
    tenants = Tenants(world, engine)
    await tenants.tell()
    assert tenants.first.session is not None
    token = tenants.first.session.native.token
    source = world.homes.of("ten_1", tenants.first.conversation_id).transcript(token)
    assert source.is_file()
    other = world.talk(tenant_id="ten_1")
    tenants.second = other
    await tenants.ask(session=tenants.first.session.native)


@pytest.mark.slow
@any_agent
@pytest.mark.parametrize("token", ["", "../x", "no token", str(uuid.UUID(int=0))])
async def test_a_token_that_is_none_is_overlooked(world: World, engine: str, token: str) -> None:
    """A damaged row in the database costs the optimisation, never the answer."""
    talk = world.talk()
    await talk.ask("One", engine=API)
    native = NativeSession(engine=engine, token=token)
    await talk.ask("Two", engine=engine, session=native)
    remembers(talk)


@any_model
async def test_a_message_that_joined_before_a_crash_is_asked_once(
    world: World, engine: str
) -> None:
    """The second attempt tells the model the recorded result and the message, each once."""
    talk = world.talk()
    text = "Plum, please."
    call = ToolCall(id="toolu_1", name="look")
    committed = (
        ModelStep(call_id="c", engine=engine, model="m", text="Plum", tool_calls=(call,)),
        ToolStep(tool_call_id="toolu_1", name="look", output="look is fine"),
    )
    turn = Turn(steps=committed, steers=["And memory?"])
    mark = len(world.fake.seen)
    await turn.play(world.engine(engine), talk.request(turn, text, engine=engine))
    (seen,) = world.fake.seen[mark:]
    assert heard(seen.body) == [
        ("user", text),
        ("assistant", "Plum"),
        ("assistant", "look {}"),
        ("user", "look is fine"),
        ("user", "And memory?"),
    ]
    assert [type(step) for step in turn.log] == [ModelStep, ToolStep, SteerStep, ModelStep]


@any_model
async def test_a_message_that_joined_is_heard_once(world: World, engine: str) -> None:
    """Beside the results, in the running turn, in the next one and after a restart."""
    talk = world.talk()
    await talk.ask("Fig [[tool look {}]]", engine=engine, steers=["And memory?"])
    assert len(talk.seen) == 2
    remembers(talk)
    await talk.ask("And then?", engine=engine)
    remembers(talk)
    await world.restart(engine)
    await talk.ask("And after that?", engine=engine)
    remembers(talk)
