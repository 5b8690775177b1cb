"""The shell text around a command, so that all of it can be ended, whoever runs it.

OpenSSH delivers no signal to a process of root, and closing a channel kills nobody. So each
command says first, on both of its streams, a mark that only this call knows; on stderr the mark
is followed by the process's line of ``/proc/PID/stat``. What comes before the mark is noise of
the login shell. With the numbers of that line, ``ending`` kills the process groups and sessions
that belong to the call; a process that made a session of its own (a service that was started)
is left alone. ``timeout`` ends what nobody could end because the line to the server was cut.

Written for any POSIX shell, also BusyBox, on Linux. A login shell may be another one (fish):
it only sees one ``exec`` with quoted words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from core.fleet.host import NOT_INSTALLED, CommandResult

GRACE_S = 10
"""So much longer than we wait, a server lets a command run that nobody could end."""
MOST_NOISE = 65_536
"""Bytes of a login shell's noise that are looked through for the mark."""

_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "LC_ALL=C.UTF-8",
    "SYSTEMD_COLORS=0",
    "SYSTEMD_PAGER=",
)

_POSIX = frozenset({b"sh", b"bash", b"dash", b"ash", b"ksh", b"mksh", b"zsh"})

_BEGIN = (
    'cd /;read -r s </proc/$$/stat;echo "$1";echo "$1 $s;$SHELL" >&2;n=$2;shift 2;'
    'command -v timeout >/dev/null 2>&1&&exec timeout -s KILL "$n" "$@";exec "$@"'
)
_SUDO = (
    'read -r s </proc/$$/stat;echo "$1 $s" >&2;shift;'
    'if [ "$(id -u)" = 0 ];then shift 3;fi;exec "$@"'
)

_END = """
for g in $1; do kill -KILL "-$g"; done
for round in 1 2 3 4 5; do
  left=
  for f in /proc/[0-9]*/stat; do
    read -r s <"$f" || continue
    p=${f#/proc/}; p=${p%/stat}; t=${s##*) }; set -- "$1" "$2" $t
    case " $2 " in *" $6 "*) [ "$3" = Z ] || { left=1; kill -KILL "$p"; };; esac
    set -- "$1" "$2"
  done
  [ -n "$left" ] || break
done
"""
"""$1: process groups; $2: sessions. ``3`` is the state and ``6`` the session of a process."""

_STAT = re.compile(rb"(\d+) \(.*\) \S (\d+) (\d+) (\d+) ", re.DOTALL)


def quoted(word: str) -> str:
    r"""Quote a word for every shell: sh, bash, zsh, and fish, to which ``\'`` is special."""
    if word and re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII):
        return word
    return "'" + word.replace("'", "'\"'\"'").replace("\\", "'\"\\\\\"'") + "'"


def joined(words: Iterable[str]) -> str:
    """Return shell text that runs exactly these words."""
    return " ".join(map(quoted, words))


def wrapped(argv: Sequence[str], *, mark: str, timeout_s: float) -> str:
    """The text that a login shell is given to run ``argv``; it says ``mark`` first."""
    home = 'HOME="$HOME" USER="$USER" LOGNAME="$LOGNAME" SHELL="$SHELL"'
    return f"exec env -i {home} {joined([*_ENVIRONMENT, *_begun(argv, mark, timeout_s)])}"


def lean(argv: Sequence[str], *, mark: str, timeout_s: float) -> str:
    """The same for commands that only look, for login shells of which ``is_posix`` is true.

    Nothing but ``timeout`` is started besides the command, which saves a good part of the time of
    a short one: the environment is the account's own with ours on top.
    """
    words = joined(argv)
    return (
        f"export {joined(_ENVIRONMENT)};unset LD_PRELOAD BASH_ENV ENV PAGER;cd /;"
        f'read -r s </proc/$$/stat;echo {mark};echo "{mark} $s" >&2;'
        f"command -v timeout >/dev/null 2>&1&&exec timeout -s KILL {_limit(timeout_s)} {words};"
        f"exec {words}"
    )


def is_posix(line: bytes) -> bool:
    """Whether what followed the mark of a ``wrapped`` command tells of a POSIX login shell."""
    return line.rpartition(b"/")[2] in _POSIX


