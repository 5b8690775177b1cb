"""Takes secrets out of text before anybody, person or model, sees it.

A net below the other nets: protected files are never read, but applications write
passwords into logs and configuration files. It knows the usual shapes, not all of them,
and rather hides too much of a line than too little.

Text comes from outside and may be made to cost time. So lines are cut before they are
looked at, no rule begins with a repetition, every repetition is bounded, and long texts
are done line by line in a thread, where each line lets others go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from core.threads import DaemonThreads

HIDDEN = "[hidden]"
MAX_LINE_CHARS = 2_000
"""What is behind it in a line is dropped, unread."""
CUT = "… (cut)"
_AT_ONCE_CHARS = 8_000
"""Up to here a text is redacted where it stands."""

P = ParamSpec("P")
T = TypeVar("T")

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_NAME = r"""
    (?:passw(?:or)?d|passwd|passphrase|secret|token|credential
      |(?:api|access|private|auth|logged_in|nonce|encryption|signing|master|account)[_-]?(?:key|salt)
      |(?:(?<![a-z])|(?<=db)|(?<=user)|(?<=smtp)|(?<=mail)|(?<=ldap)|(?<=root)|(?<=admin))
        (?:pass|pw)(?![a-z])
      |(?:bind|root|admin|user)pw(?![a-z])
      |(?<!old)pwd(?![a-z])(?!\s{0,3}[:=]\s{0,3}[/~])
    )"""
"""The end of PWD is a secret's name in SMTP_PWD, and a directory in what sudo logs."""
_QUOTED = r"""\\?"(?:[^"\\]|\\.|""){0,2000}"?|'(?:[^'\\]|\\.|''){0,2000}'?"""
_VALUE = rf"""(?:{_QUOTED}|[^\s"'<>][^\s<>]{{2,2000}})"""

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Authorization: Bearer x
    (re.compile(r"(?i)\b((?:bearer|basic)\s{1,9})[A-Za-z0-9+/=._~-]{8,2000}"), rf"\1{HIDDEN}"),
    # postgres://user:pa/ss@host, but not http://host:8080/mail?to=a@b
    (
        re.compile(r"(://[^\s:/@]{0,100}:)(?!\d{1,5}[/?#])[^\s\"'<>]{1,500}@"),
        rf"\1{HIDDEN}@",
    ),
    (re.compile(r"(://[^\s:/@]{0,100}:)\d{1,5}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(://)[^\s:/@\[]{16,500}@"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            r"(?<![\w-])(?:(?:AKIA|ASIA)[A-Z0-9]{16}\b"
            r"|gh[pousr]_[A-Za-z0-9]{30,500}"
            r"|github_pat_\w{20,500}"
            r"|glpat-[\w-]{15,500}"
            r"|sk-[A-Za-z0-9_-]{20,500}"
            r"|sk_(?:live|test)_[A-Za-z0-9]{16,500}"
            r"|xox[abprs]-[A-Za-z0-9-]{10,500}"
            r"|eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{5,2000})"
        ),
        HIDDEN,
    ),
    # password=x, "api_key": "x", define('DB_PASSWORD', 'x'), name="password" value="x"
    (
        re.compile(
            rf"""(?ix)({_NAME}[\w-]{{0,20}}
            (?:\\?["']?\]?\s{{0,9}}(?:=>|:=|[=:])|["']\s{{0,3}},|["']\s{{1,3}}(?:value|content)\s?=)
            \s{{0,9}}){_VALUE}"""
        ),
        rf"\1{HIDDEN}",
    ),
    # <password>x</password>, but not $this->token->name
    (
        re.compile(
            rf"""(?ix)({_NAME}[\w.-]{{0,20}}(?:\s[^<>]{{0,100}})?(?<![-=])>)[^<]{{1,2000}}"""
        ),
        rf"\1{HIDDEN}",
    ),
    # --password x
    (
        re.compile(
            rf"""(?ix)((?<!\S)--?(?:[a-z0-9]{{1,20}}-){{0,3}}{_NAME}\s{{1,9}})(?!-){_VALUE}"""
        ),
        rf"\1{HIDDEN}",
    ),
    # requirepass x; a line of nothing but "password x"; .netrc
    (
        re.compile(
            rf"""(?ix)((?:^\s{{0,20}}(?:requirepass|masterauth|auth_pass|bindpw|rootpw)
            |\b(?:login|user|account)\s{{1,9}}\S{{1,100}}\s{{1,9}}password)\s{{1,9}}){_VALUE}"""
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)(\buser\s{1,9}\S{1,100}\s{1,9}(?:on|off)\s{1,9}>)\S{1,500}"), rf"\1{HIDDEN}"),
    (
        re.compile(r"(?i)^(\s{0,20}[\w.-]{0,40}pass(?:word|wd|phrase)\s{1,9})\S{3,2000}\s{0,9}$"),
        rf"\1{HIDDEN}",
    ),
    # IDENTIFIED BY 'x', IDENTIFIED WITH plugin AS 'x', PASSWORD 'x'
    (
        re.compile(
            rf"""(?ix)(\b(?:identified\s{{1,9}}(?:by|with\s{{1,9}}\S{{1,50}}\s{{1,9}}(?:by|as))
            (?:\s{{1,9}}password)?|password)\s{{1,9}})(?=["']){_VALUE}"""
        ),
        rf"\1{HIDDEN}",
    ),
    # curl -u a:b, but not docker run -u 1000:1000; mysql -px; sshpass -p x
    (
        re.compile(
            r"""(?x)((?<!\S)(?:-u\s{0,9}|--(?:proxy-)?user[=\s]\s{0,9})["']?[^\s:"']{1,100}:)
            (?!\d{1,10}(?:\s|$))[^\s"']{1,500}"""
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)(\bmysql\w{0,10}\s[^|;]{0,200}?(?<=\s)-p)(?=\S)\S{1,500}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)(\bsshpass\s{1,9}-p\s{0,9})\S{1,500}"), rf"\1{HIDDEN}"),
)

_THREADS = DaemonThreads(name="it0-redact", limit=2)


def redact(text: str) -> str:
    """The text with what looks like a secret replaced by ``[hidden]``, long lines cut."""
    lines = _KEY_BLOCK.sub(HIDDEN, text).split("\n")
    return "\n".join(_redact_line(cut_line(line)) for line in lines)


async def aside(
    work: Callable[Concatenate[str, P], T], text: str, /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do work that redacts a text; the loop goes on while a long one is done."""
    if len(text) <= _AT_ONCE_CHARS:
        return work(text, *args, **kwargs)
    return await _THREADS.run(work, text, *args, **kwargs)


def cut_line(line: str) -> str:
    """The line, or its beginning and a mark that it was cut."""
    return line if len(line) <= MAX_LINE_CHARS else line[: MAX_LINE_CHARS - len(CUT)] + CUT


def _redact_line(line: str) -> str:
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line
