from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from core.engines.agent_engine import AgentEngine
from core.engines.claude_code_cli import claude_code_cli
from core.engines.claude_faults import CRASHED, UNUSABLE
from core.engines.cli_home import Homes, HomesConfig
from core.engines.engine import NativeSession
from core.engines.gateway import Gateway
from core.errors import EngineFailure
from core.events import Completed, EngineSession, Notice, TextDelta, ToolFinished
from core.messages import Attachment
from core.steps import Exchange, ModelStep
from core.tools import ToolResult
from tests.contracts.engine_kit import FILES, PNG, Turn
from tests.core.engines.gateway_kit import KEY, config_of, until
from tests.fakes.anthropic import FakeAnthropic
from tests.support.cli_homes import UID, a_place, alive, needs_root

SLOW = "[[text 10000]] [[chunk 10]]"


@dataclass
class Site:
    """The engine with the real CLI, and what is around it."""

    fake: FakeAnthropic
    engine: AgentEngine
    root: Path

    def sent(self, number: int = -1) -> str:
        """The messages of a request, as the provider got them."""
        return json.dumps(self.fake.seen[number].body["messages"])

    def blocks(self) -> list[dict[str, Any]]:
        """The content of the last message of a user in the newest request."""
        said = [m for m in self.fake.seen[-1].body["messages"] if m["role"] == "user"]
        return [
            {"type": "text", "text": c} if isinstance(c, str) else c for c in said[-1]["content"]
        ]

    def papers(self) -> list[Path]:
        """The files that processes were given."""
        return [path for path in self.root.glob("ten_*/conv_*/home/*") if path.is_file()]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> structlog.testing.CapturingLogger:
    """What the engine logs."""
    logger = structlog.testing.CapturingLogger()
    monkeypatch.setattr("core.engines.claude_code_cli._log", logger)
    return logger


def endings(log: structlog.testing.CapturingLogger) -> list[dict[str, Any]]:
    """What is logged of processes that ended by themselves."""
    return [call.kwargs for call in log.calls if call.args == ("agent.cli_ended",)]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A provider, a gateway, and homes of its own."""
    async with FakeAnthropic() as fake:
        gateway = Gateway(config_of(fake.url, stall_timeout_s=5))
        engine = claude_code_cli(Homes(HomesConfig(root=tmp_path / "agents")), gateway)
        yield Site(fake, engine, tmp_path / "agents")
        await engine.aclose()
        await gateway.aclose()
    assert not running()


def running() -> list[int]:
    """Children of this process that are, or are about to be, the CLI."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if rest.split()[1] == str(os.getpid()) and "claude" in name:
            found.append(int(stat.parent.name))
    return found


def instead_of_the_cli(site: Site, script: str) -> None:
    """Have the engine start a few lines of shell."""
    homes = site.engine._homes
    homes.prepare()
    site.engine._prepared = True
    homes.launcher.unlink()
    homes.launcher.write_text(f"#!/bin/sh\n{script}\n")
    homes.launcher.chmod(0o700)


def shown(pid: int, name: str) -> str:
    """A file of the process under /proc."""
    return Path(f"/proc/{pid}/{name}").read_text()


async def tokens(turn: Turn, site: Site, text: str, **more: Any) -> str:
    """Play a turn; the token of its session."""
    end = await turn.play(site.engine, turn.request(text, **more))
    assert end.notice == ""
    (session,) = turn.of(EngineSession)
    return session.token


async def test_the_next_turn_resumes_the_session_of_the_last(site: Site) -> None:
    """The CLI's own session goes on, under a prompt that has changed since."""
    first = Turn()
    token = await tokens(first, site, "the word is hedgehog")
    (step,) = (step for step in first.log if isinstance(step, ModelStep))
    second = Turn()
    again = await tokens(
        second,
        site,
        "what was the word?",
        system="You are IT0, as of today.",
        history=[Exchange(user_text="rebuilt, not resumed", steps=(step,), reply=step.text)],
        session=NativeSession(engine="claude_code_cli", token=token),
    )
    assert again == token
    assert "the word is hedgehog" in site.sent()
    assert "You said: the word is hedgehog" in site.sent()
    assert "rebuilt, not resumed" not in site.sent()
    assert "as of today" in json.dumps(site.fake.seen[-1].body["system"])


