"""A search in what a person asked and was answered, with bounded work.

Every word of the query must stand in one place: a title, or the beginning of a question or an
answer. Each request looks at conversations, the most recently used first, for ``BUDGET_S``; its
cursor goes on behind them, also where nothing was found. On SQLite all reads share a thread, and
on PostgreSQL a pool, so nobody may hold it for long, whatever stands in their conversations.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.reading import Entries, Entry
from storage.conversation_rows import COLUMNS, OWN, READABLE, entry_of
from storage.database import DRIVER, execute
from storage.rows import integer, optional_text, text

BUDGET_S = 0.2
"""No further statement begins after this."""
CHUNK = 5
"""Conversations that one statement looks into."""
DEEP = 100
"""The newest turns of each."""
TEXT_CHARS = 10_000
"""Of a question or an answer; comparing takes this times the length of a word in the worst case."""
WORD_CHARS = 50
_MOST_WORDS = 8
"""What is beyond is one phrase."""
_AROUND = 60
"""Characters of an excerpt on each side of what was found."""
_LOWER = "it0_lower"
_QUESTION = f"SUBSTR(t.text, 1, {TEXT_CHARS})"
_ANSWER = f"SUBSTR(t.reply, 1, {TEXT_CHARS})"

Place = tuple[int, str]
"""Last use and id: what comes after it in the list is used before, or then with a lower id."""
AFTER = "c.updated_at <= :at AND (c.updated_at < :at OR c.id < :id)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """Words as conditions on a column."""

    lower: str
    """The function that lowers."""
    patterns: tuple[tuple[str, ...], ...]
    """For each word: what the lowered text may be like, then what the text itself may be."""

    def on(self, column: str) -> str:
        """Whether the column holds every word."""
        return " AND ".join(
            "("
            + " OR ".join(
                f"{self.lower + f'({column})' if variant == 0 else column} LIKE :w{word}_{variant}"
                " ESCAPE '!'"
                for variant in range(len(variants))
            )
            + ")"
            for word, variants in enumerate(self.patterns)
        )

    def values(self) -> dict[str, str]:
        """The patterns by their names."""
        return {
            f"w{word}_{variant}": pattern
            for word, variants in enumerate(self.patterns)
            for variant, pattern in enumerate(variants)
        }


def search(
    conn: sa.Connection, who: tuple[str, str], query: str, place: Place, limit: int
) -> Entries:
    """A page of what is found behind a place of the list."""
    until = time.monotonic() + BUDGET_S
    words = [word[:WORD_CHARS] for word in query.split(maxsplit=_MOST_WORDS - 1)]
    asked = _Query(lower=_lower(conn), patterns=tuple(_variants(conn, word) for word in words))
    found: list[Entry] = []
    while True:
        rows = _look(conn, who, asked, place)
        for row in rows:
            if not integer(row[6]) and row[7] is None:
                continue
            if len(found) == limit:
                return Entries(entries=tuple(found), following=place_after(found[-1]))
            found.append(entry_of(row, "" if integer(row[6]) else _excerpt(row, words)))
        if len(rows) < CHUNK:
            return Entries(entries=tuple(found), following=None)
        place = integer(rows[-1][3]), text(rows[-1][0])
        if time.monotonic() > until:
            return Entries(entries=tuple(found), following=f"{place[0]}-{place[1]}")


def place_after(entry: Entry) -> str:
    """Where the page behind this one begins."""
    return f"{entry.updated_at_ms}-{entry.id}"


def _look(
    conn: sa.Connection, who: tuple[str, str], asked: _Query, place: Place
) -> Sequence[Sequence[object]]:
    """The next conversations, found or not, with the newest turn that was found in each."""
    said = f"(t.event_id NOT LIKE 'notice/%' AND {asked.on(_QUESTION)})"
    answered = f"(t.status = 'done' AND {asked.on(_ANSWER)})"
    statement = f"""
        SELECT f.*, h.event_id, h.text, h.reply FROM (
         SELECT {COLUMNS} AS state, CASE WHEN {asked.on("c.title")} THEN 1 ELSE 0 END AS titled,
          (SELECT t.seq FROM turns t WHERE t.conversation_id = c.id AND {READABLE}
            AND t.seq > c.last_seq - {DEEP} AND ({said} OR {answered})
           ORDER BY t.seq DESC LIMIT 1) AS hit
         FROM conversations c WHERE {OWN} AND {AFTER}
         ORDER BY c.updated_at DESC, c.id DESC LIMIT {CHUNK}
        ) f LEFT JOIN turns h ON h.conversation_id = f.id AND h.seq = f.hit
        ORDER BY f.updated_at DESC, f.id DESC
        """
    return execute(
        conn, statement, tenant=who[0], user=who[1], at=place[0], id=place[1], **asked.values()
    ).all()


def _lower(conn: sa.Connection) -> str:
    """The function that lowers every alphabet; SQLite's own knows ASCII alone."""
    driver: sqlite3.Connection | None = conn.info.get(DRIVER)
    if driver is None:
        return "LOWER"
    if _LOWER not in conn.info:
        driver.create_function(
            _LOWER, 1, lambda value: value and str(value).lower(), deterministic=True
        )
        conn.info[_LOWER] = True
    return _LOWER


def _variants(conn: sa.Connection, word: str) -> tuple[str, ...]:
    """Patterns of a word.

    What ``LOWER`` knows on PostgreSQL depends on the database's locale: there a word of another
    alphabet is looked for in its usual spellings as well.
    """
    spellings = [word.lower()]
    if conn.dialect.name == "postgresql" and not word.isascii():
        spellings += sorted({word, word.lower(), word.upper(), word.capitalize()})
    return tuple(f"%{_plain(spelling)}%" for spelling in spellings)


def _plain(word: str) -> str:
    return "".join(f"!{char}" if char in "!%_" else char for char in word)


def _excerpt(row: Sequence[object], words: Sequence[str]) -> str:
    """The place found on one line, with what stands around it; the question before the answer."""
    asked = "" if text(row[8]).startswith("notice/") else text(row[9])
    for where in (asked, optional_text(row[10]) or ""):
        lowered = where.lower()
        places = [lowered.find(word.lower()) for word in words]
        if min(places) >= 0:
            return _cut(where, min(places), len(words[places.index(min(places))]))
    return ""


def _cut(where: str, at: int, length: int) -> str:
    start, end = max(0, at - _AROUND), at + length + _AROUND
    cut = " ".join(where[start:end].split())
    return ("…" if start else "") + cut + ("…" if end < len(where) else "")
