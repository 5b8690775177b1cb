"""What runs between IT0 and Claude Code: it gives up everything the child must not have.

``cli_launch`` starts it as ``python -I -S THIS UID CLI ARGUMENT...`` in place of the CLI; it
becomes the CLI. It is a program, not a module of IT0: it imports nothing but four modules of
the standard library, because each start pays for it (about 16 ms of CPU). No secret is in its
arguments, which every user of the machine can see; secrets come in the environment.

In order: only the variables that ``IT0_NAMES`` names stay; every inherited file but the three
standard ones is closed; no core dumps; first victim when memory runs out; a session of its
own, so that a Ctrl-C at IT0's terminal is IT0's to handle; the CLI is opened while it can
still be read (a virtual environment under /root cannot, later); groups, gid and uid are given
up; no way to get privileges back; it dies when IT0 dies, however IT0 dies.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

NAMES = "IT0_NAMES"
PARENT = "IT0_PARENT"
SET_BY_THE_SDK = (
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE",
    "PWD",
)
"""What claude_agent_sdk's transport adds to the options' ``env`` and the CLI needs."""
NO_USER = "-"
_FAILED = 126
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9
_UMASK = 0o077
_OOM_SCORE = "500"


def main(arguments: list[str]) -> None:
    """Become the CLI. ``arguments``: uid or ``-``, path of the CLI, the CLI's own arguments."""
    user, cli, *rest = arguments
    environment = _passed_on(os.environ)
    parent = int(os.environ[PARENT])
    _close_inherited()
    _limit()
    file = os.open(cli, os.O_RDONLY | os.O_CLOEXEC)
    here = os.getcwd()  # noqa: PTH109  # pathlib costs a start-up
    if user != NO_USER:
        _become(int(user))
    os.chdir(here)  # fails here, plainly, when the uid cannot come to it by its path
    _bind_to(parent)
    os.execve(file, ["claude", *rest], environment)  # noqa: S606  # no shell is the point


def _passed_on(given: os._Environ[str]) -> dict[str, str]:
    names = (*given[NAMES].split(","), *SET_BY_THE_SDK)
    return {name: given[name] for name in names if name in given}


def _close_inherited() -> None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # pathlib costs a start-up
        if int(name) > sys.stderr.fileno():
            try:
                os.close(int(name))
            except OSError:
                continue  # the listing's own descriptor, closed already


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(_UMASK)
    try:  # noqa: SIM105  # contextlib costs a start-up
        os.setsid()
    except PermissionError:
        pass  # the caller made it the leader of its own group: as good
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  # as above
            file.write(_OOM_SCORE)
    except OSError:
        pass  # a container may forbid it; nothing depends on it


def _become(uid: int) -> None:
    """Give up groups, gid and uid, also the saved ones: the order is what makes it final."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
        raise PermissionError("the privileges were not given up")


def _bind_to(parent: int) -> None:
    """Die with the parent. After ``_become``, because a change of uid clears the signal."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_PDEATHSIG, _SIGKILL)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        raise ProcessLookupError("IT0 ended before its child began")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, KeyError, ValueError) as problem:
        sys.stderr.write(f"it0: Claude Code was not started: {type(problem).__name__}: {problem}\n")
        sys.exit(_FAILED)
