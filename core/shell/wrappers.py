"""Programs that run another command: how to find it in their arguments."""

from __future__ import annotations

from dataclasses import dataclass

from core.risk import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """Options before the inner command, and what the wrapper adds by itself."""

    bare: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    positionals: int = 0
    """Words of its own before the command, such as the seconds of ``timeout``."""
    least: Level = Level.L0
    why: str = ""
    privilege: bool = False


def _wrapper(  # a row of the table, by name
    bare: str = "",
    values: str = "",
    *,
    positionals: int = 0,
    least: Level = Level.L0,
    why: str = "",
    privilege: bool = False,
) -> Wrapper:
    return Wrapper(
        bare=frozenset(bare.split()),
        values=frozenset(values.split()),
        positionals=positionals,
        least=least,
        why=why,
        privilege=privilege,
    )


WRAPPERS: dict[str, Wrapper] = {
    "sudo": _wrapper("-n -H -k -S", "-u -g --user --group", privilege=True),
    "doas": _wrapper("-n", "-u", privilege=True),
    "timeout": _wrapper(
        "--foreground --preserve-status -v", "-s -k --signal --kill-after", positionals=1
    ),
    "nice": _wrapper("", "-n --adjustment"),
    "ionice": _wrapper("-t", "-c -n --class --classdata"),
    "nohup": _wrapper(least=Level.L1, why="leaves a process behind"),
    "setsid": _wrapper("-w --wait", least=Level.L2, why="leaves a process behind"),
    "stdbuf": _wrapper("-oL -o0 -eL -e0 -i0", "-o -e -i"),
    "time": _wrapper("-p -v"),
    "command": _wrapper("-p"),
    "builtin": _wrapper(),
    "exec": _wrapper("-l -c", "-a", least=Level.L2, why="replaces the shell"),
    "chrt": _wrapper("-r -f -o -b -i", positionals=1, least=Level.L2, why="changes a priority"),
    "taskset": _wrapper("-c", positionals=1, least=Level.L2, why="binds to processors"),
    "unbuffer": _wrapper(least=Level.L2, why="runs a command in a terminal of its own"),
    "busybox": _wrapper(least=Level.L2, why="is another program under one name"),
    "toybox": _wrapper(least=Level.L2, why="is another program under one name"),
    "chroot": _wrapper(positionals=1, least=Level.L2, why="runs inside another root"),
    "nsenter": _wrapper(
        "-m -u -i -n -p -a --mount --uts --ipc --net --pid --all",
        "-t --target",
        least=Level.L2,
        why="runs inside another namespace",
    ),
    "unshare": _wrapper("-m -u -n -p -r -f", least=Level.L2, why="runs in a new namespace"),
    "systemd-run": _wrapper(
        "--wait --pipe -P -t --user --collect -q",
        "--unit -p --property --on-active",
        least=Level.L2,
        why="runs as a service of its own",
    ),
    "strace": _wrapper("-f", "-e -o -p", least=Level.L2, why="looks into a process"),
    "ltrace": _wrapper("-f", "-e -o -p", least=Level.L2, why="looks into a process"),
    "proxychains": _wrapper(least=Level.L2, why="goes through another machine"),
    "runuser": _wrapper("-l", "-u -g", least=Level.L2, why="runs as another user", privilege=True),
    "pkexec": _wrapper("", "--user", least=Level.L2, why="runs as root", privilege=True),
    "run0": _wrapper("", "-u", least=Level.L2, why="runs as root", privilege=True),
    "setpriv": _wrapper(least=Level.L2, why="changes privileges", privilege=True),
    "sg": _wrapper(positionals=1, least=Level.L2, why="runs with another group", privilege=True),
    "coproc": _wrapper(least=Level.L2, why="leaves a process behind"),
    "xargs": _wrapper(
        "-0 -r -t -x --null --no-run-if-empty",
        "-n -L -P -I -d -s --max-args --max-procs --delimiter",
    ),
    "parallel": _wrapper("-k --no-notice", "-j -n", least=Level.L2, why="runs many commands"),
    "watch": _wrapper("-d -t -g -e", "-n", least=Level.L2, why="runs a command again and again"),
    "flock": _wrapper("-n -x -s -u", "-w", positionals=1, least=Level.L2, why="takes a lock"),
}
SHELLS = frozenset(
    {"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash", "fish", "csh", "tcsh"}
)
SHELL_FLAGS = frozenset({"-c", "-ec", "-ce", "-uc", "-euc", "-xc", "-euxc"})
"""With them a shell runs exactly the text that follows, without start files."""

RUNS_TEXT = frozenset(
    {
        "at", "batch", "chroot", "doas", "docker", "eval", "find", "flock", "kubectl", "lxc",
        "nsenter", "parallel", "podman", "runuser", "screen", "script", "sg", "ssh", "su",
        "sudo", "systemd-run", "tmux", "trap", "unbuffer", "watch", "xargs", "mosh", "pdsh",
        "ansible", "salt", "expect", "entr", "tar", "rsync", "git", "vim", "vi", "ex", "gdb",
        "make", "socat", "ncat", "nc", "alias", "coproc", "exec", "crontab", "env", "xterm",
        "psql", "mysql", "sqlite3",
    }
)  # fmt: skip
"""Their arguments may be shell text: it is searched for what nobody may run."""
CODE = frozenset(
    {
        "python", "python2", "python3", "perl", "ruby", "node", "nodejs", "php", "lua", "tclsh",
        "awk", "gawk", "mawk", "nawk", "sed", "groovy", "scala", "Rscript", "julia", "deno",
        "bun", "psql", "mysql", "mariadb", "sqlite3", "vim", "vi", "ex", "gdb", "emacs", "irb",
        "guile", "ed", "tar",
    }
)  # fmt: skip
"""Their arguments are programs: the strings in them are searched for what nobody may run."""

HARMLESS_VARIABLES = frozenset(
    {
        "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_TIME", "LC_NUMERIC", "LC_COLLATE",
        "LC_MESSAGES", "TZ", "COLUMNS", "LINES", "TERM", "NO_COLOR", "SYSTEMD_COLORS",
        "DEBIAN_FRONTEND",
    }
)  # fmt: skip
"""May be set before a command: they change how it looks, not what it does."""
SHOWN_VARIABLES = frozenset(
    {
        "HOSTNAME", "USER", "LOGNAME", "PWD", "OLDPWD", "UID", "EUID", "SHELL", "RANDOM",
        "SECONDS", "PPID", "LANG", "LINENO", "HOSTTYPE", "OSTYPE", "BASH_VERSION", "TERM", "?",
        "#", "$", "!", "HOME",
    }
)  # fmt: skip
"""May be shown: no secret is kept in them."""
