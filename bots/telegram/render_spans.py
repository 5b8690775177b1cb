"""Formatted text while it is being put together: characters, and spans that style them.

Offsets count characters here; ``render_entities`` turns them into Telegram's UTF-16 units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from telegram.constants import MessageEntityType

BOLD = MessageEntityType.BOLD
ITALIC = MessageEntityType.ITALIC
STRIKE = MessageEntityType.STRIKETHROUGH
CODE = MessageEntityType.CODE
PRE = MessageEntityType.PRE
LINK = MessageEntityType.TEXT_LINK
QUOTE = MessageEntityType.BLOCKQUOTE

TAB_WIDTH = 4
"""Telegram shows a tab as one blank, so tabs in code are written out."""

_REMOVED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u030a\u0333\u033f]")
"""What the server removes from every text (TDLib, ``clean_input_string``).

Removed here already: offsets stay right, and ``@\\u202eall`` cannot turn into a mention later.
"""

_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")


def units(text: str) -> int:
    """Length in UTF-16 code units, as Telegram counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A styled piece of the text; ``argument`` is a link's URL or a code block's language."""

    kind: MessageEntityType
    start: int
    end: int
    argument: str = ""


@dataclass(slots=True)
class _Open:
    kind: MessageEntityType | None
    """None inside a span of the same kind: nested, it would say nothing new."""
    argument: str = ""
    start: int | None = None


@dataclass(slots=True)
class Writer:
    """Collects text and spans; blank lines and indentation appear only before more text."""

    prefix: str = ""
    """What each further line begins with: the indentation of a list, the marks of a quote."""
    spans: list[Span] = field(default_factory=list)
    length: int = 0
    _pieces: list[str] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _newlines: int = 0
    _gap: str = ""
    _fresh: bool = True

    @property
    def text(self) -> str:
        """What was written."""
        return "".join(self._pieces)

    def write(self, text: str) -> None:
        """Append text of one line, or of several that keep their own line ends."""
        text = _REMOVED.sub("", text).replace("\t", " ")
        if text:
            self._begin(self.prefix)
            self._append(text)

    def newline(self, count: int) -> None:
        """At least ``count`` line ends before what comes next."""
        self._newlines = max(self._newlines, count)
        self._gap = ""

    def mark(self, text: str) -> None:
        """Append a list item's mark, and a blank if text follows on the same line."""
        self.write(text)
        self._gap = " "

    def inside(self, kind: MessageEntityType) -> bool:
        """Whether a span of this kind is open."""
        return any(span.kind is kind for span in self._open)

    def open(self, kind: MessageEntityType, argument: str = "") -> None:
        """Begin a span at the next character."""
        self._open.append(_Open(None if self.inside(kind) else kind, argument))

    def close(self) -> None:
        """End the span that was opened last."""
        self._end(self._open.pop())

    def code(self, text: str) -> None:
        """Append code; styles pause for it, and inside a link it is plain, as Telegram wants."""
        if self.inside(LINK):
            self.write(text)
            return
        text = _REMOVED.sub("", text).replace("\t", " ")
        if text:
            self._solid(Span(kind=CODE, start=0, end=len(text)), text, self.prefix)

    def pre(self, text: str, language: str = "") -> None:
        """Append a block of code on lines of its own, as it is, without any prefix."""
        text = _REMOVED.sub("", text).expandtabs(TAB_WIDTH).rstrip()
        text = _BLANK_LINES.sub("", text)
        if not text:
            return
        self.newline(1)
        self._solid(Span(kind=PRE, start=0, end=len(text), argument=language), text, "")
        self.newline(1)

    def _solid(self, span: Span, text: str, prefix: str) -> None:
        """Append a text that no style may touch: they end before it and go on after it."""
        for style in self._open:
            if style.kind is not QUOTE:
                self._end(style)
        self._begin(prefix)
        self.spans.append(replace(span, start=self.length, end=self.length + len(text)))
        self._append(text)
        for style in self._open:
            if style.kind is not QUOTE:
                style.start = None

    def _begin(self, prefix: str) -> None:
        if self._newlines and self.length:
            self._append("\n" * self._newlines)
            self._fresh = True
        elif self._gap:
            self._append(self._gap)
        self._newlines, self._gap = 0, ""
        if self._fresh:
            self._append(prefix)
            self._fresh = False
        for span in self._open:
            if span.start is None:
                span.start = self.length

    def _append(self, text: str) -> None:
        self._pieces.append(text)
        self.length += len(text)

    def _end(self, span: _Open) -> None:
        if span.kind is not None and span.start is not None:
            self.spans.append(
                Span(kind=span.kind, start=span.start, end=self.length, argument=span.argument)
            )
