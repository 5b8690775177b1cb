"""Markdown on a terminal, through rich. Imported only when something is shown: rich is heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich import markdown as rich_markdown
from rich.segment import Segment, Segments
from rich.syntax import Syntax
from rich.text import Text

from core.markdown import parser

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_ROOM = 3
"""Rows of the screen that the redrawn part leaves free."""


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


class _Markdown(rich_markdown.Markdown):
    elements: ClassVar = {
        **rich_markdown.Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
    }


def markdown(text: str) -> rich_markdown.Markdown:
    """Canonical rich text for the terminal.

    HTML is text, and a link shows its address: a terminal link would hide it.
    """
    shown = _Markdown(text, code_theme="ansi_dark", hyperlinks=False)
    shown.parsed = parser().parse(text)
    return shown


class Tail:
    """The part that is redrawn: the end of the last block, and one line of status."""

    def __init__(self, text: str, status: str, follows: bool) -> None:  # noqa: FBT001
        """``follows`` says that blocks were printed above."""
        self._text = text
        self._status = status
        self._follows = follows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many of the last lines as the screen holds."""
        lines: list[list[Segment]] = []
        if self._text.strip():
            lines = console.render_lines(markdown(self._text), options, pad=False)
        room = max(1, console.size.height - _ROOM)
        for line in [[], *lines[-room:]] if lines and self._follows else lines[-room:]:
            yield Segments([*line, Segment.line()])
        if self._status:
            yield Text(self._status, "dim", no_wrap=True, overflow="ellipsis")
