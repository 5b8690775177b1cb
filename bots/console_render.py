"""Shows an answer while it is written.

Finished Markdown blocks are printed once and stay; only the last block, and what the agent
is doing, are redrawn. On a terminal that cannot redraw, blocks appear when they are finished.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, assert_never

from bots.console_events import (
    ApprovalOver,
    ApprovalWanted,
    ModelCall,
    Outcome,
    Reconnecting,
    ServerEvent,
    TurnAccepted,
    TurnCompleted,
)
from bots.console_terminal import Terminal, safe_text
from core.events import Notice, TextDelta, TextReset, ThinkingDelta, ToolFinished, ToolStarted
from core.markdown import finished_length

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from rich.console import Console, RenderableType
    from rich.live import Live

_REDRAW_S = 0.1
_SUMMARY_CHARS = 200
_LONG_BLOCK = 1000
"""Characters; from here on the work for a growing block is bounded."""


@dataclass(slots=True)
class _Shown:
    """The answer so far, and how much of it was printed for good."""

    text: str = ""
    printed: int = 0
    blocks: int = 0
    next_look: int = 0
    """Length of the unprinted rest at which it is searched for finished blocks again."""


@dataclass(slots=True)
class AnswerView:
    """One answer on a terminal; an async context manager that ends the redrawing."""

    terminal: Terminal
    console: Console
    _shown: _Shown = field(default_factory=_Shown)
    _doing: str = "sending"
    _engine: str = ""
    _running: dict[str, str] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)
    _live: Live | None = None
    _ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to redraw, where the terminal can."""
        self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print what is left and leave the terminal as it was."""
        await self._end()

    @asynccontextmanager
    async def aside(self) -> AsyncGenerator[None]:
        """While something is asked, nothing is redrawn."""
        await self._end()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        if not self.terminal.redraws:
            return
        from rich.live import Live  # noqa: PLC0415  # heavy: only when shown

        self._live = Live(
            console=self.console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        self._ticker = asyncio.create_task(self._tick())

    async def _end(self) -> None:
        if self._ticker:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        self._print_rest()
        if self._live:
            self._live.update("")
            self._live.stop()
        self._ticker = self._live = None

    def show(self, event: ServerEvent) -> None:
        """Take in one event."""
        match event:
            case TurnAccepted() | ModelCall():
                self._engine, self._doing = event.engine or self._engine, "thinking"
            case TextDelta():
                self._append(event.text)
            case ThinkingDelta():
                self._doing = "thinking"
            case TextReset():
                self._replace(event.text, event.reason)
            case ToolStarted():
                self._print_rest()
                self._running[event.call_id] = event.summary or event.tool
            case ToolFinished():
                self._finish_tool(event)
            case Reconnecting() | Notice():
                self._remark(event)
            case TurnCompleted():
                self._complete(event)
            case ApprovalWanted() | ApprovalOver():
                self._show_approval(event)
            case _:
                assert_never(event)

    def stopping(self) -> None:
        """Say that the person asked to stop."""
        self._line(self._sign("·", "-"), "Stopping. Ctrl-C again leaves at once.", "yellow")
        self._doing = "stopping"

    # The answer's text.

    def _append(self, text: str) -> None:
        self._shown.text += safe_text(text)
        self._doing = "writing"
        if "\n" in text:
            self._print_finished()

    def _print_finished(self) -> None:
        """Print what is finished; a long block is looked at only when it grew a good deal."""
        shown = self._shown
        rest = len(shown.text) - shown.printed
        if rest < shown.next_look:
            return
        finished = finished_length(shown.text[shown.printed :])
        shown.next_look = 0 if finished or rest < _LONG_BLOCK else rest * 17 // 16
        self._print_block(finished)

    def _print_rest(self) -> None:
        self._print_block(len(self._shown.text) - self._shown.printed)

    def _print_block(self, length: int) -> None:
        from bots.console_markdown import Block  # noqa: PLC0415  # heavy: only when shown

        shown = self._shown
        block = shown.text[shown.printed : shown.printed + length]
        shown.printed += length
        shown.next_look = 0
        if not block.strip():
            return
        if shown.blocks:
            self._print("")
        shown.blocks += 1
        self._print(Block(block))

    def _replace(self, text: str, reason: str) -> None:
        """Discard what was shown, except for what remains of it."""
        text, shown = safe_text(text), self._shown
        void = not text.startswith(shown.text[: shown.printed])
        shorter = len(shown.text) > len(text)
        shown.text = shown.text[: shown.printed]  # what was only in the live tail just goes
        if void or (reason and shorter):
            self._line(self._sign("\u21ba", "!"), reason or "The answer starts again.", "yellow")
        if void:
            shown.printed = 0
        shown.text, shown.next_look = text, 0
        self._print_finished()

    def _complete(self, event: TurnCompleted) -> None:
        if event.reply and not _same(safe_text(event.reply), self._shown.text):
            self._replace(event.reply, "")
        self._print_rest()
        if event.notice:
            bad = event.outcome in (Outcome.FAILED, Outcome.REFUSED)
            self._line(self._sign("!", "!"), event.notice, "red" if bad else "yellow")
        elif event.outcome is Outcome.CANCELLED:
            self._line(self._sign("·", "-"), "Stopped.", "yellow")
        elif event.outcome is Outcome.STEERED:
            self._line(self._sign("·", "-"), "Added to the answer that is running.", "yellow")
        self._line(" ", self._footer(event), "dim")
        self._doing = ""

    def _show_approval(self, event: ApprovalWanted | ApprovalOver) -> None:
        from bots.console_markdown import Block  # noqa: PLC0415  # heavy: only when shown

        if isinstance(event, ApprovalOver):
            self._settle(event)
            return
        self._print_rest()
        self._print("")
        self._print(Block(safe_text(event.text)))
        self._doing = "waiting for an approval"

    def _settle(self, event: ApprovalOver) -> None:
        by = f" by {event.decided_by}" if event.decided_by else ""
        why = f": {event.comment}" if event.comment else ""
        style = "green" if event.status == "approved" else "yellow"
        self._line(self._sign("·", "-"), f"{event.status.capitalize()}{by}{why}", style)
        self._doing = "thinking"

    def say(self, sentence: str) -> None:
        """A line that is no part of the answer."""
        self._line(self._sign("·", "-"), sentence, "yellow")

    def _footer(self, event: TurnCompleted) -> str:
        seconds = time.monotonic() - self._started
        words = [event.engine or self._engine, f"{seconds:.1f} s"]
        tokens = sum(event.usage.values())
        if tokens:
            words.insert(1, f"{tokens:,} tokens")
        return self._sign(" · ", " - ").join(word for word in words if word)

    def _remark(self, event: Reconnecting | Notice) -> None:
        """A drop is told once, however many tries it takes."""
        if isinstance(event, Reconnecting):
            self._doing = "reconnecting"
            if event.attempt > 1:
                return
        self.say(event.text)

    # Tools and lines.

    def _finish_tool(self, event: ToolFinished) -> None:
        summary = self._running.pop(event.call_id, event.tool)
        if event.ok:
            self._line(self._sign("✓", "+"), summary, "dim")
            return
        first = next((line for line in event.output.splitlines() if line.strip()), "failed")
        self._line(self._sign("✗", "x"), f"{summary}: {first.strip()}", "red")

    def _line(self, sign: str, text: str, style: str) -> None:
        """Print a line above the block that is being written, so as not to tear it."""
        from rich.padding import Padding  # noqa: PLC0415  # heavy: only when shown
        from rich.table import Table  # noqa: PLC0415  # heavy: only when shown
        from rich.text import Text  # noqa: PLC0415  # heavy: only when shown

        words = " ".join(safe_text(text).split())
        if len(words) > _SUMMARY_CHARS and style == "dim":
            words = words[: _SUMMARY_CHARS - 1] + self._sign("…", "~")
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text(sign, style), Text(words, style, overflow="fold"))
        self._print(Padding(grid, 0, expand=False))

    def _sign(self, sign: str, plain: str) -> str:
        return sign if self.terminal.unicode else plain

    # Drawing.

    def _print(self, what: RenderableType) -> None:
        self.console.print(what)

    async def _tick(self) -> None:
        while True:
            self._redraw()
            await asyncio.sleep(_REDRAW_S)

    def _redraw(self) -> None:
        if self._live is None:
            return
        from bots.console_markdown import Tail  # noqa: PLC0415  # heavy: only when shown

        tail = self._shown.text[self._shown.printed :]
        status = "" if not self._doing else self._status()
        self._live.update(Tail(tail, status, follows=self._shown.blocks > 0), refresh=True)

    def _status(self) -> str:
        seconds = time.monotonic() - self._started
        frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self.terminal.unicode else "|/-\\"
        frame = frames[int(seconds / _REDRAW_S) % len(frames)]
        doing = next(reversed(self._running.values()), "") or self._doing
        words = [" ".join(safe_text(doing).split()), safe_text(self._engine), f"{seconds:.0f} s"]
        return f"{frame} " + self._sign(" · ", " - ").join(word for word in words if word)


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()
