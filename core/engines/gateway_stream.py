"""The provider's answer on its way through: whole events, and the usage they tell."""

from __future__ import annotations

import json

from core.engines.claude_faults import MALFORMED
from core.engines.claude_faults import CallFailed as AnswerFailed
from core.engines.claude_stream import ClaudeAnswer, usage_at_start
from core.engines.gateway_turn import TURN_OVER, CallBegan, CallFinished, RoutedCall, RunningTurn
from core.metering import Usage


class WholeEvents:
    """Cuts bytes at the ends of server-sent events.

    A child acts on whole events only, so holding back the beginning of one delays nothing;
    and an error event, which carries the provider's own text, never leaves in part.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """Begin with nothing held back."""
        self._rest = b""

    def take(self, chunk: bytes) -> bytes:
        """Add what was read; return what ends with a whole event."""
        data = self._rest + chunk if self._rest else chunk
        end = max(_after(data, b"\n\n"), _after(data, b"\r\n\r\n"))
        self._rest = data[end:]
        return data[:end]


def _after(data: bytes, mark: bytes) -> int:
    """Where the last mark ends, or 0."""
    return (data.rfind(mark) + len(mark)) if mark in data else 0


class MeteredCall:
    """One admitted call: what is read of its answer goes to the meter and to the engine."""

    __slots__ = ("_answer", "_call_id", "_message_id", "_noted", "_routed", "_turn")

    def __init__(self, turn: RunningTurn, call_id: str) -> None:
        """Begin before the request is sent."""
        self._turn = turn
        self._call_id = call_id
        self._answer = ClaudeAnswer("")
        self._noted: Usage | None = None
        self._routed: RoutedCall | None = None
        self._message_id = ""

    @property
    def finished(self) -> bool:
        """Whether the whole answer was read."""
        return self._routed is not None and self._routed.finished

    def unspent(self) -> None:
        """The provider refused it, or never got it."""
        self._note(Usage())

    def read_events(self, events: bytes) -> None:
        """Take whole events, before the child gets them. Raises ``AnswerFailed``."""
        answer = self._answer
        try:
            answer.feed(events)
        finally:
            if answer.usage is not None and answer.usage is not self._noted:
                self._note(answer.usage)
                self._began(answer.message_id, answer.usage)
        if answer.ended:
            if answer.ends_the_turn and self._turn.ending is None:
                self._turn.ending = TURN_OVER  # before the child reads the end, and asks again
            self._finished()

    def read_end(self) -> bool:
        """The provider closed the stream; whether the answer is complete."""
        if self._answer.stop_reason is not None:
            self._finished()
        return self.finished

    def read_json(self, raw: bytes) -> None:
        """Take a whole answer to a request without events. Raises ``AnswerFailed``."""
        try:
            message = json.loads(raw)
            usage = usage_at_start(message["usage"])
            message_id = str(message["id"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AnswerFailed(MALFORMED) from error
        self._note(usage)
        self._began(message_id, usage)
        self._finished()

    def close(self) -> None:
        """However the call ended: note the output of an answer that was cut off."""
        used = self._answer.usage_so_far
        if used is not None and used != self._noted:
            self._note(used)

    def _note(self, usage: Usage) -> None:
        self._noted = usage
        self._turn.given.meter.saw(self._call_id, usage)
        if self._routed is not None:
            self._routed.usage = usage

    def _began(self, message_id: str, usage: Usage) -> None:
        if self._routed is not None:
            return
        self._message_id = message_id
        self._routed = RoutedCall(call_id=self._call_id, usage=usage)
        self._turn.calls[message_id] = self._routed
        self._turn.given.tell(CallBegan(call_id=self._call_id, message_id=message_id))

    def _finished(self) -> None:
        routed = self._routed
        if routed is None:
            raise AnswerFailed(MALFORMED)
        if routed.finished:
            return
        routed.finished = True
        self._turn.given.tell(
            CallFinished(call_id=routed.call_id, message_id=self._message_id, usage=routed.usage)
        )
