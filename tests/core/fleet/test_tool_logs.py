"""Log lines of services, and files, as the tools show them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.fleet.kit import call, one
from tests.core.fleet.recorded import recorded
from tests.fakes.host import said


async def test_logs_from_the_journal() -> None:
    """The last lines, and how many look like trouble."""
    commands = {"journalctl": said("-- Journal begins --\n" + recorded("journal"))}
    result = await call(one(commands=commands), "service_logs", service="sshd", lines=2)
    assert result.output.startswith(
        "web-3: the last 2 lines of sshd from the journal; 2 of them look like trouble."
    )
    assert "Accepted publickey" not in result.output


async def test_logs_from_files() -> None:
    """Without a journal the usual file is read, errors before access, nothing compressed."""
    found = "/var/log/nginx/access.log\n/var/log/nginx/error.log\n/var/log/nginx/error.log.2.gz\n"
    files = {
        "/var/log/nginx/access.log": "GET /\n",
        "/var/log/nginx/error.log": "a password=hunter2hunter2\nb\n",
    }
    fleet = one(commands={"find /var/log": said(found)}, files=files)
    result = await call(fleet, "service_logs", service="nginx")
    assert "from /var/log/nginx/error.log" in result.output
    assert result.output.endswith("```text\na password=[hidden]\nb\n```")


@pytest.mark.parametrize(
    ("service", "path", "found"),
    [
        ("d", "/var/log/dpkg.log", False),
        ("ng", "/var/log/nginx/error.log", False),
        ("nginx", "/var/log/nginx2.log", False),
        ("nginx", "/var/log/nginx_old.log", False),
        ("nginx", "/var/log/nginx-error.log", True),
        ("nginx", "/var/log/nginx.log", True),
        ("nginx", "/var/log/nginx", True),
        ("nginx", "/var/log/nginx/site/any.log", True),
    ],
)
async def test_a_log_file_carries_the_whole_name(service: str, path: str, *, found: bool) -> None:
    """Another service's log is no answer because its name begins alike."""
    fleet = one(commands={"find /var/log": said(f"{path}\n")}, files={path: "line\n"})
    result = await call(fleet, "service_logs", service=service)
    assert (path in result.output) is found
    assert result.is_error is not found


async def test_a_hostile_system_log_is_read_in_one_pass() -> None:
    """An opening bracket looks a few characters ahead, and finds what stands there."""
    lines = "Nov 22 cron(" * 20_000 + "\nNov 22 cron(8)[12]: tick\nNov 22 cron(root): tock\n"
    result = await call(one(files={"/var/log/syslog": lines}), "service_logs", service="cron")
    assert "the last 2 lines of cron from /var/log/syslog" in result.output


async def test_logs_out_of_the_system_log() -> None:
    """A service without a file of its own is looked for in syslog."""
    files = {
        "/var/log/syslog": "Nov 22 cron[12]: tick\nNov 22 kernel: x\nana-cron: y\nNov 22 CRON[13]: tock\n"
    }
    result = await call(one(files=files), "service_logs", service="cron")
    assert "the last 2 lines of cron from /var/log/syslog" in result.output
    assert "kernel" not in result.output
    assert "ana-cron" not in result.output


async def test_no_logs_at_all() -> None:
    """An honest sentence, and an error."""
    result = await call(one(), "service_logs", service="nginx")
    assert result.is_error
    assert "I found no log of nginx" in result.output


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ({}, "/f, all 3 lines.\n\n```text\na\nb\nc\n```"),
        ({"lines": 1}, "/f, the first 1 line of 6 B.\n\n```text\na\n```"),
        ({"tail_lines": 2}, "/f, the last 2 lines of 6 B.\n\n```text\nb\nc\n```"),
    ],
)
async def test_reading_a_file(arguments: dict[str, Any], output: str) -> None:
    """All of it, its beginning or its end."""
    result = await call(one(files={"/f": "a\nb\nc\n"}), "read_file", path="/f", **arguments)
    assert result.output == f"web-3: {output}"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("etc/hosts", "name the file by its full path"),
        ("/none", "There is no file /none."),
        ("/blob", "/blob is a binary file (3 B); I show text only."),
        ("/empty", "/empty is empty."),
        ("/big", "the first 1 line of 97.7 KiB; long lines are cut."),
        ("/secret", "what looks like a secret is hidden"),
    ],
)
async def test_files_that_are_not_shown_as_they_are(path: str, sentence: str) -> None:
    """Each reason is one sentence."""
    files = {"/blob": "a\0b", "/empty": "\n", "/big": "x" * 100_000, "/secret": "token=abcdefgh"}
    result = await call(one(files=files), "read_file", path=path)
    assert sentence in result.output
    assert len(result.output) < 31_000
