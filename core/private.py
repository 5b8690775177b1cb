"""Which command turns are answered for the sender's eyes only."""

from __future__ import annotations

PRIVATE_WORDS = frozenset(
    {
        "delete",
        "invite",
        "language",
        "link",
        "login",
        "resume",
        "sessions",
        "share",
        "tenant",
        "welcome",
        "whoami",
    }
)
"""Their answers hold codes, sign-in links, addresses or titles that are nobody else's."""


def is_private(command_text: str) -> bool:
    """Whether the answer to ``/word rest`` must not be shown in a channel or group."""
    word = command_text.removeprefix("/").split(maxsplit=1)
    return bool(word) and word[0].casefold() in PRIVATE_WORDS
