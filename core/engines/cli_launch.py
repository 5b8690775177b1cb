"""The program that is given to the SDK, and to ourselves, as "the Claude Code CLI".

A few lines of shell, because a path is all that the SDK takes; they run
``cli_launch_child`` in an isolated interpreter, which becomes the real CLI.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path

from core.engines import cli_launch_child
from core.engines.cli_launch_child import NAMES, NO_USER, PARENT
from core.errors import EngineFailure
from core.words import sentence

REASON = "cli_home"
_CHECK_S = 60
_ANYONE_MAY_RUN = 0o005


def bundled_cli() -> Path:
    """The CLI inside the SDK's wheel, found without importing the SDK.

    Raises ``EngineFailure`` when it is not installed.
    """
    spec = importlib.util.find_spec("claude_agent_sdk")
    places = (spec.submodule_search_locations if spec else None) or ()
    for place in places:
        cli = Path(place) / "_bundled" / "claude"
        if cli.is_file():
            return cli.resolve()
    raise EngineFailure(
        sentence("The Claude Code CLI is not installed: install the package claude-agent-sdk."),
        reason=REASON,
    )


def write_launcher(path: Path, cli: Path, uid: int | None) -> None:
    """Write the launcher, replacing an older one in one step. Raises OSError."""
    user = NO_USER if uid is None else str(uid)
    python = Path(sys.executable).resolve()
    child = Path(cli_launch_child.__file__).resolve()
    words = shlex.join([str(python), "-I", "-S", str(child), user, str(cli)])
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, 0o500), "w") as file:
        file.write(f'#!/bin/sh\nexec {words} "$@"\n')
    temporary.replace(path)


def check_launcher(launcher: Path, cwd: Path, cli: Path, uid: int | None) -> None:
    """Start the CLI once, as the child would be, to print its version (about 0.2 s).

    Raises ``EngineFailure`` with a sentence that says what to do.
    """
    if uid is not None and cli.stat().st_mode & _ANYONE_MAY_RUN != _ANYONE_MAY_RUN:
        raise EngineFailure(
            sentence(
                "The Claude Code CLI cannot be run by user {uid}: run chmod o+rx {path}.",
                uid=uid,
                path=str(cli),
            ),
            reason=REASON,
        )
    environment = {NAMES: "HOME,PATH", "HOME": str(cwd), "PATH": "/nonexistent"}
    try:
        done = subprocess.run(  # noqa: S603  # our own launcher
            [str(launcher), "--version"],
            cwd=cwd,
            env={**environment, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise _does_not_start(str(problem)) from problem
    if done.returncode != 0:
        raise _does_not_start(done.stderr.decode(errors="replace").strip()[-300:])


def _does_not_start(why: str) -> EngineFailure:
    return EngineFailure(
        sentence("The Claude Code CLI does not start: {why}", why=why), reason=REASON
    )
