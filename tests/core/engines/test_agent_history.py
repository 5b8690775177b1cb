"""Our steps as a session of Claude Code: whatever the history, it is one that can be resumed."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.engines.agent_history import NOTE, asked, told, write_session
from core.engines.agent_tools import PREFIX
from core.engines.cli_home import Homes, HomesConfig
from core.engines.engine import EngineRequest
from core.steps import Exchange, ModelStep, SteerStep, Step, ToolCall, ToolStartedStep, ToolStep
from tests.contracts.engine_kit import FILES, Turn

LOOK = ToolCall(id="toolu_1", name="look", arguments={"server": "web-1"})
CALLED = ModelStep(call_id="c1", engine="claude_api", model="m", text="Kiwi", tool_calls=(LOOK,))
RESULT = ToolStep(tool_call_id="toolu_1", name="look", output="fine")
ANSWER = ModelStep(call_id="c2", engine="claude_api", model="m", text="It is fine.")


def request_of(
    text: str = "And now?", *, history: tuple[Exchange, ...] = (), steps: tuple[Step, ...] = ()
) -> EngineRequest:
    """A request with this past."""
    return Turn(steps=steps).request(text, history=history)


def kinds(message: dict[str, Any]) -> list[str]:
    """The kinds of a message's blocks."""
    return [block["type"] for block in message["content"]]


def test_a_first_message_has_no_past() -> None:
    """There is nothing to resume."""
    conversation = told(request_of("hello"))
    assert conversation.past == ()
    assert conversation.prompt == ({"type": "text", "text": "hello"},)


def test_every_kind_of_step_is_told() -> None:
    """Text, call, result, a message that joined, answer; the started mark adds nothing."""
    started = ToolStartedStep(tool_call_id="toolu_1", name="look")
    joined = SteerStep(text="and memory?")
    steps = (CALLED, started, RESULT, joined, ANSWER)
    conversation = told(request_of(history=(Exchange(user_text="one", steps=steps),)))
    first, call, result, answer = conversation.past
    assert first["content"] == [{"type": "text", "text": "one"}]
    assert kinds(call) == ["text", "tool_use"]
    assert call["content"][1]["name"] == f"{PREFIX}look"
    assert kinds(result) == ["tool_result", "text"]
    assert result["content"][0]["content"] == "fine"
    assert answer["content"] == [{"type": "text", "text": "It is fine."}]
    assert conversation.prompt == ({"type": "text", "text": "And now?"},)


def test_native_content_gets_the_tools_names_too() -> None:
    """Thinking and its signature stay as they are; the calls are named as Claude Code does."""
    native = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
    ]
    model = "claude-sonnet-5-5"
    step = ModelStep(
        call_id="c",
        engine="claude_code_cli",
        model=model,
        text="",
        tool_calls=(LOOK,),
        native=json.dumps(native),
    )
    exchange = Exchange(user_text="one", steps=(step, RESULT, ANSWER))
    call = told(request_of(history=(exchange,))).past[1]
    assert call["content"][0] == native[0]
    assert call["content"][1]["name"] == f"{PREFIX}look"


def test_a_turn_that_was_cut_off_goes_on_from_its_results() -> None:
    """The results end the past; our own notes around them are marked for the gateway."""
    conversation = told(request_of("one", steps=(CALLED, RESULT)))
    _, _, result, cut = conversation.past
    assert kinds(result) == ["tool_result"]
    assert cut["role"] == "assistant"
    notes = [*cut["content"], *conversation.prompt]
    assert all(block["text"].startswith(NOTE) for block in notes)


def test_a_message_that_joined_stays_beside_the_results() -> None:
    """The CLI takes no results as a prompt, so both are the past, and only a note is asked."""
    conversation = told(request_of("one", steps=(CALLED, RESULT, SteerStep(text="and memory?"))))
    *_, joined, cut = conversation.past
    assert kinds(joined) == ["tool_result", "text"]
    assert [block["text"].startswith(NOTE) for block in cut["content"]] == [True]
    assert [block["text"].startswith(NOTE) for block in conversation.prompt] == [True]


def test_only_this_turns_message_is_asked_of_a_process_that_remembers() -> None:
    """With its files, and nothing of the past."""
    history = (Exchange(user_text="one", steps=(ANSWER,)),)
    request = Turn().request("And now?", history=history, attachments=FILES[:2], summary="Long.")
    assert [block["type"] for block in asked(request)] == ["image", "document", "text"]


def test_a_session_is_a_chain_of_lines(tmp_path: Path) -> None:
    """Each names the one before; assistant messages carry what the CLI expects of them."""
    homes = Homes(HomesConfig(root=tmp_path / "agents"))
    homes.prepare()
    home = homes.of("ten_1", "conv_1")
    session = str(uuid.uuid4())
    exchange = Exchange(user_text="one", steps=(CALLED, RESULT, ANSWER))
    past = told(request_of(history=(exchange,))).past
    write_session(home, session, past, "claude-sonnet-5-5")
    lines = [json.loads(line) for line in home.transcript(session).read_text().splitlines()]
    assert [line["message"]["content"] for line in lines] == [m["content"] for m in past]
    before = [None, *(line["uuid"] for line in lines[:-1])]
    assert [line["parentUuid"] for line in lines] == before
    assert {line["sessionId"] for line in lines} == {session}
    stops = [line["message"].get("stop_reason") for line in lines]
    assert stops == [None, "tool_use", None, "end_turn"]


NAMES = st.sampled_from(["look", "restart", "odd name", f"{PREFIX}look"])
TEXTS = st.sampled_from(["", " ", "text", "\u00e4\n"])
CALLS = st.lists(st.builds(ToolCall, id=st.uuids().map(str), name=NAMES), max_size=2).map(tuple)


@st.composite
def step_lists(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps as turns leave them: complete, refused, interrupted, joined."""
    steps: list[Step] = []
    for _ in range(draw(st.integers(0, 3))):
        calls = draw(CALLS)
        step = ModelStep(call_id="c", engine="other", model="m", text=draw(TEXTS), tool_calls=calls)
        steps.append(step)
        for call in calls:
            if draw(st.booleans()):
                steps.append(ToolStartedStep(tool_call_id=call.id, name=call.name))
            if draw(st.booleans()):
                output = draw(TEXTS)
                steps.append(ToolStep(tool_call_id=call.id, name=call.name, output=output))
        if draw(st.booleans()):
            steps.append(SteerStep(text=draw(TEXTS)))
    return tuple(steps)


EXCHANGES = st.builds(
    Exchange,
    user_text=TEXTS,
    reply=TEXTS,
    steps=step_lists(),
    attachments=st.sampled_from([(), FILES]),
)


@given(history=st.lists(EXCHANGES, max_size=4), steps=step_lists(), summary=TEXTS)
def test_any_history_is_a_conversation_of_the_api(
    history: list[Exchange], steps: tuple[Step, ...], summary: str
) -> None:
    """Roles take turns, every call has its result next, no text is empty, names are prefixed."""
    request = Turn(steps=steps).request("go on", history=history, summary=summary)
    conversation = told(request)
    messages = [*conversation.past, {"role": "user", "content": list(conversation.prompt)}]
    roles = [message["role"] for message in messages]
    assert roles == [("user", "assistant")[index % 2] for index in range(len(roles))]
    open_calls: list[str] = []
    for message in messages:
        blocks = message["content"]
        assert blocks
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert sorted(results) == sorted(open_calls)
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        uses = [block for block in blocks if block["type"] == "tool_use"]
        assert all(use["name"].startswith(PREFIX) for use in uses)
        open_calls = [use["id"] for use in uses]
    assert not open_calls
