from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet import redact as redact_module
from core.fleet.redact import CUT, HIDDEN, MAX_LINE_CHARS, aside, cut_line, redact
from core.fleet.report import (
    Report,
    Verdict,
    cell,
    clean,
    clean_block,
    duration,
    fenced,
    size,
    table,
    verdict_of,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (4.1 * 2**30, "4.1 GiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_sizes(number: float, text: str) -> None:
    """Bytes are told as df -h tells them."""
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (3_700, "1 h 1 min"), (273_600, "3 d 4 h")],
)
def test_durations(seconds: int, text: str) -> None:
    """Two units at most."""
    assert duration(seconds) == text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_can_be_read_back(verdict: Verdict) -> None:
    """The mark of the first line says how bad it is."""
    text = Report(headline="x.", details="d", verdict=verdict).text("web-1")
    assert verdict_of(text.partition("\n")[0]) is verdict
    assert "web-1: x." in text


def test_a_table_is_bounded_and_says_so() -> None:
    """Rows beyond the limit are counted, not silently dropped."""
    text = table(("A",), [(str(n),) for n in range(50)], limit=40)
    assert text.endswith("… and 10 more.")
    assert len(text.splitlines()) == 44


@given(st.text())
def test_server_text_cannot_leave_its_place(text: str) -> None:
    """No control character, no line break in a cell, no unescaped separator, no early fence."""
    assert "\n" not in cell(text)
    assert "|" not in cell(text).replace("\\\\", "").replace("\\|", "")
    assert "\x1b" not in clean(text) + clean_block(text)
    block = fenced(text)
    fence = block[: len(block) - len(block.lstrip("`"))]
    assert fence not in text


def test_terminal_escapes_are_removed_whole() -> None:
    """Colours, titles and links of a log do not leave their codes behind."""
    assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07ok\x1b]8;;http://x\x1b\\link") == "red oklink"


@pytest.mark.parametrize(
    "line",
    [
        "password=hunter2hunter2",
        'db_password: "hunter2hunter2"',
        "DB_PASSWORD = 'hunter2hunter2'",
        '{"api_key": "hunter2hunter2"}',
        "export AWS_SECRET_ACCESS_KEY=hunter2hunter2",
        "Authorization: Bearer hunter2hunter2",
        "postgres://app:hunter2hunter2@db/app",
        "token=hunter2hunter2&x=1",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2hunter2 cut off",
        "define( 'DB_PASSWORD', 'hunter2hunter2' );",
        "define('AUTH_KEY', 'a\"b hunter2; c');",
        "$config['password'] = 'hunter2hunter2';",
        "requirepass hunter2hunter2",
        "user default on >hunter2hunter2 ~* +@all",
        "DB_PASS=hunter2hunter2",
        "DBPASS=hunter2,hunter2",
        "SMTP_PWD=hunter2hunter2",
        "Server=db;Uid=app;Pwd=hunter2hunter2;Database=x",
        "pass: hunter2hunter2",
        "passphrase: hunter2hunter2",
        "bindpw hunter2hunter2",
        "  password hunter2hunter2",
        "<password>hunter2hunter2</password>",
        '<password type="plain">hunter2hunter2</password>',
        '<property name="password" value="hunter2hunter2"/>',
        "mysqld --password hunter2hunter2 --port 1",
        "restic --db-password=hunter2hunter2",
        "mysql -u root -phunter2hunter2 db",
        "sshpass -p hunter2hunter2 ssh web",
        "CREATE USER a IDENTIFIED BY 'it''s hunter2';",
        "ALTER ROLE a PASSWORD 'hunter2hunter2'",
        "curl -s -u admin:hunter2hunter2 https://x",
        "curl --user 'admin:hunter2hunter2' https://x",
        "postgres://u:pa/hunter2@host/db",
        "postgres://u:p@ss/hunter2@host/db",
        "machine api login a password hunter2hunter2",
        '{\\"password\\":\\"hunter2hunter2\\"}',
        "secret = 'hunter2hunter2 without an end",
    ],
)
def test_secrets_are_hidden(line: str) -> None:
    """The usual shapes of secrets do not reach a person or a model."""
    assert "hunter2" not in redact(line)


@pytest.mark.parametrize(
    "line", ["AKIAABCDEFGHIJKLMNOP", "ghp_" + "a" * 36, "sk-ant-" + "a" * 30, "xoxb-1234567890-abc"]
)
def test_known_key_shapes_are_hidden(line: str) -> None:
    """Keys that are recognised by their shape alone."""
    assert redact(f"got {line} here") == "got [hidden] here"


@pytest.mark.parametrize(
    "line",
    [
        "Failed password for root from 10.0.0.1",
        "tokens used today",
        "key=value",
        "80/tcp",
        "bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/bin/ls",
        "bypass: yes, compass=north, passed: 50",
        "GET http://host:8080/mail?to=a@b.example",
        "docker run -u 1000:1000 image",
        "PasswordAuthentication no",
        "$this->token->get()",
        "mysql -u root -p db",
        "pam_unix(sshd:auth): authentication failure",
    ],
)
def test_ordinary_lines_stay(line: str) -> None:
    """A log line that only talks about passwords is not mutilated."""
    assert redact(line) == line


@pytest.mark.parametrize(
    "piece", ["x_token-", "tokentoken-secret_", "a", "passwd-", "eyJ-", "://", "curl -u ", 'token"']
)
def test_a_hostile_line_is_cut_before_any_rule_sees_it(piece: str) -> None:
    """What a rule may cost is bounded by the line's length, and lines are short by then."""
    seen = redact("before\n" + piece * 25_000 + "\nafter").split("\n")
    assert [seen[0], seen[2]] == ["before", "after"]
    assert len(cut_line(piece * 25_000)) == MAX_LINE_CHARS
    assert seen[1].endswith(CUT) or HIDDEN in seen[1]
    assert len(seen[1]) < 8 * MAX_LINE_CHARS


def _repeats(parsed: Iterable[Any], *, leading: bool) -> Iterator[tuple[int, bool]]:
    """Every repetition of a rule: how often at most, and whether the rule begins with it."""
    for operation, argument in parsed:
        if str(operation) in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            yield int(argument[1]), leading
            yield from _repeats(argument[2], leading=leading)
        elif str(operation) == "SUBPATTERN":
            yield from _repeats(argument[-1], leading=leading)
        elif str(operation) == "BRANCH":
            for branch in argument[1]:
                yield from _repeats(branch, leading=leading)
        leading = leading and str(operation) in {"ASSERT", "ASSERT_NOT"}


def test_no_rule_can_run_away() -> None:
    """No rule begins with a repetition (it would be tried at every place) or has an endless one."""
    parser = importlib.import_module("re._parser")
    for rule, _ in redact_module._RULES:
        for most, leading in _repeats(parser.parse(rule.pattern, rule.flags), leading=True):
            assert most <= MAX_LINE_CHARS, rule.pattern
            assert not leading, rule.pattern


async def test_a_long_text_is_redacted_aside() -> None:
    """A short text is done at once; a long one in a thread, line by line."""

    def where(text: str, suffix: str) -> str:
        return threading.current_thread().name + suffix + text[:0]

    assert await aside(where, "short", "!") == f"{threading.current_thread().name}!"
    assert await aside(where, "long" * 10_000, "!") == "it0-redact!"


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    """No text breaks it, and doing it twice changes nothing more."""
    once = redact(text)
    assert redact(once) == once
