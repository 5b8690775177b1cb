"""A child's request: what is refused, what is lowered, and what it is estimated to cost."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engines.gateway_body import BadBody, read_body
from tests.core.engines.gateway_kit import MODEL, body_of

PICTURE = base64.b64encode(bytes(90_000)).decode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"not json",
        b'"text"',
        body_of("hello").decode().encode("utf-16"),
        b'{"model": "' + MODEL.encode() + b'", "model": "claude-opus-5-5"}',
        b'{"mod\\u0065l": "claude-opus-5-5", "model": "' + MODEL.encode() + b'"}',
        body_of("hello", temperature=float("nan")),
        b"[" * 200_000,
        body_of("hello", speed="fast"),
        body_of("hello", service_tier="priority"),
        body_of("hello", model=[MODEL]),
    ],
)
def test_what_another_parser_might_read_otherwise_is_refused(raw: bytes) -> None:
    """The bytes are passed on as they came, so there must be one way to read them."""
    with pytest.raises(BadBody):
        read_body(raw, model=MODEL)


@pytest.mark.parametrize("max_tokens", [None, 0, -1, "9", 1.5, True])
def test_a_request_without_a_limit_is_refused(max_tokens: object) -> None:
    """The meter reserves the output that is asked for; it must be a number."""
    asked = read_body(body_of("hello", max_tokens=max_tokens), model=MODEL)
    with pytest.raises(BadBody):
        _ = asked.max_tokens


def test_a_body_within_its_grant_is_not_touched() -> None:
    """Byte for byte, whatever it looks like."""
    raw = (
        b'{ "max_tokens":5,\n"model" : "'
        + MODEL.encode()
        + b'", "top_k": 1e2, "metadata": "\\u00e4"}'
    )
    assert read_body(raw, model=MODEL).within(5) == raw


@pytest.mark.parametrize(
    ("limit", "thinking", "expected"),
    [
        (4_000, {"type": "enabled", "budget_tokens": 3_999}, 3_999),
        (4_000, {"type": "enabled", "budget_tokens": 4_000}, 3_999),
        (1_025, {"type": "enabled", "budget_tokens": 9_000}, 1_024),
        (1_024, {"type": "enabled", "budget_tokens": 9_000}, None),
        (100, {"type": "adaptive"}, None),
    ],
)
def test_thinking_stays_below_a_lowered_limit(
    limit: int, thinking: dict[str, object], expected: int | None
) -> None:
    """The API demands it; a budget below its minimum is switched off."""
    asked = read_body(body_of("hello", max_tokens=10_000, thinking=thinking), model=MODEL)
    sent = json.loads(asked.within(limit))
    assert sent["max_tokens"] == limit
    assert sent["thinking"].get("budget_tokens") == expected
    if expected is None and thinking["type"] == "enabled":
        assert sent["thinking"] == {"type": "disabled"}


@given(text=st.text(), limit=st.integers(min_value=1, max_value=400))
def test_lowering_changes_nothing_else(text: str, limit: int) -> None:
    """Any text, half a surrogate pair included, arrives as it was sent."""
    raw = body_of(text)
    sent = json.loads(read_body(raw, model=MODEL).within(limit))
    assert sent == json.loads(raw) | {"max_tokens": limit}


def test_pictures_and_documents_are_not_counted_by_their_bytes() -> None:
    """Encoded media would look like a hundred times its tokens, also in a tool's result."""
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    pdf = source | {"media_type": "application/pdf"}
    image = {"type": "image", "source": source}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    document = {"type": "document", "source": pdf}
    messages = [{"role": "user", "content": [image, result, document]}]
    estimated = read_body(body_of("", messages=messages), model=MODEL).estimated_input
    assert 5_400 * 2 + 90_000 // 25 < estimated < 5_400 * 2 + 90_000 // 25 + 300


def test_text_is_counted_by_its_bytes() -> None:
    """About three bytes a token, rounded up; a text document is text."""
    raw = body_of("x" * 1_000)
    assert read_body(raw, model=MODEL).estimated_input == -(-len(raw) // 3)
    source = {"type": "text", "media_type": "text/plain", "data": "y" * 3_000}
    content = [{"type": "document", "source": source}, "odd", {"type": "image", "source": None}]
    raw = body_of("", messages=[{"role": "user", "content": content}])
    assert read_body(raw, model=MODEL).estimated_input == -(-len(raw) // 3) + 5_400


@pytest.mark.parametrize(
    "more",
    [
        {"mcp_servers": [{"url": "https://example.org"}]},
        {"fallbacks": [{"model": "another"}]},
        {"container": "c1"},
        {"inference_geo": "us"},
        {"tools": [{"type": "web_search_20260209", "name": "web_search"}]},
        {"tools": ["odd"]},
    ],
)
def test_what_spends_beyond_tokens_is_refused(more: dict[str, object]) -> None:
    """Fields and tools of the provider's own that no meter counts, or that come later."""
    with pytest.raises(BadBody, match=r"in this turn|be offered"):
        read_body(body_of("hello", **more), model=MODEL)
    read_body(body_of("hello", tools=[{"name": "look", "input_schema": {}}]), model=MODEL)
