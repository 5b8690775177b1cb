"""The body of a Messages API call: what the model is shown, and the API's rules."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.engines.claude_messages import Transcript
from core.messages import Attachment
from core.steps import Exchange, ModelStep, SteerStep, Step, ToolCall, ToolStartedStep, ToolStep
from core.untrusted import ABOUT, as_data
from tests.contracts.engine_kit import FILES, PNG, Turn
from tests.fakes.anthropic_rules import VERSIONS, problem_with, thinking_signature

Json = dict[str, Any]


def body_of(text: str, steps: tuple[Step, ...] = (), **changes: Any) -> Json:
    """The body of the first call, as JSON; it must be one that the API accepts."""
    request = Turn(steps=steps).request(text, **{"model": "m", **changes})
    body = Transcript(request, steps).body(model=request.model, max_tokens=100)
    sent: Json = json.loads(json.dumps(body))
    assert problem_with(sent, VERSIONS[1]) is None
    return sent


def model(text: str, *calls: ToolCall, engine: str = "claude_api", **more: Any) -> ModelStep:
    """A model step."""
    return ModelStep(call_id="c", engine=engine, model="m", text=text, tool_calls=calls, **more)


def texts_of(message: Json) -> list[str]:
    """The texts of a message."""
    return [block["text"] for block in message["content"] if block["type"] == "text"]


def test_a_plain_message() -> None:
    """System prompt, tools and one user message; no sampling parameters."""
    body = body_of("hello")
    assert set(body) == {"model", "max_tokens", "stream", "messages", "system", "tools"}
    assert texts_of(body["messages"][0]) == ["hello"]
    assert [tool["name"] for tool in body["tools"]] == ["look", "restart", "forbidden"]


def test_cache_breakpoints_are_on_the_system_prompt_and_the_newest_block() -> None:
    """Two breakpoints; the second one moves along as steps are added."""
    request = Turn().request("hello")
    transcript = Transcript(request, ())
    first = json.dumps(transcript.body(model="m", max_tokens=100))
    call = ToolCall(id="a", name="look")
    transcript.add((model("", call), ToolStep(tool_call_id="a", name="look", output="ok")))
    second: Json = json.loads(json.dumps(transcript.body(model="m", max_tokens=100)))
    assert first.count("cache_control") == json.dumps(second).count("cache_control") == 2
    assert "cache_control" in second["system"][0]
    assert "cache_control" in second["messages"][-1]["content"][-1]
    assert "cache_control" not in second["messages"][0]["content"][0]


def test_without_a_system_prompt_the_tools_are_cached() -> None:
    """The breakpoint moves to the last tool."""
    body = body_of("hello", system=" ")
    assert "system" not in body
    assert "cache_control" in body["tools"][-1]


def test_the_summary_comes_before_the_history() -> None:
    """It is part of the first user message."""
    body = body_of("hello", summary="They fixed web-1.")
    assert "They fixed web-1." in texts_of(body["messages"][0])[0]
    assert texts_of(body["messages"][0])[-1] == "hello"


def test_files_become_blocks() -> None:
    """Image and PDF as themselves, a log as text with its name, an empty file as a remark."""
    blocks = body_of("look", attachments=FILES)["messages"][0]["content"]
    image, document, log, empty, text = blocks
    assert base64.b64decode(image["source"]["data"]) == PNG
    assert document["type"] == "document"
    assert document["title"] == "report.pdf"
    assert document["context"] == ABOUT
    assert log["text"] == as_data("file sys.log", "disk full \u00e4\n")
    assert empty["text"] == '[The attached file "empty.txt" is empty.]'
    assert text["text"] == "look"


def test_a_huge_log_is_cut_in_the_middle_and_says_so() -> None:
    """Beginning and end of a file are worth more than its middle."""
    log = Attachment(name="a.log", media_type="text/plain", data=b"A" + b"x" * 500_000 + b"Z")
    text = texts_of(body_of("look", attachments=[log])["messages"][0])[0]
    assert len(text) < 301_000
    assert "200002 characters of this file were left out" in text
    assert text.partition("\n")[0].endswith('source="file a.log">')
    assert text.partition("\n")[2].startswith("Ax")
    assert "xZ\n</untrusted-" in text


def test_history_shows_tools_and_results() -> None:
    """A finished turn is replayed in the API's own form."""
    call = ToolCall(id="a", name="look", arguments={"x": 1})
    steps = (model("Let me see", call), ToolStep(tool_call_id="a", name="look", output="ok"))
    exchange = Exchange(
        user_text="one", steps=(*steps, model("Fine.")), reply="Let me see\n\nFine."
    )
    messages = body_of("two", history=[exchange])["messages"]
    assert [message["role"] for message in messages] == [
        "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert messages[1]["content"][1] == {
        "type": "tool_use", "id": "a", "name": "look", "input": {"x": 1},
    }  # fmt: skip
    assert messages[2]["content"] == [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}]
    assert texts_of(messages[3]) == ["Fine."]


