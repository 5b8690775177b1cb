"""What a person, or a script, gets from a chat."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.console import ChatOptions, ConsoleClient, ExitCode, Terminal, run_chat
from bots.console_terminal import safe_text
from core.messages import MAX_ATTACHMENT_BYTES
from tests.bots.console_api import ConsoleApi, Step, completed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOSTILE = "\x1b]0;owned\x07a\x1b[2Jb\x9b31mc\x08\x00\u202ed\x1b]8;;http://x\x1b\\e"


class Stream(io.StringIO):
    """Text in memory that may say it is a terminal."""

    def __init__(self, text: str = "", *, tty: bool = False) -> None:
        """``tty``: what it says about itself."""
        super().__init__(text)
        self._tty = tty

    def isatty(self) -> bool:
        """Whether it plays a terminal."""
        return self._tty


class Typist:
    """Types prepared lines, then Ctrl-D; an exception is a key such as Ctrl-C."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        """``lines`` in the order they are typed."""
        self._lines = list(lines)

    async def read(self) -> str:
        """The next line."""
        line = self._lines.pop(0) if self._lines else EOFError
        if isinstance(line, str):
            return line
        raise line

    async def ask(self, question: str) -> str:
        """The next line, to whatever question."""
        return await self.read()


class Screen:
    """A terminal in memory. With a typist somebody types and watches."""

    def __init__(
        self, typist: Typist | None = None, *, stdin: str = "", shown: bool = False
    ) -> None:
        """``shown``: whether somebody watches; without a typist ``stdin`` is a pipe."""
        typed = typist is not None
        self.out, self.err = Stream(tty=shown or typed), Stream()
        self.terminal = Terminal(
            stdin=Stream(stdin, tty=typed),
            stdout=self.out,
            stderr=self.err,
            environ={"TERM": "dumb", "COLUMNS": "60"},
            reader=typist or Typist(),
        )


@pytest.fixture
async def api() -> AsyncIterator[ConsoleApi]:
    """A running server."""
    server = ConsoleApi()
    await server.start()
    yield server
    await server.stop()


async def chat(api: ConsoleApi, screen: Screen, options: ChatOptions) -> int:
    """Run a chat against the server."""
    async with ConsoleClient(api.url, lambda: "secret", first_wait_s=0.001) as client:
        return await run_chat(client, options, screen.terminal)


async def once(api: ConsoleApi, text: str, *, shown: bool = False) -> tuple[int, str, str]:
    """Ask one question; return the exit code and both outputs."""
    screen = Screen(shown=shown)
    code = await chat(api, screen, ChatOptions(once=text))
    return code, screen.out.getvalue(), screen.err.getvalue()


async def test_once_prints_the_answer_alone(api: ConsoleApi) -> None:
    """A script gets the Markdown as it is on the output, notices on the error output."""
    api.scripts["q"] = [("notice", {"text": "busy"}), completed("# Hi\n\n**there**", notice="cut")]
    assert await once(api, "q") == (0, "# Hi\n\n**there**\n", "busy\ncut\n")


async def test_once_renders_for_a_person(api: ConsoleApi) -> None:
    """A terminal gets rendered Markdown, tools, and the engine that answered."""
    api.scripts["q"] = [
        ("tool_started", {"call_id": "1", "tool": "disk", "summary": "disk server=a"}),
        ("tool_finished", {"call_id": "1", "tool": "disk", "ok": True, "output": "x"}),
        completed("# Hi\n\n**there**", usage={"input_tokens": 1200}),
    ]
    code, out, _ = await once(api, "q", shown=True)
    assert code == ExitCode.ANSWERED
    assert out.splitlines()[:4] == ["+ disk server=a", "Hi", "", "there"]
    assert "runbook - 1,200 tokens - " in out


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("answered", 0), ("steered", 0), ("refused", 1), ("failed", 1), ("cancelled", 1)],
)
async def test_the_exit_code_is_the_outcome(api: ConsoleApi, outcome: str, code: int) -> None:
    """A script can tell an answer from a refusal."""
    api.scripts["q"] = [completed("", outcome, notice="Because.")]
    assert await once(api, "q") == (code, "", "Because.\n")


@pytest.mark.parametrize("options", [ChatOptions(), ChatOptions(once="-")])
async def test_a_pipe_is_the_question(api: ConsoleApi, options: ChatOptions) -> None:
    """``echo text | it0 chat`` asks, with or without ``--once -``."""
    screen = Screen(stdin="what is up?\n")
    assert await chat(api, screen, options) == ExitCode.ANSWERED
    assert api.posts[0]["text"] == "what is up?\n"


@pytest.mark.parametrize(
    ("stdin", "words"), [("", "nothing to ask"), (" \n", "nothing to ask"), ("x" * 100_001, "most")]
)
async def test_a_bad_question_is_not_sent(api: ConsoleApi, stdin: str, words: str) -> None:
    """Empty and far too long input is refused with one sentence."""
    screen = Screen(stdin=stdin)
    assert await chat(api, screen, ChatOptions(once="-")) == ExitCode.USAGE
    assert words in screen.err.getvalue()
    assert api.posts == []


async def test_json_is_one_event_a_line(api: ConsoleApi) -> None:
    """Every event, plain ASCII, also what the client itself noticed."""
    api.scripts["q"] = [("text_delta", {"text": HOSTILE}), completed("ä")]
    api.drops = [1]
    screen = Screen()
    code = await chat(api, screen, ChatOptions(once="q", json_output=True))
    lines = screen.out.getvalue().splitlines()
    assert code == ExitCode.ANSWERED
    assert [json.loads(line)["event"] for line in lines] == [
        "turn",
        "reconnecting",
        "text_delta",
        "completed",
    ]
    assert json.loads(lines[2])["text"] == HOSTILE
    assert all(" " <= char <= "~" for line in lines for char in line)


async def test_no_server_is_exit_code_3() -> None:
    """One sentence says how to start one."""
    screen = Screen()
    async with ConsoleClient("http://127.0.0.1:9", lambda: "t") as client:
        code = await run_chat(client, ChatOptions(once="q"), screen.terminal)
    assert code == ExitCode.UNREACHABLE
    assert screen.err.getvalue().count("\n") == 1
    assert "it0 up" in screen.err.getvalue()


async def test_a_refused_token_is_one_sentence(api: ConsoleApi) -> None:
    """The server's detail is shown, without a trace."""
    api.refusals = [(401, {}, {"detail": "It has expired"})]
    assert await once(api, "q") == (
        1,
        "",
        "The server does not accept the token. It has expired.\n",
    )


