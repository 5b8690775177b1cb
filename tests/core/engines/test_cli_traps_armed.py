"""The traps work, each without the protection against it; and each protection is real."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.engines.cli_home import Homes, HomesConfig
from core.engines.cli_launch import bundled_cli
from core.engines.cli_launch_safety import SAFE_FLAGS, SETTINGS, safe_options
from tests.fakes.anthropic import FakeAnthropic
from tests.support import cli_traps
from tests.support.cli_homes import ROOT, UID, a_place, alive, environment, wait_for
from tests.support.cli_traps import FILE, MEMORY, VARIABLE, Traps, running

pytestmark = pytest.mark.slow
PROMPTS = (
    '[[tool Bash {{"command": "/usr/bin/touch {marks}/bash"}}]]',
    "/clear",
    "look at @{precious}",
)


@dataclass(frozen=True, kw_only=True)
class Harm:
    """What an unprotected process did."""

    traps: Traps
    asked: str
    environ: str
    socket: str
    answers: list[str]


async def unprotected(place: Path) -> Harm:
    """The bare CLI with nothing but its own directories, and careless messages."""
    homes = Homes(HomesConfig(root=place / "cli"))
    homes.prepare()
    home = homes.of("ten_a", "conv_a")
    traps = cli_traps.lay(place, home, os.geteuid())
    async with FakeAnthropic() as fake:
        given = environment(home) | {"ANTHROPIC_BASE_URL": fake.url, "PATH": "/usr/bin:/bin"}
        bare = {name: value for name, value in given.items() if name not in SETTINGS}
        flags = ("--input-format=stream-json",)
        async with running(bundled_cli(), home.cwd, bare, flags) as cli:
            prompts = [text.format(precious=traps.precious, marks=traps.marks) for text in PROMPTS]
            answers = [await cli.ask(text, verbatim=False) for text in prompts]
            environ = cli.shown("environ")
    asked = json.dumps([seen.body for seen in fake.seen])
    socket = str(cli.started.get("messaging_socket_path"))
    return Harm(traps=traps, asked=asked, environ=environ, socket=socket, answers=answers)


@pytest.fixture(scope="module")
def harm() -> Iterator[Harm]:
    """What happens without us, once for all tests."""
    with a_place() as place:
        yield asyncio.run(unprotected(place))


def test_hooks_and_servers_of_files_run(harm: Harm) -> None:
    """Without flags, hooks and servers of the home and the directory leave their marks."""
    sprung = harm.traps.sprung()
    assert any(mark.startswith("hook-SessionStart") for mark in sprung)
    assert any(mark.startswith("server-") for mark in sprung)


def test_memory_and_mentioned_files_are_sent(harm: Harm) -> None:
    """Without flags, CLAUDE.md and a mentioned file reach the provider."""
    assert MEMORY in harm.asked
    assert FILE in harm.asked


def test_tools_and_commands_run(harm: Harm) -> None:
    """Without flags, the model's Bash runs and a command is not text."""
    assert "bash" in harm.traps.sprung()
    assert harm.answers[1] != "You said: /clear"


def test_secrets_and_sockets_are_there(harm: Harm) -> None:
    """Without the launcher, our secrets are the child's, and it listens on a socket."""
    assert VARIABLE in harm.environ
    assert harm.socket.endswith(".sock")


async def test_a_message_that_is_not_verbatim() -> None:
    """Without ``user_line`` a command is answered by the CLI itself, in spite of all flags."""
    with a_place() as place:
        homes = Homes(HomesConfig(root=place / "cli"))
        homes.prepare()
        home = homes.of("ten_a", "conv_a")
        async with FakeAnthropic() as fake:
            given = environment(home) | {"ANTHROPIC_BASE_URL": fake.url}
            async with running(home.launcher, home.cwd, given, SAFE_FLAGS) as cli:
                assert await cli.ask("/clear", verbatim=False) != "You said: /clear"
                assert fake.count == 0
                assert await cli.ask("/clear") == "You said: /clear"


