"""Log lines of a service: the journal, else the usual files below /var/log."""

from __future__ import annotations

import re

from core.fleet.files import path_problem
from core.fleet.host import FileProblem, Host
from core.fleet.log_files import Found, read_log
from core.fleet.log_query import TROUBLE, LogQuery, Wanted, wanted_on
from core.fleet.report import Report, clean, clean_block, count, failure, fenced
from core.fleet.services import ALIASES, service_problem
from core.protected import ProtectedPaths
from core.redact import aside, redact

MAX_LINES = 200
_LINE_CHARS = 400
_TOTAL_CHARS = 30_000
_REDACTED_CHARS = 200_000
_TIMEOUT_S = 15.0
_MAX_BYTES = 1024 * 1024
_GREP_ENTRIES = 5_000
"""Of the journal, which are looked through for a text."""
_LISTED_BYTES = 262_144
_SYSTEM_LOGS = (
    "/var/log/syslog",
    "/var/log/messages",
    "/var/log/auth.log",
    "/var/log/secure",
    "/var/log/daemon.log",
)
_ROTATED = re.compile(r"\.(?:gz|xz|bz2|zst|\d+)$|-\d{8}$")


async def service_logs(
    host: Host, service: str, query: LogQuery, protected: ProtectedPaths
) -> Report:
    """Report the last lines that are wanted, and how many of them look like trouble."""
    problem = service_problem(service)
    if problem:
        return failure(problem)
    wanted = await wanted_on(host, query)
    if isinstance(wanted, str):
        return failure(wanted)
    names = (service, *ALIASES.get(service.casefold(), ()))
    looked = False
    for name in names:
        found = await _journal(host, name, wanted)
        if found:
            return _report(clean(service), found, query, source="the journal")
    for name in names:
        in_file = await _from_files(host, name, wanted, protected)
        if in_file is not None and in_file.lines:
            return await _of_file(clean(name), in_file, query)
        looked = looked or in_file is not None
    if query.words:
        where = "its log" if looked else "the journal, and there is no file of that name"
        return Report(headline=f"no line of {clean(service)} {query.words}, in {where}.")
    return failure(
        f"I found no log of {clean(service)}: nothing in the journal, and no readable file of "
        "that name below /var/log."
    )


async def file_logs(host: Host, path: str, query: LogQuery, protected: ProtectedPaths) -> Report:
    """Report lines of a log file by its path, and of those that it was rotated to."""
    problem = path_problem(path)
    if problem:
        return failure(problem)
    wanted = await wanted_on(host, query)
    if isinstance(wanted, str):
        return failure(wanted)
    found = await read_log(host, path, wanted, protected)
    if isinstance(found, FileProblem):
        return failure(clean(found.sentence))
    if not found.lines:
        return Report(headline=f"no line of {clean(path)} {query.words or 'at all'}.")
    return await _of_file(clean(path), found, query)


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


async def _of_file(name: str, found: Found, query: LogQuery) -> Report:
    kept = await aside(bounded, "\n".join(found.lines[-query.lines :]), query.lines)
    source = clean(found.path)
    source += f" and {count(found.files - 1, 'older file')}" if found.files > 1 else ""
    note = " The file is long: what is older than its last 4 MiB was not read." * found.partial
    return _report(name, kept, query, source=source, note=note)


def _report(name: str, lines: list[str], query: LogQuery, *, source: str, note: str = "") -> Report:
    trouble = sum(bool(TROUBLE.search(line)) for line in lines)
    said = (
        f"{trouble} of them {'looks' if trouble == 1 else 'look'} like trouble"
        if trouble
        else "none of them looks like trouble"
    )
    which = f" {query.words}," if query.words else ""
    last = f"the last {count(len(lines), 'line')} of {name}{which} from {source}"
    return Report(headline=f"{last}; {said}.{note}", details=fenced("\n".join(lines)))


async def _journal(host: Host, name: str, wanted: Wanted) -> list[str]:
    query = wanted.query
    command = ["journalctl", "--no-pager", "--quiet", "--output=short-iso"]
    command.append(f"--lines={_GREP_ENTRIES if query.grep else query.lines}")
    # With a text to find the newest come first: what does not fit any more is the oldest.
    command += ["--reverse"] if query.grep else []
    command += [f"--since=@{wanted.since_s}"] if wanted.since_s is not None else []
    command += [f"--until=@{wanted.until_s}"] if wanted.until_s is not None else []
    command += [f"--priority={query.priority}"] if query.priority else []
    result = await host.run(
        [*command, f"--unit={name}"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES
    )
    said = [line for line in result.stdout.splitlines() if not line.startswith("-- ")]
    if result.exit_status != 0 or not any(line.strip() for line in said):
        return []
    if query.grep:
        said = wanted.pick(said, in_time=True)[: query.lines][::-1]
    return await aside(bounded, "\n".join(said), query.lines) if said else []


async def _from_files(
    host: Host, name: str, wanted: Wanted, protected: ProtectedPaths
) -> Found | None:
    """The first log that holds what is wanted; an empty one when there are only others."""
    bare = name.removesuffix(".service")
    empty: Found | None = None
    for path in await _candidates(host, bare):
        found = await read_log(host, path, wanted, protected)
        if isinstance(found, Found):
            if any(line.strip() for line in found.lines):
                return found
            empty = Found(path=found.path, lines=[])
    mentions = re.compile(
        rf"(?i)(?<![\w.-]){re.escape(bare)}(?:\([^)]{{0,64}}\))?(?:\[\d{{1,10}}\])?:"
    )
    for path in _SYSTEM_LOGS:
        found = await read_log(host, path, wanted, protected)
        if isinstance(found, Found):
            about = [line for line in found.lines if mentions.search(line)]
            if about:
                return Found(path=found.path, lines=about, files=found.files)
    return empty


async def _candidates(host: Host, name: str) -> list[str]:
    """Files below /var/log that carry the whole name, the most telling first."""
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", name)
    result = await host.run(
        ["find", "/var/log", "-maxdepth", "3", "-type", "f", "-path", f"/var/log/{pattern}*"],
        timeout_s=_TIMEOUT_S,
        max_bytes=_LISTED_BYTES,
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
