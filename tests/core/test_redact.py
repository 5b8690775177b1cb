"""Secrets are hidden wherever they are, ordinary lines stay, and no text costs too much."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.redact import (
    CUT,
    HIDDEN,
    MAX_LINE_CHARS,
    Redactor,
    aside,
    cut_line,
    redact,
    redact_now,
    redact_text,
)
from core.redact_rules import RULES
from tests.core.redact_table import CANARY, HARMLESS, NAMED, SHAPED


@pytest.mark.parametrize("line", NAMED)
def test_what_is_said_to_be_a_secret_is_hidden(line: str) -> None:
    """By its name, its flag, its header or its place in an address."""
    shown = redact_now(f"Jan 1 web-1 app: {line}") if line[0] not in "*d rm" else redact_now(line)
    assert HIDDEN in shown
    assert CANARY not in shown
    assert "S3g5bVE" not in shown


@pytest.mark.parametrize("secret", SHAPED)
def test_what_looks_like_a_secret_is_hidden(secret: str) -> None:
    """Keys, tokens and hashes that are known by their shape alone."""
    for line in (f"got {secret} here", f"x={secret}", f'"{secret}"', secret):
        shown = redact_now(line)
        assert HIDDEN in shown
        assert secret[-12:] not in shown


@pytest.mark.parametrize("line", HARMLESS)
def test_ordinary_lines_stay(line: str) -> None:
    """Digests, ids, certificates and lines that only talk about passwords are not mutilated."""
    assert redact_now(line) == line


BODY = "\n".join(f"MIIE{letter * 60}" for letter in "abcdefgh") + "\nend=="
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.replace("RSA ", ""),
        KEY.replace("RSA ", "OPENSSH "),
        KEY.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
        KEY.replace(
            "KEY-----\nM", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nM", 1
        ),
        "    " + KEY.replace("\n", "\n    "),
        KEY.replace("\n", "\r\n"),
        "\n".join(f"id_rsa:{number}:{line}" for number, line in enumerate(KEY.split("\n"))),
        KEY.partition("\n")[2],
        "\n".join(KEY.split("\n")[3:]),
        "\n".join(KEY.split("\n")[:5]),
        "MIIEpAIBAAKCAQEAxvrahYQ3iDEOopg5nskCk7k1eeeeeeeeeeeeeeeeeeeeeeee\n" + BODY,
        "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nPrivate-Lines: 8\n"
        + BODY
        + "\nPrivate-MAC: 0123456789abcdef0123456789abcdef",
        '{"private_key": "' + KEY.replace("\n", "\\n") + '", "client_email": "a@b"}',
        KEY.replace("\n", ""),
    ],
)
def test_no_part_of_a_private_key_is_shown(text: str) -> None:
    """Whole, indented, numbered, escaped, in one line, or only its beginning or its end."""
    shown = redact_now(f"before\n{text}\nafter: fine\nand more\n\n.\n.\n.\n.\n.\nlast")
    assert HIDDEN in shown
    assert shown.startswith("before\n")
    assert shown.endswith("last")
    assert not any(letter * 12 in shown for letter in "abcdefgh")


def test_a_certificate_is_public() -> None:
    """Its block stays as it is, also next to a key, and so does base64 that is neither."""
    certificate = KEY.replace("RSA PRIVATE KEY", "CERTIFICATE")
    assert redact_now(certificate) == certificate
    shown = redact_now(f"{certificate}\n{KEY}\n{certificate}\n")
    assert shown == f"{certificate}\n{HIDDEN}\n{certificate}\n"
    assert redact_now(BODY + "\n") == BODY + "\n"


@pytest.mark.parametrize("secret", [NAMED[0], f"Bearer {CANARY}", SHAPED[12], SHAPED[31], KEY])
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_secret_cut_into_pieces_is_hidden(secret: str, size: int) -> None:
    """Progress comes as it is read: wherever it is cut, the same is shown as of the whole."""
    text = f"one\n{secret}\ntwo\nthree"
    stream = Redactor()
    shown = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert shown + stream.end() == redact_now(text)
    assert HIDDEN in shown
    assert secret[-10:] not in shown


@pytest.mark.parametrize("before", [0, 1_690, 1_990, 1_999, 2_000, 3_690, 15_990, 16_400, 40_000])
@pytest.mark.parametrize(
    "secret", [f"password={CANARY}", SHAPED[31], SHAPED[12], "Bearer " + "a1" * 900]
)
def test_a_secret_deep_in_a_long_line_is_hidden(before: int, secret: str) -> None:
    """The windows in which a long line is looked at overlap, and nothing between is lost."""
    text = "x," * (before // 2) + f" {secret} " + "y," * 3_000
    stream = Redactor()
    parted = "".join(stream.feed(text[at : at + 500]) for at in range(0, len(text), 500))
    for shown in (redact_now(text), parted + stream.end()):
        assert HIDDEN in shown
        assert secret[-10:] not in shown
        assert shown.startswith("x," * (before // 2))
        assert shown.endswith("y," * 3_000)


@pytest.mark.parametrize(
    "piece",
    [
        "x_token-", "tokentoken-secret_", "a", "passwd-", "eyJ-", "://", "curl -u ", 'token"', "key=",
        "mysql -p ", "password is ", "-----BEGIN PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----\n",
        "authorization: ", "cookie: a=", "a:1234:b:c:", "$6$", "<token ", "docker -p ", "'", '\\"',
        "MIIEvQIBADANBgkqh\n", "A" * 64 + "\n", "echo a:", "configure set ", "user a on >",
        "passwordpasswordpassword=", "Basic ", "sk-", "0", "=", "\n", "-----BEGIN ",
    ],
)  # fmt: skip
def test_time_grows_with_the_text_and_no_faster(piece: str) -> None:
    """Characters that rules are shown, counted, not timed: each is seen in few windows."""
    small, large = (_seen(piece * (size // len(piece))) for size in (20_000, 80_000))
    assert large <= 4.5 * small + 20_000
    assert large <= 80_000 * 4 * len(RULES)


def _seen(text: str) -> int:
    """How many characters all rules were shown while a text was redacted."""
    module = importlib.import_module("core.redact")
    total = 0
    window = module._window

    def counted(part: str) -> str:
        nonlocal total
        assert len(part) <= MAX_LINE_CHARS
        total += len(part) * len(RULES)
        return str(window(part))

    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(module, "_window", counted)
        redact_now(text)
    return total


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
    for rule in RULES:
        parsed = parser.parse(rule.pattern.pattern, rule.pattern.flags)
        for most, leading in _repeats(parsed, leading=True):
            assert most <= MAX_LINE_CHARS, rule.pattern
            assert not leading or most <= 20, rule.pattern


def test_every_trigger_is_in_small_letters() -> None:
    """It is looked for in the line in small letters: others would never be found."""
    for rule in RULES:
        assert rule.triggers
        assert all(trigger == trigger.lower() for trigger in rule.triggers)


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    """No text breaks it, and doing it twice changes nothing more."""
    once = redact_now(text)
    assert redact_now(once) == once
    assert redact(redact(text)) == redact(text)


_PIECES = [*(line[:40] for line in NAMED), *(token[:30] for token in SHAPED), *HARMLESS[:20]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*_PIECES, "\n", " ", '"', "'", "=", ":", "@", "x"]), max_size=8))
def test_a_mixture_of_secrets_is_redacted_once_and_for_all(pieces: list[str]) -> None:
    """What one rule leaves is not a secret to another."""
    once = redact_now("".join(pieces))
    assert redact_now(once) == once


async def test_a_long_text_is_redacted_aside() -> None:
    """A short text is done at once; a long one in a thread, line by line."""

    def where(text: str, suffix: str) -> str:
        return threading.current_thread().name + suffix + text[:0]

    assert await aside(where, "short", "!") == f"{threading.current_thread().name}!"
    assert await aside(where, "long" * 10_000, "!") == "it0-redact!"
    assert await redact_text("a\n" * 9_000 + NAMED[0]) == "a\n" * 9_000 + f"password={HIDDEN}"


def test_a_line_may_be_cut_before_any_rule_sees_it() -> None:
    """What is shown in lines of bounded length needs no more of them."""
    shown = redact("before\n" + "a" * 25_000 + "\nafter").split("\n")
    assert [shown[0], shown[2]] == ["before", "after"]
    assert shown[1] == cut_line("a" * 25_000)
    assert shown[1].endswith(CUT)
    assert len(shown[1]) == MAX_LINE_CHARS
