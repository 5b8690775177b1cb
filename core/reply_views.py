"""What the parts of a reply are to show: a text cut into messages, and the cards under it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace

from core.markdown import split_markdown
from core.sinks import CardForm, SinkLimits, View
from core.turns import Offer

_LONG = 10_000
"""Characters that are cut into parts in less than about 30 ms."""


async def cut(text: str, limits: SinkLimits) -> tuple[str, ...]:
    """The parts of a text. A long one is cut in a thread: it may take a second."""
    if len(text) <= _LONG:
        return split_markdown(text, limits.max_chars, measure=limits.measure)
    return await asyncio.to_thread(split_markdown, text, limits.max_chars, measure=limits.measure)


def final_views(
    texts: Sequence[str], offer: Offer | None, approvals: tuple[str, ...]
) -> list[View]:
    """The parts of an answer that is over; approvals need a text that is one message."""
    views = [View(text=text, final=True, last=False) for text in texts[:-1]]
    whole = approvals if len(texts) == 1 else ()
    return [*views, View(text=texts[-1], final=True, offer=offer, approvals=whole)]


def waiting_views(
    texts: Sequence[str], cards: Sequence[Sequence[CardForm]], limits: SinkLimits
) -> list[View]:
    """The answer so far, and each card in the first of its forms that is one message.

    A single card stands under a text of one line in the same message; a longer one could look
    like a card itself.
    """
    said = [View(text=text, final=True, waiting=True) for text in texts]
    shown = [
        View(text=form.text, final=True, waiting=True, approvals=form.approvals)
        for forms in cards
        for form in _fitting(forms, limits)
    ]
    if len(said) == len(shown) == 1 and "\n" not in said[0].text.strip():
        both = f"{said[0].text}\n\n---\n\n{shown[0].text}"
        if limits.measure(both) <= limits.max_chars:
            return [replace(shown[0], text=both)]
    views = [*said, *shown]
    return [replace(view, last=number == len(views)) for number, view in enumerate(views, start=1)]


def _fitting(forms: Sequence[CardForm], limits: SinkLimits) -> Sequence[CardForm]:
    """The first form that is one message; else the last, cut, which has no buttons."""
    for form in forms:
        if limits.measure(form.text) <= limits.max_chars:
            return [form]
    texts = split_markdown(forms[-1].text, limits.max_chars, measure=limits.measure)
    return [CardForm(text=text) for text in texts]


def shown_digest(view: View) -> str:
    """Two views that show the same have the same."""
    shown = f"{view.final:d}{view.last:d}{view.status}\0{view.text}"
    if view.offer is not None:
        shown += f"\0{view.offer.label}\0{view.offer.command}"
    if view.waiting or view.approvals:
        shown += f"\0{view.waiting:d}{view.approvals}"
    return hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()[:16]
