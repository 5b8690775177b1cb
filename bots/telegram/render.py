"""Markdown becomes plain text with message entities, which no server can refuse to parse.

No parse mode is ever used. Offsets and lengths are in UTF-16 code units, as in the Bot API.
The steps: ``render_blocks`` writes the tree, ``render_entities`` makes it safe to send.
"""

from __future__ import annotations

from dataclasses import dataclass

from telegram import MessageEntity
from telegram.constants import MessageLimit

from bots.telegram.render_blocks import Fit, write_markdown
from bots.telegram.render_entities import MAX_ENTITIES, finish
from bots.telegram.render_spans import TAB_WIDTH, Writer, units
from bots.telegram.render_tables import surplus
from core.messages import clean_text

MAX = int(MessageLimit.MAX_TEXT_LENGTH)
"""Longest message, in UTF-16 units."""

_UNITS_PER_LINK = MAX // MAX_ENTITIES + 1


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one message shows; the text is empty only if nothing of the source is visible."""

    text: str
    entities: tuple[MessageEntity, ...]


def render(markdown: str) -> Rendered:
    """Render one message; see ``measure`` for how long it gets.

    Where looks would take more room than ``measure`` promised, they are given up.
    """
    room = measure(markdown)
    markdown = clean_text(markdown)
    for fit in Fit:
        writer = write_markdown(markdown, fit)
        text, entities = finish(writer.text, writer.spans)
        if units(text) <= room:
            break
    if not text:
        writer = Writer()
        writer.write(markdown)
        text, entities = finish(writer.text, ())
    return Rendered(text, entities)


def measure(markdown: str) -> int:
    """At least the units that ``render`` needs; never less for a longer text.

    Markup counts like text. Tabs in code become blanks, an ``@`` may need a word joiner, and
    tables need padding. A text with very many links counts as longer than it is, so that each
    part has entities for them all. Costs a few passes in C, and a closer look
    at the tables of the first ``MAX`` characters only, beyond which no part can reach.
    """
    length = units(markdown) + markdown.count("@") + (TAB_WIDTH - 1) * markdown.count("\t")
    links = markdown.count("](") + markdown.count("][")
    return max(length + surplus(markdown[:MAX]), links * _UNITS_PER_LINK)
