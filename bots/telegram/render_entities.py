"""From text and spans to what Telegram takes: no mention, at most 100 entities, UTF-16.

A bot's ``@name`` in plain text becomes a mention and may notify somebody. It is neutralised
by a code entity over it: the text stays exactly what was written, also when it is copied
(``@reboot`` in a crontab), and Telegram looks for no mention in code. Where that is
impossible (``@`` outside and the name inside a link or code) or there is no entity left, a
word joiner, which is invisible, follows the ``@``.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate

from telegram import MessageEntity
from telegram.constants import MessageEntityType, MessageLimit

from bots.telegram.render_links import linkable
from bots.telegram.render_spans import BOLD, CODE, ITALIC, LINK, PRE, QUOTE, STRIKE, Span

MAX_ENTITIES = int(MessageLimit.MESSAGE_ENTITIES)
"""The server drops what is beyond, in silence."""

WORD_JOINER = "\u2060"

_MENTION = re.compile(r"(?<![A-Za-z0-9_])@[A-Za-z0-9_]{2,}")
"""A little wider than TDLib's ``match_mentions``, which also looks at other alphabets."""
_URL = re.compile(r"https?://[!-~]*[A-Za-z0-9_/]", re.IGNORECASE)
_LAST_TO_GO: dict[MessageEntityType, int] = {
    LINK: 0,  # a link's URL is nowhere else
    PRE: 1,
    CODE: 2,
    QUOTE: 3,
    BOLD: 4,
    STRIKE: 5,
    ITALIC: 6,
}
_OUTER_FIRST: dict[MessageEntityType, int] = {
    kind: place for place, kind in enumerate((QUOTE, LINK, BOLD, ITALIC, STRIKE, PRE, CODE))
}
_SOLID = (LINK, PRE, CODE)
"""Kinds in which Telegram looks for no mention, and which cannot be cut or nested."""
_ROOM_FOR_MENTIONS = 50


def finish(text: str, spans: Iterable[Span]) -> tuple[str, tuple[MessageEntity, ...]]:
    """Trim the text, neutralise mentions and make entities of the spans."""
    text, kept = _trimmed(text, spans)
    if "@" in text:
        mentions = sum(1 for _ in _MENTION.finditer(text))
        rest = max(0, MAX_ENTITIES - sum(span.kind is LINK for span in kept))
        kept = _most_important(kept, MAX_ENTITIES - min(mentions, rest, _ROOM_FOR_MENTIONS))
        text, kept = _without_mentions(text, kept)
    return text, _entities(text, _most_important(kept, MAX_ENTITIES))


def _trimmed(text: str, spans: Iterable[Span]) -> tuple[str, list[Span]]:
    """Without blanks around the text and the spans; those that begin a code block stay."""
    spans = list(spans)
    lead = len(text) - len(text.lstrip())
    lead = min([lead, *(span.start for span in spans if span.kind is PRE)])
    end = len(text.rstrip())
    moved = (
        replace(span, start=max(span.start, lead) - lead, end=min(span.end, end) - lead)
        for span in spans
    )
    text = text[lead:end]
    return text, _trimmed_spans(text, moved)


def _trimmed_spans(text: str, spans: Iterable[Span]) -> list[Span]:
    spans = list(spans)
    code = {span.start for span in spans if span.kind is PRE}
    trimmed = []
    for span in spans:
        inner = text[span.start : span.end]
        end = span.start + len(inner.rstrip())
        start = span.start if span.start in code else span.end - len(inner.lstrip())
        if start < end:
            trimmed.append(replace(span, start=start, end=end))
    return trimmed


def _most_important(spans: list[Span], room: int) -> list[Span]:
    if len(spans) <= room:
        return spans
    return sorted(spans, key=lambda span: (_LAST_TO_GO[span.kind], span.start))[:room]


def _without_mentions(text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    room = MAX_ENTITIES - sum(span.kind in _SOLID for span in spans)
    broken: list[int] = []
    for match in _MENTION.finditer(text):
        start, end = match.span()
        solid = [span for span in spans if span.kind in _SOLID and _meet(span, start, end)]
        if any(span.start <= start and end <= span.end for span in solid):
            continue
        if solid or not room:
            broken.append(match.start() + 1)
            continue
        spans = _covered(spans, _cover(text, start, end, spans))
        room -= 1
    return _joined(text, broken), _shifted(spans, broken)


def _cover(text: str, start: int, end: int, spans: list[Span]) -> Span:
    """A link over the whole URL that the mention is in, else code over the mention."""
    line = text.rfind("\n", 0, start) + 1
    for match in _URL.finditer(text, line):
        if match.start() >= start:
            break
        first, last = match.span()
        solid = any(span.kind in _SOLID and _meet(span, first, last) for span in spans)
        if end <= last and linkable(match.group()) and not solid:
            return Span(kind=LINK, start=first, end=last, argument=match.group())
    return Span(kind=CODE, start=start, end=end)


def _covered(spans: list[Span], cover: Span) -> list[Span]:
    """Add ``cover``; styles end before it and go on after it."""
    result = [cover]
    for span in spans:
        if span.kind is QUOTE or not _meet(span, cover.start, cover.end):
            result.append(span)
            continue
        if span.start < cover.start:
            result.append(replace(span, end=cover.start))
        if span.end > cover.end:
            result.append(replace(span, start=cover.end))
    return result


def _meet(span: Span, start: int, end: int) -> bool:
    return span.start < end and start < span.end


def _joined(text: str, places: list[int]) -> str:
    pieces = (text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True))
    return WORD_JOINER.join(pieces)


def _shifted(spans: list[Span], places: list[int]) -> list[Span]:
    """Make room for the word joiners: one at a span's start or end stays outside it."""
    return [
        replace(
            span,
            start=span.start + bisect.bisect_right(places, span.start),
            end=span.end + bisect.bisect_left(places, span.end),
        )
        for span in spans
    ]


def _entities(text: str, spans: list[Span]) -> tuple[MessageEntity, ...]:
    spans = _trimmed_spans(text, spans)
    spans.sort(key=lambda span: (span.start, -span.end, _OUTER_FIRST[span.kind]))
    units = _unit_offsets(text)
    return tuple(
        MessageEntity(
            type=span.kind,
            offset=units[span.start],
            length=units[span.end] - units[span.start],
            url=span.argument if span.kind is LINK else None,
            language=(span.argument or None) if span.kind is PRE else None,
        )
        for span in spans
    )


def _unit_offsets(text: str) -> range | list[int]:
    """For each character, and the end, how many UTF-16 units precede it."""
    if text.isascii() or max(text) <= "\uffff":
        return range(len(text) + 1)
    return list(accumulate(_units(text), initial=0))


def _units(text: str) -> Iterator[int]:
    return (2 if char > "\uffff" else 1 for char in text)