async def test_bad_files_are_refused_before_anything_is_sent(
    api: ConsoleApi, tmp_path: Path
) -> None:
    """Missing, directory, empty, too large, too many: one sentence each, exit code 2."""
    (tmp_path / "empty").touch()
    (tmp_path / "big").write_bytes(b"x" * (MAX_ATTACHMENT_BYTES + 1))
    good = tmp_path / "good.txt"
    good.write_text("x")
    cases = [
        ((tmp_path / "none",), "There is no file"),
        ((tmp_path,), "is a directory"),
        ((tmp_path / "empty",), "is empty"),
        ((good, tmp_path / "big"), "too large"),
        ((good,) * 6, "too many"),
    ]
    for paths, words in cases:
        screen = Screen()
        assert await chat(api, screen, ChatOptions(once="q", attach=paths)) == ExitCode.USAGE
        assert words in screen.err.getvalue()
        assert screen.err.getvalue().count("\n") == 1
    assert api.posts == []


@pytest.mark.parametrize("shown", [True, False])
async def test_no_control_character_reaches_the_terminal(api: ConsoleApi, *, shown: bool) -> None:
    """Whatever the server sends, in whatever field, the terminal obeys none of it."""
    api.scripts["q"] = [
        ("text_delta", {"text": HOSTILE + "\n\n"}),
        ("tool_started", {"call_id": "1", "tool": "t", "summary": HOSTILE}),
        ("tool_finished", {"call_id": "1", "tool": "t", "ok": False, "output": HOSTILE}),
        ("notice", {"text": HOSTILE}),
        ("text_reset", {"text": HOSTILE, "reason": HOSTILE}),
        completed(f"[x](http://e/{HOSTILE})", notice=HOSTILE, engine=HOSTILE),
    ]
    _, out, err = await once(api, "q", shown=shown)
    assert all(char == "\n" or char.isprintable() for char in out + err)
    assert "abcde" in out + err


