"""The person's terminal: its streams, what they can do, and how a line is read.

Text from the server is never written as it came: ``safe_text`` takes everything out that a
terminal would obey.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from core.messages import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"  # OSC
    r"|\x1b[ -/]*[0-~]"
)
"""The body of a string (OSC, DCS) ends where another begins: nothing is looked at twice."""
_DIRECTION = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F))
"""Marks that reverse text: a command could look like another one."""


def safe_text(text: str) -> str:
    """Text without escape sequences, control characters and marks that reverse it."""
    return clean_text(_SEQUENCES.sub("", text)).translate(_DIRECTION)


class LineReader(Protocol):
    """Asks the person for a message."""

    async def read(self) -> str:
        """Return what was typed. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C."""

    async def ask(self, question: str) -> str:
        """The answer to a question of ours, typed after it was shown; raises like ``read``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Where a chat reads and writes."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    reader: LineReader

    @property
    def asks(self) -> bool:
        """Whether a person can type here."""
        return self.stdin.isatty()

    @property
    def shows(self) -> bool:
        """Whether a person watches the output."""
        return self.stdout.isatty()

    @property
    def redraws(self) -> bool:
        """Whether lines that were written can be written over."""
        return self.shows and self.environ.get("TERM", "") not in ("", "dumb", "unknown")

    @property
    def unicode(self) -> bool:
        """Whether more than ASCII can be written."""
        return "utf" in (self.stdout.encoding or "").lower()

    def console(self) -> Console:
        """A rich console on the output; colours only where they are wanted."""
        from rich.console import Console  # noqa: PLC0415  # heavy: only when shown

        return Console(
            file=self.stdout,
            force_terminal=self.redraws,
            no_color="NO_COLOR" in self.environ or not self.redraws,
            color_system="auto" if self.redraws else None,
            markup=False,
            highlight=False,
            emoji=False,
            legacy_windows=False,
            _environ=self.environ,
        )

    def complain(self, sentence: str) -> None:
        """Write one sentence to the error output."""
        print(safe_text(sentence), file=self.stderr, flush=True)

    @contextlib.contextmanager
    def quiet_keys(self) -> Iterator[None]:
        """While an answer streams, keys are kept for the next prompt and not echoed."""
        import termios  # noqa: PLC0415  # not on every platform; only with a terminal

        try:
            number = self.stdin.fileno()
            before, quiet = termios.tcgetattr(number), termios.tcgetattr(number)
        except (OSError, ValueError, termios.error):  # no terminal: no keys
            yield
            return
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(number, termios.TCSANOW, quiet)
        try:
            yield
        finally:
            termios.tcsetattr(number, termios.TCSANOW, before)


class PromptReader:
    """Line editing with history; a paste of many lines is one message."""

    def __init__(self, history: Path | None) -> None:
        """``history`` is a file that only its owner can read, or None to keep nothing."""
        self._history = history
        self._prompt: _Prompt | None = None

    async def read(self) -> str:
        """Ask for a message."""
        if self._prompt is None:
            self._prompt = _prompt(self._history)
        return await self._prompt()

    async def ask(self, question: str) -> str:
        """Ask one thing. What was typed before it was shown is no answer to it, and goes."""
        from prompt_toolkit import PromptSession  # noqa: PLC0415  # heavy: only when interactive
        from prompt_toolkit.input.typeahead import clear_typeahead  # noqa: PLC0415  # heavy

        session: PromptSession[str] = PromptSession(reserve_space_for_menu=0)
        clear_typeahead(session.app.input)
        _forget_typed()
        return await session.prompt_async(question)


def _forget_typed() -> None:
    """Drop the keys that wait in the terminal."""
    import termios  # noqa: PLC0415  # not on every platform; only with a terminal

    with contextlib.suppress(OSError, ValueError, termios.error):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


class _Prompt(Protocol):
    async def __call__(self) -> str: ...


def _prompt(history: Path | None) -> _Prompt:
    from prompt_toolkit import PromptSession  # noqa: PLC0415  # heavy: only when interactive
    from prompt_toolkit.history import FileHistory, InMemoryHistory  # noqa: PLC0415  # heavy
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent  # noqa: PLC0415  # heavy

    class SafeHistory(FileHistory):
        """Keeps what was typed, also bytes that are no text."""

        def store_string(self, string: str) -> None:
            with contextlib.suppress(OSError):  # a full disk must not end the chat
                super().store_string(clean_text(string))

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    kept = SafeHistory(str(history)) if history and _private(history) else InMemoryHistory()
    session: PromptSession[str] = PromptSession(
        history=kept, key_bindings=keys, reserve_space_for_menu=0
    )

    async def ask() -> str:
        return await session.prompt_async("\u203a " if _utf8_output() else "> ")

    return ask


def _private(path: Path) -> bool:
    """Make the history file, readable by its owner alone. False when it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError:
        return False
    return True


def _utf8_output() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower()


def system_terminal(history: Path | None) -> Terminal:
    """The process's own terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return Terminal(
        stdin=sys.stdin,
        stdout=sys.stdout,
        stderr=sys.stderr,
        environ=os.environ,
        reader=PromptReader(history),
    )


async def read_pipe(stream: TextIO, most: int) -> str:
    """All of a piped input, at most ``most`` + 1 characters, off the event loop."""
    return await asyncio.to_thread(stream.read, most + 1)
