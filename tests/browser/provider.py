"""The fake model provider, with answers whose pace a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.anthropic_answer import Answer, Seen
from tests.fakes.anthropic_script import Plan

TWENTY_A_SECOND = 0.05


@dataclass(kw_only=True)
class Script:
    """One answer, delta by delta."""

    deltas: Sequence[str]
    pause_s: float = TWENTY_A_SECOND
    """Between two deltas."""
    hold_at: int | None = None
    """Wait before the delta of this number (from 0) until ``go`` is set."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the answer waits."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the answer is over, or its reader has gone."""
    cut: bool = False
    """Whether the reader went before the end."""

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.deltas)

    async def before(self, number: int) -> None:
        """Wait as long as the delta of this number has to."""
        if number == self.hold_at:
            self.held.set()
            await self.go.wait()
        await asyncio.sleep(self.pause_s)


class Provider(FakeAnthropic):
    """Answers a message that holds a script's key by that script; all else as the fake does."""

    def __init__(self) -> None:
        """No script is known."""
        super().__init__()
        self._scripts: dict[str, Script] = {}

    def script(
        self,
        key: str,
        deltas: Iterable[str] | str,
        *,
        hold_at: int | None = None,
        pause_s: float = TWENTY_A_SECOND,
    ) -> Script:
        """Answer messages with this word in them so; a text is sent word by word."""
        parts = _words(deltas) if isinstance(deltas, str) else list(deltas)
        made = Script(deltas=parts, hold_at=hold_at, pause_s=pause_s)
        self._scripts[key] = made
        return made

    async def _stream(
        self, request: web.Request, plan: Plan, answer: Answer, seen: Seen
    ) -> web.StreamResponse:
        script = next((one for key, one in self._scripts.items() if key in seen.prompt), None)
        if script is None or seen.round:
            return await super()._stream(request, plan, answer, seen)
        answer._words = list(script.deltas)
        seen.text = script.text
        head, deltas, tail = answer.frames()
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "request-id": f"req_{next(self._ids)}"}
        )
        await response.prepare(request)
        try:
            await response.write(b"".join(head))
            for number, delta in enumerate(deltas):
                await script.before(number)
                await response.write(delta)
            await response.write(b"".join(tail))
            seen.finished = True
        except (ConnectionError, asyncio.CancelledError):
            seen.closed_early = script.cut = True
            raise
        finally:
            script.ended.set()
        return response


def _words(text: str) -> list[str]:
    """The text in parts that end after a space or a line's end; nothing is lost."""
    parts: list[str] = []
    for line in text.splitlines(keepends=True):
        parts += [f"{word} " for word in line.split(" ")[:-1]] + [line.split(" ")[-1]]
    return [part for part in parts if part]
