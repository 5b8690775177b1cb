from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from core.fleet.wrapping import GRACE_S, Begun, Unmarked, ending, is_posix, joined, lean, quoted


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_quoted_word_is_that_word(word: str) -> None:
    """Whatever is in it."""
    assert shlex.split(quoted(word)) == [word]


def test_no_backslash_stands_before_what_fish_reads_it_with() -> None:
    r"""Fish knows ``\\`` and ``\'`` inside single quotes, other shells do not."""
    text = joined(["a\\", "\\'", "b\\\\c"])
    assert shlex.split(text) == ["a\\", "\\'", "b\\\\c"]
    for inside in text.split('"\\\\"'):
        assert "\\" not in inside


@given(st.lists(st.integers(1, 9), max_size=8))
def test_the_mark_is_found_however_the_data_is_cut(cuts: list[int]) -> None:
    """Noise before it is taken away, also noise without a line end; what follows stays."""
    data, pieces = b"noise\nmoreMARK 12 x\nout MARK\n", []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    unmarked = Unmarked(b"MARK")
    out = b"".join(unmarked.feed(piece) for piece in [*pieces, data])
    assert (unmarked.line, out, bytes(unmarked.noise)) == (b"12 x", b"out MARK\n", b"noise\nmore")


def test_noise_without_end_is_bounded() -> None:
    """A login shell that never comes to the point fills no memory."""
    unmarked = Unmarked(b"MARK")
    for _ in range(100):
        assert unmarked.feed(b"x" * 65_536) == b""
    assert len(unmarked.noise) <= 65_536


def test_numbers_of_a_process_with_an_odd_name() -> None:
    """The name of a program may hold parentheses and spaces."""
    begun = Begun.of(b"12 (a) S (b) R 1 11 10 0 -1;/bin/sh")
    assert begun == Begun(pid=12, group=11, session=10)
    assert Begun.of(b"") is None


def _ended(outer: Begun | None, inner: Begun | None) -> tuple[str, str] | None:
    command = ending(outer, inner)
    return (command[-2], command[-1]) if command else None


def test_what_is_ended() -> None:
    """Our own groups and sessions, never the session of somebody who started us."""
    leader = Begun(pid=5, group=5, session=5)
    assert _ended(None, None) is None
    assert _ended(None, leader) == ("5", "5")
    assert _ended(None, Begun(pid=7, group=3, session=2)) == ("7", "")
    assert _ended(leader, Begun(pid=8, group=5, session=5)) == ("5 8", "5")
    assert _ended(leader, Begun(pid=9, group=9, session=7)) == ("5 9", "5 7")


def test_which_login_shells_are_trusted_with_more_than_an_exec() -> None:
    """Fish and csh are not."""
    assert is_posix(b"12 (sh) S;/bin/bash")
    assert is_posix(b"12 (sh) S;/usr/bin/zsh")
    assert not is_posix(b"12 (sh) S;/usr/bin/fish")
    assert not is_posix(b"12 (sh) S;")
    assert "exec uptime" in lean(["uptime"], mark="m", timeout_s=5)


def test_a_look_that_nobody_can_end_ends_by_itself() -> None:
    """The line to the server may be cut: the look's own limit, a second here, ends it."""
    text = lean(["sleep", "300"], mark="m", timeout_s=1 - GRACE_S)
    ran = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=False, timeout=60)
    assert ran.returncode in {-9, 137}
    assert ran.stdout == b"m\n"


def test_a_look_works_without_timeout_too(tmp_path: Path) -> None:
    """A small system may lack it; the command is run all the same."""
    text = lean(["/bin/echo", "a  b"], mark="m", timeout_s=5)
    path = f"PATH={tmp_path}"
    text = text.replace(next(word for word in text.split() if word.startswith("PATH=")), path)
    ran = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, b"m\na  b\n")
