from __future__ import annotations

import os

import pytest

from core.fleet.host import CommandResult
from core.fleet.local import CLEAN_ENVIRONMENT
from core.fleet.local_command import run_as_root
from core.fleet.output import Output
from tests.support.sshd import gone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes root, or a sudo that asks nobody")


async def _as_root(command: str, *, stdin: bytes = b"", timeout_s: float = 20) -> CommandResult:
    output = Output(max_bytes=1000)
    argv = ("/bin/sh", "-c", command)
    return await run_as_root(argv, output, CLEAN_ENVIRONMENT, stdin, timeout_s)


async def test_marks_are_no_output() -> None:
    """What the wrapping says about itself is taken away; the rest is the command's."""
    ran = await _as_root("id -u; cat; echo oops >&2; exit 3", stdin=b"in")
    assert (ran.stdout, ran.stderr, ran.exit_status) == ("0\nin", "oops\n", 3)


async def test_a_command_that_is_missing() -> None:
    """It is 127, as without sudo."""
    assert (await _as_root("no-such-command")).missing


async def test_a_timeout_ends_what_runs_as_root() -> None:
    """Its children go with it, also those in a group of their own."""
    ran = await _as_root("sleep 300 & echo $!; timeout 400 sleep 300 & echo $!; wait", timeout_s=1)
    assert ran.timed_out
    for pid in ran.stdout.split():
        assert await gone(int(pid))
