"""The real CLI, as it comes in the SDK's wheel, behind the gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import claude_agent_sdk
import pytest

from core.engines.gateway import CallBegan, CallFinished, CallRefused
from tests.core.engines.gateway_kit import (
    KEY,
    MODEL,
    Child,
    child_of,
    child_to,
    gateway_to,
    until,
)
from tests.fakes.anthropic import SECRET_WORD, FakeAnthropic

CLI = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
OPTIONS = (
    "--output-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--setting-sources=",
    "--tools=",
    "--strict-mcp-config",
    "--system-prompt=You are a test.",
)


async def run_cli(child: Child, home: Path, text: str, **more: str) -> list[dict[str, Any]]:
    """One prompt on stdin; what the CLI says, line by line. Nothing of us is in its way."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "config"),
        "XDG_RUNTIME_DIR": str(home),
        "CLAUDE_CODE_TMPDIR": str(home),
        "ANTHROPIC_BASE_URL": child.route.url,
        "ANTHROPIC_API_KEY": child.route.secret,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "1000",
    }
    process = await asyncio.create_subprocess_exec(
        str(CLI),
        "-p",
        f"--model={MODEL}",
        *OPTIONS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        env=environment | more,
    )
    try:
        out, err = await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert KEY.encode() not in out + err
    assert SECRET_WORD.encode() not in out + err
    return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]


def result_of(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The CLI's last word."""
    (result,) = (line for line in lines if line["type"] == "result")
    return result


async def test_the_cli_answers_through_the_gateway(tmp_path: Path) -> None:
    """One model call, found by its message id, metered as the provider told it."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        lines = await run_cli(child, tmp_path, "hello")
        (seen,) = fake.seen
    assert result_of(lines)["result"] == "You said: hello"
    assert seen.headers["x-api-key"] == KEY
    assert child.meter.seen == {"call-1": seen.usage}
    (message,) = (line["message"] for line in lines if line["type"] == "assistant")
    call = child.route.call(message["id"])
    assert call is not None
    assert call.usage == seen.usage
    assert [type(event) for event in child.told] == [CallBegan, CallFinished]


async def test_the_cli_gives_up_at_once_when_the_meter_refuses(tmp_path: Path) -> None:
    """A refusal is final for the CLI: one request, no retry, no second attempt without stream."""
    async with FakeAnthropic() as fake, gateway_to(fake.url) as gateway, child_of(gateway) as child:
        child.begin()
        child.meter._allowed = 0
        lines = await run_cli(child, tmp_path, "hello")
        assert fake.count == 0
    assert result_of(lines)["is_error"]
    assert result_of(lines)["api_error_status"] == 402
    assert not [line for line in lines if line.get("subtype") == "api_retry"]
    assert [type(event) for event in child.told] == [CallRefused]


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 529])
async def test_the_cli_adds_no_tries_to_ours(tmp_path: Path, status: int) -> None:
    """The gateway retries as it likes; what it gives up, the CLI gives up too."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        lines = await run_cli(child, tmp_path, f"[[status {status}]]")
        assert fake.count == (3 if status in (429, 500, 529) else 1)
    assert result_of(lines)["is_error"]
    assert not [line for line in lines if line.get("subtype") == "api_retry"]
    assert child.faults[-1][1]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["drop", "eof", "malformed", "overload", "stall"])
async def test_the_cli_starts_a_broken_answer_again(tmp_path: Path, fault: str) -> None:
    """Every break looks like a lost connection to it; the second stream is whole and metered."""
    text = f"[[{fault} 2]] [[times 1]] hello"
    async with (
        FakeAnthropic() as fake,
        child_to(fake.url, stall_timeout_s=2 if fault == "stall" else 10) as child,
    ):
        lines = await run_cli(child, tmp_path, text)
        broken, whole = fake.seen
    assert result_of(lines)["result"] == whole.text
    assert whole.body["stream"]
    assert len([line for line in lines if line.get("subtype") == "api_retry"]) == 1
    assert child.meter.seen["call-1"].input_tokens == broken.usage.input_tokens
    assert child.meter.seen["call-2"] == whole.usage
    assert len(child.faults) == 1
    assert not child.faults[0][1]


@pytest.mark.slow
async def test_an_answer_that_breaks_each_time_is_given_up_by_both(tmp_path: Path) -> None:
    """Three streams reach the provider; the CLI's last try, without one, does not."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        lines = await run_cli(child, tmp_path, "[[drop 2]]")
        assert fake.count == 3
    assert result_of(lines)["is_error"]
    assert child.faults == [("dropped", False), ("dropped", False), ("dropped", True)]


@pytest.mark.slow
async def test_without_retries_of_its_own_the_cli_asks_without_a_stream(tmp_path: Path) -> None:
    """That second request is metered as exactly as a stream."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        lines = await run_cli(
            child, tmp_path, "[[drop 2]] [[times 1]] hello", CLAUDE_CODE_MAX_RETRIES="0"
        )
        broken, whole = fake.seen
    assert broken.body["stream"]
    assert not whole.body.get("stream")
    assert whole.text in result_of(lines)["result"]
    assert child.meter.seen["call-2"] == whole.usage


@pytest.mark.slow
async def test_a_killed_cli_is_metered_as_far_as_it_came(tmp_path: Path) -> None:
    """The provider's work ends with the process, and what it did is known."""
    async with FakeAnthropic() as fake, child_to(fake.url) as child:
        running = asyncio.create_task(run_cli(child, tmp_path, "[[text 900]] [[chunk 10]]"))
        await until(lambda: child.meter.seen, within_s=30)
        running.cancel()
        await asyncio.wait([running])
        await until(lambda: fake.seen[0].closed_early)
        await child.route.end()
    usage = child.meter.seen["call-1"]
    assert usage.input_tokens == fake.seen[0].usage.input_tokens
    assert usage.output_tokens < 900
