"""Markdown on a terminal, through rich. Imported only when something is shown: rich is heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich import markdown as rich_markdown
from rich.segment import Segment, Segments
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from core.markdown import parser

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_ROOM = 3
"""Rows of the screen that the redrawn part leaves free."""
_LONG = 4000
"""Characters of an unfinished block that are still drawn as Markdown."""


class _Heading(rich_markdown.Heading):
    """A heading on the left, at every level: a terminal is too narrow for more."""

    LEVEL_ALIGN: ClassVar = dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "left")


class _Code(rich_markdown.CodeBlock):
    """Code in the terminal's own colours, on its own background, ready to be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Indented by two, without blank lines around."""
        yield Syntax(
            str(self.text).rstrip(),
            self.lexer_name,
            theme=self.theme,
            background_color="default",
            word_wrap=True,
            padding=(0, 2),
        )


class _Table(rich_markdown.TableElement):
    """A table that folds what is too wide: a cut path or number would mislead."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, with all of its text."""
        for element in super().__rich_console__(console, options):
            if isinstance(element, Table):
                for column in element.columns:
                    column.overflow = "fold"
            yield element


class _Markdown(rich_markdown.Markdown):
    elements: ClassVar = {
        **rich_markdown.Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "table_open": _Table,
    }


class Block:
    """Canonical rich text for the terminal, without blank lines around it.

    HTML is text, and a link shows its address: a terminal link would hide it.
    """

    def __init__(self, text: str) -> None:
        """``text`` must be safe to write."""
        self._markdown = _Markdown(text, code_theme="ansi_dark", hyperlinks=False)
        self._markdown.parsed = parser().parse(text)

    def lines(self, console: Console, options: ConsoleOptions) -> list[list[Segment]]:
        """The lines of the screen."""
        lines = [
            _stripped(line) for line in console.render_lines(self._markdown, options, pad=False)
        ]
        while lines and not lines[-1]:
            lines.pop()
        while lines and not lines[0]:
            lines.pop(0)
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """All lines."""
        for line in self.lines(console, options):
            yield Segments([*line, Segment.line()])


class Tail:
    """The part that is redrawn: the end of the last block, and one line of status."""

    def __init__(self, text: str, status: str, *, follows: bool) -> None:
        """``follows`` says that blocks were printed above."""
        self._text = text
        self._status = status
        self._follows = follows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many of the last lines as the screen holds."""
        room = max(1, console.size.height - _ROOM)
        if len(self._text) > _LONG:  # drawn ten times a second: the last lines, as they came
            text = Text(self._text[-_LONG:])
            lines = [_stripped(line) for line in console.render_lines(text, options)][-room:]
        else:
            lines = Block(self._text).lines(console, options)[-room:]
        if lines and self._follows:
            lines.insert(0, [])
        for line in lines:
            yield Segments([*line, Segment.line()])
        if self._status:
            yield Text(self._status, "dim", no_wrap=True, overflow="ellipsis")


def _stripped(line: list[Segment]) -> list[Segment]:
    """A line without blank space at its end: it would be copied too."""
    line = list(line)
    while line and not line[-1].text.rstrip():
        line.pop()
    if line:
        line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
    return line