def wrapped_as_root(argv: Sequence[str], *, mark: str, outer: str, timeout_s: float) -> str:
    """The same through ``sudo -n``; who is root already needs no sudo.

    ``outer`` is said on stderr before sudo is asked, ``mark`` on both streams behind it.
    """
    inner = ["env", "-i", "HOME=/root", *_ENVIRONMENT, *_begun(argv, mark, timeout_s)]
    words = ["/bin/sh", "-c", _SUDO, "it0", outer, "sudo", "-n", "--", *inner]
    return f"exec env -i {joined([*_ENVIRONMENT, *words])}"


def _begun(argv: Sequence[str], mark: str, timeout_s: float) -> list[str]:
    return ["/bin/sh", "-c", _BEGIN, "it0", mark, _limit(timeout_s), *argv]


def _limit(timeout_s: float) -> str:
    """After how many seconds a server ends by itself what we would have ended before."""
    return str(math.ceil(timeout_s) + GRACE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Numbers of a process when it began."""

    pid: int
    group: int
    session: int

    @classmethod
    def of(cls, stat: bytes) -> Begun | None:
        """Read a line of ``/proc/PID/stat``; None for anything else."""
        match = _STAT.match(stat)
        if match is None:
            return None
        pid, _, group, session = map(int, match.groups())
        return cls(pid=pid, group=group, session=session)


def ending(outer: Begun | None, inner: Begun | None) -> list[str] | None:
    """The command that ends all that belongs to a call; None if it never said its numbers.

    A group is named by its leader, so it is ours if the leader is. A session is ours if we
    lead it, or if it was made between ``outer`` (before sudo) and ``inner``.
    """
    began = [one for one in (outer, inner) if one]
    if not began:
        return None
    groups = {one.pid for one in began}
    sessions = {one.session for one in began if one.session == one.pid}
    if outer and inner and inner.session != outer.session:
        sessions.add(inner.session)
        groups.add(inner.group)
    words = [" ".join(map(str, sorted(numbers))) for numbers in (groups, sessions)]
    return ["/bin/sh", "-c", f"exec 2>/dev/null;{_END}", "it0", *words]


def ending_text(outer: Begun | None, inner: Begun | None, *, sudo: bool) -> str | None:
    """``ending`` as a login shell is given it; as root, if the command ran through sudo."""
    command = ending(outer, inner)
    if command is None:
        return None
    if sudo:
        command = ["/bin/sh", "-c", _SUDO, "it0", "", "sudo", "-n", "--", *command]
    return f"exec {joined(command)}"


@dataclass(slots=True)
class Unmarked:
    """Takes the noise and the mark away from the beginning of a stream."""

    mark: bytes
    line: bytes | None = None
    """What followed the mark on its line; None until the mark came."""
    noise: bytearray = field(default_factory=bytearray)
    """What came before the mark."""

    def feed(self, data: bytes) -> bytes:
        """Return what of this data is behind the mark."""
        if self.line is not None:
            return data
        self.noise += data
        at = self.noise.find(self.mark)
        end = self.noise.find(b"\n", at) if at >= 0 else -1
        if end < 0:
            del self.noise[MOST_NOISE:]
            return b""
        rest = bytes(self.noise[end + 1 :])
        self.line = bytes(self.noise[at + len(self.mark) : end]).strip()
        del self.noise[at:]
        return rest


def sudo_refused(result: CommandResult, behind: Unmarked, server: str) -> CommandResult:
    """The result of a command that sudo did not begin, with a sentence that says what to do.

    Sudo's own words are ``behind``'s noise, because nothing came after them.
    """
    said = " ".join(behind.noise.decode("utf-8", "replace").split())[:300]
    if result.exit_status == NOT_INSTALLED:
        text = f"sudo is not installed on {server}: log in as root, or install it."
    elif "password" in said:
        text = (
            f"sudo on {server} wants a password, and IT0 never gives one. Let the account run"
            " commands without a password (NOPASSWD in /etc/sudoers.d), or log in as root."
        )
    else:
        text = f"sudo on {server} did not run the command."
    return replace(result, stderr=f"{text} ({said})" if said else text)
