"""The canonical rich text: CommonMark with GFM tables and strikethrough.

``core.markdown_layout`` knows the blocks of a text; this module cuts a long text into
parts that are each correct Markdown, finds what of a growing text is finished, and makes
titles. Renderers start from ``parser()``.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt

from core.markdown_blocks import LineCut, Place, Rank
from core.markdown_graphemes import cut_at_grapheme
from core.markdown_layout import Layout, read_layout
from core.messages import clean_text

Measure = Callable[[str], int]

MIN_LIMIT = 32
"""Smallest part that can still hold a reopened code block and some of its text."""

_WANTED_FILL = (
    (Rank.BLOCK, 0.15),
    (Rank.ITEM, 0.33),
    (Rank.ROW, 0.5),
    (Rank.LINE, 0.5),
    (Rank.POOR, 0.33),
)
"""The best kind of line boundary that fills at least this share of a part is taken."""

_SENTENCE_END = re.compile(r"[.!?…][\"')\]*_]*\s+|[\u3002\uff01\uff1f]")
_WORD_END = re.compile(r"\s+")
_WHOLE = re.compile(
    r"`[^`\n]{1,200}`|!?\[[^\]\n]{1,200}\]\([^)\n]{1,400}\)"
    r"|\*\*[^*\n]{1,200}\*\*|~~[^~\n]{1,200}~~|https?://[^\s<>]{1,400}"
)
"""Inline constructs that are not cut while there is another place."""

MAX_NESTING = 100
"""Blocks and spans inside each other; what is deeper the parser drops without a word."""

_MARKS = re.compile(r"([\\`*_\[\]<>|~#])")
_TITLE_SOURCE_CHARS = 2_000
_FORMAT_CATEGORIES = ("Cc", "Cf", "Co", "Cs", "Cn")


@cache
def parser() -> MarkdownIt:
    """The parser for the canonical form, shared by all; raw HTML is text, never markup."""
    options = {"html": False, "maxNesting": MAX_NESTING}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def split_markdown(text: str, limit: int, *, measure: Measure = len) -> tuple[str, ...]:
    """Cut ``text`` into parts of at most ``limit`` units of ``measure``, in order.

    Cuts fall between blocks, else between list items and quoted blocks, table rows, lines,
    sentences, words, graphemes. Each part stands alone: a code block that goes on is closed
    and opened again with its language, a table repeats its header, a quote its marks, and a
    list item that goes on loses its indentation. A code block that is not closed yet is
    closed. Nothing else is added and nothing but blank space at a cut is lost. When text is
    appended, only the last two parts change. ``measure`` must not shrink when text grows.
    Raises ValueError for a limit under 32.
    """
    if limit < MIN_LIMIT:
        message = f"a part needs at least {MIN_LIMIT} units, not {limit}"
        raise ValueError(message)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _Splitter(read_layout(text, limit=limit, measure=measure), limit, measure).parts()


def finished_length(text: str) -> int:
    """Return how many leading characters of a growing text will not change their meaning.

    Looks at complete lines only, because an incomplete one may still turn out to be
    something else. The last block counts when a blank line ended it for good.
    """
    return read_layout(text[: text.rfind("\n") + 1]).finished()


def title_of(text: str, limit: int = 60) -> str:
    """Name a conversation after its first message: one line, no markup, cut at a word.

    Empty when there is nothing to show, as for a message of files only. Only the beginning
    is read: a pasted log of 100,000 characters would hold up everybody else.
    """
    for token in parser().parse(clean_text(text[:_TITLE_SOURCE_CHARS])):
        if token.type == "inline":
            words = "".join(
                " " if child.type in ("softbreak", "hardbreak") else child.content
                for child in token.children or ()
            )
        elif token.type in ("fence", "code_block"):
            words = token.content
        else:
            continue
        title = " ".join(_printable(words).split())
        if title:
            return _shorten(title, limit)
    return ""


def plain(text: str, limit: int = 100) -> str:
    """Text from outside (a name) as Markdown that shows it and nothing else: one short line."""
    line = " ".join(_printable(text).split())
    return _MARKS.sub(r"\\\1", line if len(line) <= limit else line[: limit - 1] + "…")


def _printable(text: str) -> str:
    return "".join(
        char
        for char in text
        if char in "\n\t\u200d" or unicodedata.category(char) not in _FORMAT_CATEGORIES
    )


def _shorten(title: str, limit: int) -> str:
    if len(title) <= limit:
        return title
    room = limit - 1
    space = title.rfind(" ", 0, room + 1)
    cut = space if space > room // 2 else cut_at_grapheme(title, 0, room)
    return title[:cut].rstrip(" ,;:-") + "…"


@dataclass(frozen=True, slots=True)
class _Splitter:
    layout: Layout
    limit: int
    measure: Measure

    def parts(self) -> tuple[str, ...]:
        """All parts. Each cut looks only at what precedes and at one limit of what follows."""
        parts: list[str] = []
        end = len(self.layout.text)
        start = self.layout.skip_blank(Place(0))
        while start.offset < end:
            cut = Place(end) if self._fits(start, Place(end)) else self._cut(start)
            part = self.layout.render(start, cut)
            parts.extend(self._forced(part))
            start = self.layout.skip_blank(cut)
        return tuple(parts)

    def _forced(self, part: str) -> Iterator[str]:
        """The part, unless its own marks leave no room: then the limit comes first."""
        while self.measure(part) > self.limit:
            fitting = bisect.bisect_left(
                range(1, len(part)), x=True, key=lambda end: self.measure(part[:end]) > self.limit
            )
            cut = cut_at_grapheme(part, 0, max(1, fitting))
            yield part[:cut]
            part = part[cut:]
        if part.strip():
            yield part

    def _fits(self, start: Place, cut: Place) -> bool:
        return self.measure(self.layout.render(start, cut)) <= self.limit

    def _filled(self, start: Place, cut: Place) -> float:
        return self.measure(self.layout.render(start, cut)) / self.limit

    def _cut(self, start: Place) -> Place:
        lines = self.layout.line_cuts(start)
        fitting = bisect.bisect_left(
            range(len(lines)), x=True, key=lambda index: not self._fits(start, lines[index].place)
        )
        candidates = lines[:fitting]
        for rank, fill in _WANTED_FILL:
            best = self._last(start, candidates, rank)
            if best and self._filled(start, best) >= fill:
                return best
        last = self._last(start, candidates, Rank.POOR)
        inside = self._cut_inside(start, last.offset if last else start.offset)
        if inside and (last is None or self._filled(start, inside) >= 0.5):  # noqa: PLR2004  # half
            return inside
        return last or Place(start.offset + 1, inside=True)

    def _last(self, start: Place, candidates: list[LineCut], rank: Rank) -> Place | None:
        """The last boundary of at most this rank that fits; a closing fence takes room too."""
        for line in reversed(candidates):
            if line.rank <= rank and self._fits(start, line.place):
                return line.place
        return None

    def _cut_inside(self, start: Place, low: int) -> Place | None:
        """Cut inside the line at ``low``, the first one that does not fit as a whole."""
        low = self.layout.first_cut_inside(low)
        fitting = low + bisect.bisect_left(
            range(low + 1, self.layout.line_end(low)),
            x=True,
            key=lambda offset: not self._fits(start, Place(offset, inside=True)),
        )
        if fitting <= max(low, start.offset):
            return None
        return Place(self._good_place(low, fitting), inside=True)

    def _good_place(self, low: int, fitting: int) -> int:
        text = self.layout.text
        patterns = (_WORD_END,) if self.layout.is_code(low) else (_SENTENCE_END, _WORD_END)
        whole = [
            match.span() for match in _WHOLE.finditer(text, low, min(fitting + 600, len(text)))
        ]
        for pattern in patterns:
            places = [
                match.end()
                for match in pattern.finditer(text, low, fitting)
                if low + (fitting - low) // 2 <= match.end() < len(text)
                and not any(first < match.end() < last for first, last in whole)
            ]
            if places:
                return places[-1]
        for first, last in whole:
            if low + (fitting - low) // 2 <= first < fitting < last:
                return first
        return cut_at_grapheme(text, low, fitting)