@pytest.mark.parametrize("left", ["nothing", "garbage"])
async def test_a_session_that_is_lost_is_rebuilt(site: Site, left: str) -> None:
    """Our steps are the truth: without the file, or with a broken one, nothing is missing."""
    first = Turn()
    token = await tokens(first, site, "the word is hedgehog")
    (session,) = site.root.glob("ten_*/conv_*/config/projects/*/*.jsonl")
    if left == "nothing":
        session.unlink()
    else:
        session.write_text('{"broken\n')
    history = Exchange(user_text="the word is hedgehog", steps=tuple(first.log), reply=first.shown)
    second = Turn()
    again = await tokens(
        second,
        site,
        "what was the word?",
        history=[history],
        session=NativeSession(engine="claude_code_cli", token=token),
    )
    assert again != token
    assert "You said: the word is hedgehog" in site.sent()


async def test_a_killed_cli_ends_the_turn_with_a_sentence(
    site: Site, log: structlog.testing.CapturingLogger
) -> None:
    """Whoever kills it in mid-answer: the user is told, the log knows how, nothing is left."""
    turn = Turn()
    playing = asyncio.create_task(turn.play(site.engine, turn.request(SLOW)))
    await until(lambda: turn.shown, within_s=30)
    (pid,) = running()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineFailure) as failed:
        await playing
    assert failed.value.reason == CRASHED.reason
    assert str(failed.value) == str(CRASHED.failure())
    await site.engine.ended()
    assert [ended["code"] for ended in endings(log)] == [-9]
    await site.engine.ended()
    assert not running()
    assert site.engine.live == 0
    await until(lambda: site.fake.seen[0].closed_early)


async def test_leaving_in_mid_answer_leaves_nothing_behind(site: Site) -> None:
    """No process, no request at the provider, no file with a secret."""
    turn = Turn()
    async with aclosing(site.engine.run(turn.request(SLOW))) as events:
        async for event in events:
            turn.take_in(event)
            if isinstance(event, TextDelta):
                break
        assert len(running()) == 1
    await site.engine.ended()
    assert not running()
    assert site.engine.live == 0
    assert not site.papers()
    await until(lambda: site.fake.seen[0].closed_early)
    assert len(site.fake.seen) == 1


async def test_cancelling_before_the_first_word_leaves_nothing_behind(site: Site) -> None:
    """Also while the process is being started."""
    turn = Turn()
    playing = asyncio.create_task(turn.play(site.engine, turn.request(SLOW)))
    await until(lambda: site.papers() and running(), within_s=30)
    playing.cancel()
    await asyncio.wait([playing])
    assert playing.cancelled()
    await site.engine.ended()
    assert not running()
    assert site.engine.live == 0
    assert not site.papers()


async def test_no_secret_is_in_the_arguments(site: Site) -> None:
    """Every user of the machine can read them: no key, no address of tools, no prompt."""
    turn = Turn()
    request = turn.request(SLOW, system="The vault is behind the painting.")
    async with aclosing(site.engine.run(request)) as events:
        async for event in events:
            turn.take_in(event)
            if isinstance(event, TextDelta):
                break
        (pid,) = running()
        arguments, environment = shown(pid, "cmdline"), shown(pid, "environ")
        (config,) = (path for path in site.papers() if path.suffix == ".json")
        server = json.loads(config.read_text())["mcpServers"]["it0"]
        modes = {path.stat().st_mode & 0o777 for path in site.papers()}
    given = dict(line.split("=", 1) for line in environment.split("\0") if line)
    hidden = [
        given["ANTHROPIC_API_KEY"],
        server["headers"]["Authorization"].removeprefix("Bearer "),
        server["url"].rpartition("/")[2],
        "painting",
    ]
    assert all(len(secret) > 7 for secret in hidden)
    assert not [secret for secret in hidden if secret in arguments]
    assert modes == {0o600}
    assert KEY not in environment
    assert "IT0_PARENT" not in given


async def test_every_kind_of_file_reaches_the_model(site: Site) -> None:
    """Images and PDFs natively, texts inlined; no notice has to say otherwise."""
    turn = Turn()
    await tokens(turn, site, "look at these", attachments=FILES)
    blocks = site.blocks()
    (image,) = (block for block in blocks if block["type"] == "image")
    (document,) = (block for block in blocks if block["type"] == "document")
    assert base64.b64decode(image["source"]["data"]) == PNG
    assert base64.b64decode(document["source"]["data"]) == FILES[1].data
    assert "disk full" in json.dumps(blocks)
    assert "empty.txt" in json.dumps(blocks)
    assert not turn.of(Notice)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # of the gateway
