"""Server-sent events survive the wire, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.sse import KEEP_ALIVE, MAX_EVENT_CHARS, BadStream, SseMessage, SseParser, encode

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=60)
MESSAGE = st.builds(SseMessage, event=LINE.filter(bool), data=TEXT, id=LINE.filter(bool))


def parse(body: bytes, cuts: list[int]) -> list[SseMessage]:
    """Feed a body in pieces."""
    parser, events, start = SseParser(), [], 0
    for cut in sorted(min(cut, len(body)) for cut in [*cuts, len(body)]):
        events += parser.feed(body[start:cut])
        start = cut
    return events


@given(st.lists(MESSAGE, max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_what_is_encoded_is_parsed(messages: list[SseMessage], cuts: list[int]) -> None:
    """Events come out as they went in, also when a character is cut in two."""
    body = KEEP_ALIVE.join(encode(message) for message in messages)
    assert parse(body, cuts) == messages


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_understood(end: bytes) -> None:
    """Three kinds of line ends, comments, unknown fields and a byte order mark."""
    lines = [
        b"\xef\xbb\xbf: hello",
        b"id: 1-2",
        b"event: a",
        b"data: x",
        b"data:y",
        b"new: 1",
        b"",
        b"",
    ]
    body = end.join(lines)
    expected = [SseMessage(event="a", data="x\ny", id="1-2")]
    assert parse(body, []) == expected
    assert parse(body, list(range(len(body)))) == expected


def test_an_unfinished_event_is_not_delivered() -> None:
    """A connection that drops in an event loses that event only."""
    assert parse(b"data: one\n\ndata: two\n", []) == [SseMessage(event="message", data="one")]


def test_line_breaks_cannot_forge_an_event() -> None:
    """Data with line breaks stays data; a name with one is refused."""
    forged = SseMessage(event="text", data="a\n\nevent: completed\rdata: {}")
    (event,) = SseParser().feed(encode(forged))
    assert event.event == "text"
    with pytest.raises(ValueError, match="line break"):
        encode(SseMessage(event="a\nb", data=""))


def test_an_endless_event_is_refused() -> None:
    """Memory is bounded, also for many short lines."""
    parser = SseParser()
    with pytest.raises(BadStream):
        parser.feed(b"data: " + b"x" * (MAX_EVENT_CHARS + 1))
    parser, line = SseParser(), b"data: " + b"x" * (MAX_EVENT_CHARS // 32) + b"\n"
    for _ in range(31):
        parser.feed(line)
    with pytest.raises(BadStream):
        parser.feed(line * 2)
