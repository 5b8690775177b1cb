from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from core.fleet.wrapping import Begun, Unmarked, ending, is_posix, joined, lean, quoted


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
    assert "exec uptime" in lean(["uptime"], mark="m")
