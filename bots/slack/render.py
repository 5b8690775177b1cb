"""Canonical Markdown to what Slack shows: blocks, the notification's text, streamed text.

An answer is structured ``rich_text`` wherever possible: Slack parses nothing in it, so text is
kept exactly and nobody can be mentioned. Call ``blocks`` with a part that
``split_markdown(text, MAX_CHARS, measure=measure)`` made.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it.tree import SyntaxTreeNode

from bots.slack.render_elements import Block, Json, Run, plain_text
from bots.slack.render_tables import read_table
from bots.slack.render_text import can_notify, fallback, stream_text
from core.markdown import parser
from core.messages import clean_text

__all__ = ["MAX_BLOCKS", "MAX_CHARS", "Block", "blocks", "fallback", "measure", "stream_text"]

MAX_CHARS = 3_000
"""Most units of ``measure`` in one message.

Below the 4,000 characters that chat.update takes as ``text`` and the 12,000 of streamed text,
and as much as one text object holds; much longer messages are folded by the clients.
"""
MAX_BLOCKS = 45
"""Slack takes 50 blocks; the rest is for buttons."""
MAX_SIZE = 10_000
"""Most characters of all blocks as JSON.

Slack refuses more than about 13,200 of them together, containers included, as
``msg_blocks_too_long``; it documents only 12,000 for Markdown (slackapi/bolt-js issues 2509 and
2867). The rest is for buttons.
"""
_MAX_HEADER = 150
_HEADER_LEVELS = ("h1", "h2")
"""Slack has one size of header; deeper headings are bold."""
_DEEPEST = 19
_CONTAINERS = ("blockquote_open", "list_item_open")
"""The parser leaves out what is in a container at this level (its ``maxNesting`` is 20).

Lists so nest nine deep at most, and nine steps of ``indent``, 0 to 8, are what Slack takes.
"""
_PARAGRAPH_GAP = "\n\n"
_RULE = "───"
_CUT = "…"

_ITEM = re.compile(r"^[ \t>]*(?:[-+*]|\d{1,9}[.)])[ \t]", re.MULTILINE)
_COSTS = (("`", 40), ("*", 24), ("|", 40), ("](", 50), ("://", 45), ("\n#", 100))
"""Characters of JSON that a piece of markup adds, about."""
_ITEM_COST = 90
_FRAME_COST = 100


def measure(markdown: str) -> int:
    """Units of a text, for ``split_markdown``: characters, more where markup is dense.

    Never shrinks when a text grows. A part within ``MAX_CHARS`` fits ``MAX_SIZE`` as blocks in
    all but contrived cases, for which ``blocks`` has simpler forms.
    """
    size = len(markdown) + _FRAME_COST + _ITEM_COST * sum(1 for _ in _ITEM.finditer(markdown))
    size += sum(cost * markdown.count(mark) for mark, cost in _COSTS)
    return max(len(markdown), math.ceil(size * MAX_CHARS / MAX_SIZE))


def blocks(markdown: str) -> list[Block]:
    """The blocks of one message, within all of Slack's limits; none for a blank text.

    A text that does not fit with all its formatting gets less of it: first no ``table`` block,
    then no headers and styles, then the bare source. Only a text longer than ``MAX_CHARS``
    is ever cut.
    """
    text = clean_text(markdown)
    if not text.strip():
        return []
    tokens = parser().parse(text)
    if not any(token.type in _CONTAINERS and token.level >= _DEEPEST for token in tokens):
        tree = SyntaxTreeNode(tokens)
        for form in _FORMS:
            made = _Message(form).write(tree)
            if made and len(made) <= MAX_BLOCKS and _size(made) <= MAX_SIZE:
                return made
    return [_source(text)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How much of the formatting is kept."""

    tables: bool = True
    headers: bool = True
    styles: bool = True


_FORMS = (_Form(), _Form(tables=False), _Form(tables=False, headers=False, styles=False))


class _Message:
    """The blocks of one message while they are written."""

    def __init__(self, form: _Form) -> None:
        self._form = form
        self._blocks: list[Block] = []
        self._flow = _Flow(form)
        self._has_table = False

    def write(self, tree: SyntaxTreeNode) -> list[Block]:
        for node in tree.children:
            block = self._own_block(node)
            if block is None:
                self._flow.block(node)
            else:
                self._end_flow()
                self._blocks.append(block)
        self._end_flow()
        return self._blocks

    def _end_flow(self) -> None:
        if self._flow.elements:
            self._blocks.append({"type": "rich_text", "elements": self._flow.elements})
            self._flow = _Flow(self._form)

    def _own_block(self, node: SyntaxTreeNode) -> Block | None:
        """A block for what is more than rich text, where the form and the limits allow."""
        if node.type == "heading" and node.tag in _HEADER_LEVELS and self._form.headers:
            return _header(node)
        if node.type == "hr" and self._form.headers:
            return {"type": "divider"}
        if node.type == "table" and self._form.tables and not self._has_table:
            table = read_table(node, styled=self._form.styles)
            self._has_table = table.fits()
            return table.block() if self._has_table else None
        return None