@given(st.text())
def test_safe_text_is_printable(text: str) -> None:
    """No control character but line feed and tab, and nothing else is lost from plain text."""
    safe = safe_text(text)
    assert not any(
        ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in safe if char not in "\n\t"
    )
    assert safe_text(safe) == safe


@pytest.mark.parametrize("start", ["\x90", "\x98", "\x9d", "\x9e", "\x9f", "\x1b]", "\x1bP"])
def test_a_string_for_the_terminal_is_not_searched_across_the_next_one(start: str) -> None:
    """Each string is read once, however many are begun: what an unended one holds is text."""
    assert safe_text(f"{start}one{start}two\x07three") == "onethree"
    assert safe_text(start * 20_000) == ""


async def test_a_reset_replaces_what_was_shown(api: ConsoleApi) -> None:
    """What was printed is called void, what was not is never printed, the rest comes once."""
    api.scripts["q"] = [
        ("text_delta", {"text": "First is out.\n\nSecond is "}),
        ("text_reset", {"text": "", "reason": "Starting again."}),
        ("text_delta", {"text": "New."}),
        completed("New."),
    ]
    _, out, _ = await once(api, "q", shown=True)
    assert "Second" not in out
    assert out.index("First is out.") < out.index("Starting again.") < out.index("New.")
    assert out.count("New.") == 1


async def test_a_long_answer_is_printed_once(api: ConsoleApi) -> None:
    """Blocks appear once each, in order, whatever the size of the deltas."""
    words = [f"para{number:03}" for number in range(40)]
    text = "\n\n".join(words)
    deltas: list[Step] = [
        ("text_delta", {"text": text[at : at + 7]}) for at in range(0, len(text), 7)
    ]
    api.scripts["q"] = [*deltas, completed(text)]
    _, out, _ = await once(api, "q", shown=True)
    assert [word for word in out.split() if word.startswith("para")] == words


async def test_a_chat_goes_on_in_its_conversation(api: ConsoleApi, tmp_path: Path) -> None:
    """The first message carries the files; the next ones go on where the answer said."""
    file = tmp_path / "a.txt"
    file.write_text("x")
    screen = Screen(Typist("one", "  ", "two", KeyboardInterrupt, "/quit"))
    code = await chat(api, screen, ChatOptions(attach=(file,)))
    assert code == ExitCode.ANSWERED
    assert [post.get("conversation_id") for post in api.posts] == [None, "conv_1"]
    assert ["attachments" in post for post in api.posts] == [True, False]
    assert "a.txt goes with your first message." in screen.out.getvalue()


async def test_an_existing_conversation_shows_its_end(api: ConsoleApi) -> None:
    """On start the last exchanges are shown; after /resume those of the other one."""
    api.past["conv_1"] = [("user", "old q"), ("assistant", "old **a**")]
    api.past["conv_2"] = [("user", "other q"), ("assistant", "other a")]
    api.scripts["/resume 2"] = [completed("Now there.", conversation_id="conv_2")]
    screen = Screen(Typist("/resume 2", "go on"))
    await chat(api, screen, ChatOptions(conversation_id="conv_1"))
    out = screen.out.getvalue()
    assert out.index("About conv_1") < out.index("> old q") < out.index("old a")
    assert out.index("Now there.") < out.index("> other q") < out.index("other a")
    assert api.posts[1]["conversation_id"] == "conv_2"


