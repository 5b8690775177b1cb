"""The last log lines of a service: the journal, else the usual files below /var/log."""

from __future__ import annotations

import re

from core.fleet.host import FileRead, Host
from core.fleet.report import Report, clean, clean_block, count, failure, fenced
from core.fleet.services import ALIASES, service_problem
from core.redact import aside, redact

MAX_LINES = 200
_LINE_CHARS = 400
_TOTAL_CHARS = 30_000
_REDACTED_CHARS = 200_000
_TIMEOUT_S = 15.0
_MAX_BYTES = 1024 * 1024
_TAIL_BYTES = 262_144
_SYSTEM_LOGS = (
    "/var/log/syslog",
    "/var/log/messages",
    "/var/log/auth.log",
    "/var/log/secure",
    "/var/log/daemon.log",
)
_TROUBLE = re.compile(
    r"(?i)\b(?:error|errors|err|fail|failed|failure|fatal|panic|critical|crit|emerg|alert"
    r"|exception|traceback|segfault|oom|denied)\b"
)
_ROTATED = re.compile(r"\.(?:gz|xz|bz2|zst|\d+)$|-\d{8}$")


async def service_logs(host: Host, service: str, lines: int) -> Report:
    """Report the last lines and how many of them look like trouble."""
    problem = service_problem(service)
    if problem:
        return failure(problem)
    names = (service, *ALIASES.get(service.casefold(), ()))
    for name in names:
        found = await _journal(host, name, lines)
        if found:
            return _report(service, found, source="the journal")
    for name in names:
        report = await _from_files(host, name, lines)
        if report:
            return report
    return failure(
        f"I found no log of {clean(service)}: nothing in the journal, and no readable file of "
        "that name below /var/log."
    )


def bounded(text: str, lines: int) -> list[str]:
    """The last ``lines`` lines, harmless, each and all together of bounded length."""
    kept: list[str] = []
    room = _TOTAL_CHARS
    for line in reversed(redact(clean_block(text[-_REDACTED_CHARS:])).rstrip("\n").split("\n")):
        if len(kept) >= lines or room <= 0:
            break
        short = line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 1] + "…"
        room -= len(short) + 1
        kept.append(short)
    return kept[::-1]


def _report(service: str, lines: list[str], *, source: str) -> Report:
    trouble = sum(bool(_TROUBLE.search(line)) for line in lines)
    said = (
        f"{trouble} of them {'looks' if trouble == 1 else 'look'} like trouble"
        if trouble
        else "none of them looks like trouble"
    )
    return Report(
        headline=f"the last {count(len(lines), 'line')} of {clean(service)} from {source}; {said}.",
        details=fenced("\n".join(lines)),
    )


async def _journal(host: Host, name: str, lines: int) -> list[str]:
    result = await host.run(
        [
            "journalctl",
            "--no-pager",
            "--quiet",
            "--output=short-iso",
            f"--lines={lines}",
            f"--unit={name}",
        ],
        timeout_s=_TIMEOUT_S,
        max_bytes=_MAX_BYTES,
    )
    text = "\n".join(line for line in result.stdout.splitlines() if not line.startswith("-- "))
    if result.exit_status != 0 or not text.strip():
        return []
    return await aside(bounded, text, lines)


async def _from_files(host: Host, name: str, lines: int) -> Report | None:
    bare = name.removesuffix(".service")
    for path in await _candidates(host, bare):
        read = await host.read_file(path, max_bytes=_TAIL_BYTES, tail=True)
        if isinstance(read, FileRead) and not read.binary and read.text.strip():
            kept = await aside(bounded, _whole_lines(read), lines)
            return _report(name, kept, source=clean(read.path))
    mentions = re.compile(
        rf"(?i)(?<![\w.-]){re.escape(bare)}(?:\([^)]{{0,64}}\))?(?:\[\d{{1,10}}\])?:"
    )
    for path in _SYSTEM_LOGS:
        read = await host.read_file(path, max_bytes=_TAIL_BYTES, tail=True)
        if isinstance(read, FileRead):
            about = [line for line in _whole_lines(read).splitlines() if mentions.search(line)]
            if about:
                kept = await aside(bounded, "\n".join(about), lines)
                return _report(name, kept, source=clean(read.path))
    return None


async def _candidates(host: Host, name: str) -> list[str]:
    """Files below /var/log that carry the whole name, the most telling first."""
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", name)
    result = await host.run(
        ["find", "/var/log", "-maxdepth", "3", "-type", "f", "-path", f"/var/log/{pattern}*"],
        timeout_s=_TIMEOUT_S,
        max_bytes=_TAIL_BYTES,
    )
    whole = re.compile(rf"/var/log/{re.escape(name)}(?:[./-]|$)")
    paths = [
        path
        for path in result.stdout.splitlines()
        if whole.match(path) and not _ROTATED.search(path)
    ]
    first = (f"/var/log/{name}.log", f"/var/log/{name}/error.log", f"/var/log/{name}/{name}.log")

    def rank(path: str) -> tuple[int, int, str]:
        return (first.index(path) if path in first else len(first), "error" not in path, path)

    return sorted(paths, key=rank)[:5]


def _whole_lines(read: FileRead) -> str:
    """Without the piece of a line that a tail begins with."""
    return read.text.partition("\n")[2] or read.text if read.truncated else read.text
