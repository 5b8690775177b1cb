"""The provider's bytes, folded into events and a step."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.engines.claude_faults import CallFailed
from core.engines.claude_stream import ClaudeAnswer
from core.events import TextDelta, ThinkingDelta
from core.metering import Usage
from core.steps import ModelStep, ToolCall

Json = dict[str, Any]

START: Json = {
    "type": "message_start",
    "message": {
        "usage": {
            "input_tokens": 10,
            "output_tokens": 1,
            "cache_read_input_tokens": 7,
            "cache_creation_input_tokens": 5,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2},
        }
    },
}


def begin(index: int, block: Json) -> Json:
    """content_block_start."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, key: str, value: str) -> Json:
    """content_block_delta."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: value}}


def end(reason: str | None = "end_turn", **usage: int) -> list[Json]:
    """message_delta and message_stop."""
    told = {"output_tokens": 9, **usage}
    stop = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": told}
    return [stop, {"type": "message_stop"}]


def said(*texts: str, index: int = 0) -> list[Json]:
    """A text block."""
    block = begin(index, {"type": "text", "text": ""})
    return [block, *(delta(index, "text_delta", "text", text) for text in texts)]


def asked(index: int, *parts: str) -> list[Json]:
    """A tool call."""
    block = {"type": "tool_use", "id": f"t{index}", "name": "look", "input": {}}
    return [begin(index, block)] + [
        delta(index, "input_json_delta", "partial_json", part) for part in parts
    ]


def wire(events: list[Json], newline: bytes = b"\n") -> bytes:
    """The events as the provider sends them."""
    lines = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]
    return b"".join(lines).replace(b"\n", newline)


def fold(data: bytes, *sizes: int, separator: str = "") -> tuple[ModelStep, str, str]:
    """Feed the bytes in pieces; return the step, the text and the thinking."""
    answer = ClaudeAnswer(separator)
    events: list[TextDelta | ThinkingDelta] = []
    for size in sizes:
        events += answer.feed(data[:size])
        data = data[size:]
    events += answer.feed(data)
    step = answer.step(call_id="c", engine="e", model="m")
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    thinking = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
    return step, text, thinking


WHOLE = [
    START,
    {"type": "ping"},
    begin(0, {"type": "thinking", "thinking": "", "signature": ""}),
    delta(0, "thinking_delta", "thinking", "hm \u6f22"),
    delta(0, "signature_delta", "signature", "s1"),
    *said("Gr\u00fc\u00dfe, ", "data: \U0001f600", index=1),
    *asked(2, "", '{"a"', ": [1]}"),
    {"type": "content_block_stop", "index": 2},
    {"type": "something_new", "x": 1},
    *end("tool_use"),
]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 200), max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from(["", "\n\n"]),
)
def test_the_network_may_cut_the_stream_anywhere(
    sizes: list[int], newline: bytes, separator: str
) -> None:
    """However the bytes arrive, the same step and the same text come out."""
    step, text, thinking = fold(wire(WHOLE, newline), *sizes, separator=separator)
    assert text == separator + step.text == separator + "Gr\u00fc\u00dfe, data: \U0001f600"
    assert thinking == "hm \u6f22"
    assert step.tool_calls == (ToolCall(id="t2", name="look", arguments={"a": [1]}),)
    assert step.usage.output_tokens == 9
    assert step.native is not None
    assert [block["type"] for block in json.loads(step.native)] == ["thinking", "text", "tool_use"]


def test_one_network_read_gives_one_delta() -> None:
    """Work per delta is what streaming costs, so deltas that came together stay together."""
    answer = ClaudeAnswer("")
    assert answer.feed(wire([START, *said("a", "b", "c")])) == [TextDelta(text="abc")]


def test_text_and_calls_alone_need_no_native_form() -> None:
    """What text and tool_calls say already is not stored twice."""
    step, _, _ = fold(wire([START, *said("Hi"), *asked(1, "{}"), *end("tool_use")]))
    assert step.native is None
    assert step.tool_calls == (ToolCall(id="t1", name="look", arguments={}),)


def test_text_after_a_call_does_not_run_into_the_text_before_it() -> None:
    """Two texts of one answer with a tool call between them get a blank line."""
    events = [START, *said("One."), *asked(1, "{}"), *said("Two.", index=2), *end("tool_use")]
    step, text, _ = fold(wire(events))
    assert text == step.text == "One.\n\nTwo."


def test_usage_is_read_from_start_and_end() -> None:
    """The end's totals win; the split of cache writes by age stays."""
    more: Any = {"input_tokens": 12, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 6}
    step, _, _ = fold(wire([START, *said("x"), *end(**more)]))
    assert step.usage == Usage(
        input_tokens=12,
        output_tokens=9,
        cache_read_tokens=8,
        cache_write_5m_tokens=4,
        cache_write_1h_tokens=2,
    )