async def test_an_error_does_not_end_the_chat(api: ConsoleApi) -> None:
    """A refused message is said to be so and the next one can be typed."""
    api.refusals = [(429, {"Retry-After": "9"}, {"detail": "Slow down."})]
    screen = Screen(Typist("one", "two"))
    assert await chat(api, screen, ChatOptions()) == ExitCode.ANSWERED
    assert "Slow down. Try again in 9 s." in screen.out.getvalue()
    assert "You said: two" in screen.out.getvalue()


async def test_a_wait_of_weeks_is_not_told_in_seconds(api: ConsoleApi) -> None:
    """Over quota the sentence names the date; the exit code is that of a refused turn."""
    used = {"detail": "The quota is used up until 1 December.", "code": "quota_exceeded"}
    api.refusals = [(429, {"Retry-After": "691200"}, used)]
    screen = Screen(Typist())
    assert await chat(api, screen, ChatOptions(once="hm")) == ExitCode.FAILED
    assert screen.err.getvalue() == "The quota is used up until 1 December.\n"


async def test_an_unknown_conversation_ends_before_the_first_prompt(api: ConsoleApi) -> None:
    """A wrong --conversation is one sentence and exit code 1."""
    screen = Screen(Typist())
    assert await chat(api, screen, ChatOptions(conversation_id="nope")) == ExitCode.FAILED
    assert screen.err.getvalue() == "There is no conversation nope.\n"


async def test_a_giant_code_block_is_shown_whole(api: ConsoleApi) -> None:
    """Thousands of lines in small pieces arrive once and in order."""
    lines = [f"line{number:04}" for number in range(3000)]
    text = "```\n" + "\n".join(lines) + "\n```\n\nEnd."
    deltas: list[Step] = [
        ("text_delta", {"text": text[at : at + 40]}) for at in range(0, len(text), 40)
    ]
    api.scripts["q"] = [*deltas, completed(text)]
    _, out, _ = await once(api, "q", shown=True)
    assert [word for word in out.split() if word.startswith("line")] == lines


def test_what_is_heavy_is_imported_only_when_it_is_used() -> None:
    """Importing the chat loads neither rich nor prompt-toolkit nor Pillow."""
    program = (
        "import sys, bots.console, core.attachments;"
        "print([name for name in ('rich', 'prompt_toolkit', 'PIL', 'pygments')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("shown", [True, False])
async def test_a_drop_is_said_once(api: ConsoleApi, *, shown: bool) -> None:
    """However many tries it takes, there is one line, and the answer is whole."""
    api.drops = [2, 0, 0, 0]
    code, out, err = await once(api, "hello", shown=shown)
    assert code == ExitCode.ANSWERED
    assert (out + err).count("The connection dropped; trying again.") == 1
    assert out.count("You said: hello") == 1


async def test_a_lost_answer_keeps_its_conversation(api: ConsoleApi, tmp_path: Path) -> None:
    """When the first stream drops for good, the next message goes on there, without the files."""
    file = tmp_path / "a.txt"
    file.write_text("x")
    api.drops = [1, *[0] * 8]
    screen = Screen(Typist("one", "two"))
    assert await chat(api, screen, ChatOptions(attach=(file,))) == ExitCode.ANSWERED
    assert "did not come back" in screen.out.getvalue()
    assert [post.get("conversation_id") for post in api.posts] == [None, "conv_1"]
    assert ["attachments" in post for post in api.posts] == [True, False]


async def test_a_failed_tool_is_said_once(api: ConsoleApi) -> None:
    """Without a terminal it is on the error output, unless the answer has it."""
    failed: Step = (
        "tool_finished",
        {"call_id": "1", "tool": "disk", "ok": False, "output": "web-9 is unknown"},
    )
    api.scripts["told"] = [failed, completed("I cannot: web-9 is unknown.")]
    api.scripts["untold"] = [failed, completed("Sorry.")]
    assert await once(api, "told") == (0, "I cannot: web-9 is unknown.\n", "")
    assert await once(api, "untold") == (0, "Sorry.\n", "disk failed: web-9 is unknown\n")
