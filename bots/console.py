"""The chat at a terminal, behind ``it0 chat``: a client of the HTTP API and nothing else.

May import core, aiohttp and, only when something is shown or asked, rich and prompt-toolkit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from bots.console_approvals import Asking, how_to_decide, plain_card
from bots.console_client import ConsoleClient, ConsoleError, Refused, Unreachable
from bots.console_events import (
    ApprovalWanted,
    Outcome,
    Reconnecting,
    ServerEvent,
    TurnAccepted,
    TurnCompleted,
    dump_event,
)
from bots.console_files import BadFile, read_files
from bots.console_render import AnswerView
from bots.console_terminal import Terminal, read_pipe, safe_text, system_terminal
from core.events import Notice, ToolFinished
from core.messages import MAX_TEXT_CHARS, Attachment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from rich.console import Console

__all__ = ["ChatOptions", "ConsoleClient", "ExitCode", "Terminal", "run_chat", "system_terminal"]

_SHOWN_MESSAGES = 6
"""Messages of an existing conversation that are shown when it is entered."""
_SHOWN_CHARS = 600
"""Characters of each; the beginning of a long answer is enough to remember it."""
_STOP_PATIENCE_S = 15.0
_LEAVE = frozenset({"/quit", "/exit"})


class ExitCode(IntEnum):
    """What a script learns from ``it0 chat``."""

    ANSWERED = 0
    FAILED = 1
    """Failed, refused or stopped."""
    USAGE = 2
    UNREACHABLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """The command line of ``it0 chat``."""

    once: str | None = None
    """Ask this and leave; ``-`` reads the text from standard input."""
    attach: tuple[Path, ...] = ()
    engine: str | None = None
    conversation_id: str | None = None
    json_output: bool = False


async def run_chat(client: ConsoleClient, options: ChatOptions, terminal: Terminal) -> int:
    """Chat until the person leaves, or ask once; return the exit code.

    The client must be open. Every error is one sentence on the error output.
    """
    try:
        files = read_files(options.attach)
        text = await _once_text(options, terminal)
        if text is None:
            return await _Chat(client, options, terminal, files).run()
        return await _ask_once(client, replace(options, once=text), terminal, files)
    except (BadFile, _Usage) as error:
        terminal.complain(str(error))
        return ExitCode.USAGE
    except Unreachable as error:
        terminal.complain(error.sentence)
        return ExitCode.UNREACHABLE
    except Refused as error:
        terminal.complain(error.sentence)
        return ExitCode.FAILED
    except BrokenPipeError:
        _forget_output(terminal)
        return ExitCode.FAILED


class _Usage(Exception):
    """The command line asks for something that cannot be done."""


async def _once_text(options: ChatOptions, terminal: Terminal) -> str | None:
    """The one question, or None when a person is going to type."""
    text = options.once
    if text == "-" or (text is None and not terminal.asks):
        text = await read_pipe(terminal.stdin, MAX_TEXT_CHARS)
    if text is None:
        if options.json_output:
            problem = "--json needs a question: give one with --once or on standard input."
            raise _Usage(problem)
        return None
    if len(text) > MAX_TEXT_CHARS:
        problem = f"A message has at most {MAX_TEXT_CHARS:,} characters; attach a file instead."
        raise _Usage(problem)
    if not text.strip() and not options.attach:
        problem = "There is nothing to ask: the message is empty."
        raise _Usage(problem)
    return text


# One question.


async def _ask_once(
    client: ConsoleClient,
    options: ChatOptions,
    terminal: Terminal,
    files: tuple[Attachment, ...],
) -> int:
    turn = _Turn(client, options.conversation_id)
    events = turn.events(options.once or "", options.engine, files)
    async with contextlib.aclosing(events):
        with _interrupts(turn.interrupt):
            if options.json_output:
                outcome = await _print_json(events, terminal)
            elif terminal.shows:
                outcome = await _show(events, terminal, terminal.console(), turn, client)
            else:
                outcome = await _print_plain(events, terminal)
    answered = outcome in (Outcome.ANSWERED, Outcome.STEERED)
    return ExitCode.ANSWERED if answered else ExitCode.FAILED


async def _print_json(
    events: AsyncGenerator[ServerEvent, None], terminal: Terminal
) -> Outcome | None:
    outcome = None
    async for event in events:
        print(dump_event(event), file=terminal.stdout, flush=True)
        if isinstance(event, TurnCompleted):
            outcome = event.outcome
    return outcome


async def _print_plain(
    events: AsyncGenerator[ServerEvent, None], terminal: Terminal
) -> Outcome | None:
    """The answer alone on the output; what happens meanwhile on the error output."""
    outcome = None
    failures: dict[str, str] = {}
    async for event in events:
        match event:
            case Notice() | Reconnecting(attempt=1) | ApprovalWanted():
                terminal.complain(_told(event))
            case ToolFinished(ok=False):
                failures[event.call_id] = f"{event.tool} failed: {event.output[:200]}"
            case TurnCompleted():
                outcome = event.outcome
                for failure in failures.values():
                    if failure.partition(": ")[2].strip() not in event.reply:  # said there
                        terminal.complain(failure)
                if event.reply.strip():
                    print(safe_text(event.reply).rstrip(), file=terminal.stdout, flush=True)
                if event.notice:
                    terminal.complain(event.notice)
                elif outcome is not Outcome.ANSWERED:
                    terminal.complain(f"The turn was {outcome}.")
            case _:
                pass
    return outcome


def _told(event: Notice | Reconnecting | ApprovalWanted) -> str:
    if isinstance(event, ApprovalWanted):
        return f"{plain_card(event.text)}\n\n{how_to_decide(event)}"
    return event.text


# A conversation.


class _Chat:
    """A person at a terminal."""

    def __init__(
        self,
        client: ConsoleClient,
        options: ChatOptions,
        terminal: Terminal,
        files: tuple[Attachment, ...],
    ) -> None:
        self._client = client
        self._options = options
        self._terminal = terminal
        self._files = files
        self._conversation = options.conversation_id
        self._console: Console = terminal.console()

    async def run(self) -> int:
        """Ask, answer, ask again."""
        await self._welcome()
        interrupted = False
        while True:
            try:
                text = await self._terminal.reader.read()
            except EOFError:
                return ExitCode.ANSWERED
            except KeyboardInterrupt:
                if interrupted:
                    return ExitCode.ANSWERED
                interrupted = True
                self._say("Ctrl-C again or Ctrl-D leaves.")
                continue
            interrupted = False
            if text.strip() in _LEAVE:
                return ExitCode.ANSWERED
            if not text.strip():
                continue
            if len(text) > MAX_TEXT_CHARS:
                limit = f"{MAX_TEXT_CHARS:,}"
                self._say(f"A message has at most {limit} characters; attach a file instead.")
                continue
            if not await self._answer(text):
                return ExitCode.FAILED

    async def _answer(self, text: str) -> bool:
        """Send one message and show its answer. False when the person leaves meanwhile."""
        turn = _Turn(self._client, self._conversation)
        events = turn.events(text, self._options.engine, self._files)
        try:
            with self._terminal.quiet_keys(), _interrupts(turn.interrupt):
                async with contextlib.aclosing(events):
                    await _show(events, self._terminal, self._console, turn, self._client)
        except ConsoleError as error:
            self._say(error.sentence, "red")
            return True
        finally:  # also after a drop: an accepted message has its conversation and its files
            before, self._conversation = self._conversation, turn.conversation_id
            if turn.accepted:
                self._files = ()
        if turn.left:
            return False
        if before and self._conversation and before != self._conversation:
            with contextlib.suppress(ConsoleError):  # it is a courtesy, the chat goes on
                await self._history(self._conversation)
        self._say("")
        return True

    async def _welcome(self) -> None:
        """Say how this works. Raises what the server answers, before anything is typed."""
        known = await self._client.conversations()
        title = next((item.title for item in known if item.id == self._conversation), "")
        self._say("IT0 " + (title or "- /help lists the commands, Ctrl-D leaves."), "bold")
        if self._conversation:
            await self._history(self._conversation)
        for file in self._files:
            self._say(f"{file.name} goes with your first message.", "dim")

    async def _history(self, conversation_id: str) -> None:
        from bots.console_markdown import Block  # noqa: PLC0415  # heavy: only when shown

        for message in (await self._client.messages(conversation_id))[-_SHOWN_MESSAGES:]:
            text = safe_text(message.text).strip()
            if len(text) > _SHOWN_CHARS:
                text = text[:_SHOWN_CHARS].rstrip() + " ..."
            if message.role == "user":
                self._say("")
                self._say("> " + text.replace("\n", "\n  "), "dim")
            else:
                self._console.print(Block(text))

    def _say(self, text: str, style: str = "dim") -> None:
        self._console.print(safe_text(text), style=style)


class _Turn:
    """One turn that Ctrl-C can stop."""

    def __init__(self, client: ConsoleClient, conversation_id: str | None) -> None:
        self.conversation_id = conversation_id
        self.accepted = False
        self.left = False
        self.on_stop: Callable[[], None] = lambda: None
        self._client = client
        self._stopping: asyncio.Task[None] | None = None
        self._task: asyncio.Task[object] | None = None

    async def events(
        self, text: str, engine: str | None, files: tuple[Attachment, ...]
    ) -> AsyncGenerator[ServerEvent, None]:
        """The turn's events; ends early when the person leaves."""
        self._task = asyncio.current_task()
        stream = self._client.turn(
            text, conversation_id=self.conversation_id, engine=engine, attachments=files
        )
        try:
            async with contextlib.aclosing(stream):
                async for event in stream:
                    if isinstance(event, TurnAccepted | TurnCompleted):
                        self.accepted = True
                        self.conversation_id = event.conversation_id or self.conversation_id
                    yield event
        except asyncio.CancelledError:
            if not self.left or self._task is None:
                raise
            self._task.uncancel()
        finally:
            await self._end_stopping()

    def interrupt(self) -> None:
        """Ctrl-C: the first stops the answer, the second leaves."""
        if self._stopping is None and self.conversation_id:
            self._stopping = asyncio.ensure_future(self._stop(self.conversation_id))
            self.on_stop()
        elif self._task:
            self.left = True
            self._task.cancel()

    async def _stop(self, conversation_id: str) -> None:
        with contextlib.suppress(ConsoleError, TimeoutError):
            async with asyncio.timeout(_STOP_PATIENCE_S):
                await self._client.stop(conversation_id)

    async def _end_stopping(self) -> None:
        if self._stopping is None:
            return
        if self.left:
            self._stopping.cancel()
        await asyncio.gather(self._stopping, return_exceptions=True)


async def _show(
    events: AsyncGenerator[ServerEvent, None],
    terminal: Terminal,
    console: Console,
    turn: _Turn,
    client: ConsoleClient,
) -> Outcome | None:
    outcome = None
    async with AnswerView(terminal, console) as view:
        turn.on_stop = view.stopping
        reader = terminal.reader if terminal.asks else None
        asking = Asking(client, reader, view, turn.interrupt)
        try:
            async for event in events:
                await asking.take(event)
                if isinstance(event, TurnCompleted):
                    outcome = event.outcome
        finally:
            await asking.end()
    return outcome


@contextlib.contextmanager
def _interrupts(handler: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls ``handler`` instead of ending the process."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    try:
        loop.add_signal_handler(signal.SIGINT, handler)
    except (NotImplementedError, RuntimeError, ValueError):  # not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def _forget_output(terminal: Terminal) -> None:
    """The reader of our output is gone: let nothing try to write to it at exit."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, terminal.stdout.fileno())
        os.close(nothing)