async def test_lines_may_be_long_in_both_directions(site: Site) -> None:
    """A message and a tool's result of some megabytes pass: no pipe has a limit of its own."""

    class Chatty(Turn):
        async def call(self, call: Any) -> ToolResult:
            return ToolResult(output="long" * 110_000)

    turn = Chatty()
    pdf = Attachment(name="big.pdf", media_type="application/pdf", data=b"%PDF" * 500_000)
    await tokens(turn, site, "[[tool mcp__it0__look {}]]", attachments=[pdf])
    (finished,) = turn.of(ToolFinished)
    assert finished.ok
    assert site.fake.seen[0].size > len(pdf.data)
    assert "long" * 110_000 in site.sent()


async def test_a_cli_that_does_not_start_is_told_as_such(
    site: Site, log: structlog.testing.CapturingLogger
) -> None:
    """Its last words are for the log; the user gets a sentence, and no secret is anywhere."""
    instead_of_the_cli(site, "echo $ANTHROPIC_API_KEY is bad >&2; exit 3")
    turn = Turn()
    with pytest.raises(EngineFailure) as failed:
        await turn.play(site.engine, turn.request("hello"))
    assert failed.value.reason == UNUSABLE.reason
    assert endings(log) == [{"code": 3, "stderr": "*** is bad"}]
    await site.engine.ended()
    assert site.engine.live == 0
    assert not site.papers()


async def test_a_process_that_does_not_listen_is_killed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everything that it started with it."""
    monkeypatch.setattr("core.engines.claude_code_cli._TERM_S", 0.05)
    answer = '{"type": "control_response", "response": {"subtype": "success"}}'
    pids = site.root.parent / "pids"
    instead_of_the_cli(
        site,
        f"trap '' TERM; /bin/sleep 999 & echo $$ $! > {pids}; read hello; echo '{answer}'; wait",
    )
    turn = Turn()
    playing = asyncio.create_task(turn.play(site.engine, turn.request("hello")))
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 2, within_s=30)
    leader, child = map(int, pids.read_text().split())
    assert alive(leader, "")
    assert alive(child, "")
    playing.cancel()
    await asyncio.wait([playing])
    await until(lambda: not alive(leader, "") and not alive(child, ""))
    await site.engine.ended()
    assert site.engine.live == 0


async def test_a_message_is_taken_word_by_word(site: Site, tmp_path: Path) -> None:
    """Neither a command at its start nor the name of a file in it does anything."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the treasure")
    turn = Turn()
    await tokens(turn, site, f"/clear and read @{secret}")
    assert f"/clear and read @{secret}" in site.sent()
    assert "the treasure" not in json.dumps(site.fake.seen[-1].body)


@needs_root
async def test_it_works_as_a_user_of_its_own() -> None:
    """The process and the files that it is given are that user's, and the tools are reached."""
    async with FakeAnthropic() as fake:
        gateway = Gateway(config_of(fake.url, stall_timeout_s=5))
        with a_place() as place:
            engine = claude_code_cli(Homes(HomesConfig(root=place / "cli", uid=UID)), gateway)
            site = Site(fake, engine, place / "cli")
            turn = Turn()
            owners: set[int] = set()
            request = turn.request("[[tool mcp__it0__look {}]] [[then]] [[text 50]] [[chunk 10]]")
            async with aclosing(engine.run(request)) as events:
                async for event in events:
                    turn.take_in(event)
                    if isinstance(event, TextDelta):
                        owners |= {path.stat().st_uid for path in site.papers()}
                        owners |= {
                            int(shown(pid, "status").split("Uid:")[1].split()[0])
                            for pid in running()
                        }
            await engine.aclose()
            await gateway.aclose()
            assert not site.papers()
    assert turn.ran == {"look": 1}
    assert owners == {UID}
    assert not running()


async def test_two_conversations_have_a_process_each(site: Site) -> None:
    """At the same time, each with its own tools; the tools' address goes with the last."""
    turns = [Turn(), Turn()]
    text = "[[tool mcp__it0__look {}]]"
    ends = await asyncio.gather(
        *(
            turn.play(site.engine, turn.request(text, conversation_id=f"conv_{number}"))
            for number, turn in enumerate(turns)
        )
    )
    assert all(isinstance(end, Completed) for end in ends)
    assert [turn.ran["look"] for turn in turns] == [1, 1]
    await site.engine.ended()
    assert not site.papers()
