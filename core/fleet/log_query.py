"""What of a log is wanted: a time range, a priority, a text, a number of lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from core.fleet.host import Host
from core.fleet.report import clean
from core.fleet.when import ServerClock, line_time, parse_clock, parse_when

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
TROUBLE = re.compile(
    r"(?i)\b(?:error|errors|err|fail|failed|failure|fatal|panic|critical|crit|emerg|alert"
    r"|exception|traceback|segfault|oom|denied)\b"
)
_WARNING = re.compile(r"(?i)\bwarn(?:ing|ings)?\b")
_TIMEOUT_S = 10.0
_MAX_BYTES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """As it was asked; empty: everything."""

    lines: int
    since: str = ""
    until: str = ""
    priority: str = ""
    grep: str = ""

    @property
    def timed(self) -> bool:
        """Whether there is a time range."""
        return bool(self.since or self.until)

    @property
    def words(self) -> str:
        """The filters as a half sentence, or nothing."""
        parts = [f"since {clean(self.since)}"] if self.since else []
        parts += [f"until {clean(self.until)}"] if self.until else []
        parts += [f"{self.priority} and graver"] if self.priority else []
        parts += [f"with {clean(self.grep)!r}"] if self.grep else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A query with its times made sure on the server's own clock."""

    query: LogQuery
    clock: ServerClock | None = None
    since_s: int | None = None
    until_s: int | None = None

    def pick(self, lines: Iterable[str], *, in_time: bool = False) -> list[str]:
        """The lines of a file that are wanted; one without a time belongs to the one above.

        ``in_time``: whoever gave the lines has seen to the time range and the priority.
        """
        grep = self.query.grep.casefold()
        kept: list[str] = []
        inside = self.since_s is None
        for line in lines:
            if self.clock is not None and self.query.timed and not in_time:
                at = line_time(line, self.clock)
                inside = inside if at is None else self._holds(at)
                if not inside:
                    continue
            if grep and grep not in line.casefold():
                continue
            if in_time or self._is_grave(line):
                kept.append(line)
        return kept

    def _holds(self, at: int) -> bool:
        after = self.since_s is None or at >= self.since_s
        return after and (self.until_s is None or at <= self.until_s)

    def _is_grave(self, line: str) -> bool:
        """By its words: a plain file has no priorities."""
        if not self.query.priority:
            return True
        rank = PRIORITIES.index(self.query.priority)
        if rank <= PRIORITIES.index("err"):
            return bool(TROUBLE.search(line))
        if rank == PRIORITIES.index("warning"):
            return bool(TROUBLE.search(line) or _WARNING.search(line))
        return True


async def wanted_on(host: Host, query: LogQuery) -> Wanted | str:
    """The query on this server's clock, or a sentence why not. Raises HostUnreachable."""
    if not query.timed:
        return Wanted(query=query)
    said = await host.run(["date", "+%s %z"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    clock = parse_clock(said.stdout)
    if clock is None:
        return "the server does not tell its time, so no time range can be looked at."
    times: list[int | None] = []
    for text in (query.since, query.until):
        at = parse_when(text, clock) if text else None
        if text and at is None:
            return (
                f"{clean(text)[:80]!r} is no time I understand; write 2026-11-22T10:00:00Z, "
                "2026-11-22 10:00, 10:30, yesterday, or 2 hours ago."
            )
        times.append(at)
    since_s, until_s = times
    if since_s is not None and until_s is not None and since_s > until_s:
        return "the time range ends before it begins."
    return Wanted(query=query, clock=clock, since_s=since_s, until_s=until_s)
