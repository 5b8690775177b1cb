"""Where text may be cut without breaking what a reader sees as one character.

A small part of Unicode's grapheme rules (UAX #29), from the standard library's character
database: combining marks, joiners, variation selectors, skin tones, flags, tag sequences
and Hangul syllables. What is missing (Indic conjuncts, prepended marks) is cut like any
other text, which no platform rejects.
"""

from __future__ import annotations

import unicodedata

_JOINER = "\u200d"
_NON_JOINER = "\u200c"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAGS = range(0x1F1E6, 0x1F200)
_TAGS = range(0xE0020, 0xE0080)
_HANGUL_LEADS = range(0x1100, 0x1160)
_HANGUL_TAILS = range(0x1160, 0x1200)
_HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)


def cut_at_grapheme(text: str, start: int, end: int) -> int:
    """Return the last place in ``(start, end]`` where ``text`` may be cut.

    When one character as a reader sees it is longer than that, ``end`` itself: a broken
    character is better than a part that a platform rejects.
    """
    for place in range(end, start, -1):
        if _is_boundary(text, place):
            return place
    return end


def _is_boundary(text: str, place: int) -> bool:
    if place <= 0 or place >= len(text):
        return True
    before, after = text[place - 1], text[place]
    if _extends(after) or before == _JOINER:
        return False
    if before == "\r" and after == "\n":
        return False
    if ord(before) in _FLAGS and ord(after) in _FLAGS:
        return _flags_before(text, place) % 2 == 0
    return not _joins_hangul(ord(before), ord(after))


def _extends(char: str) -> bool:
    code = ord(char)
    return (
        char in (_JOINER, _NON_JOINER)
        or code in _SKIN_TONES
        or code in _TAGS
        or unicodedata.category(char) in ("Mn", "Me", "Mc")
    )


def _flags_before(text: str, place: int) -> int:
    count = 0
    while place > count and ord(text[place - 1 - count]) in _FLAGS:
        count += 1
    return count


def _joins_hangul(before: int, after: int) -> bool:
    if after in _HANGUL_TAILS:
        return before in _HANGUL_LEADS or before in _HANGUL_TAILS or before in _HANGUL_SYLLABLES
    return before in _HANGUL_LEADS and (after in _HANGUL_LEADS or after in _HANGUL_SYLLABLES)