class _Flow:
    """The elements of one ``rich_text`` block while they are written."""

    def __init__(self, form: _Form) -> None:
        self._form = form
        self.elements: list[Block] = []
        self._run: Run | None = None
        """The text of the last element, as long as it can go on."""
        self._gap = ""
        """What keeps the next paragraph apart from that text."""

    def block(self, node: SyntaxTreeNode, *, quoted: bool = False) -> None:
        """Append a block of Markdown; ``quoted`` puts a bar beside it."""
        match node.type:
            case "paragraph" | "heading":
                run = Run(styled=self._form.styles, bold=node.type == "heading")
                _write_inline(run, node)
                self._paragraph(run.elements, quoted=quoted)
                self._gap = "\n" if node.type == "heading" else _PARAGRAPH_GAP
            case "bullet_list" | "ordered_list":
                self._list(node, indent=0, quoted=quoted)
            case "blockquote":
                self._end_line()
                self._run = None
                for child in node.children:
                    self.block(child, quoted=True)
                self._run = None
            case "table":
                self._preformatted(read_table(node, styled=False).lines(), quoted=quoted)
            case "hr":
                run = Run()
                run.text(_RULE)
                self._paragraph(run.elements, quoted=quoted)
                self._gap = _PARAGRAPH_GAP
            case _:
                run = Run(styled=False)
                run.text(node.content.removesuffix("\n") or " ")
                self._preformatted(run.elements, quoted=quoted)

    def _paragraph(self, elements: Sequence[Block], *, quoted: bool) -> None:
        """Text in the section, or quote, that is open, else in a new one."""
        if not elements:
            return
        kind = "rich_text_quote" if quoted else "rich_text_section"
        if self._run is not None and self.elements[-1]["type"] == kind:
            self._run.text(self._gap)
            self._run.extend(elements)
            return
        run = Run(styled=self._form.styles)
        if self.elements and self.elements[-1]["type"] in ("rich_text_list", "rich_text_quote"):
            run.text("\n")
        run.extend(elements)
        self._run = run
        self.elements.append({"type": kind, "elements": run.elements})

    def _preformatted(self, elements: list[Block], *, quoted: bool) -> None:
        self._end_line()
        element: Block = {"type": "rich_text_preformatted", "elements": elements}
        self.elements.append(_bar(element, quoted=quoted))

    def _end_line(self) -> None:
        """End the open section's last line, as Slack's own composer does before a list."""
        if self._run is not None and self.elements[-1]["type"] == "rich_text_section":
            self._run.text("\n")
        self._run = None

    def _list(self, node: SyntaxTreeNode, *, indent: int, quoted: bool) -> None:
        """A list; Slack has no lists in lists, only further lists with more indent."""
        self._end_line()
        ordered = node.type == "ordered_list"
        first = int(node.attrs.get("start", 1)) if ordered else 1
        items: list[Block] = []
        for number, item in enumerate(node.children, start=first):
            if not (items and self.elements[-1].get("elements") is items):
                items = []
                element: Block = {
                    "type": "rich_text_list",
                    "style": "ordered" if ordered else "bullet",
                    "indent": indent,
                    "elements": items,
                }
                if ordered and number > 1:
                    element["offset"] = number - 1
                self.elements.append(_bar(element, quoted=quoted))
            self._item(item, items, indent=indent, quoted=quoted)

    def _item(self, item: SyntaxTreeNode, items: list[Block], *, indent: int, quoted: bool) -> None:
        """One item: its text, and what of it must follow the list as an element of its own."""
        run = Run(styled=self._form.styles)
        items.append({"type": "rich_text_section", "elements": run.elements})
        for child in item.children:
            in_list = self.elements[-1].get("elements") is items
            if child.type in ("paragraph", "heading") and in_list:
                if run.elements:
                    run.text("\n")
                text = Run(styled=self._form.styles, bold=child.type == "heading")
                _write_inline(text, child)
                run.extend(text.elements)
            elif child.type in ("bullet_list", "ordered_list"):
                self._list(child, indent=indent + 1, quoted=quoted)
            else:
                self.block(child, quoted=quoted)
        if not run.elements:
            run.text(" ")  # an empty section is refused
        self._run = None


def _write_inline(run: Run, node: SyntaxTreeNode) -> None:
    for inline in node.children:
        run.inline(inline.token.children or () if inline.token else ())


def _bar(element: Block, *, quoted: bool) -> Block:
    """The element, with a quote's bar beside it where wanted."""
    if quoted:
        element["border"] = 1
    return element


def _header(node: SyntaxTreeNode) -> Block | None:
    """A header block; None where it would lose formatting, or where Slack might parse its text."""
    run = Run()
    _write_inline(run, node)
    if [element.keys() for element in run.elements] != [{"type", "text"}]:
        return None
    text = plain_text(run.elements).strip()
    units = len(text.encode("utf-16-le")) // 2
    if not text or units > _MAX_HEADER or can_notify(text) or set(text) & set("<>&\n"):
        return None
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _source(text: str) -> Block:
    """The Markdown itself, as text."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS - len(_CUT)] + _CUT
    run = Run(styled=False)
    run.text(text)
    section: Block = {"type": "rich_text_section", "elements": run.elements}
    return {"type": "rich_text", "elements": [section]}


def _size(made: Sequence[Json]) -> int:
    return len(json.dumps(made, ensure_ascii=False, separators=(",", ":")))
