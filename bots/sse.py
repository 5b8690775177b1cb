"""Server-sent events on the wire: the one encoder and the one parser (WHATWG HTML, 9.2)."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment; it keeps proxies and clients from closing a quiet stream."""

MAX_EVENT_CHARS = 16 * 1024 * 1024
"""A longer event is an attack or a bug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SseMessage:
    """One event. ``id`` is empty when the server gave none."""

    event: str
    data: str
    id: str = ""


class BadStream(ValueError):
    """The bytes are no event stream."""


def encode(message: SseMessage) -> bytes:
    """One event as bytes. Raises ValueError for a line break in its name or id."""
    for field in (message.event, message.id):
        if any(char in field for char in "\r\n\0"):
            problem = f"no line break may be in {field!r}"
            raise ValueError(problem)
    lines = [f"id: {message.id}"] if message.id else []
    lines.append(f"event: {message.event}")
    data = message.data.replace("\r\n", "\n").replace("\r", "\n")
    lines.extend(f"data: {line}" for line in data.split("\n"))
    return ("\n".join(lines) + "\n\n").encode()


class SseParser:
    """Turns the chunks of a response body into events, wherever the chunks are cut."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_cr = False
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[SseMessage]:
        """The events that this chunk completes. Raises BadStream for an endless one."""
        text = self._decoder.decode(chunk)
        if self._after_cr and text:
            text, self._after_cr = text.removeprefix("\n"), False
        if text.endswith("\r"):
            self._after_cr = True
        lines = (self._rest + text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
        self._rest = lines.pop()
        events = [event for line in lines if (event := self._line(line))]
        if len(self._rest) + self._size > MAX_EVENT_CHARS:
            message = "an event is too long"
            raise BadStream(message)
        return events

    def _line(self, line: str) -> SseMessage | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
                self._size += len(value)
            case "id" if "\0" not in value:
                self._id = value
        return None

    def _dispatch(self) -> SseMessage | None:
        data, event = self._data, self._event or "message"
        self._data, self._event, self._size = [], "", 0
        if not data:
            return None
        return SseMessage(event=event, data="\n".join(data), id=self._id)