def test_usage_without_a_split_is_all_five_minutes() -> None:
    """Older gateways send only the sum, and null for what they do not know."""
    usage = {"input_tokens": 3, "output_tokens": 1, "cache_creation_input_tokens": 5}
    start = {"type": "message_start", "message": {"usage": {**usage, "cache_creation": None}}}
    step, _, _ = fold(wire([start, *said("x"), *end()]))
    assert step.usage == Usage(input_tokens=3, output_tokens=9, cache_write_5m_tokens=5)


def test_characters_that_cannot_be_stored_are_left_out() -> None:
    """NUL and half a surrogate pair in the stream never reach the database."""
    step, text, _ = fold(wire([START, *said("a\x00b", "c\ud83d"), *end()]))
    assert text == step.text == "abc\ufffd"


def test_an_answer_that_ended_too_early_is_no_step() -> None:
    """No stop reason means that the end is missing, although the connection closed cleanly."""
    for events in ([], [START], [START, *said("x")], [START, *said("x"), *end(None)]):
        answer = ClaudeAnswer("")
        answer.feed(wire(events))
        with pytest.raises(CallFailed) as failed:
            answer.step(call_id="c", engine="e", model="m")
        assert failed.value.fault.reason == "cut"


@pytest.mark.parametrize(
    "data",
    [
        b"data: {nope\n\n",
        b'data: {"type": "content_block_delta", "index": 4}\n\n',
        b"data: 7\n\n",
        b'data: {"type": "message_start"}\n\n',
        b'data: "\xff"\n\n',
    ],
)
def test_nonsense_is_malformed(data: bytes) -> None:
    """Whatever is no event of the API is a fault that is retried, not a crash."""
    with pytest.raises(CallFailed) as failed:
        ClaudeAnswer("").feed(data)
    assert failed.value.fault.reason == "malformed"


@pytest.mark.parametrize("raw", ['{"a": ', "[1]", "7"])
def test_arguments_that_are_no_object_are_malformed(raw: str) -> None:
    """A tool is never called with arguments that the model did not finish."""
    with pytest.raises(CallFailed) as failed:
        fold(wire([START, *asked(0, raw), *end("tool_use")]))
    assert failed.value.fault.reason == "malformed"


def test_calls_of_an_answer_cut_at_its_limit_are_dropped() -> None:
    """The last one is incomplete, and to run only some of them would surprise the model."""
    events = [START, *said("Hi"), *asked(1, "{}"), *asked(2, '{"a'), *end("max_tokens")]
    step, text, _ = fold(wire(events))
    assert step.tool_calls == ()
    assert step.native is None
    assert text == "Hi"


def test_data_over_several_lines_and_comments_are_understood() -> None:
    """Server-sent events may split data and carry comments; some proxies do."""
    text = json.dumps(delta(0, "text_delta", "text", "x"))
    first, _, second = text.partition(", ")
    split = f": hi\nevent: content_block_delta\ndata: {first},\ndata: {second}\n\n"
    answer = ClaudeAnswer("")
    answer.feed(wire([START, *said()]) + b": keep-alive\n\n")
    assert answer.feed(split.encode()) == [TextDelta(text="x")]


def test_an_error_event_names_its_kind() -> None:
    """Overload is told apart from an internal error."""
    for kind, reason in (("overloaded_error", "overloaded"), ("api_error", "server_error")):
        with pytest.raises(CallFailed) as failed:
            ClaudeAnswer("").feed(wire([{"type": "error", "error": {"type": kind}}]))
        assert failed.value.fault.reason == reason