def test_the_cli_knows_every_setting() -> None:
    """A new version that renamed a variable is noticed: each name is in the program."""
    with (
        bundled_cli().open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program,
    ):
        names = SETTINGS.keys() - {"PATH", "LANG"}
        assert [name for name in names if program.find(name.encode()) < 0] == []


def test_the_real_child_dies_with_its_parent() -> None:
    """Kill -9 of IT0 leaves no Claude Code behind, although it waits for input."""
    with a_place() as place:
        homes = Homes(HomesConfig(root=place / "cli", uid=UID if ROOT else None))
        homes.prepare()
        home = homes.of("ten_a", "conv_a")
        command = [
            str(home.launcher),
            "-p",
            "--output-format=stream-json",
            "--verbose",
            *SAFE_FLAGS,
        ]
        program = (
            "import os, subprocess, time\n"
            f"env = {environment(home)!r} | {{'IT0_PARENT': str(os.getpid())}}\n"
            "read, write = os.pipe()\n"
            f"child = subprocess.Popen({command!r}, cwd={str(home.cwd)!r}, env=env, stdin=read)\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(3600)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        ) as it0:
            try:
                assert it0.stdout
                pid = int(it0.stdout.readline())
                wait_for(pid, "(claude", expected=True)
            finally:
                it0.kill()
            it0.wait()
            wait_for(pid, "(claude", expected=False)
        assert not alive(pid, "(claude")


async def test_the_sdk_with_our_options() -> None:
    """Through the SDK: our tool runs and is seen by the hook; mentions and commands are text."""
    import claude_agent_sdk as sdk

    ran: list[dict[str, int]] = []
    hooked: list[str] = []

    @sdk.tool("add", "adds", {"a": int})
    async def add(given: dict[str, int]) -> dict[str, object]:
        ran.append(given)
        return {"content": [{"type": "text", "text": "done"}]}

    async def hook(
        call: sdk.HookInput, tool_use_id: str | None, context: sdk.HookContext
    ) -> sdk.HookJSONOutput:
        assert call["hook_event_name"] == "PreToolUse"
        hooked.append(call["tool_name"])
        return {}

    with a_place() as place:
        homes = Homes(HomesConfig(root=place / "cli", uid=UID if ROOT else None))
        homes.prepare()
        home = homes.of("ten_a", "conv_a")
        traps = cli_traps.lay(place, home, UID if ROOT else os.geteuid())
        async with FakeAnthropic() as fake:
            options = sdk.ClaudeAgentOptions(
                **safe_options(),
                cli_path=home.launcher,
                cwd=home.cwd,
                env=environment(home) | {"ANTHROPIC_BASE_URL": fake.url},
                model="claude-sonnet-5-5",
                system_prompt={"type": "file", "path": str(home.write_private("system.md", "SYS"))},
                mcp_servers={"it0": sdk.create_sdk_mcp_server("it0", tools=[add])},
                allowed_tools=["mcp__it0__add"],
                hooks={"PreToolUse": [sdk.HookMatcher(hooks=[hook])]},
            )
            texts = [
                '[[tool mcp__it0__add {"a": 1}]]',
                '[[tool Bash {"command": "id"}]]',
                "/clear",
                f"@{traps.precious}",
            ]
            results: list[str | None] = []
            async with sdk.ClaudeSDKClient(options) as client:
                for text in texts:
                    await client.query(text)
                    results += [
                        said.result
                        async for said in client.receive_response()
                        if isinstance(said, sdk.ResultMessage)
                    ]
        assert (ran, hooked) == ([{"a": 1}], ["mcp__it0__add"])
        assert results[0] == "result: done"
        assert "No such tool available: Bash" in str(results[1])
        assert results[2:] == [f"You said: {text}" for text in texts[2:]]
        asked = json.dumps([seen.body for seen in fake.seen])
        assert not any(canary in asked for canary in (FILE, MEMORY))
        assert fake.seen[0].body["system"][-1]["text"] == "SYS"
        assert traps.sprung() == []
