"""One idea of an e-mail address, for settings, the API and look-ups."""

from __future__ import annotations

import re

from core.words import sentence

EMAIL = re.compile(r"[^\s@<>()\",;]{1,64}@[^\s@<>()\",;]{1,190}")
SENTENCE = sentence("An address looks like ada@example.com, without spaces and special characters.")


def email_of(written: str) -> str | None:
    """The address as it is stored and looked up, in one case; None when it is none."""
    address = written.strip().casefold()
    return address if EMAIL.fullmatch(address) and address.isprintable() else None