def test_old_outputs_are_shortened_and_new_ones_are_not() -> None:
    """A long tool output is whole in its own turn and abridged in later ones."""
    call = ToolCall(id="a", name="look")
    steps = (model("", call), ToolStep(tool_call_id="a", name="look", output="y" * 50_000))
    exchange = Exchange(user_text="one", steps=steps, reply="")
    old = body_of("two", history=[exchange])["messages"][2]["content"][0]["content"]
    new = body_of("one", steps)["messages"][2]["content"][0]["content"]
    assert len(old) < 8_100
    assert "42000 characters cut" in old
    assert len(new) == 50_000


def test_what_the_user_was_told_beyond_the_steps_is_kept() -> None:
    """A stopped turn's closing words and a commandless reply are part of the history."""
    call = ToolCall(id="a", name="look")
    stopped = Exchange(user_text="one", steps=(model("Hm", call),), reply="Stopped by you.")
    plain = Exchange(user_text="two", reply="Offline answer.")
    messages = body_of("three", history=[stopped, plain])["messages"]
    assert texts_of(messages[3]) == ["Stopped by you."]
    assert messages[2]["content"][0]["is_error"]
    assert texts_of(messages[5]) == ["Offline answer."]


def test_native_content_is_replayed_exactly_for_this_engine_only() -> None:
    """Thinking and its signature survive; another engine's or model's form is left aside."""
    call = ToolCall(id="a", name="look")
    thinking = {"type": "thinking", "thinking": "hm", "signature": thinking_signature("hm")}
    use = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
    native = json.dumps([thinking, use])
    result = ToolStep(tool_call_id="a", name="look", output=" ")
    own = body_of("one", (model("", call, native=native), result))["messages"]
    assert own[1]["content"] == [thinking, use]
    assert own[2]["content"][0]["content"] == "(no output)"
    other = body_of("one", (model("t", call, native="{]", engine="x"), result))["messages"]
    assert [block["type"] for block in other[1]["content"]] == ["text", "tool_use"]
    later = body_of("one", (model("", call, native=native), result), model="newer")["messages"]
    assert later[1]["content"] == [use]


_text = st.text(st.sampled_from("ab \n\u00e4"), max_size=6)
_call = st.builds(
    ToolCall,
    id=st.integers(0, 10**9).map(lambda n: f"id:{n}"),
    name=st.sampled_from(["look", "odd name", "x" * 200]),
    arguments=st.just({"k": 1}),
)


@st.composite
def _steps(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps as any engine may have left them, cut off anywhere."""
    steps: list[Step] = []
    for _ in range(draw(st.integers(0, 3))):
        calls = draw(st.lists(_call, max_size=2, unique_by=lambda call: call.id))
        steps.append(model(draw(_text), *calls, engine="any"))
        for call in calls:
            steps.append(ToolStartedStep(tool_call_id=call.id, name=call.name))
            if draw(st.booleans()):
                output = draw(_text)
                steps.append(ToolStep(tool_call_id=call.id, name=call.name, output=output))
        if draw(st.booleans()):
            steps.append(SteerStep(text=draw(_text)))
    return tuple(steps)


_exchange = st.builds(
    Exchange,
    user_text=_text,
    attachments=st.sampled_from([(), FILES]),
    steps=_steps(),
    reply=_text,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_exchange, max_size=4), _text, _text)
def test_whatever_happened_before_the_body_is_valid(
    history: list[Exchange], text: str, summary: str
) -> None:
    """Roles alternate, calls have results, no text is empty: for any history."""
    body_of(text, history=history, summary=summary)
