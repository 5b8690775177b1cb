"""The CLI's JSON lines, as CLI 2.1.330 writes them, in our words."""

from __future__ import annotations

from typing import Any

import pytest

from core.engines.agent_said import (
    Ended,
    Opened,
    Retrying,
    Streamed,
    ToolResulted,
    Whole,
    said_in,
)
from core.metering import Usage

TOLD = {
    "input_tokens": 7,
    "output_tokens": 5,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 9,
    "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
}
USED = Usage(
    input_tokens=7,
    output_tokens=5,
    cache_read_tokens=3,
    cache_write_5m_tokens=4,
    cache_write_1h_tokens=5,
)


def test_a_stream_event_is_passed_on_as_it_is() -> None:
    """It is the provider's own."""
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}}
    line = {"type": "stream_event", "event": event, "parent_tool_use_id": None, "uuid": "u"}
    assert said_in(line) == (Streamed(event=event),)


def test_a_message_carries_its_id_its_blocks_and_its_usage() -> None:
    """The id is what joins it to its stream and to its call."""
    block = {"type": "text", "text": "hello"}
    message = {"id": "msg_1", "model": "m", "content": [block], "usage": TOLD}
    (said,) = said_in({"type": "assistant", "message": message})
    assert said == Whole(message_id="msg_1", blocks=(block,), usage=USED, failed=False)


@pytest.mark.parametrize(
    "line",
    [
        {"error": "rate_limit", "message": {"id": "x", "model": "m", "content": []}},
        {"message": {"id": "x", "model": "<synthetic>", "content": []}},
    ],
)
def test_the_clis_own_words_are_no_answer(line: dict[str, Any]) -> None:
    """It writes a message about an error as if the model had said it."""
    (said,) = said_in({"type": "assistant", **line})
    assert isinstance(said, Whole)
    assert said.failed


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ("plain", "plain"),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo"),
        ([], ""),
        (None, ""),
    ],
)
def test_a_tools_result_is_text(content: object, output: str) -> None:
    """Whichever of the API's forms it comes in."""
    block = {"type": "tool_result", "tool_use_id": "t1", "content": content, "is_error": True}
    text = {"type": "text", "text": "not a result"}
    line = {"type": "user", "message": {"role": "user", "content": [block, text]}}
    assert said_in(line) == (ToolResulted(tool_call_id="t1", output=output, is_error=True),)


@pytest.mark.parametrize("content", ["a plain text", [], [{"type": "text", "text": "x"}]])
def test_what_a_user_said_says_nothing(content: object) -> None:
    """The CLI repeats messages; they are ours."""
    assert said_in({"type": "user", "message": {"role": "user", "content": content}}) == ()


def test_a_result_says_how_it_ended() -> None:
    """``success`` with ``is_error`` is a failed call, with the provider's status."""
    line = {"subtype": "success", "is_error": True, "api_error_status": 529, "usage": TOLD}
    (said,) = said_in({**line, "type": "result"})
    assert said == Ended(failed=True, kind="success", status=529, usage=USED)


def test_a_result_without_figures_is_one_all_the_same() -> None:
    """As after an interrupt."""
    (said,) = said_in({"type": "result", "subtype": "error_during_execution"})
    assert said == Ended(failed=False, kind="error_during_execution", status=None, usage=Usage())


def test_the_beginning_and_retries_are_told() -> None:
    """The session's id, and the status of the failed request if there was an answer."""
    init = {"type": "system", "subtype": "init", "session_id": "s-1", "tools": []}
    retry = {"type": "system", "subtype": "api_retry", "attempt": 1, "error_status": 529}
    assert said_in(init) == (Opened(session_id="s-1"),)
    assert said_in(retry) == (Retrying(status=529),)
    assert said_in(retry | {"error_status": None}) == (Retrying(status=None),)


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"type": "system", "subtype": "status"},
        {"type": "control_response", "response": {}},
        {"type": "keep_alive"},
        {"type": "stream_event", "event": {"type": "x"}, "parent_tool_use_id": "toolu_1"},
        {"type": "assistant", "message": {"id": "x"}, "parent_tool_use_id": "toolu_1"},
    ],
)
def test_other_lines_say_nothing(line: dict[str, Any]) -> None:
    """Kinds that we do not know, and the talk of agents inside the agent."""
    assert said_in(line) == ()
