"""The chat on a real pseudo-terminal: keys, redrawing and signals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.bots.console_api import Step, completed

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
PROMPT = "\x1b[?2004h"
"""Every prompt switches bracketed paste on."""


class Session:
    """A child process with a terminal of its own."""

    def __init__(self, *arguments: str, columns: int = 70, term: str = "xterm-256color") -> None:
        """Start the chat with these arguments."""
        self.seen = ""
        self._mark = 0
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            environ = {**os.environ, "TERM": term, "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
            program = [sys.executable, "-m", "tests.bots.console_api", *arguments]
            os.execve(sys.executable, program, environ)  # our own program
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)

    def until(self, text: str) -> None:
        """Read until ``text`` appears behind what was waited for before."""
        end = time.monotonic() + PATIENCE_S
        while text not in self.seen[self._mark :]:
            assert time.monotonic() < end, f"no {text!r} in {self.seen!r}"
            assert self._read(), f"ended before {text!r}: {self.seen!r}"
        self._mark = self.seen.index(text, self._mark) + len(text)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def exit_code(self) -> int:
        """Read to the end."""
        end = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < end, self.seen
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        if b"\x1b[6n" in data:
            os.write(self._fd, b"\x1b[1;1R")
        self.seen += data.decode(errors="replace")
        return bool(data)


def scripts(folder: Path, **steps: list[Step]) -> str:
    """Write scripted answers for the child."""
    path = folder / "scripts.json"
    path.write_text(json.dumps(steps))
    return str(path)


def test_a_conversation_at_a_terminal(tmp_path: Path) -> None:
    """Line editing, a paste of two lines as one message, history kept privately, Ctrl-D."""
    history = tmp_path / "deep" / "history"
    session = Session("--history", str(history), "--conversation", "conv_1")
    session.until("is fine.")
    session.until(PROMPT)
    session.type("hello\r")
    session.until("You said: hello")
    session.until(PROMPT)
    session.type("\x1b[200~one\ntwo\x1b[201~")
    session.until("two")
    session.type("\r")
    session.until("You said: one two")
    session.until(PROMPT)
    session.type("\x04")
    assert session.exit_code() == 0
    assert "+hello\n" in history.read_text()
    assert "+one\n+two\n" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(tmp_path: Path) -> None:
    """The first Ctrl-C asks the server to stop; the answer so far stays."""
    hold: list[Step] = [
        ("text_delta", {"text": "Working"}),
        ("hold", {}),
        completed("Working", "cancelled"),
    ]
    session = Session("--scripts", scripts(tmp_path, hold=hold))
    session.until(PROMPT)
    session.type("hold\r")
    session.until("Working")
    session.type("\x03")
    session.until("Stopping.")
    session.until("Stopped.")
    session.until(PROMPT)
    session.type("\x04")
    assert session.exit_code() == 0


def test_what_was_typed_before_a_card_is_no_answer_to_it(tmp_path: Path) -> None:
    """Keys that wait when the question comes are dropped; only what is typed then counts."""
    data: dict[str, object] = {"id": "appr_abc123", "text": "**Approve?** a restart"}
    ask: list[Step] = [
        ("text_delta", {"text": "Working"}),
        ("pause", {"seconds": 1}),
        ("approval", data),
        ("decision", {}),
        completed("Working. Done."),
    ]
    session = Session("--scripts", scripts(tmp_path, ask=ask))
    session.until(PROMPT)
    session.type("ask\r")
    session.until("Working")
    session.type("y\r")
    session.until("[y/N/reason]")
    session.type("not now\r")
    session.until("Done.")
    session.until(PROMPT)
    session.type("\x04")
    assert session.exit_code() == 0
    assert "You said" not in session.seen


def test_ctrl_c_twice_leaves(tmp_path: Path) -> None:
    """A server that does not stop cannot hold the person."""
    hold: list[Step] = [("text_delta", {"text": "Working"}), ("pause", {"seconds": 60})]
    session = Session("--scripts", scripts(tmp_path, hold=hold), "--once", "hold")
    session.until("Working")
    session.type("\x03")
    session.until("Stopping.")
    session.type("\x03")
    assert session.exit_code() == 1


@pytest.mark.parametrize(("columns", "term"), [(40, "xterm-256color"), (40, "dumb")])
def test_a_narrow_terminal_shows_everything(tmp_path: Path, columns: int, term: str) -> None:
    """At 40 columns a table is folded, not cut; a dumb terminal gets no escape sequence."""
    text = "| Mount | Use |\n|---|---|\n| /var/lib/postgresql/data/base/16384 | 91 % |\n\nDone."
    steps: list[Step] = [("text_delta", {"text": text[:30]}), ("text_delta", {"text": text[30:]})]
    session = Session(
        "--scripts",
        scripts(tmp_path, q=[*steps, completed(text)]),
        "--once",
        "q",
        columns=columns,
        term=term,
    )
    assert session.exit_code() == 0
    plain = re.sub(r"\x1b\[[0-?]*[a-zA-Z]", "", session.seen)
    assert "Done." in plain
    assert "\u2026" not in plain.split("Done.")[0].rsplit("Mount", 1)[-1]
    assert ("\x1b" in session.seen) == (term != "dumb")
