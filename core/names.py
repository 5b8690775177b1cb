"""Names that people give themselves, made harmless: one short line without control characters."""

from __future__ import annotations

import unicodedata

MAX_CHARS = 60


def plain_name(name: str) -> str:
    """The name on one line, without controls, marks of writing direction or lone surrogates.

    A name is shown to admins who let its bearer in and to models beside what was written: it
    must neither begin a new line there nor turn the text around it.
    """
    spaced = " ".join(name.split())
    kept = "".join(char for char in spaced if unicodedata.category(char)[0] != "C")
    kept = " ".join(kept.split())
    return kept if len(kept) <= MAX_CHARS else f"{kept[: MAX_CHARS - 1].rstrip()}…"
